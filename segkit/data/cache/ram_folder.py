"""`data.cache: ram`: a folder in memory that all processes of a run share, and that goes when the run does."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from segkit.errors import CannotCache, CannotWrite
from segkit.system.files import cannot_write
from segkit.system.locks import find_holder, take_lock

SHARED_MEMORY = Path("/dev/shm")
LOCK = ".lock"
#: Share of what is free that a cache may take; the rest is for the batches of the workers, and for other programs.
MOST = 0.9

_held_locks: set[int] = set()


def _close_locks_in_child() -> None:
    """A loader process that outlives its run would otherwise go on holding the lock of the run's folder."""
    while _held_locks:
        os.close(_held_locks.pop())


os.register_at_fork(after_in_child=_close_locks_in_child)


class RamFolder:
    """A new folder in shared memory or, where there is none, in the folder for temporary files.

    It is removed when this object is, and at the latest when the process ends. A killed process leaves its folder, but
    not the lock in it: `sweep` finds and removes such folders. Raises CannotCache.
    """

    def __init__(self, place: Path | None = None):
        place = find_place() if place is None else place
        try:
            # The lock is taken before the folder has its name, so that nobody sweeps it away in between.
            hidden = Path(tempfile.mkdtemp(prefix=".segkit-", dir=place))
            handle = take_lock(hidden / LOCK, f"folder {hidden}", "wait for it")
            self.path = hidden.with_name(f"{_prefix()}{os.getpid()}-{hidden.name.rpartition('-')[2]}")
            hidden.rename(self.path)
        except OSError as error:
            raise _no_folder(cannot_write(place, error)) from error
        except CannotWrite as error:
            raise _no_folder(error) from error
        _held_locks.add(handle)
        self._finalizer = weakref.finalize(self, _remove, self.path, handle, os.getpid())

    def __reduce__(self) -> tuple:
        """A copy in another process owns nothing."""
        return type(None), ()

    def remove(self) -> None:
        """Remove the folder with what is in it. Doing so twice is fine."""
        self._finalizer()


def find_place() -> Path:
    """Where folders in memory are made."""
    return SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def sweep(place: Path | None = None) -> list[Path]:
    """Remove this user's folders whose processes are gone; returns them."""
    place, removed = find_place() if place is None else place, []
    for path in sorted(place.glob(f"{_prefix()}*")):
        with suppress(OSError):
            mine = path.lstat().st_uid == os.getuid() and path.is_dir() and not path.is_symlink()
            if mine and find_holder(path / LOCK) is None:
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
    return removed


def require_room(needed: int, place: Path | None = None) -> None:
    """Raises CannotCache unless `needed` bytes fit, with room to spare, into what is free in memory."""
    place = find_place() if place is None else place
    free, where = min(_free_space(place))
    if needed <= MOST * free:
        return
    gigabytes = f"{needed / 1e9:.2g}"
    more = f", or more shared memory (docker run --shm-size={max(1, round(2 * needed / 1e9))}g)"
    raise CannotCache(
        f"data.cache=ram needs about {gigabytes} GB, and {free / 1e9:.2g} GB {where}\n"
        f"   -> data.cache=disk{more if str(place) in where else ', or smaller images (data.resize)'}"
    )


def _no_folder(error: CannotWrite) -> CannotCache:
    problem, disk, *_ = str(error).splitlines()
    return CannotCache(f"data.cache=ram: {problem}\n{disk}\n   -> data.cache=disk or off")


def _free_space(place: Path) -> Iterable[tuple[int, str]]:
    """What limits a folder at `place`: bytes left, and where."""
    yield shutil.disk_usage(place).free, f"are free in {place}"
    if place != SHARED_MEMORY:
        return
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = next(line for line in lines if line.startswith("MemAvailable:")).split()[1]
        yield 1024 * int(kilobytes), "of memory are free"
    yield from _left_in_control_groups()


def _left_in_control_groups() -> Iterable[tuple[int, str]]:
    """What a container or a batch system leaves of this job's memory, in which shared memory counts."""
    root = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        group = root / next(line for line in lines if line.startswith("0::"))[3:].strip("/")
        for folder in (group, *group.parents):
            limit = folder / "memory.max"
            if limit.is_file() and (text := limit.read_text().strip()) != "max":
                used = int((folder / "memory.current").read_text()) - _files_in_memory(folder)
                yield max(0, int(text) - used), "of the memory that this job may use are free"
            if folder == root:
                return


def _files_in_memory(group: Path) -> int:
    """Bytes of files that the system holds in memory for a control group, and drops when memory is wanted."""
    pairs = (line.split() for line in (group / "memory.stat").read_text().splitlines())
    return sum(int(count) for name, count in pairs if name in ("active_file", "inactive_file"))


def _prefix() -> str:
    return f"segkit-{os.getuid()}-"


def _remove(path: Path, handle: int, owner: int) -> None:
    if os.getpid() != owner:  # a loader process drops its copy
        return
    shutil.rmtree(path, ignore_errors=True)
    if handle in _held_locks:
        _held_locks.discard(handle)
        os.close(handle)
