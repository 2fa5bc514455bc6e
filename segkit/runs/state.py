"""What the checkpoints of a run hold, and how a run goes on from one."""

from collections.abc import Callable
from typing import Any

from segkit.runs.checkpoint import Found, save_checkpoint, save_numbered
from segkit.runs.folder import RunFolder
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.runs.recording.recorder import Recorder
from segkit.system.files import write_text
from segkit.training.experiment import Experiment
from segkit.training.trainer import Trainer


def saver(
    experiment: Experiment, recorder: Recorder, folder: RunFolder, bad: BadSampleLog, *, data: str
) -> Callable[[dict, int, bool], None]:
    """The function that writes the loop's checkpoints into the run folder. `data` is the data set's fingerprint."""
    meta = {**describe_experiment(experiment), "data_fingerprint": data}
    keep = experiment.config.train.keep_checkpoints
    config = experiment.config.to_yaml()

    def save(state: dict[str, Any], iteration: int, best: bool) -> None:
        if best:
            save_checkpoint(folder.best, {**meta, **state})
            recorder.restart_clock()
            return
        whole = {**meta, "trainer": state, "recorder": recorder.state_dict(), "bad_samples": bad.state_dict()}
        path = save_numbered(folder.checkpoints, whole, iteration=iteration, keep=keep)
        # Not sooner: the configuration of a resumed run must fit the checkpoint that it would go on from.
        write_text(folder.config, config)
        bad.write()
        recorder.saved(path)
        folder.write_status("running", iteration=iteration, checkpoint=path)

    return save


def describe_experiment(experiment: Experiment) -> dict[str, Any]:
    """What a checkpoint must say besides weights, so that it can be used without the data set."""
    data = experiment.data.train
    return {
        "config": experiment.config.to_mapping(),
        "class_names": list(data.class_names),
        "palette": [list(color) for color in experiment.data.palette],
        "ignore_index": data.ignore_index,
        "channels": data.channels,
        "logits_channels": experiment.logits_channels,
        "resize": getattr(data, "resize", None),
    }


def go_on_from(found: Found, trainer: Trainer, recorder: Recorder, bad: BadSampleLog) -> None:
    """Put trainer, recorder and the log of bad samples into the state of a checkpoint."""
    trainer.load_state_dict(found.state["trainer"])
    recorder.last_checkpoint = found.path
    recorder.best_score = trainer.best["mean_iou"]
    if "recorder" in found.state:  # not in checkpoints of an older segkit
        recorder.load_state_dict(found.state["recorder"])
    bad.load_state_dict(found.state.get("bad_samples", ()))
