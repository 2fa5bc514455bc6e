"""What the processes of a run do that are not the main one: they train with it, and write and print nothing."""

import math
from pathlib import Path
from typing import Any

from segkit.data.loading.bad_samples import BadSample, DamagedCache
from segkit.data.loading.loader import Batches
from segkit.distributed.lost_ranks import EndedElsewhere, LostRank
from segkit.distributed.ranks import Ranks
from segkit.errors import NotFiniteError, RunFolderInUse
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.panels import Panel
from segkit.runs.checkpoint import save_numbered
from segkit.runs.end import explain, rescue
from segkit.runs.fingerprints import data_fingerprint
from segkit.runs.folder import RunFolder
from segkit.runs.recording.pending import PendingValues
from segkit.runs.state import describe_experiment
from segkit.schedule import due
from segkit.system.console import Console
from segkit.system.device import Wait
from segkit.system.interrupt import Interrupt
from segkit.system.run_files import list_checkpoints
from segkit.training.build_together import build_together, require_same_data
from segkit.training.experiment import Experiment
from segkit.training.plan import Batch
from segkit.training.trainer import Trainer


def follow(ranks: Ranks, *, overfit: int | None) -> tuple[Path, int]:
    """Train along with the main process until it ends; returns its run folder and the exit status.

    Raises a SegkitError for what goes wrong here, and EndedElsewhere for what does in another process.
    """
    experiment = build_together(None, overfit=overfit, ranks=ranks)
    data = experiment.data
    fingerprint = data_fingerprint(data.train, data.val, skip_bad=experiment.config.data.skip_bad)
    require_same_data(ranks, fingerprint)
    path, state = ranks.share()  # the run folder, and the checkpoint to go on from or None
    plan, bad = experiment.plan, BadSamplesHere()
    pending = PendingValues(data.train.class_names, ranks)
    recorder = Follower(pending, log_every=plan.log_every, total=plan.iterations)
    with Interrupt(launched=True) as interrupt:
        trainer = experiment.trainer(
            recorder=recorder,
            save=lambda state, iteration, best: bad.hand_over(ranks),
            stop=lambda: stop_code(interrupt, ranks),
            note=bad.note,
        )
        if state is not None:
            trainer.load_state_dict(state)
        try:
            finished = trainer.fit()
            code = 0 if finished else max(ranks.gather(stop_code(interrupt, ranks)))
            if ranks.share():  # the main process lacks the scores of single images
                trainer.evaluate_model()
            ranks.share()  # the main process has written all it has to
            return path, code
        except BaseException as error:
            failure = ranks.fail(explain(error, experiment))
            if isinstance(failure, LostRank) and 0 in failure.lost and path.is_dir():
                take_over(path, experiment, trainer, failure, fingerprint=fingerprint)
            raise failure from failure.__cause__
        finally:
            if isinstance(trainer.val_batches, Batches):
                trainer.val_batches.close()


def take_over(
    path: Path, experiment: Experiment, trainer: Trainer, failure: LostRank, *, fingerprint: str
) -> None:
    """Save the present iteration and say how the run ended, in the place of a main process that died without a word.

    If it is alive after all, it holds its folder, and will do that itself.
    """
    meta = describe_experiment(experiment, fingerprint=fingerprint)
    written: list[Path] = []

    def save(state: dict[str, Any], iteration: int, best: bool) -> None:
        keep = experiment.config.train.keep_checkpoints
        whole = {**meta, "trainer": state}
        written.append(save_numbered(folder.checkpoints, whole, iteration=iteration, keep=keep))

    try:
        folder = RunFolder.reopen(path)
    except RunFolderInUse:
        return
    with folder:
        console = Console(log_file=folder.log)
        trainer.save_checkpoint = save
        rescue(trainer, failure, str(path), tell=console.line)
        folder.write_status(
            "failed",
            iteration=trainer.iteration,
            exit_code=failure.exit_code,
            error=str(failure),
            checkpoint=next(iter([*written, *list_checkpoints(folder.checkpoints)]), None),
        )
        console.log(f"failed: {failure}")


def stop_code(interrupt: Interrupt, ranks: Ranks) -> int:
    """The exit status to stop with, 0 to go on: that of a signal, or of SIGTERM where the launcher has died."""
    return interrupt.exit_code or (143 if ranks.launcher_gone else 0)


class Follower:
    """Takes what the loop reports; all that is left of it is its part in the means, and that a loss is not finite."""

    def __init__(self, pending: PendingValues, *, log_every: int, total: int):
        self.pending, self.log_every, self.total = pending, log_every, total

    def update(self, iteration: int, values: dict[str, Any], batches: list[Batch], *, waited: Wait) -> None:
        """Keep the values of one update, unread, until the main process reads its own."""
        self.pending.add(iteration, values, [name for batch in batches for name in batch["name"]])
        if due(iteration, self.log_every, total=self.total):
            self.flush()

    def flush(self) -> None:
        """Read them together with the others. Raises EndedElsewhere where the main process raises NotFiniteError."""
        for iteration, values, _ in self.pending.read():
            if not math.isfinite(values["loss"]):
                raise EndedElsewhere(
                    f"the loss is not finite at iteration {iteration}",
                    NotFiniteError.exit_code,
                    NotFiniteError.__name__,
                )

    def untrained(self, result: Evaluation) -> None: ...
    def restart_clock(self) -> None: ...
    def evaluation(self, iteration: int, result: Evaluation, *, best: bool) -> None: ...
    def pictures(self, iteration: int, panels: list[Panel]) -> None: ...


class BadSamplesHere:
    """Bad samples that this process met, until the main one, which counts them all, takes them."""

    def __init__(self) -> None:
        self.met: list[BadSample | DamagedCache] = []

    def note(self, met: Any) -> None:
        """Keep them."""
        self.met += met

    def hand_over(self, ranks: Ranks) -> None:
        """Give them to the main process, which collects them whenever it saves."""
        met, self.met = self.met, []
        ranks.gather(met)
