"""A benchmark as text for the terminal and for Markdown, and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.bench.bars import Verdict
from scripts.bench.measure.rows import Row
from scripts.bench.measure.settings import Settings
from segkit.system.files import write_json, write_text


def show_document(
    rows: Sequence[Row], verdicts: Sequence[Verdict], machine: Mapping[str, Any], settings: Settings
) -> str:
    """Markdown: machine and command, the bars, and every row."""
    parts = ["# Benchmark", "", *describe_machine(machine, settings), "", *show_bars(verdicts)]
    for title in dict.fromkeys((row.bench, row.case, row.allocator) for row in rows):
        bench, case, allocator = title
        alike = [row for row in rows if (row.bench, row.case, row.allocator) == title]
        suffix = "" if allocator == "default" else f", allocator {allocator}"
        parts += ["", f"## {bench}: {case}{suffix}", "", *show_rows(alike)]
    return "\n".join(parts) + "\n"


def describe_machine(machine: Mapping[str, Any], settings: Settings) -> list[str]:
    """What was measured with what."""
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    size = "; small sizes, whose ratios mean nothing" if settings.small else ""
    return [
        f"- machine: {machine['cpu']}, {machine['cpu_count']} CPUs, {gpus}; {machine['platform']}",
        f"- Python {machine['python']}, torch {machine['torch']}, torchvision {machine['torchvision']}, "
        f"segkit {machine['segkit']} {machine.get('git_commit', '')[:10]}".rstrip(),
        f"- device {settings.device}, {settings.threads} threads, {settings.processes} processes, "
        f"median of {settings.rounds} rounds in turns{size}",
        f"- command: `{machine['command']}`",
    ]


def show_bars(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each bar: the worst ratio found, its limit, the verdict."""
    lines = ["| bar | what | at most | found | |", "| --- | --- | --- | --- | --- |"]
    for verdict in verdicts:
        found = "" if verdict.worst is None else _show_ratio(verdict.worst)
        bar = verdict.bar
        lines.append(f"| {bar.number} | {bar.text} | {bar.limit:g} | {found} | {verdict.word} |")
    return lines


def show_rows(rows: Sequence[Row]) -> list[str]:
    """A table of the rows of one case: time and memory as ratios to the baseline, and in ms and MB."""
    lines = ["| | beside | time | ms | memory | MB | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for entry, baseline in dict.fromkeys((row.entry, row.baseline) for row in rows):
        found = {row.quantity: row for row in rows if (row.entry, row.baseline) == (entry, baseline)}
        note = "; ".join(row.note for row in found.values() if row.note)
        cells = [_show_cells(found.get("time"), 1.0), _show_cells(found.get("memory"), 1e-6)]
        shown = baseline if baseline != entry else "itself"
        lines.append(f"| {entry} | {shown} | {cells[0]} | {cells[1]} | {note} |")
    return lines


def _show_cells(row: Row | None, unit: float) -> str:
    """Ratio and value as two cells."""
    if row is None or row.ratio is None:
        return " | "
    return f"{_show_ratio(row)} | {row.value * unit:.1f}"


def _show_ratio(row: Row) -> str:
    """`0.42 (0.40-0.45)`: the median over processes and their range."""
    span = "" if row.low is None or row.low == row.high else f" ({row.low:.2f}-{row.high:.2f})"
    return f"{row.ratio:.2f}{span}" if row.ratio >= 0.1 else f"{row.ratio:.3f}{span}"


def save_document(
    folder: Path,
    name: str,
    rows: Sequence[Row],
    verdicts: Sequence[Verdict],
    machine: Mapping[str, Any],
    settings: Settings,
) -> None:
    """Write `name`.json and `name`.md into the folder. Raises CannotWrite."""
    folder.mkdir(parents=True, exist_ok=True)
    bars = [
        {
            "bar": verdict.bar.number,
            "what": verdict.bar.text,
            "limit": verdict.bar.limit,
            "verdict": verdict.word,
            "worst": None if verdict.worst is None else asdict(verdict.worst),
        }
        for verdict in verdicts
    ]
    content = {
        "machine": dict(machine),
        "settings": {**asdict(settings), "baseline": settings.baseline and str(settings.baseline)},
        "bars": bars,
        "rows": [asdict(row) for row in rows],
    }
    write_json(folder / f"{name}.json", content)
    write_text(folder / f"{name}.md", show_document(rows, verdicts, machine, settings))
