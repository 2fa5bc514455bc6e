"""The runs of a study as CSV, a row per run, for a spreadsheet or another program."""

import csv
import io
import math
from typing import Any

from segkit.ablation.report.findings import cross_entropy, training_minutes
from segkit.ablation.statistics.metrics import ACCURACY, MIOU, iou
from segkit.ablation.study.study import Run, Study


def render_csv(study: Study) -> str:
    """Variants in order, seeds ascending. Scores are shares in [0, 1] at full precision, blank where undefined."""
    rows = [_row(run) for variant in study.variants for run in study.of(variant)]
    content = io.StringIO()
    writer = csv.DictWriter(content, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    return content.getvalue()


def _row(run: Run) -> dict[str, Any]:
    best = run.summary.get("best") or {}
    counts = run.counts.counts.sum(axis=0)
    return {
        "variant": run.variant,
        "seed": run.seed,
        "iteration": run.iteration,
        "mIoU": float(MIOU.score(counts)),
        "accuracy": float(ACCURACY.score(counts)),
        "ce": cross_entropy(run),
        "best_mIoU": best.get("mIoU"),
        "best_iteration": best.get("iteration"),
        "images_per_second": run.summary.get("images_per_second"),
        "memory_gb": run.summary.get("memory_gb"),
        "training_minutes": training_minutes(run),
        "seconds": run.summary.get("seconds"),
        "parameters": run.summary.get("parameters"),
        "flops_per_image": run.summary.get("flops_per_image"),
        **{f"iou/{name}": value for name, value in zip(run.class_names, iou(counts).tolist(), strict=True)},
        "git_commit": run.env.get("git_commit"),
        "folder": str(run.folder),
    }


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)
