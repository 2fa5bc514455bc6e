"""The report of an ablation, where its runs were logged: a run of its own beside them, with the tables and files."""

import csv
from pathlib import Path
from typing import Any

from segkit.ablation.plan.plan import AblationPlan
from segkit.config.schema import Log
from segkit.errors import ConfigError
from segkit.runs.recording.trackers.kinds import require_trackers, tracker_settings
from segkit.runs.recording.trackers.trackers import TrackedRun, open_trackers


def publish_report(plan: AblationPlan) -> list[str]:
    """Log the report that lies in the ablation's folder, if its runs are logged anywhere; one that was logged before
    is replaced. Returns lines on where it is, and on what went wrong, which is no reason to fail."""
    log = report_log(plan)
    if not tracker_settings(log):
        return []
    try:
        require_trackers(log)
    except ConfigError as error:
        return [f"warning: the report is not logged: {error}"]
    lines: list[str] = []
    files, settings = plan.files, {"ablation": plan.name, "baseline": plan.baseline, "command": plan.command}
    about = {**settings, "variants": list(plan.variants), "seeds": list(plan.seeds)}
    run = TrackedRun(name=f"{plan.name} report", store=str(plan.folder), config=about)
    trackers = open_trackers(log, run, files.tracking)
    trackers.begin()
    tables = {"differences": read_table(files.differences_csv), "runs": read_table(files.csv)}
    shown = (files.page, files.markdown, files.csv, files.differences_csv)
    trackers.report(tables, [str(path.absolute()) for path in shown])
    trackers.end("done", 0)
    trackers.say(lines.append, lambda tracker, reason: lines.append(f"warning: {tracker}: {reason}"))
    return lines


def report_log(plan: AblationPlan) -> Log:
    """The block `log` of the baseline, whose trackers take the report, with the names of the report."""
    log = plan.run_of(plan.baseline).config.log
    name, changes = f"{plan.name} report", {}
    if log.wandb is not None:
        names = {"name": name, "job_type": "report", "tags": ["report"]}
        changes["wandb"] = log.wandb.model_copy(update=names)
    if log.mlflow is not None:
        names = {"run_name": name, "tags": {"ablation": plan.name, "variant": "report"}}
        changes["mlflow"] = log.mlflow.model_copy(update=names)
    return log.model_copy(update=changes)


def read_table(path: Path) -> tuple[list[str], list[list[Any]]]:
    """The columns and rows of a CSV file. A column of numbers, which may have blanks, is read as numbers and None."""
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = list(csv.reader(file))
    read = [_read_column([row[place] for row in rows]) for place in range(len(columns))]
    return columns, [list(cells) for cells in zip(*read, strict=True)]


def _read_column(cells: list[str]) -> list[Any]:
    try:
        return [float(cell) if cell else None for cell in cells]
    except ValueError:
        return list(cells)
