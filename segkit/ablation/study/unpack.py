"""A packed study as run folders, for as long as its runs are read."""

import io
import json
import zipfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from segkit.ablation.study.packed_about import ABOUT, OF_A_RUN, StudyAbout, read_about
from segkit.config.carried.packed import PackedConfig, parse_packed_config
from segkit.config.messages import list_problems
from segkit.errors import CheckpointError, SegkitError
from segkit.system.entries import Entry
from segkit.system.files import cannot_write
from segkit.system.packed.members import STUDY
from segkit.system.packed.read import read_packed
from segkit.system.run_files import RunFiles

#: What the counts of a run take at most once they are read: those of 5,000 images of 171 classes, with all that can be
#: counted, take 0.4 GB.
MOST_BYTES = 2_000_000_000
#: What to do about a file that is not as it was packed.
ADVICE = "-> fetch the packed study again, or pack it again where the runs are"


class Unpacked(NamedTuple):
    """`folders` are those of the runs here, each with the place within the packed study that messages call it."""

    about: StudyAbout
    folders: dict[Path, Path]


@contextmanager
def unpack_study(path: Path) -> Generator[Unpacked]:
    """The runs in the packed study at `path`, in folders that are gone afterwards. Raises CheckpointError for one that
    cannot be used; errors from within the `with` that name those folders are raised naming the packed study."""
    about = read_about(read_packed(path, [ABOUT.name], STUDY).members[ABOUT.name], origin=path)
    names = {
        f"{run.folder}/{entry.name}": (run.folder, entry.name) for run in about.runs for entry in OF_A_RUN
    }
    members = read_packed(path, list(names), STUDY).members
    for run in about.runs:
        for entry, check in CHECKS.items():
            name = f"{run.folder}/{entry.name}"
            check(members[name], f"{path}/{name}")
    with TemporaryDirectory(prefix="segkit-study-") as temporary:
        # Names of a stranger's choice are not used as paths.
        places = {run.folder: Path(temporary, str(number)) for number, run in enumerate(about.runs)}
        for name, (folder, file) in names.items():
            try:
                places[folder].mkdir(exist_ok=True)
                (places[folder] / file).write_bytes(members[name])
            except OSError as error:
                raise cannot_write(places[folder], error) from error
        folders = {place: path / folder for folder, place in places.items()}
        try:
            yield Unpacked(about, folders)
        except SegkitError as error:
            text = str(error)
            for place in sorted(folders, key=lambda place: -len(str(place))):
                text = text.replace(str(place), str(folders[place]))
            if text == str(error):
                raise
            if isinstance(error, CheckpointError):  # that of a run is advice for its folder
                kept = [line for line in text.splitlines() if not line.lstrip().startswith("->")]
                text = "\n".join([*kept, f"   {ADVICE}"])
            raise type(error)(text) from error


def _check_arrays(content: bytes, shown: str) -> None:
    """Refuse counts that would take all memory: of all members, only their file is compressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # whatever flipped bytes surface as is described by who reads the file
        return
    if size > MOST_BYTES:
        raise CheckpointError(
            f"{shown} would take {size / 1e9:.1f} GB, and {MOST_BYTES / 1e9:g} GB at most are read"
        )


def _check_config(text: bytes, shown: str) -> None:
    """Refuse a configuration that would have other files of this machine read."""
    _, problems = parse_packed_config(PackedConfig(text.decode(errors="replace"), shown, ()))
    if problems:
        raise CheckpointError("\n".join([f"{shown} cannot be used", *list_problems(problems)]))


def _check_status(text: bytes, shown: str) -> None:
    """Refuse what is not of a training that has ended, and does not say when."""
    try:
        status: Any = json.loads(text)
        ended = datetime.fromisoformat(status["updated"])
        usable = status["state"] == "done" and type(status["iteration"]) is int and ended.tzinfo is not None
    except (ValueError, TypeError, KeyError, RecursionError):
        usable = False
    if not usable:
        raise CheckpointError(f"{shown} does not say when a training has ended\n   {ADVICE}")


#: What is asked of the files of a run before any is written.
CHECKS: Mapping[Entry, Callable[[bytes, str], None]] = {
    RunFiles.config: _check_config,
    RunFiles.status: _check_status,
    RunFiles.per_image: _check_arrays,
}
