"""Where caches lie: on disk for all runs, or in memory for one."""

import os
from dataclasses import dataclass
from pathlib import Path

from segkit.data.cache.ram_folder import RamFolder
from segkit.errors import CannotCache, CannotWrite
from segkit.system.files import cannot_write


@dataclass(frozen=True)
class CachePlace:
    """A folder for caches, on disk or `in_memory`, and what to do if it cannot be used. `keeper` removes a folder in
    memory after the run."""

    folder: Path
    advice: str
    in_memory: bool = False
    keeper: RamFolder | None = None

    def make_folder(self, name: str) -> Path:
        """The folder `name` in this place. Raises CannotCache."""
        path = self.folder / name
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.cannot_cache(cannot_write(path, error)) from error
        return path

    def cannot_cache(self, error: CannotWrite) -> CannotCache:
        """The error to raise for what could not be written."""
        problem, disk, *_ = str(error).splitlines()
        return CannotCache(f"data.cache: {problem}\n{disk}\n   -> {self.advice}")


def default_folder() -> Path:
    """Where caches lie on disk: SEGKIT_CACHE, or `segkit` in the user's folder for caches."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("SEGKIT_CACHE") or Path(caches) / "segkit")


def on_disk(folder: Path | None = None) -> CachePlace:
    """The place of `data.cache: disk`."""
    advice = "data.cache=off, or another place: SEGKIT_CACHE=FOLDER in the environment"
    return CachePlace(default_folder() if folder is None else folder, advice)


def in_memory(shared: Path | None = None) -> CachePlace:
    """A new place for `data.cache: ram`, which goes when nobody uses it any more, or the one that another process of
    this run made and keeps. Raises CannotCache."""
    advice = "data.cache=disk or off"
    if shared is not None:
        return CachePlace(shared, advice, in_memory=True)
    keeper = RamFolder()
    return CachePlace(keeper.path, advice, in_memory=True, keeper=keeper)
