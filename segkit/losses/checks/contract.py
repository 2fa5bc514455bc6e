"""The form of a loss: arguments, results, and nothing remembered between calls."""

import inspect
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segkit.losses.calls import find_method
from segkit.losses.checks.trial import NotApplicable, Subject, Violation, trials, watched

#: Calls between two looks at the value: enough for a loss that counts them to show it in its value.
CALLS = 25
#: What every module has, and whose objects are not looked into.
_MODULE = vars(nn.Module()).keys() - {"training"}
_LIBRARIES = {*sys.stdlib_module_names, "torch", "numpy"}


def result(subject: Subject) -> None:
    """Returns a floating-point scalar and a dict of metrics."""
    for trial in trials(subject):
        found = trial.run()
        if not found.value.is_floating_point():
            trial.fail(f"the value is {found.value.dtype}")
        if found.value.device.type != subject.device.type:
            trial.fail(f"the value is on {found.value.device}, the logits on {subject.device}")
        if not found.value.isfinite():
            trial.fail(f"the value of random logits is {found.value.item()}")
        if not isinstance(found.metrics, dict):
            trial.fail(f"the metrics are {type(found.metrics).__name__}, not a dict")
        for name, metric in found.metrics.items():
            if isinstance(metric, Tensor):
                if metric.shape not in ((), (trial.num_classes,)):
                    trial.fail(f"metric {name} has shape {tuple(metric.shape)}, not () or (num_classes,)")
            elif not isinstance(metric, float):
                trial.fail(f"metric {name} is {type(metric).__name__}, not a tensor or float")


def connected(subject: Subject) -> None:
    """The value is connected to the logits."""
    for trial in trials(subject):
        if trial.run().gradient.count_nonzero() == 0:
            trial.fail("the gradient of random logits is 0 everywhere")


def metrics_detached(subject: Subject) -> None:
    """The metrics are detached: logging keeps no graph alive."""
    for trial in trials(subject):
        for name, metric in trial.run().metrics.items():
            if isinstance(metric, Tensor) and metric.requires_grad:
                trial.fail(f"metric {name} requires grad -> .detach()")


def iteration_required(subject: Subject) -> None:
    """Iteration is keyword-only and has no default."""
    trial = next(trials(subject))
    parameter = inspect.signature(trial.loss.forward).parameters.get("iteration")
    if parameter is None:
        raise Violation("forward has no parameter iteration")
    if parameter.default is not parameter.empty:
        raise Violation(f"iteration has the default {parameter.default!r}: to forget it is no error")
    if parameter.kind is not parameter.KEYWORD_ONLY:
        raise Violation("iteration can be given by position -> def forward(..., weight=None, *, iteration)")
    try:
        trial.loss(trial.logits, trial.target, trial.weight, **trial.made())
    except TypeError:
        return
    raise Violation("a call without iteration raises no TypeError")


def train_and_eval(subject: Subject) -> None:
    """The same value and gradient in train and eval mode."""
    for trial in trials(subject):
        first = trial.changed(loss=trial.loss.train()).run()
        second = trial.changed(loss=trial.loss.eval()).run()
        trial.expect_value(second.value, first.value, "eval mode", tolerance=0)
        trial.expect_gradient(second.gradient, first.gradient, "eval mode")
        trial.loss.train()


def repeated_calls(subject: Subject) -> None:
    """The same value however often it is called, and whatever came between."""
    for trial in trials(subject):
        fresh = trial.changed(loss=subject.build(trial.num_classes))
        first = fresh.value()
        other = fresh.changed(logits=trial.logits.flip(0), iteration=trial.iteration + 1)
        for number in range(2, CALLS + 2):
            value = fresh.value()
            if value != first:
                trial.fail(f"call {number}: {value.item():.6g} instead of {first.item():.6g}")
            other.value()


def keeps_no_state(subject: Subject) -> None:
    """A call with the same arguments changes nothing inside the loss."""
    for trial in trials(subject):
        trial.run()  # what a loss prepares at its first call, and keeps, is no state
        before = dict(contents(trial.loss))
        trial.run()
        after = dict(contents(trial.loss))
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                trial.fail(f"a call changes {name} from {before.get(name)} to {after.get(name)}")


def leaves_inputs(subject: Subject) -> None:
    """Logits, target and weight map are left as they were."""
    for trial in trials(subject):
        logits = (
            trial.logits.detach().requires_grad_().clone()
        )  # no leaf, so that writing into it raises nothing
        target, weight = trial.target.clone(), None if trial.weight is None else trial.weight.clone()
        pairs = [("logits", logits, trial.logits), ("target", target, trial.target)]
        if weight is not None and trial.weight is not None:
            pairs.append(("weight", weight, trial.weight))
        with watched(trial.where):
            value, _ = trial.loss(logits, target, weight, iteration=trial.iteration, **trial.made())
            value.backward()
        for name, used, kept in pairs:
            if not torch.equal(used, kept):
                place = tuple((used != kept).nonzero()[0].tolist())
                trial.fail(
                    f"{name}{list(place)} was {kept[place].item():.4g} and is {used[place].item():.4g} after the call"
                )


def no_random_numbers(subject: Subject) -> None:
    """Draws no random numbers: resuming and comparing runs stay exact."""
    for trial in trials(subject):
        before = _generators()
        trial.run()
        for name, state in _generators().items():
            if state != before[name]:
                trial.fail(f"draws from the global generator of {name}")


def without_gradient(subject: Subject) -> None:
    """The same value under no_grad, where logits need none."""
    for trial in trials(subject):
        expected = trial.run().value
        with torch.no_grad():
            trial.expect_value(trial.value(), expected, "under no_grad")


def pixel_report(subject: Subject) -> None:
    """Maps of pixels() have the target's size, and are 0 at ignored pixels."""
    for trial in trials(subject):
        pixels = find_method(trial.loss, "pixels")
        if pixels is None:
            raise NotApplicable("it has no pixels()")
        with watched(trial.where):
            report = pixels(trial.logits, trial.target, trial.weight, iteration=trial.iteration)
        if not torch.equal(report.valid, trial.valid):
            trial.fail("pixels().valid is not where the target is valid")
        for name, found in (("loss", report.loss), ("kept", report.kept)):
            if found.shape != trial.target.shape or found.requires_grad:
                trial.fail(f"pixels().{name} has shape {tuple(found.shape)}, or a gradient")
            if found[~trial.valid].count_nonzero():
                trial.fail(f"pixels().{name} is not 0 at an ignored pixel")


CHECKS = (
    result,
    connected,
    metrics_detached,
    iteration_required,
    train_and_eval,
    repeated_calls,
    keeps_no_state,
    leaves_inputs,
    no_random_numbers,
    without_gradient,
    pixel_report,
)


def contents(thing: Any, name: str = "", seen: tuple = ()) -> Iterator[tuple[str, str]]:
    """Every number, text and tensor that an object holds, by the names that lead to it."""
    if isinstance(thing, Tensor):
        yield name, f"{tuple(thing.shape)} {thing.detach().flatten().tolist()}"
    elif thing is None or isinstance(thing, bool | int | float | str):
        yield name, repr(thing)
    elif id(thing) in seen:
        return
    else:
        seen = (*seen, id(thing))
        for key, item in _items(thing):
            yield from contents(item, f"{name}.{key}" if name else str(key), seen)


def _items(thing: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(thing, nn.Module):
        own = {key: item for key, item in vars(thing).items() if key not in _MODULE}
        yield from {**own, **thing._parameters, **thing._buffers, **thing._modules}.items()
    elif isinstance(thing, dict):
        yield from thing.items()
    elif isinstance(thing, list | tuple):
        yield from enumerate(thing)
    elif type(thing).__module__.partition(".")[0] not in _LIBRARIES:
        yield from getattr(thing, "__dict__", {}).items()


def _generators() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
        "random": random.getstate(),
    }
