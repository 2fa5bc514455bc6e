"""Writing a file so that a reader sees the old content or the new, whole, whatever happens in between."""

import errno
import json
import math
import os
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from segkit.errors import CannotWrite, SegkitError

_TEMPORARY_SUFFIX = ".tmp"
#: Bytes of the name of a file that its temporary one begins with: a name may have 255.
_LONGEST_START = 200
#: Bytes of the name of a file or folder that every usual file system takes.
LONGEST_NAME = 255
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "over quota",
    errno.EROFS: "the disk is mounted read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EFBIG: "the file is larger than this disk or this process may write",
    errno.EEXIST: "a file is where a folder should be",
    errno.ENOTDIR: "a file is where a folder should be",
    errno.EIO: "input/output error, the disk may be failing",
}


def write_atomically(
    path: str | Path,
    write: Callable[[BinaryIO], Any],
    *,
    verify: Callable[[Path], Any] | None = None,
    durable: bool = True,
) -> None:
    """Write `path` through `write(file)` so that it is never seen half-written, not even after a power cut.

    The content goes to a temporary file in the same folder, reaches the disk, is read back by
    `verify(temporary)` (which raises if it is not what was meant), and only then takes the name. Whatever
    fails, a file that was there before stays as it was. Not `durable`, for results of which there are many and which
    can be made again, it does not wait for the disk, and a power cut may tear it. Raises CannotWrite, naming the disk
    and its space.
    """
    path, unrelated = Path(path), sys.exception()
    start = os.fsdecode(os.fsencode(path.name)[:_LONGEST_START])
    temporary = path.with_name(f".{start}.{os.getpid()}{_TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if verify is not None:
            verify(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the failure below is the one to report
            temporary.unlink()
        cause = _os_error_behind(error, until=unrelated)
        if cause is None:
            raise
        raise cannot_write(path, cause) from error
    if durable:
        sync_folder(path.parent)


def write_bytes(path: str | Path, content: bytes, *, durable: bool = True) -> None:
    """Replace the content of `path` as a whole, `durable` as in `write_atomically`. Raises CannotWrite."""
    write_atomically(path, lambda file: file.write(content), durable=durable)


def write_text(path: str | Path, text: str) -> None:
    r"""Replace the content of `path` as a whole, in UTF-8. Raises CannotWrite.

    A byte of a file name that is no UTF-8 becomes an escape such as `\udcff`, which JSON reads back as it was.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Replace the content of `path` as a whole with `value` as indented JSON. Raises CannotWrite."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def finite_or_none(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None


def sweep_temporaries(folder: str | Path) -> list[Path]:
    """Remove what writers that were killed left in `folder`; returns the removed files.

    Only for the one process that may write there, and not during a write of its own.
    """
    stale = sorted(Path(folder).glob(f".*{_TEMPORARY_SUFFIX}"))
    for path in stale:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
    return stale


def sync_folder(folder: str | Path) -> None:
    """Make the names in `folder` survive a power cut; without it the new file could be nameless."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks cannot, and need not
            raise cannot_write(folder, error) from error


def refuse_name(name: str, longest: int = LONGEST_NAME) -> str | None:
    """The rule that `name` breaks as the name of a file with `longest` bytes, and what was found; None if it can be
    one. Outside ASCII a character has two to four bytes."""
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        return f"must be text that a file can be named after, got {name!r}"
    if size > longest:
        return f"must have at most {longest} bytes to name a folder, got {size} (in {len(name)} characters)"
    return None


def make_folder(folder: str | Path) -> None:
    """Make a folder with those around it, unless it is there. Raises CannotWrite."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: str | Path, error: OSError) -> CannotWrite:
    """The CannotWrite to raise for `error`: path, reason, disk with its free space, what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    advice = (
        "free some space or choose another place (of a run log.dir=PATH); what was there before is unchanged"
    )
    folder = Path(path).absolute().parent
    if error.errno == errno.ENOENT and not folder.is_dir():
        advice = f"there is no folder {folder}: was it removed, or its disk unmounted, meanwhile?"
    return CannotWrite(f"cannot write {path}: {reason}\n   {describe_disk(path)}\n   -> {advice}")


def describe_disk(path: str | Path) -> str:
    """`disk /dev/sda1 at /data: 0.0 of 500.0 GB free`, for the disk that holds or would hold `path`."""
    place = Path(path).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    place = place.resolve()
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    try:
        space = shutil.disk_usage(place)
        inodes = os.statvfs(place)
    except OSError as error:
        return f"disk at {place}: {error.strerror}"
    text = f"disk {_device(place)}at {place}: {_gigabytes(space.free)} of {_gigabytes(space.total)} GB free"
    if inodes.f_files and not inodes.f_favail:
        text += ", and it can hold no more files (0 free inodes)"
    if not stat.S_ISDIR(os.stat(place).st_mode):
        text += " (a single file is mounted there)"
    return text


def _device(mount: Path) -> str:
    """`/dev/sda1 ` from Linux's list of mounts, or nothing where there is no such list."""
    try:
        lines = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    escaped = str(mount).replace("\\", "\\134").replace(" ", "\\040")
    sources = [line.split()[0] for line in lines if line.split()[1:2] == [escaped]]
    return f"{sources[-1]} " if sources else ""  # the last mount hides the earlier ones


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f}" if count >= 1e8 or count == 0 else f"{count / 1e9:.4f}"


def _os_error_behind(error: BaseException | None, *, until: BaseException | None) -> OSError | None:
    """The OSError that caused `error`: torch.save reports a full disk as a RuntimeError raised during one.

    `until` was already being handled when the write began, and is not its cause.
    """
    while isinstance(error, Exception) and error is not until:  # Ctrl-C and friends stay what they are
        if isinstance(error, OSError):
            return error
        if isinstance(error, SegkitError):  # which says what it is: what was to be written could not be read
            return None
        error = error.__cause__ or error.__context__
    return None
