"""`--check`: everything built, a few batches tried, and what a run would cost; nothing is written."""

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from segkit.config.schema import Config
from segkit.data.check import check_data
from segkit.errors import NotFiniteError
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.model_output import output_logits
from segkit.evaluation.panels import Panel
from segkit.runs.continuation import Continuation, require_fit
from segkit.runs.fingerprints import data_fingerprint
from segkit.runs.folder import named, runs_dir
from segkit.runs.header import header
from segkit.runs.initial.start import start_from
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.runs.recording.trackers.kinds import require_trackers
from segkit.system.console import duration
from segkit.system.device import Wait, memory_in_use
from segkit.system.printable import show_path
from segkit.training.build import build
from segkit.training.choose_workers import with_chosen_workers
from segkit.training.experiment import Experiment
from segkit.training.plan import Batch


def check(
    config: Config,
    *,
    source: str,
    overfit: int | None = None,
    resume: str | None = None,
    allow_change: Sequence[str] = (),
) -> int:
    """Build everything, read and train on two batches, and say what a run would cost. Writes nothing.

    Refuses what `train_run` would refuse to resume.
    """
    config = named(config, overfit)
    require_trackers(config.log)
    continuation = Continuation(config, runs_dir(config), resume, allow_change)
    found = continuation.choose()
    continuation = continuation.with_found_options(found)
    config = continuation.config
    notes = continuation.notes(found)
    experiment = with_chosen_workers(build(config, overfit=overfit))
    report = check_data(
        experiment.data.train,
        experiment.data.val,
        weight_map=experiment.data.weight_map,
        batch_size=experiment.batch_size,
        skip_bad=config.data.skip_bad,
    )
    if found:
        continuation.refuse_shorter_run(found, experiment.plan.iterations)
        data = experiment.data
        fingerprint = data_fingerprint(data.train, data.val, skip_bad=config.data.skip_bad)
        continuation.refuse_other_data(found, fingerprint)
        require_fit(found, experiment)
        notes.append(f"resume    {found.path}")
    started = [] if found else start_from(experiment)
    for text in [*header(experiment, report, source), *started, *notes, *report.table]:
        print(text)
    bad = BadSampleLog(None, tell=print)
    trainer = experiment.trainer(
        recorder=SilentRecorder(), save=lambda state, iteration, best: None, note=bad.note
    )
    batches = iter(trainer.train_batches(0))
    seconds: list[float] = []
    micro_batches: list[Batch] = []
    loss = math.nan
    for _ in range(min(3, experiment.plan.iterations)):
        started = time.perf_counter()
        micro_batches, _ = trainer.fetch(batches)
        values = trainer.update(micro_batches)
        loss = float(values["loss"])
        if not math.isfinite(loss):
            names = ", ".join(show_path(name) for batch in micro_batches for name in batch["name"][:8])
            raise NotFiniteError(
                f"the loss is {loss} after {len(seconds)} updates (images: {names})\n   -> a lower optimizer.lr, "
                "a longer schedule.warmup, train.clip_norm=1, or train.amp=off"
            )
        seconds.append(time.perf_counter() - started)
    batch = micro_batches[0]
    with torch.no_grad():
        logits = output_logits(trainer.forward(experiment.model, batch["image"]))
    print(f"batch     image {tuple(batch['image'].shape)} -> logits {tuple(logits.shape)}, loss {loss:.4f}")
    evaluation = trainer.evaluate_model(limit=2)
    assert evaluation is not None  # there is nothing that would stop it
    print(f"val       {evaluation.images} images evaluated, ce {evaluation.ce:.3f}")
    estimate = min(seconds) * experiment.plan.iterations
    print(
        f"estimate  {min(seconds):.2f} s per iteration, {duration(estimate)} for {experiment.plan.iterations:,} "
        f"without validation; memory {memory_in_use(experiment.device):.1f} GB"
    )
    print(f"check     everything fits; {describe_written(experiment)}")
    return 0


def describe_written(experiment: Experiment) -> str:
    """What building the experiment left on disk: caches."""
    caches = ["data.cache"] if experiment.config.data.cache == "disk" else []
    caches += ["the class counts"] if experiment.data.label_counts.kept else []
    verb = "were" if experiment.data.label_counts.kept else "was"
    return f"only {' and '.join(caches)} {verb} written" if caches else "nothing was written"


class SilentRecorder:
    """Takes what the loop reports and forgets it."""

    def update(
        self, iteration: int, values: dict[str, Any], batches: list[Batch], *, waited: Wait
    ) -> None: ...
    def flush(self) -> None: ...
    def untrained(self, result: Evaluation) -> None: ...
    def restart_clock(self) -> None: ...
    def evaluation(self, iteration: int, result: Evaluation, *, best: bool) -> None: ...
    def pictures(self, iteration: int, panels: list[Panel]) -> None: ...
