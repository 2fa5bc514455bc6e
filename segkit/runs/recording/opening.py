"""The recorder of a run, made as its experiment says."""

from collections.abc import Callable, Mapping
from typing import Any

from segkit.data.palette import Legend
from segkit.runs.folder import RunFolder, runs_dir
from segkit.runs.recording.recorder import Recorder
from segkit.runs.recording.trackers.trackers import TrackedRun, open_trackers
from segkit.system.console import Console
from segkit.training.experiment import Experiment


def make_recorder(
    folder: RunFolder, experiment: Experiment, console: Console, *, first: int, elsewhere: bool
) -> Recorder:
    """The recorder of a run that has `first` updates already, and goes `elsewhere` from there, see `goes_elsewhere`."""
    config = experiment.config
    tracked = TrackedRun(
        name=f"{config.name}/{folder.path.name}",
        store=runs_dir(config),
        config=config.to_mapping(),
        config_text=config.to_yaml(),
        elsewhere=elsewhere,
    )
    return Recorder(
        folder,
        labels=labels_of(experiment),
        console=console,
        total=experiment.plan.iterations,
        log_every=experiment.plan.log_every,
        first=first,
        tensorboard=config.log.tensorboard,
        trackers=open_trackers(config.log, tracked, folder.tracking),
        device=experiment.device,
        amp=experiment.precision.amp,
        ranks=experiment.ranks,
        first_batch=first_batch_of(experiment),
        beside=True,
    )


def first_batch_of(experiment: Experiment) -> Callable[[], Mapping[str, Any]] | None:
    """What reads the first batch of all processes; None where this one has all of it."""
    if experiment.ranks.world == 1:
        return None
    return lambda: next(iter(experiment.train_batches(0, num_batches=1, workers=0, whole=True)))


def labels_of(experiment: Experiment) -> Legend:
    data = experiment.data.train
    return Legend(tuple(data.class_names), tuple(experiment.data.palette), data.ignore_index)
