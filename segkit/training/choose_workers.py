"""`train.workers: auto`: how many processes load data, from what loading and an update take on this machine.

Batches do not depend on it, so that it may come out differently whenever a run is started or resumed.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch

from segkit.data.loading.view import TrainView
from segkit.evaluation.model_output import output_logits
from segkit.system.environment import usable_cpus
from segkit.training.experiment import Experiment

MOST = 8
#: Seconds of one image or forward pass that are long enough to be known by a single one.
LONG = 0.15
#: Seconds of several that are enough to know what one takes.
ENOUGH = 0.05
#: Seconds of an update, in forward passes.
PASSES = 3.0


def with_chosen_workers(experiment: Experiment) -> Experiment:
    """The experiment with the number that suits it, and why, if its configuration leaves it to us."""
    if experiment.config.train.workers != "auto":
        return experiment
    if experiment.config.train.compile:  # the network would be compiled once more, for this alone
        return replace(experiment, workers_why="auto: not measured with train.compile")
    device, threads = experiment.device, torch.get_num_threads()
    cores = max(1, usable_cpus() // experiment.ranks.local_world)
    loading = time_loading(experiment)
    forward = time_forward(experiment)
    workers = choose_workers(
        loading / (PASSES * forward), cores=cores, free=cores - threads if device.type == "cpu" else cores
    )
    why = f"auto: {1e3 * loading:.2g} ms an image in one process, {1e3 * PASSES * forward:.2g} ms an update of it"
    if device.type == "cpu":
        why += f", {threads} of {cores} cores train"
    return replace(experiment, workers=workers, workers_why=why)


def choose_workers(share: float, *, cores: int, free: int) -> int:
    """Processes that load, where loading an image in one of them takes `share` of an update with it.

    `free` of the `cores` are not needed for the update: all of them on a GPU, which must never wait. A process on a
    core that also trains holds up all that train, for as long as it loads: so either nothing is won by having one, or
    several share the loading until each takes a tenth of an update.
    """
    if free >= cores:
        return min(MOST, cores, max(1, math.ceil(1.5 * share)))
    if free > 0:
        return min(MOST, free, math.ceil(share)) if share > 0.02 else 0
    return min(MOST, cores, math.ceil(10 * share)) if share > 0.1 and cores > 1 else 0


def time_loading(experiment: Experiment) -> float:
    """Seconds that an image takes in this process. Those of the first batch, which were read before: a file that
    cannot be used is none of them."""
    data, config = experiment.data, experiment.config
    view = TrainView(
        data.train,
        weight_map=data.weight_map,
        augment=data.augment,
        seed=config.seed,
        skip_bad=config.data.skip_bad,
        label_maps=experiment.label_maps,
    )
    places = experiment.first_places()
    return _time(lambda place: view.load(place), [*places, *places, *places])


@torch.no_grad()
def time_forward(experiment: Experiment) -> float:
    """Seconds of a forward pass for one image, in batches as large as is quickly tried."""
    model, device, plan = experiment.model, experiment.device, experiment.plan
    shape = (experiment.data.train.channels, *experiment.image_size)
    was_training = model.training
    model.eval()

    def forward(count: int) -> None:
        image = torch.zeros(count, *shape, dtype=torch.uint8, device=device)
        with torch.autocast(device.type, dtype=plan.amp_dtype, enabled=plan.amp_dtype is not None):
            logits = output_logits(model(experiment.preprocess(image)))
        float(logits.flatten()[0])  # waits for the device

    try:
        seconds = _time(forward, [1, 1, 1])
        whole = experiment.images_per_process
        if seconds * whole < 2 * LONG:  # one image alone does not keep all threads busy, nor a GPU
            seconds = min(seconds, _time(forward, [whole, whole, whole]) / whole)
    finally:
        model.train(was_training)
    return seconds


def _time(call: Callable[[Any], Any], arguments: Iterable[Any]) -> float:
    """Mean seconds of a call without the first, of as many as it takes to know; of the first if that takes long."""
    first, total, count = 0.0, 0.0, 0
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        taken = time.perf_counter() - started
        if not first:
            first = taken
            if first > LONG:
                return first
            continue
        total, count = total + taken, count + 1
        if total > ENOUGH:
            break
    return total / count if count else first
