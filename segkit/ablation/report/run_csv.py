"""The runs of a study as CSV, a row per run, for a spreadsheet or another program."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from segkit.ablation.report.findings import cross_entropy, score_run, training_minutes
from segkit.ablation.statistics.metrics import ACCURACY, MIOU, Metric, iou
from segkit.ablation.study.study import Run, Study


def render_csv(study: Study, metrics: Sequence[Metric] = ()) -> str:
    """Variants in order, seeds ascending. Scores are at full precision, shares in [0, 1] but for those in nats, bits
    and units, and blank where undefined. All runs have what `metrics` take; those that no other column has are the last
    ones, by their names."""
    rows = [_row(run, metrics) for variant in study.variants for run in study.of(variant)]
    content = io.StringIO()
    writer = csv.DictWriter(content, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _text(value) for name, value in row.items()} for row in rows)
    return content.getvalue()


def _row(run: Run, metrics: Sequence[Metric]) -> dict[str, Any]:
    best = run.summary.get("best") or {}
    counts = run.counts.counts.sum(axis=0)
    row = {
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
    # Of mIoU the column is called mIoU; a name that is there already has the same score.
    further = {metric.name: score_run(run, metric) for metric in metrics if metric.name != MIOU.name}
    return row | {name: value for name, value in further.items() if name not in row}


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(value) if isinstance(value, float) else str(value)
