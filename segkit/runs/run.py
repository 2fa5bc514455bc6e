"""One run: checks, run folder, training, and an honest account of how it ended."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from segkit.config.schema import Config
from segkit.data.check import CheckReport, check_data
from segkit.data.loading.loader import Batches
from segkit.data.loading.remembered import Remembered
from segkit.distributed.ranks import ALONE, Ranks
from segkit.errors import CannotWrite, SegkitError
from segkit.runs.aside import set_aside_folders
from segkit.runs.checkpoint import Found
from segkit.runs.continuation import Continuation, require_fit
from segkit.runs.end import explain, finish_run, rescue
from segkit.runs.fingerprints import fingerprints
from segkit.runs.folder import RunFolder, named, runs_dir
from segkit.runs.follow import follow, stop_code
from segkit.runs.header import count_flops, header
from segkit.runs.history.changes import describe_code
from segkit.runs.initial.start import start_from
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.runs.recording.events.tensorboard_log import hyperparameters
from segkit.runs.recording.opening import make_recorder
from segkit.runs.recording.plots.draw import draw_class_frequencies
from segkit.runs.recording.recorder import Recorder
from segkit.runs.recording.trackers.kinds import require_trackers
from segkit.runs.state import (
    describe_other_precision,
    go_back,
    go_on_from,
    goes_elsewhere,
    precision_of,
    saver,
)
from segkit.system.console import Console
from segkit.system.environment import environment
from segkit.system.files import write_json, write_text
from segkit.system.interrupt import Interrupt
from segkit.system.memory import lack_of_memory_explained
from segkit.system.typed import quote, typed
from segkit.training.build_together import build_together, require_same_data
from segkit.training.experiment import Experiment
from segkit.training.trainer import Trainer

TENSORBOARD = "tensorboard --logdir {} --samples_per_plugin images=100"


@dataclass(frozen=True)
class Start:
    """What is found out before there is a run folder."""

    report: CheckReport
    flops: int
    examples: list[dict]
    fingerprints: Mapping[str, str]


class Ended(NamedTuple):
    """A run that trained to its end (`exit_code` 0), or was stopped by a signal after saving (130, 143, 129)."""

    folder: Path
    exit_code: int


@lack_of_memory_explained()
def train_run(
    config: Config | None,
    *,
    source: str,
    overfit: int | None = None,
    resume: str | None = None,
    allow_change: Sequence[str] = (),
    ranks: Ranks = ALONE,
) -> Ended:
    """Train as `config`, which was read from `source`, says. In several processes all of `ranks` call this, and the
    main one's arguments count.

    Raises a SegkitError for what a user can repair; `status.json` of the run folder then says so too.
    """
    if not ranks.main:
        return Ended(*follow(ranks, overfit=overfit))
    assert config is not None
    config = named(config, overfit)
    require_trackers(config.log)
    continuation = Continuation(config, runs_dir(config), resume, allow_change)
    found = continuation.choose()  # before anything takes long
    continuation = continuation.with_found_options(found)
    config = continuation.config
    notes = continuation.notes(found)
    precision = None if found is None else precision_of(found)
    experiment = build_together(config, overfit=overfit, ranks=ranks, precision=precision)
    started = [] if found else start_from(experiment)
    report, digests = look_at_data(experiment)
    if found:
        continuation.refuse_shorter_run(found, experiment.plan.iterations)
    flops = count_flops(
        experiment, *experiment.image_size
    )  # this and what follows may fail, so before the folder
    lines = [*header(experiment, report, source, flops=flops), *started]
    start = Start(report, flops, experiment.examples(), digests)
    require_same_data(ranks, start.fingerprints["data"])
    if found:
        continuation.refuse_other_data(found, start.fingerprints["data"])
    folder, found = continuation.open_folder()  # others may have written until now
    with folder, Interrupt(launched=ranks.world > 1) as interrupt:
        if found:
            notes = continuation.notes(found)
            continuation.refuse_shorter_run(found, experiment.plan.iterations)
            continuation.refuse_other_data(found, start.fingerprints["data"])
            notes += describe_other_world(found, ranks.world)
            notes += describe_other_precision(found, experiment.precision)
        notes += set_aside_folders(folder)  # one of them may be in the place of the log
        console = Console(log_file=folder.log)
        for text in [*lines, *notes, *run_lines(folder, found, tensorboard=config.log.tensorboard)]:
            console.line(text)
        return Ended(folder.path, train_in(folder, experiment, start, console, interrupt, found))


def look_at_data(experiment: Experiment) -> tuple[CheckReport, dict[str, str]]:
    """What is in the data, and the digests of the experiment. Both look at some of the same samples."""
    train = Remembered(experiment.data.train)
    val = train if experiment.data.val is experiment.data.train else Remembered(experiment.data.val)
    report = check_data(
        train,
        val,
        weight_map=experiment.data.weight_map,
        batch_size=experiment.images_per_process,
        skip_bad=experiment.config.data.skip_bad,
    )
    return report, fingerprints(experiment, train=train, val=val)


def train_in(
    folder: RunFolder,
    experiment: Experiment,
    start: Start,
    console: Console,
    interrupt: Interrupt,
    found: Found | None,
) -> int:
    """Train in an open run folder, from `found` if that is a checkpoint; returns the exit status."""
    ranks = experiment.ranks
    if found:
        require_fit(found, experiment)
    first = found.state["trainer"]["iteration"] if found else 0
    elsewhere = found is not None and goes_elsewhere(folder, found, experiment.config)
    kept = go_back(folder, found, tell=console.line) if found else {}
    # With what is found of best.pt: all processes are to write it at the same evaluation.
    ranks.share((folder.path, {**found.state["trainer"], "kept": kept} if found else None))
    if not folder.config.is_file():  # a new run, or one whose file was lost
        write_text(folder.config, experiment.config.to_yaml())
    trained_on = {**experiment.precision._asdict(), "processes": ranks.world}
    env = {**environment(), **trained_on, "fingerprints": dict(start.fingerprints)}
    env |= describe_code(folder, experiment.config, env, found)
    write_json(folder.env, env)
    recorder = make_recorder(folder, experiment, console, first=first, elsewhere=elsewhere)
    bad = BadSampleLog(folder.bad_samples, tell=console.line)
    trainer = experiment.trainer(
        recorder=recorder,
        save=saver(experiment, recorder, folder, bad, data=start.fingerprints["data"]),
        stop=lambda: stop_code(interrupt, ranks),
        examples=start.examples,
        note=bad.note,
    )
    if found:
        go_on_from(found, trainer, recorder, bad, kept=kept)
    folder.write_status("running", iteration=first, checkpoint=recorder.last_checkpoint)
    try:
        write_json(folder.check, start.report.as_json())
        names = experiment.data.train.class_names
        recorder.draw("plots", draw_class_frequencies, folder.labels_plot, start.report, names)
        shown = hyperparameters(experiment.config.to_mapping(), iterations=experiment.plan.iterations)
        recorder.start(experiment.config.to_yaml(), shown)
        finished = trainer.fit()
        code = 0 if finished else max(ranks.gather(stop_code(interrupt, ranks)))
        if ranks.share(lacks_single_images(trainer, recorder, finished=finished)):
            recorder.take_again(trainer.evaluate_model())
        facts = {"flops": start.flops, "env": env}
        finish_run(folder, experiment, trainer, recorder, bad, finished=finished, code=code, **facts)
    except BaseException as error:
        error = explain(error, experiment)
        failure = ranks.fail(error)
        with suppress(CannotWrite, OSError):  # a full disk must not hide what went wrong before
            rescue(trainer, error, str(folder), tell=console.line)
        with suppress(CannotWrite, OSError):
            at_once, code = not isinstance(error, Exception), exit_code_of(failure)
            recorder.close(at_once=at_once, code=code, error=describe(failure))
        with suppress(CannotWrite, OSError):
            note_failure(folder, failure, trainer.iteration, checkpoint=recorder.last_checkpoint)
            console.log(f"failed: {failure}")
            bad.write()
        raise failure from failure.__cause__
    finally:
        if isinstance(trainer.val_batches, Batches):
            trainer.val_batches.close()
    state = "done" if finished else "stopped"
    folder.write_status(
        state, iteration=trainer.iteration, exit_code=code, checkpoint=recorder.last_checkpoint
    )
    ranks.share()  # the others end with this process
    if bad.entries:
        console.line(f"\n{bad.total()}")
    console.line(closing_line(trainer, experiment.plan.iterations, folder, finished=finished))
    return code


def describe_other_world(found: Found, world: int) -> list[str]:
    """A line where a run goes on in another number of processes than before."""
    before = found.state.get("processes", 1)
    if before == world:
        return []
    return [
        f"resumed in {world} process{'es' if world > 1 else ''} instead of {before}: the same images and loss, but "
        "sums in another order, so not the same bits"
    ]


def lacks_single_images(trainer: Trainer, recorder: Recorder, *, finished: bool) -> bool:
    """Whether the last evaluation is one from a checkpoint, without the scores of single images that the end needs."""
    last = recorder.last_evaluation
    return finished and last is not None and last[0] == trainer.iteration and last[1].matrices is None


def note_failure(folder: RunFolder, error: BaseException, iteration: int, *, checkpoint: Path | None) -> None:
    """Say in status.json that the run failed, and how. Raises CannotWrite."""
    folder.write_status(
        "failed",
        iteration=iteration,
        exit_code=exit_code_of(error),
        error=describe(error),
        checkpoint=checkpoint,
    )


def describe(error: BaseException) -> str:
    return str(error) or type(error).__name__


def closing_line(trainer: Trainer, total: int, folder: RunFolder, *, finished: bool) -> str:
    """How the run ended, and where or how to go on."""
    if not finished:
        return (
            f"\nstopped   after {trainer.iteration:,} of {total:,} iterations, saved; "
            f"continue with: {typed('train', '--resume', folder.path)}"
        )
    best = trainer.best
    score = f"best mIoU {100 * best['mean_iou']:.1f} at {best['iteration']:,}   " if best["iteration"] else ""
    return f"\ndone      {score}{folder}"


def exit_code_of(error: BaseException) -> int:
    """The exit status that the process will end with."""
    if isinstance(error, SegkitError):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def run_lines(folder: RunFolder, found: Found | None, *, tensorboard: bool) -> list[str]:
    """Where the run is written, and how to look at its curves if they are recorded."""
    resumed = f"   resumed from {found.path.name}" if found else ""
    logs = folder.path.parent.parent if folder.path.parent.parent.name else folder.path.parent
    look = f"       {TENSORBOARD.format(quote(logs))}" if tensorboard else ""
    return [f"run       {folder}{resumed}{look}", ""]
