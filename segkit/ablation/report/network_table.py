"""The table of what each variant's network costs, in a report on variants with different networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from segkit.ablation.report.document import Cell, Table, plain_row
from segkit.ablation.report.findings import Findings, VariantScores
from segkit.ablation.report.number_text import NOTHING, amount_text, difference_text, score_text, spread_text
from segkit.ablation.report.tables import main_column
from segkit.ablation.study.study import Run

#: Options of a model that name a part of it; the others are in the table of settings.
NAMES = ("architecture", "encoder", "backbone")


def network_table(findings: Findings) -> Table | None:
    """A row per variant: its network, parameters, operations, speed, memory, time, and what it reached. None where the
    runs have no such numbers, or all networks have the same."""
    costs = {scores.variant: _cost(findings.study.of(scores.variant)) for scores in findings.scores}
    if not len(set(costs.values())) > 1:
        return None
    columns = (
        "variant", "model", "parameters, M", "GFLOPs", "img/s", "GB", "minutes", main_column(findings), "verdict",
    )  # fmt: skip
    rows = tuple(_row(findings, scores, costs[scores.variant]) for scores in findings.scores)
    caption = (
        "Networks: trained parameters, floating-point operations of the forward pass of one image as large as in "
        "training (a multiply-add is two), and images per second, memory and minutes of a training, without its "
        "validation."
    )
    note = (
        "img/s and minutes are of the machine as it was while the run was trained; runs beside each other slow "
        "each other down. GB is the largest share of a GPU's memory that was taken, or, on a CPU, of the process."
    )
    return Table(columns, rows, left=2, caption=caption, note=note)


def _row(findings: Findings, scores: VariantScores, cost: tuple[int | None, int | None]) -> tuple[Cell, ...]:
    parameters, flops = cost
    difference = findings.differences.get(scores.variant)
    baseline = scores.variant == findings.study.baseline
    verdict = "baseline" if baseline else "not compared" if difference is None else difference.verdict
    return plain_row(
        scores.variant,
        _describe(findings.study.of(scores.variant)[0].config["model"]),
        amount_text(None if parameters is None else parameters / 1e6),
        amount_text(None if flops is None else flops / 1e9),
        spread_text(scores.speed),
        amount_text(None if scores.memory is None else scores.memory.mean),
        amount_text(None if scores.minutes is None else scores.minutes.mean),
        score_text(scores.main, findings.comparison.metric.unit),
        verdict if difference is None else f"{verdict} ({difference_text(difference).value})",
    )


def _cost(runs: Sequence[Run]) -> tuple[int | None, int | None]:
    """Parameters and operations per image, which the seeds of a variant share."""
    summary = next((run.summary for run in runs if run.summary.get("parameters")), {})
    return summary.get("parameters"), summary.get("flops_per_image")


def _describe(model: Mapping[str, Any]) -> str:
    """`smp: FPN, resnet18`."""
    parts = [str(model[name]) for name in NAMES if name in model]
    name = str(model.get("name", NOTHING))
    return f"{name}: {', '.join(parts)}" if parts else name
