"""What the packed weights score, out of what their run has written: no score of other weights stands for theirs."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.data.scored_size import scored_size
from segkit.errors import CheckpointError
from segkit.runs.folder import is_overfit
from segkit.runs.packed.about import Scores
from segkit.runs.predictor import Predictor
from segkit.runs.recording.results import read_rows
from segkit.runs.written.checks import wrong_in_summary
from segkit.system.run_files import RunFiles


def read_summary(run: RunFiles) -> dict[str, Any]:
    """The summary of the run; empty where it has none, as one that was killed. Raises CheckpointError."""
    summary = read_json(run.summary) if run.summary.is_file() else {}
    wrong = wrong_in_summary(summary)
    if wrong is not None:
        raise CheckpointError(f"{run.summary} cannot be used: {wrong} -> restore it, or remove it")
    return summary


def read_json(path: Path) -> dict[str, Any]:
    """An object in a file of the run. Raises CheckpointError for one that is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be used ({error}) -> restore it, or remove it") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} cannot be used: it is no object -> restore it, or remove it")
    return found


def has_lost_the_best(predictor: Predictor, summary: Mapping[str, Any]) -> bool:
    """Whether best.pt has the best weights of those that were left when it had been deleted or damaged, and not those
    of the best score of the run; of a run that went on since it wrote its summary nobody knows."""
    best, kept, iteration = summary.get("best"), summary.get("best_weights"), predictor.iteration
    if predictor.path.name != RunFiles.best.name or not isinstance(best, dict) or not isinstance(kept, dict):
        return False
    return kept.get("iteration") == iteration and best.get("iteration") not in (None, 0, iteration)


def scores_of(predictor: Predictor, run: RunFiles, summary: dict[str, Any]) -> Scores | None:
    """The scores at the iteration of the weights: of the last evaluation in full, of an earlier one as results.csv has
    them, to six digits; None where these weights were not evaluated."""
    names = predictor.labels.class_names
    learnt = is_overfit(predictor.config.name)
    about = {
        "iteration": predictor.iteration or 0,
        "size": scored_size(predictor.config.to_mapping(), at="network" if learnt else None),
        "learnt": learnt,
        "chosen": predictor.path.name == RunFiles.best.name,
    }
    last = summary.get("last")
    images = last.get("images") if isinstance(last, dict) else None
    if isinstance(last, dict) and last.get("iteration") == predictor.iteration:
        found = last.get("iou") or {}
        return Scores(
            mean_iou=last.get("mIoU"),
            accuracy=last.get("accuracy"),
            ce=last.get("ce"),
            iou={name: found.get(name) for name in names},
            images=images,
            **about,
        )
    rows = read_rows(run.results).rows if run.results.is_file() else []
    row = next((row for row in rows if row["iteration"] == predictor.iteration and "val/mIoU" in row), None)
    if row is None:
        return None

    def score(column: str) -> float | None:
        value = row.get(column, math.nan)
        return value if math.isfinite(value) else None

    return Scores(
        mean_iou=score("val/mIoU"),
        accuracy=score("val/accuracy"),
        ce=score("val/ce"),
        iou={name: score(f"val/iou/{name}") for name in names},
        images=images,
        **about,
    )
