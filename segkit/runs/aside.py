"""What a run folder holds of a continuation that was given up: set aside, and removed once the run is as far again.

A run that goes on from an earlier checkpoint has a new future. What its folder has of the old one no longer counts, but
is not lost at once: it is called `NAME.aside`.
"""

import json
import shutil
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segkit.runs.recording.results import read_rows
from segkit.system.files import cannot_write
from segkit.system.run_files import (
    RunFiles,
    iteration_of,
    list_checkpoints,
    list_misplaced_folders,
    list_numbered,
    list_set_aside,
    number_of_set_aside,
    path_set_aside,
)


def set_aside(path: Path, *, copy: bool = False) -> Path:
    """Rename a file so that it no longer counts, or copy it to such a name; returns that. Raises CannotWrite."""
    place = _free_place(path)
    try:
        if copy:
            shutil.copyfile(path, place)
        else:
            path.rename(place)
    except OSError as error:
        raise cannot_write(place, error) from error
    return place


def set_aside_folders(folder: RunFiles) -> list[str]:
    """Set aside folders where files should be. Returns a line on each. Raises CannotWrite."""
    return [
        f"aside     {path.name} -> {set_aside(path).name}: it is a folder, where a file should be"
        for path in list_misplaced_folders(folder)
    ]


def set_aside_damaged(folder: RunFiles) -> list[str]:
    """Set aside a copy of a results.csv that is damaged; best.pt and what comes with a moment are looked after
    elsewhere. Returns a line on it. Raises CannotWrite."""
    lines = []
    if folder.results.is_file():
        read = read_rows(folder.results)
        if read.damage:
            place = set_aside(
                folder.results, copy=True
            )  # the table itself goes on with the rows that are left
            rows = f"{len(read.rows)} rows could be read"
            lines.append(f"aside     {folder.results.name} -> {place.name}: {read.damage}; {rows}")
    return lines


def set_aside_later(folder: RunFiles, iteration: int) -> list[str]:
    """Set aside what the folder of a run has of moments after `iteration`, where it goes on, and what cannot be read.

    All but best.pt, which `settle_best` looks after. Returns a line on each of the two. Raises CannotWrite.

    The newest checkpoint goes first: whatever interrupts this, the next resume takes the newest that is left, and finds
    the rest.
    """
    given_up = any(iteration_of(path) > iteration for path in list_checkpoints(folder.checkpoints))
    later = [path for path, number in list_numbered(folder).items() if number > iteration]
    if given_up and folder.results.is_file():  # the table itself goes on, without its later rows
        set_aside(folder.results, copy=True)
    unreadable = []
    for written in _written_together(folder):
        moment = written.moment()
        if moment is None:
            unreadable += written.there()
        elif moment > iteration:
            later += written.there()
    for path in [*later, *unreadable]:
        set_aside(path)
    until = f"kept as {path_set_aside(Path('*'))} until this run has a checkpoint as late"
    reasons = ((later, f"of after iteration {iteration:,}"), (unreadable, "cannot be read, written anew"))
    return [f"aside     {_describe(folder, paths)}: {why}; {until}" for paths, why in reasons if paths]


def remove_set_aside(folder: RunFiles, iteration: int) -> None:
    """After the checkpoint of `iteration`, remove what was set aside, once the run is as far as all of it was.

    Raises CannotWrite.
    """
    there = list_set_aside(folder)
    if any((number_of_set_aside(path) or 0) > iteration for path in there):
        return
    for path in there:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error


class _Written:
    """Files that are written together; `read` gives the iteration of the first of them, and so of all."""

    def __init__(self, read: Callable[[Path], float], first: Path, *others: Path):
        self.read, self.first, self.files = read, first, (first, *others)

    def there(self) -> list[Path]:
        """Those that there are."""
        return [path for path in self.files if path.exists()]

    def moment(self) -> float | None:
        """The iteration they are of; None if nobody can tell. 0 if there are none."""
        if not self.there():
            return 0
        try:
            return self.read(self.first)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
            return None  # damaged, or the first is missing: whoever asks says so


def _written_together(folder: RunFiles) -> list[_Written]:
    """The files without an iteration in their name, but for results.csv and best.pt, which go on or are rebuilt."""
    return [
        _Written(
            _iteration_of_arrays,
            *(
                folder.per_image,
                folder.confusion_matrix,
                folder.confusion_matrix_plot,
                folder.calibration_plot,
                folder.temperature,
            ),
        ),
        _Written(_iteration_of_arrays, folder.examples, folder.val_predictions, folder.loss_pixels),
        _Written(
            lambda path: json.loads(path.read_text(encoding="utf-8"))["iterations"],
            *(folder.summary, folder.model_card, folder.best_images, folder.worst_images),
        ),
        _Written(lambda path: _last_row(folder.results), folder.results_plot),
    ]


def _iteration_of_arrays(path: Path) -> int:
    # opened here: of a damaged archive, np.load leaves the file open
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return int(arrays["iteration"])


def _last_row(results: Path) -> float:
    """The iteration of the last row of results.csv."""
    rows = read_rows(results).rows
    return rows[-1]["iteration"] if rows else 0


def _describe(folder: RunFiles, paths: Sequence[Path]) -> str:
    """The names of the files, and the number of the pictures of examples, which may be many."""
    pictures = [path for path in paths if path.is_relative_to(folder.example_pictures)]
    names = [str(path.relative_to(folder.path)) for path in paths if path not in pictures]
    many = "" if len(pictures) == 1 else "s"
    count = [f"{len(pictures)} picture{many} in {folder.example_pictures.name}"] if pictures else []
    return ", ".join([*names, *count])


def _free_place(path: Path) -> Path:
    """A name for the file that was set aside, beside those that already were."""
    place, number = path_set_aside(path), 1
    while place.exists():
        number += 1
        place = path_set_aside(path.with_name(f"{path.name}.{number}"))
    return place
