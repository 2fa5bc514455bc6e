"""best.pt: that it holds the best weights of this run's own history, or of what is left of them.

A resumed run may have given up the continuation that wrote best.pt, and the file may have been deleted or damaged.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from segkit.errors import CheckpointError
from segkit.evaluation.metrics import mean_iou
from segkit.runs.aside import set_aside
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.system.console import percent
from segkit.system.run_files import RunFiles, iteration_of, list_checkpoints

#: A moment of which nothing is known: no evaluation, or none whose weights are there.
NOTHING: Mapping[str, Any] = {"mean_iou": -1.0, "iteration": 0}


class Settled(NamedTuple):
    """The moment (`mean_iou`, `iteration`) whose weights best.pt holds, NOTHING if there is no best.pt, and lines on
    what had to be done for it."""

    kept: dict[str, Any]
    notes: list[str]


def settle_best(folder: RunFiles, best: Mapping[str, Any], kept: Mapping[str, Any], *, until: int) -> Settled:
    """Make best.pt hold what it should, as far as that can be had from the numbered checkpoints up to `until`.

    `best` is the best moment of the history, `kept` the one whose weights best.pt is known to hold. What best.pt holds
    otherwise is of another history: it is set aside. Raises CannotWrite.
    """
    held = _read_held(folder.best)
    if held == dict(kept):
        return Settled(held, [])
    lines = []
    if held is not None:
        what = (
            "damaged" if held == NOTHING else f"of iteration {held['iteration']:,}, which is not of this run"
        )
        lines.append(f"aside     {folder.best.name} -> {set_aside(folder.best).name}: it is {what}")
    if not best["iteration"]:
        return Settled(dict(NOTHING), lines)
    missing = "was not there, " if held is None else ""
    source = _find_source(folder, best, until=until)
    had = f"iteration {best['iteration']:,} had {percent(best['mean_iou'])}"
    if source is None:
        why = "is not there, and no checkpoint was evaluated; the next evaluation writes it"
        return Settled(dict(NOTHING), [*lines, f"best      {folder.best.name} {why} ({had})"])
    path, state, moment = source
    save_checkpoint(folder.best, _best_state(state, moment))
    place = path.relative_to(folder.path)
    line = (
        f"best      {folder.best.name} {missing}made again from {place}: iteration {moment['iteration']:,}, "
        f"mIoU {percent(moment['mean_iou'])}"
    )
    lost = "" if moment["iteration"] == best["iteration"] else f", the best that is left ({had})"
    return Settled(moment, [*lines, line + lost])


def scored_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that validation scored: best.pt holds just these, a numbered checkpoint the moving average apart."""
    if "trainer" not in state:
        return state["model"]
    ema = state["trainer"]["ema"]
    if ema is None:
        return state["trainer"]["model"]
    prefix = "module."
    return {key.removeprefix(prefix): value for key, value in ema.items() if key.startswith(prefix)}


def _read_held(path: Path) -> dict[str, Any] | None:
    """The moment whose weights are in best.pt; None if it is not there, NOTHING if it cannot be used."""
    if not path.is_file():
        return None
    try:
        state = load_checkpoint(path)
        return {name: state[name] for name in NOTHING}
    except (CheckpointError, KeyError):  # whoever reads NOTHING says so, and sets the file aside
        return dict(NOTHING)


def _find_source(
    folder: RunFiles, best: Mapping[str, Any], *, until: int
) -> tuple[Path, dict[str, Any], dict[str, Any]] | None:
    """The numbered checkpoint with the highest score, its state and its moment; None if none was evaluated."""
    found = None
    for path in list_checkpoints(folder.checkpoints):
        if iteration_of(path) > until:
            continue
        try:
            state = load_checkpoint(path)
        except CheckpointError:  # resuming names it, and passes it over as well
            continue
        moment = _score_of(state)
        if moment is None:
            continue
        if moment["iteration"] == best["iteration"]:
            return path, state, dict(best)
        if found is None or moment["mean_iou"] > found[2]["mean_iou"]:
            found = path, state, moment
    return found


def _score_of(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The moment of a numbered checkpoint's weights, None if they were not evaluated or have no score."""
    trainer = state["trainer"]
    iteration = trainer["iteration"]
    if trainer["best"]["iteration"] == iteration:
        return dict(trainer["best"])
    last = state.get("recorder", {}).get("last_evaluation")  # not in checkpoints of an older segkit
    if last is None or last["iteration"] != iteration or not math.isfinite(last["ce"]):
        return None
    score = mean_iou(last["matrix"])
    return {"mean_iou": score, "iteration": iteration} if math.isfinite(score) else None


def _best_state(state: Mapping[str, Any], moment: Mapping[str, Any]) -> dict[str, Any]:
    """What best.pt holds of a numbered checkpoint: see `saver` in segkit.runs.state and `Trainer.best_state`."""
    apart = ("trainer", "recorder", "bad_samples", "format_version")
    meta = {name: value for name, value in state.items() if name not in apart}
    return {**meta, **moment, "model": scored_weights(state)}
