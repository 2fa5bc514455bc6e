"""What an ablation will cost, and whether each variant can be built at all, before anything is trained."""

import gc
import heapq
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from segkit.ablation.plan.plan import AblationPlan
from segkit.ablation.running.slots import Slot
from segkit.ablation.running.state import FINISHED, IN_USE, RunState
from segkit.config.schema import Config
from segkit.errors import SegkitError
from segkit.runs.preflight import SilentRecorder
from segkit.system.run_files import RunFiles
from segkit.training.build import build
from segkit.training.experiment import Experiment
from segkit.training.trainer import Trainer

TIMED_UPDATES = 2


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole run of a variant; `measured` if finished runs took that long."""

    seconds: float
    measured: bool


def count_iterations(plan: AblationPlan, states: Sequence[RunState]) -> dict[str, int]:
    """The length of every run. Each variant that has an unfinished one is built once, on the CPU: what only shows
    there (a file that is missing, a warm-up longer than the run) is known before the first run starts.

    Raises a SegkitError that lists what is wrong with which variants.
    """
    lengths = {state.run.variant: state.iteration for state in states if state.kind == FINISHED}
    unfinished = {state.run.variant for state in states if state.kind != FINISHED}
    failures: dict[str, tuple[SegkitError, list[str]]] = {}
    for variant in (variant for variant in plan.variants if variant in unfinished):
        try:
            lengths[variant] = _build_on_cpu(plan.run_of(variant).config).plan.iterations
        except SegkitError as error:
            failures.setdefault(str(error), (error, []))[1].append(variant)
    if failures:
        first = next(iter(failures.values()))[0]
        texts = [f"variant {', '.join(names)}: {text}" for text, (_, names) in failures.items()]
        raise type(first)("\n".join(texts)) from first
    return {state.run.name: lengths[state.run.variant] for state in states}


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
            say(f"timing    {variant}: {1 + TIMED_UPDATES} updates and a batch of validation")
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
        return [json.loads(run.summary.read_text(encoding="utf-8"))["seconds"]]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return []  # an estimate can do without


def time_run(config: Config, slot: Slot) -> float:
    """Seconds that the run would take, from one update to warm up, a few timed ones and a batch of validation."""
    threads = torch.get_num_threads()
    if slot.threads is not None:
        torch.set_num_threads(slot.threads)
    try:
        device = slot.device or config.device
        experiment = build(config.model_copy(update={"device": device}))
        return _extrapolate(experiment)
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


def _build_on_cpu(config: Config) -> Experiment:
    """Not on the GPU, where this process would hold memory that the runs need."""
    return build(config.model_copy(update={"device": "cpu"}))


def _extrapolate(experiment: Experiment) -> float:
    plan, workers = experiment.plan, experiment.workers
    experiment = replace(experiment, workers=0)  # loading and training are timed apart
    trainer = experiment.trainer(recorder=SilentRecorder(), save=lambda state, iteration, best: None)
    batches = iter(trainer.train_batches(0))
    loading, training = [], []
    for _ in range(min(1 + TIMED_UPDATES, plan.iterations)):
        started = time.perf_counter()
        micro_batches, waited = trainer.fetch(batches)
        float(trainer.update(micro_batches)["loss"])  # reading the value waits for the device
        loading.append(waited.seconds())
        training.append(time.perf_counter() - started - loading[-1])
    update = min(training) + min(loading) / (workers + 1)
    evaluations = math.ceil(plan.iterations / plan.evaluate_every) if plan.evaluate_every else 0
    return plan.iterations * update + evaluations * _time_evaluation(experiment, trainer, workers)


def _time_evaluation(experiment: Experiment, trainer: Trainer, workers: int) -> float:
    """Seconds of a pass over the validation set, from its first batch."""
    started = time.perf_counter()
    trainer.evaluate_model(limit=1)
    return (time.perf_counter() - started) * len(trainer.val_batches)
