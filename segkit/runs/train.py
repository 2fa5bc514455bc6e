"""Training from Python: `segkit.train("ohem.yaml", "loss.thresh=0.6")` gives a Run, what a finished run left behind."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from segkit.config.load import config_from_mapping, load_config
from segkit.config.schema import Config
from segkit.distributed.lost_ranks import EndedElsewhere
from segkit.distributed.ranks import Ranks, joined_ranks
from segkit.errors import CheckpointError, ConfigError
from segkit.runs.predictor import Predictor, load_predictor
from segkit.runs.resume import resumed_config
from segkit.runs.run import Ended, train_run
from segkit.system.environment import require_torch_pair
from segkit.system.run_files import RunFiles


class Run(os.PathLike[str]):
    """A run folder as a value: where it is, and what training left in it.

    `Run("runs/ohem/20261128-101500")` reads one that is there. Wherever a run folder is expected, a Run will do.
    Raises CheckpointError for a folder that is none.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self._files = RunFiles(folder)
        self.folder = self._files.path
        if not self._files.is_run:
            raise CheckpointError(f"{folder} is not a run folder: it has no {RunFiles.config.name}")

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def config(self) -> Config:
        """The resolved configuration."""
        return load_config(self.folder)

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json: best and last scores, parameters, speed, memory, seconds, in plain types.

        Raises CheckpointError if the run has not come to an end.
        """
        path = self._files.summary
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            raise CheckpointError(
                f"{self.folder} has no {path.name}: the run has not come to its end"
            ) from None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error

    @property
    def scores(self) -> dict[str, Any]:
        """The scores of the last evaluation: `mIoU`, `accuracy`, `ce`, `iou` by class ..., shares in [0, 1].

        Raises CheckpointError if nothing was evaluated.
        """
        try:
            return self.summary["last"]
        except KeyError:
            raise CheckpointError(f"{self.folder} has no scores: nothing was evaluated") from None

    @property
    def best_weights(self) -> Path:
        """The file with the weights of the best validation score. Raises CheckpointError if there is none."""
        path = self._files.best
        if not path.is_file():
            raise CheckpointError(f"{self.folder} has no {path.name}: no evaluation has had a score")
        return path

    def predictor(self, device: str | torch.device = "auto") -> Predictor:
        """The trained model with its best weights, ready to predict."""
        return load_predictor(self.folder, device)


def train(
    config: str | os.PathLike[str] | Config | None = None,
    *overrides: str,
    overfit: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    allow_change: Sequence[str] = (),
) -> Run:
    """Train as the configuration says and return the run, as `segkit train` does from the command line. In a script
    that torchrun starts in several processes, all of them call this, and need to see the folder of the run.

    `config` is a file, a name in configs/, a run folder, or a Config; None with `resume` continues that run as it was
    configured. `overrides` are of the form "loss.thresh=0.6". `overfit` trains on so many images. `resume` is "auto" or
    a run folder, `allow_change` the keys that may differ from the checkpoint's.

    Raises a SegkitError (ConfigError, DataError, CheckpointError, NotFiniteError ...) for what a user can repair, one
    of the same class in all processes. On Ctrl-C the update is finished, the run saved, and KeyboardInterrupt raised;
    SIGTERM and SIGHUP end in SystemExit. torch's global generators go on afterwards from where they were.
    """
    require_torch_pair()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        # Each update seeds them: a random search around this would otherwise draw the same settings again and again.
        with torch.random.fork_rng(devices=devices), joined_ranks() as ranks:
            ended = _train(
                config, overrides, overfit=overfit, resume=resume, allow_change=allow_change, ranks=ranks
            )
    except EndedElsewhere as error:
        # A script that goes on after an error of some class is to go on in all processes, or in none.
        raise error.as_there() from None
    # Not within: all have stopped and saved, and what is raised for that is no failure that one tells the others of.
    return _finished(ended)


def _train(
    config: str | os.PathLike[str] | Config | None,
    overrides: Sequence[str],
    *,
    overfit: int | None,
    resume: str | os.PathLike[str] | None,
    allow_change: Sequence[str],
    ranks: Ranks,
) -> Ended:
    if not ranks.main:
        return train_run(None, source="", overfit=overfit, ranks=ranks)
    if config is None and resume is None:
        raise ConfigError(
            'train: which configuration? -> segkit.train("ohem.yaml"), or resume="runs/ohem/TIME"'
        )
    if isinstance(config, Config):
        name = f"the configuration {config.name}"
        chosen = (
            config_from_mapping(config.to_mapping(), origin=name, overrides=overrides)
            if overrides
            else config
        )
    elif config is not None:
        name, chosen = os.fspath(config), load_config(os.fspath(config), overrides)
    else:
        name = os.fspath(resume)
        chosen = resumed_config(name, overrides)
    return train_run(
        chosen,
        source=" + ".join([name, *overrides]),
        overfit=overfit,
        resume=None if resume is None else os.fspath(resume),
        allow_change=allow_change,
        ranks=ranks,
    )


def _finished(ended: Ended) -> Run:
    """The run, or what a signal ended it by."""
    if ended.exit_code == 128 + signal.SIGINT:
        raise KeyboardInterrupt(
            f"stopped and saved; continue with segkit.train(resume={str(ended.folder)!r})"
        )
    if ended.exit_code:
        raise SystemExit(ended.exit_code)
    return Run(ended.folder)
