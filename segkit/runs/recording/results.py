"""`results.csv`, and the scores of a run as its summary has them."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from segkit.evaluation import metrics
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.scores import part_scores, scores_as_json
from segkit.system.files import cannot_write, write_text


class Rows(NamedTuple):
    """The columns of a results.csv, its rows without their blanks, and what is damaged, "" if nothing is."""

    columns: list[str]
    rows: list[dict[str, float]]
    damage: str


class ResultsTable:
    """Rows by iteration, columns in order of first appearance; the file on disk always holds all of them.

    Opening an existing file keeps the rows up to `last_iteration` and drops later ones, which a resumed run
    writes anew, and those that cannot be read.
    """

    def __init__(self, path: Path, *, last_iteration: int = 0):
        self.path = path
        self.columns = ["iteration"]
        self.rows: list[dict[str, float]] = []
        if path.exists():
            read = read_rows(path)
            self.columns = read.columns
            self.rows = [row for row in read.rows if row["iteration"] <= last_iteration]
            self._write()

    def add(self, iteration: int, values: dict[str, float]) -> None:
        """Add `values` to the row of `iteration`, which must be the last row or a new one. Raises CannotWrite."""
        new_columns = [name for name in values if name not in self.columns]
        self.columns += new_columns
        if self.rows and self.rows[-1]["iteration"] == iteration:
            self.rows[-1].update(values)
        else:
            self.rows.append({"iteration": iteration, **values})
            if not new_columns and len(self.rows) > 1:
                self._append(self.rows[-1])
                return
        self._write()

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """(iterations, values) of the rows that have `name`."""
        rows = [row for row in self.rows if name in row]
        return [row["iteration"] for row in rows], [row[name] for row in rows]

    def _append(self, row: dict[str, float]) -> None:
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(self._line(row))
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _line(self, row: dict[str, float]) -> str:
        return ",".join(_text(row[name]) if name in row else "" for name in self.columns) + "\n"

    def _write(self) -> None:
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(self.columns)  # quotes a class name with a comma
        write_text(self.path, header.getvalue() + "".join(self._line(row) for row in self.rows))


def read_rows(path: Path) -> Rows:
    """What can be read of a results.csv. A last line without its end, which a power cut may have torn, is no damage."""
    text = path.read_bytes().decode("utf-8", errors="replace")  # what is no text is no number either, below
    lines = text[: text.rfind("\n") + 1].splitlines()
    if not lines and "iteration".startswith(text[: len("iteration")]):
        return Rows(["iteration"], [], "")  # empty, or torn within the first line
    columns = _cells(lines[0]) if lines else []
    if "iteration" not in columns:
        return Rows(["iteration"], [], "its first line does not name the column iteration")
    rows = [_read_row(columns, _cells(line)) for line in lines[1:]]
    bad = [number for number, row in enumerate(rows, start=2) if row is None]
    damage = f"line {bad[0]} is not a row of its {len(columns)} columns" if bad else ""
    return Rows(columns, [row for row in rows if row is not None], damage)


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # longer than any cell may be: no row of numbers, which the caller says
        return []


def _read_row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, float] | None:
    """The numbers of a row without its blanks; None if it is none."""
    if len(cells) != len(columns):
        return None
    try:
        row = {name: float(cell) for name, cell in zip(columns, cells, strict=True) if cell}
    except ValueError:  # said by the caller, with the number of the line
        return None
    return row if math.isfinite(row.get("iteration", math.nan)) else None


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def score_row(result: Evaluation, class_names: Sequence[str]) -> dict[str, float]:
    """The scores of an evaluation by the names of their columns."""
    iou, accuracy = metrics.iou(result.matrix), metrics.accuracy(result.matrix)
    row = {"val/mIoU": result.mean_iou, "val/accuracy": accuracy, "val/ce": result.ce}
    row |= {f"val/mIoU/{name}": value for name, value in part_scores(result).items()}
    if result.calibration is not None:
        found = result.calibration.scores()
        row |= {"val/ece": found.ece, "val/brier": found.brier}
        if found.classwise_ece is not None:
            row["val/classwise_ece"] = found.classwise_ece
    return row | {f"val/iou/{name}": value for name, value in zip(class_names, iou, strict=True)}


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
        "best": moment_as_json(best),
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


def moment_as_json(moment: Mapping[str, Any]) -> dict[str, Any]:
    """A moment with `mean_iou` and `iteration` (0: there is none) as summary.json has it."""
    return {"mIoU": moment["mean_iou"] if moment["iteration"] else None, "iteration": moment["iteration"]}
