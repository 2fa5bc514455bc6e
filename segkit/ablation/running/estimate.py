"""What an ablation will cost, and whether each variant can be built at all, before anything is trained."""

import gc
import heapq
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from segkit.ablation.plan.plan import AblationPlan
from segkit.ablation.running.slots import Slot
from segkit.ablation.running.state import FINISHED, IN_USE, RunState
from segkit.ablation.running.validation import Validation, look_at, warn_of_others
from segkit.ablation.statistics.groups import group_images
from segkit.ablation.statistics.metrics import find_metric
from segkit.config.schema import Config
from segkit.data.loading.names import find_names
from segkit.distributed.ranks import Ranks
from segkit.errors import ConfigError, SegkitError
from segkit.runs.preflight import SilentRecorder
from segkit.system.device import choose_device
from segkit.system.run_files import RunFiles
from segkit.training.build import build
from segkit.training.experiment import Experiment
from segkit.training.plan import Plan
from segkit.training.trainer import Trainer

TIMED_UPDATES = 2


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole run of a variant; `measured` if finished runs took that long."""

    seconds: float
    measured: bool


def count_iterations(
    plan: AblationPlan,
    states: Sequence[RunState],
    slots: Sequence[Slot] = (Slot(),),
    *,
    warn: Callable[[str], None] = lambda text: None,
) -> dict[str, int]:
    """The length of every run. Each variant that has an unfinished one is built once, on the CPU: what only shows
    there (a file that is missing, a warm-up longer than the run, a batch that the processes of a slot cannot share)
    is known before the first run starts. Where slots differ in their processes, it is built for each number of them.
    `warn` is told which of these variants are scored on something else than the others.

    Raises a SegkitError that lists what is wrong with which variants.
    """
    sizes = {slot.processes: slot for slot in slots}.values()
    lengths = {state.run.variant: state.iteration for state in states if state.kind == FINISHED}
    unfinished = {state.run.variant for state in states if state.kind != FINISHED}
    failures: dict[str, tuple[SegkitError, list[str]]] = {}
    scored_on: dict[str, Validation] = {}
    for variant in (variant for variant in plan.variants if variant in unfinished):
        try:
            for slot in sizes:
                experiment = _build_on_cpu(plan.run_of(variant).config, slot)
                _refuse_no_score(experiment.plan)
                _refuse_one_image(len(experiment.data.val))
                _refuse_unknown_classes(plan.metrics, experiment.data.val.class_names)
                _refuse_unfit_groups(plan.group_by, experiment)
                lengths[variant] = experiment.plan.iterations
                known = next(iter(scored_on.values()), None)
                scored_on[variant] = look_at(experiment.data.val, other=known)
        except SegkitError as error:
            failures.setdefault(str(error), (error, []))[1].append(variant)
    if failures:
        first = next(iter(failures.values()))[0]
        texts = [f"variant {', '.join(names)}: {text}" for text, (_, names) in failures.items()]
        raise type(first)("\n".join(texts)) from first
    for line in warn_of_others(scored_on, plan.baseline):
        warn(line)
    return {state.run.name: lengths[state.run.variant] for state in states}


def _refuse_no_score(plan: Plan) -> None:
    """Raises ConfigError for a run that would end without the scores of single images, and so never count as done."""
    if not plan.evaluate_every:
        raise ConfigError(
            "eval.every=0: no run would have a score, which is what an ablation compares -> eval.every=100%"
        )


def _refuse_one_image(count: int) -> None:
    """Raises ConfigError for a validation set of which a report could say nothing."""
    if count < 2:
        raise ConfigError(
            "data: there is one validation image, and an interval over images needs at least 2 -> validate on more"
        )


def _refuse_unknown_classes(metrics: Sequence[str], class_names: Sequence[str]) -> None:
    """Raises ConfigError for a metric of a class that there is not, of which a report could say nothing."""
    for name in metrics:
        find_metric(name, class_names)


def _refuse_unfit_groups(group_by: str | int | None, experiment: Experiment) -> None:
    """Raises ConfigError for a `group_by` of which a report could make no groups, as far as it is known without reading
    all images what they are called: not of data that do not tell, nor where those that cannot be used are left out."""
    if group_by is None or experiment.config.data.skip_bad:
        return
    names = find_names(experiment.data.val)
    if names is not None:
        group_images(names, group_by)


def estimate_costs(
    plan: AblationPlan,
    states: Sequence[RunState],
    slot: Slot,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Cost]:
    """What a whole run of each variant costs: as its finished runs did, else from a few timed updates on `slot`'s
    device. Variants without an unfinished run are left out."""
    costs = {}
    for variant in plan.variants:
        own = [state for state in states if state.run.variant == variant]
        if all(state.kind == FINISHED for state in own):
            continue
        seconds = [
            found for state in own if state.kind == FINISHED for found in read_seconds(state.run_folder)
        ]
        if not seconds:
            part = f", the part of one of {slot.processes} processes" if slot.grouped else ""
            say(f"timing    {variant}: {1 + TIMED_UPDATES} updates and a batch of validation{part}")
        costs[variant] = (
            Cost(sum(seconds) / len(seconds), True)
            if seconds
            else Cost(time_run(plan.run_of(variant).config, slot), False)
        )
    return costs


def read_seconds(folder: Path) -> list[float]:
    """How long a finished run took, in a list; empty for one that was resumed, whose record is of its last part."""
    run = RunFiles(folder)
    try:
        if "   resumed from " in run.log.read_text(encoding="utf-8", errors="replace"):
            return []
        return [float(json.loads(run.summary.read_text(encoding="utf-8"))["seconds"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # an estimate can do without


def time_run(config: Config, slot: Slot) -> float:
    """Seconds that the run would take, from one update to warm up, a few timed ones and a batch of validation.

    For a group of devices that is one process's part of an update, on the first of them, and of the validation; what
    the processes tell each other is left out.
    """
    threads = torch.get_num_threads()
    if slot.threads is not None:
        torch.set_num_threads(slot.threads)
    try:
        config = config.model_copy(update={"device": slot.first_device or config.device})
        experiment = build(config)
        plan = experiment.plan
        if slot.grouped:
            changes = {"batch_size": config.train.batch_size // slot.processes, "sync_batchnorm": False}
            experiment = build(_with_train(config, **changes))
        return _extrapolate(experiment, plan, processes=slot.processes)
    finally:
        torch.set_num_threads(threads)
        gc.collect()


def remaining(state: RunState, seconds: float, total: int) -> float:
    """The seconds that are left of a run that takes `seconds` for `total` iterations."""
    if state.kind in (FINISHED, IN_USE):
        return 0.0
    return seconds * max(0, total - state.iteration) / total


def assign(seconds: Mapping[str, float], slots: int) -> tuple[dict[str, int], float]:
    """The slot in which each run will be trained, each taking the next one when it is free, and when all are done."""
    free = [(0.0, slot) for slot in range(slots)]
    places = {}
    for name, cost in seconds.items():
        when, slot = heapq.heappop(free)
        places[name] = slot
        heapq.heappush(free, (when + cost, slot))
    return places, max(when for when, _ in free)


def _build_on_cpu(config: Config, slot: Slot) -> Experiment:
    """As the first process in the slot builds it, but not on the GPU, where this process would hold memory that the
    runs need."""
    if choose_device(slot.first_device or config.device).type == "cuda":
        config = _with_train(config, sync_batchnorm=False)  # which torch has on CUDA only
    return build(config.model_copy(update={"device": "cpu"}), ranks=Ranks(world=slot.processes))


def _with_train(config: Config, **changes: Any) -> Config:
    """The configuration with other values in its block `train`."""
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def _extrapolate(experiment: Experiment, plan: Plan, *, processes: int = 1) -> float:
    """Seconds of a run as `plan` says, each of whose `processes` does what `experiment` does in an update."""
    workers = experiment.workers
    experiment = replace(experiment, workers=0)  # loading and training are timed apart
    trainer = experiment.trainer(recorder=SilentRecorder(), save=lambda state, iteration, best: None)
    batches = iter(trainer.train_batches(0))
    loading, training = [], []
    for _ in range(min(1 + TIMED_UPDATES, experiment.plan.iterations)):
        started = time.perf_counter()
        micro_batches, waited = trainer.fetch(batches)
        float(trainer.update(micro_batches)["loss"])  # reading the value waits for the device
        loading.append(waited.seconds())
        training.append(time.perf_counter() - started - loading[-1])
    update = min(training) + min(loading) / (workers + 1)
    evaluations = math.ceil(plan.iterations / plan.evaluate_every) if plan.evaluate_every else 0
    evaluation = _time_evaluation(experiment, trainer, workers) / processes
    return plan.iterations * update + evaluations * evaluation


def _time_evaluation(experiment: Experiment, trainer: Trainer, workers: int) -> float:
    """Seconds of a pass over the validation set, from its first batch."""
    started = time.perf_counter()
    trainer.evaluate_model(limit=1)
    return (time.perf_counter() - started) * len(trainer.val_batches)
