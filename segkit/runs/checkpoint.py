"""Checkpoints: tensors and plain values in one verified file, safe from crashes, full disks, flipped bits.

Loading never runs code from the file. `segkit.runs.resume` decides which checkpoint a run continues from.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from segkit.errors import CannotWrite, CheckpointError
from segkit.runs.aside import set_aside
from segkit.system.files import cannot_write, sweep_temporaries, write_atomically
from segkit.system.memory import lacks_memory
from segkit.system.packed.members import describe_misnamed
from segkit.system.run_files import RunFiles, checkpoint_path, iteration_of, list_checkpoints

#: Raised by one whenever a reader of the old layout would misread the new one.
FORMAT_VERSION = 1

_SCALARS = (type(None), bool, int, float, str)
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_MAPPINGS = (dict, OrderedDict)
_SEQUENCES = (list, tuple)


class Skipped(NamedTuple):
    """A checkpoint (or a folder without any) that was passed over, and why."""

    path: Path
    reason: str


class Found(NamedTuple):
    """A loaded checkpoint, and the newer ones passed over."""

    path: Path
    state: dict[str, Any]
    skipped: list[Skipped]


class NoneIntact(NamedTuple):
    """No checkpoint loads: all that there are, with the reasons."""

    skipped: list[Skipped]


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, replacing what is there only once the new file is on the disk and verified.

    `state` holds tensors, None, bool, int, float, str, and lists, tuples and dicts of these; the format
    version is added. Raises TypeError naming the key of anything else, and CannotWrite.
    """
    state = {**state, "format_version": FORMAT_VERSION}
    check_plain(state)
    write_atomically(path, lambda file: torch.save(state, file), verify=_verify_written)


def load_checkpoint(path: str | Path, *, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """The state saved at `path`, after its checksums proved it intact.

    Raises CheckpointError if it is missing, damaged, of another format, or holds anything but tensors and
    plain values (such a file could run code, and is not opened).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:  # one open file: what is verified is what is loaded
            damage = find_damage(file)
            if damage:
                raise _unusable(path, describe_misnamed(file) or f"damaged, {damage}")
            file.seek(0)
            state = torch.load(file, map_location=map_location, weights_only=True)
    except OSError as error:
        if lacks_memory(error):
            raise
        raise _unusable(path, f"cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        raise _unusable(path, _explain_refusal(error)) from error
    except (RuntimeError, ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError) as error:
        if lacks_memory(error):  # an intact file, which --resume must not pass over for an older one
            raise
        # The checksums hold, so this is no torch archive, or one for a device that is not here.
        raise _unusable(path, _explain_failure(error)) from error
    _check_format(path, state)
    return state


def find_damage(file: Any) -> str | None:
    """What the checksums say is wrong with an open checkpoint file (or a path to one), None if it is intact.

    torch.load does not compare them: with one flipped byte it returns wrong numbers.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            odd = [entry.filename for entry in archive.infolist() if not _is_plain_entry(entry)]
            damaged = archive.testzip()
    except OSError:
        raise
    except zipfile.BadZipFile as error:
        return f"it is cut off or was never a checkpoint ({error})"
    except Exception as error:  # flipped bytes in the table of contents surface as almost any exception
        return f"its table of contents is unreadable ({error or type(error).__name__})"
    if odd:
        return f"the description of its entry {odd[0]} is not one that torch writes"
    return f"the checksum of its entry {damaged} does not match" if damaged else None


def _is_plain_entry(entry: zipfile.ZipInfo) -> bool:
    """Whether torch wrote this line of the table of contents, which no checksum covers. With one bit flipped an
    entry counts as a folder: it passes testzip, and torch loads uninitialised memory in its place."""
    return entry.file_size == entry.compress_size and entry.external_attr == 0


def check_plain(value: Any, key: str = "state") -> None:
    """Raises TypeError naming the key of the first value that loading without running code would refuse."""
    kind = type(value)  # not isinstance: np.float64 is a float, and refused on loading
    if kind in _MAPPINGS:
        for name, item in value.items():
            if type(name) not in (str, int):
                raise TypeError(
                    f"checkpoint key {key}[{name!r}] is a {_full_name(type(name))}, not a str or an int"
                )
            check_plain(item, f"{key}[{name!r}]")
    elif kind in _SEQUENCES:
        for index, item in enumerate(value):
            check_plain(item, f"{key}[{index}]")
    elif kind not in _SCALARS and kind not in _TENSORS:
        raise TypeError(
            f"{key} is a {_full_name(kind)}; a checkpoint holds only tensors, None, bool, int, float, str, "
            f"list, tuple and dict{_advice(value)}"
        )


def save_numbered(folder: str | Path, state: dict[str, Any], *, iteration: int, keep: int = 2) -> Path:
    """Save `state` as the checkpoint of `iteration` and keep the newest `keep` >= 2; returns its path.

    Older ones go only after the new one is verified. Higher numbers belong to a continuation that this run
    does not have (it resumed from before them): they are renamed to `<number>.pt.aside`, so that they neither
    count as newest nor are lost.
    """
    if keep < 2:
        raise ValueError(
            f"keep must be at least 2, so that one damaged checkpoint is not the last; got {keep}"
        )
    folder, path = Path(folder), checkpoint_path(folder, iteration)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(folder)  # before the save: what a killed save left may be the space that is missing
        save_checkpoint(path, state)
        for other in list_checkpoints(folder):
            if iteration_of(other) > iteration:
                set_aside(other)
    except OSError as error:
        raise cannot_write(folder, error) from error
    remove_older(folder, keep=keep)
    return path


def remove_older(folder: str | Path, *, keep: int) -> None:
    """Remove all checkpoints in `folder` but the newest `keep`. Raises CannotWrite."""
    try:
        for old in list_checkpoints(folder)[keep:]:
            old.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error


def newest_intact(folder: str | Path, *, map_location: str | torch.device = "cpu") -> Found | NoneIntact:
    """The newest checkpoint in `folder` that loads, and the newer ones that do not, with the reasons."""
    skipped: list[Skipped] = []
    for path in list_checkpoints(folder):
        try:
            return Found(path, load_checkpoint(path, map_location=map_location), skipped)
        except CheckpointError as error:
            skipped.append(Skipped(path, str(error).removeprefix(_unusable_prefix(path))))
    return NoneIntact(skipped)


def _unusable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(_unusable_prefix(path) + reason)


def _unusable_prefix(path: Path) -> str:
    return f"checkpoint {path}: "


def _verify_written(temporary: Path) -> None:
    damage = find_damage(temporary)
    if damage:
        raise CannotWrite(
            f"a checkpoint did not read back as it was written to {temporary.parent}: {damage}\n"
            "   -> the disk or the memory of this machine is failing; the earlier checkpoints are unchanged"
        )


def _check_format(path: Path, state: Any) -> None:
    version = state.get("format_version") if isinstance(state, dict) else None
    if type(version) is not int:
        raise _unusable(path, "not written by segkit, it has no format_version")
    if version != FORMAT_VERSION:
        age = "a newer" if version > FORMAT_VERSION else "an older"
        raise _unusable(
            path,
            f"written by {age} segkit in format {version}, this one reads {FORMAT_VERSION} "
            f"-> use the version of segkit in the {RunFiles.env.name} of its run folder",
        )


def _explain_refusal(error: Exception) -> str:
    """Names the forbidden object, without torch's advice to trust the file."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = f"it refers to {found[1]}, and" if found else "it holds more than tensors and plain values, and"
    return f"not opened: {what} segkit never runs code from a checkpoint"


def _explain_failure(error: Exception) -> str:
    """The first sentence of torch's message, unless it is about switching weights_only off."""
    sentence = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
    if "weights_only" in sentence:
        return "not opened: it is a TorchScript archive, and segkit never runs code from a checkpoint"
    return f"cannot be loaded: {sentence}"


def _full_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: Any) -> str:
    """How to store `value` instead."""
    if isinstance(value, torch.Tensor):
        return "; store value.as_subclass(torch.Tensor)"
    if type(value).__module__ == "numpy":
        return "; store value.item()" if getattr(value, "ndim", 0) == 0 else "; store torch.from_numpy(value)"
    if isinstance(value, Path):
        return "; store str(value)"
    if isinstance(value, int | float | str):
        base = next(kind for kind in (bool, int, float, str) if isinstance(value, kind))
        return f"; store {base.__name__}(value)"
    return ""
