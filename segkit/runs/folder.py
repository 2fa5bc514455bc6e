"""The folder of one run, `<runs>/<name>/<time>/`: who may write it, how it stands."""

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from segkit.config.schema import Config
from segkit.errors import CheckpointError, ConfigError
from segkit.system.files import cannot_write, sweep_temporaries, sync_folder, write_json
from segkit.system.locks import take_lock
from segkit.system.run_files import RunFiles, own_folders

STATES = ("running", "done", "stopped", "failed")

_held_locks: set[int] = set()


def _close_locks_in_child() -> None:
    """A forked data worker would otherwise go on holding the lock of a run that was killed."""
    while _held_locks:
        os.close(_held_locks.pop())


os.register_at_fork(after_in_child=_close_locks_in_child)


#: What the name of a run of `--overfit` ends with: all that tells it from one of the same configuration.
OVERFIT = "-overfit"


def named(config: Config, overfit: int | None) -> Config:
    """The configuration under the name of its run: training on a few images is not the run itself."""
    return config if overfit is None else config.model_copy(update={"name": f"{config.name}{OVERFIT}"})


def is_overfit(name: str) -> bool:
    """Whether a run of that name was one of `--overfit`, which is scored on the images that it learnt."""
    return name.endswith(OVERFIT)


def runs_dir(config: Config) -> str:
    """`log.dir`, where `~` stands for the home folder as in a shell."""
    return os.path.expanduser(config.log.dir)


class RunFolder(RunFiles):
    """A run folder that only this process may write, until `close()`, the end of `with`, or its death.

    Made by `RunFolder.create` for a new run and `RunFolder.reopen` to continue one.
    """

    def __init__(self, path: Path, *, lock: int):
        super().__init__(path)
        self._lock: int | None = lock
        self._started = _now()

    @classmethod
    def create(cls, runs_dir: str | Path, name: str) -> "RunFolder":
        """A new folder `<runs_dir>/<name>/<YYYYmmdd-HHMMSS>`, with `-2`, `-3` ... if that time is taken.

        `name` may have parts, such as `camvid/ohem`. Raises ConfigError for a name that leaves `runs_dir`,
        and CannotWrite.
        """
        parts = Path(name).parts
        if not parts or ".." in parts or Path(name).is_absolute():
            raise ConfigError(f"name must be a folder name below {runs_dir}, got {name!r} -> name=my_run")
        path = _make_unique_folder(Path(runs_dir) / name, time.strftime("%Y%m%d-%H%M%S"))
        return cls._take(path)

    @classmethod
    def reopen(cls, path: str | Path) -> "RunFolder":
        """The run folder at `path`. Raises CheckpointError if there is none, RunFolderInUse, CannotWrite."""
        path = Path(path)
        if not path.is_dir():
            raise CheckpointError(f"no run folder at {path} -> leave out --resume to start a new run")
        return cls._take(path)

    @classmethod
    def _take(cls, path: Path) -> "RunFolder":
        run = cls(path, lock=_lock(RunFiles(path).lock))
        try:
            run.checkpoints.mkdir(exist_ok=True)
            for folder in own_folders(run):
                sweep_temporaries(folder)
            sync_folder(path)
            sync_folder(path.parent)
        except OSError as error:
            run.close()
            raise cannot_write(path, error) from error
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        """Let others write the folder. Closing twice is fine."""
        if self._lock in _held_locks:
            _held_locks.discard(self._lock)
            os.close(self._lock)
        self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write_status(
        self,
        state: str,
        *,
        iteration: int,
        exit_code: int | None = None,
        error: str | None = None,
        checkpoint: str | Path | None = None,
    ) -> None:
        """Replace status.json, which tells scripts how the run stands.

        `state` is running, done, stopped (asked to, after saving) or failed; `exit_code` is None meanwhile.
        A run that was killed still says running, but its folder can be reopened.
        """
        if state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, got {state!r}")
        status = {
            "state": state,
            "iteration": iteration,
            "exit_code": exit_code,
            "error": error,
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "pid": os.getpid(),
            "started": self._started,
            "updated": _now(),
        }
        write_json(self.status, status)


def read_status(run: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The status.json of the run folder, None if it has none (yet). Raises ValueError if it is damaged."""
    try:
        status = json.loads(RunFiles(run).status.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:  # a folder in its place, no right to read it
        raise ValueError(error.strerror or str(error)) from error
    if not isinstance(status, dict) or status.get("state") not in STATES:
        raise ValueError(f"expected an object with a state of {', '.join(STATES)}")
    return status


def _make_unique_folder(parent: Path, stem: str) -> Path:
    number = 1
    while True:
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        except FileExistsError as error:
            if not parent.is_dir():
                raise cannot_write(path, error) from error
            number += 1
        except OSError as error:
            raise cannot_write(path, error) from error


def _lock(path: Path) -> int:
    """The lock of a run folder, which a forked data worker lets go of."""
    advice = "wait for it or stop it; a new run without --resume gets a folder of its own"
    handle = take_lock(path, f"run folder {path.parent}", advice)
    _held_locks.add(handle)
    return handle


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
