"""`summary.json`: the final numbers of a run, for scripts and for comparing runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.scores import scores_as_json


def summarise(
    facts: Mapping[str, Any],
    *,
    finished: bool,
    iterations: int,
    best: Mapping[str, Any],
    last: tuple[int, Evaluation] | None,
    class_names: Sequence[str],
    images_per_second: float | None,
    memory_gb: float,
    training_seconds: float,
    seconds: float,
) -> dict[str, Any]:
    """What summary.json holds: the arguments, in plain types.

    `facts` are known before training: parameters, operations per image, device. `best` has `mean_iou` and
    `iteration` (0: nothing was scored), `last` is the last evaluation with its iteration. Speed and seconds are those
    of this process, not of an earlier one whose run it resumed; `training_seconds` leave out validation, pictures
    and saving, which `seconds` has.
    """
    summary = {
        "finished": finished,
        "iterations": iterations,
        "best": {"mIoU": best["mean_iou"] if best["iteration"] else None, "iteration": best["iteration"]},
        "classes": list(class_names),
        **facts,
        "images_per_second": images_per_second,
        "memory_gb": memory_gb,
        "training_seconds": training_seconds,
        "seconds": seconds,
    }
    if last is not None:
        iteration, result = last
        summary["last"] = {"iteration": iteration, **scores_as_json(result, class_names)}
    return summary
