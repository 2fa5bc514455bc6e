"""Losses forward and backward: time and peak memory beside plain cross-entropy."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scripts.bench.losses.loss_cases import (
    ELEVEN,
    FULL,
    GPU,
    LOW,
    Case,
    Inputs,
    few_hard,
    in_bf16,
    make_inputs,
    shrink,
    tenth_hard,
)
from scripts.bench.losses.loss_entries import (
    BACKENDS,
    DEFINED,
    OURS,
    SORTED,
    baseline_of,
    build_loss,
    make_calls,
)
from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.memory import peak_bytes
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings

TASK = "scripts.bench.losses.beside_plain:measure"


@dataclass(frozen=True)
class Part:
    """A case with what is measured of it: our backends and losses, the losses of others or only the sorting one,
    memory."""

    case: Case
    allocator: str = "default"
    backends: tuple[str, ...] = BACKENDS
    losses: tuple[str, ...] = tuple(OURS)
    others: bool = True
    memory: bool = True


def parts_for(device: torch.device, *, small: bool, many_processes: bool) -> list[Part]:
    """What the bars ask of this device."""
    if device.type == "cuda":
        # Without `banded`, whose many small operations take a GPU 14 to 33 times as long as the baseline.
        parts = [Part(case, backends=("reference", "direct", "triton")) for case in GPU]
    else:
        parts = [*_parts_with_memory(), *_lean_parts("default")]
        if many_processes:  # the allocator of this process cannot be changed any more
            parts += _lean_parts("retained")
    return [replace(part, case=shrink(part.case)) for part in parts] if small else parts


def _parts_with_memory() -> list[Part]:
    """What is measured with glibc's defaults, on a CPU; the bytes do not depend on them."""
    parts = [Part(case) for case in (*FULL, *LOW)]
    parts += [Part(case, backends=("banded", "numba"), others=False) for case in in_bf16(LOW)]
    return [*parts, Part(ELEVEN, backends=("numba",), others=False)]


def _lean_parts(allocator: str) -> list[Part]:
    """Times alone, of what the bars ask with this allocator and `_parts_with_memory` does not say."""
    tenth = tenth_hard((FULL[0], ELEVEN))
    asked = [(few_hard(FULL), ("direct",), tuple(OURS)), (tenth, ("numba",), (DEFINED,))]
    if allocator == "retained":
        asked += [
            (FULL, ("direct", "numba"), tuple(OURS)),
            (LOW, ("numba",), tuple(OURS)),
            ([ELEVEN, replace(FULL[0], channels_last=True)], ("numba",), tuple(OURS)),
        ]
    return [
        Part(case, allocator, backends, losses, others=False, memory=False)
        for cases, backends, losses in asked
        for case in cases
    ]


def bench_losses(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows for every part; `tell` hears what is being measured."""
    device = torch.device(settings.device)
    rows = []
    for part in parts_for(device, small=settings.small, many_processes=settings.processes > 0):
        tell(f"losses: {part.case.name}, allocator {part.allocator}")
        arguments = {
            "case": asdict(part.case),
            "backends": part.backends,
            "losses": part.losses,
            "others": part.others,
            "memory": part.memory,
            "rounds": settings.rounds,
            "device": settings.device,
        }
        found = settings.measure(TASK, arguments, allocator=part.allocator)
        baselines = (baseline_of(part.case), SORTED)
        names = {"bench": "losses", "case": part.case.name, "allocator": part.allocator}
        made = rows_of(found, baselines=baselines, on_gpu=device.type == "cuda", **names)
        rows += [row for row in made if row.baseline != SORTED or row.entry.startswith("ohem_ce")]
        rows += [Row(**names, **each) for each in found[0].get("checks", [])]
    return rows


def measure(
    *,
    case: dict,
    backends: Sequence[str],
    losses: Sequence[str],
    others: bool,
    memory: bool,
    rounds: int,
    device: str,
) -> dict[str, Any]:
    """In one process: seconds of forward + backward, peak bytes, and how exact our backends are."""
    case = Case(**{**case, "size": tuple(case["size"])})
    place = torch.device(device)
    inputs = make_inputs(case, place)
    calls, missing = make_calls(case, inputs, backends=backends, losses=losses, others=others)
    steps = {name: make_step(call, inputs) for name, call in calls.items()}
    found: dict[str, Any] = {"seconds": time_in_turns(steps, rounds=rounds, device=place), "missing": missing}
    if memory:
        found["bytes"] = {name: peak_of(step, inputs, place) for name, step in steps.items()}
    if case.stride == 1 and "ohem_ce, reference" in calls:
        measured = [backend for backend in backends if backend != "reference" and f"ce, {backend}" in calls]
        pairs = itertools.product(("ce", "ohem_ce"), measured)
        found["checks"] = [check_exactness(name, backend, case, inputs) for name, backend in pairs]
    return found


def make_step(call: Callable[[], Tensor], inputs: Inputs) -> Callable[[], None]:
    """Forward and backward, the gradient written anew."""

    def step() -> None:
        inputs.logits.grad = None
        call().backward()

    return step


def peak_of(step: Callable[[], None], inputs: Inputs, device: torch.device) -> int:
    inputs.logits.grad = None  # else freeing the last gradient would count as memory won
    return peak_bytes(step, device=device)


def check_exactness(name: str, backend: str, case: Case, inputs: Inputs) -> dict[str, Any]:
    """The largest error of a backend against `reference`, of the value and of the gradient, the latter relative to the
    largest gradient, where both keep the same pixels; and whether a second run gives the same bits. Of a gradient in
    bf16 the last bit may differ."""
    losses = [build_loss(name, backend, case.classes) for backend in ("reference", backend, backend)]
    results = []
    for loss in losses:
        inputs.logits.grad = None
        value = loss(inputs.logits, inputs.target, iteration=10)[0]
        value.backward()
        kept = loss.pixels(inputs.logits, inputs.target, iteration=10).kept
        results.append((value.detach(), inputs.logits.grad, kept))
    (value, gradient, kept), (ours, our_gradient, our_kept), (again, gradient_again, _) = results
    alike = (kept == our_kept)[:, None]  # (N, 1, H, W)
    value_error = float((ours - value).abs() / value.abs())
    error = float(((our_gradient - gradient).abs() * alike).max() / gradient.abs().max())
    eps = torch.finfo(gradient.dtype).eps if gradient.dtype != torch.float32 else 0.0
    same = torch.equal(ours, again) and torch.equal(our_gradient, gradient_again)
    return {
        "entry": f"{name}, {backend}",
        "baseline": f"{name}, reference",
        "quantity": "error",
        "ratio": max(value_error / 2e-5, error / max(2e-4, eps)) if same else float("inf"),
        "note": f"value {value_error:.1e}, gradient {error:.1e}, two runs {'' if same else 'not '}equal in every bit",
    }
