"""What the checkpoints of a run hold, and how a run goes on from one."""

from collections.abc import Callable
from typing import Any

from segkit.config.schema import Config
from segkit.runs.aside import remove_set_aside, set_aside_damaged, set_aside_later
from segkit.runs.best import settle_best
from segkit.runs.checkpoint import Found, save_checkpoint, save_numbered
from segkit.runs.folder import RunFolder
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.runs.recording.recorder import Recorder
from segkit.runs.resume import compare_configs, with_defaults
from segkit.system.device import Precision
from segkit.system.files import write_text
from segkit.system.run_files import RunFiles, iteration_of, list_checkpoints
from segkit.training.experiment import Experiment
from segkit.training.trainer import Trainer


def saver(
    experiment: Experiment, recorder: Recorder, folder: RunFolder, bad: BadSampleLog, *, data: str
) -> Callable[[dict, int, bool], None]:
    """The function that writes the loop's checkpoints into the run folder. `data` is the data set's fingerprint."""
    meta = describe_experiment(experiment, fingerprint=data)
    keep = experiment.config.train.keep_checkpoints
    config = experiment.config.to_yaml()

    def save(state: dict[str, Any], iteration: int, best: bool) -> None:
        for met in experiment.ranks.gather([])[1:]:  # in the other processes
            bad.note(met)
        if best:
            save_checkpoint(folder.best, {**meta, **state})
            recorder.restart_clock()
            return
        recorder.await_pictures()
        whole = {**meta, "trainer": state, "recorder": recorder.state_dict(), "bad_samples": bad.state_dict()}
        path = save_numbered(folder.checkpoints, whole, iteration=iteration, keep=keep)
        remove_set_aside(folder, iteration)
        # Not sooner: the configuration of a resumed run must fit the checkpoint that it would go on from.
        write_text(folder.config, config)
        bad.write()
        recorder.saved(path)
        folder.write_status("running", iteration=iteration, checkpoint=path)

    return save


def describe_experiment(experiment: Experiment, *, fingerprint: str) -> dict[str, Any]:
    """What a checkpoint must say besides weights, so that it can be used without the data set, whose fingerprint is
    `fingerprint`."""
    data = experiment.data.train
    return {
        "config": experiment.config.to_mapping(),
        "class_names": list(data.class_names),
        "palette": [list(color) for color in experiment.data.palette],
        "ignore_index": data.ignore_index,
        "channels": data.channels,
        "logits_channels": experiment.logits_channels,
        "resize": getattr(data, "resize", None),
        "data_fingerprint": fingerprint,
        "processes": experiment.ranks.world,
        "precision": experiment.precision._asdict(),
    }


def precision_of(found: Found) -> Precision:
    """What `train.amp` came to in the run of a checkpoint."""
    # A checkpoint of an older segkit does not say: there `auto` was off on a CPU.
    return Precision(**found.state.get("precision", {"device": "cpu", "amp": "off"}))


def describe_other_precision(found: Found, now: Precision) -> list[str]:
    """A line where a run goes on in another precision than before, because it moved to another kind of device."""
    before = precision_of(found)
    if before == now or "precision" not in found.state:
        return []
    return [
        f"resumed with amp {now.amp} on {now.device} instead of {before.amp} on {before.device}: not the same bits"
    ]


def goes_elsewhere(folder: RunFiles, found: Found, config: Config) -> bool:
    """Whether a run that goes on from a checkpoint may come to other values than were logged before: it gives up a
    continuation, or trains otherwise. To be asked before `go_back`, which sets aside what is given up."""
    before, after = with_defaults(found.state["config"], origin=str(found.path)), config.to_mapping()
    latest = max(map(iteration_of, list_checkpoints(folder.checkpoints)), default=0)
    return latest > iteration_of(found.path) or bool(compare_configs(before, after, allow=[*after]))


def go_back(folder: RunFolder, found: Found, *, tell: Callable[[str], None]) -> dict[str, Any]:
    """Leave in the folder only what is of the history of a checkpoint, before anything else reads it.

    Returns the moment whose weights best.pt holds then. `tell` gets a line on what changed. Raises CannotWrite.
    """
    state = found.state["trainer"]
    iteration, best = state["iteration"], state["best"]
    kept = state.get("kept", best)  # not in checkpoints of an older segkit
    lines = [*set_aside_damaged(folder), *set_aside_later(folder, iteration)]
    settled = settle_best(folder, best, kept, until=iteration)
    for line in [*lines, *settled.notes]:
        tell(line)
    return settled.kept


def go_on_from(
    found: Found, trainer: Trainer, recorder: Recorder, bad: BadSampleLog, *, kept: dict[str, Any]
) -> None:
    """Put trainer, recorder and the log of bad samples into the state of a checkpoint; `kept` is from `go_back`."""
    trainer.load_state_dict(found.state["trainer"])
    trainer.kept = kept
    recorder.last_checkpoint = found.path
    recorder.best_score = trainer.best["mean_iou"]
    if "recorder" in found.state:  # not in checkpoints of an older segkit
        recorder.load_state_dict(found.state["recorder"])
    bad.load_state_dict(found.state.get("bad_samples", ()))
