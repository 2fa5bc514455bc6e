"""What a call of a loss costs whatever its size: forward and backward of logits so few that nothing else counts."""

from collections.abc import Callable
from typing import Any

import torch

from scripts.bench.losses import peers
from scripts.bench.losses.beside_plain import make_step
from scripts.bench.losses.loss_cases import Case, make_inputs
from scripts.bench.losses.loss_entries import OURS, PLAIN, call_peer, make_our_call
from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings

TASK = "scripts.bench.losses.overhead:measure"
#: A number instead of another call: what a loss may take.
LIMIT, LIMIT_SECONDS = "1 ms", 1e-3
CASE = Case(19, (64, 64), images=1)


def bench_overhead(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows for all four losses with the backend `auto`, and for plain cross-entropy."""
    rows = []
    rounds = 1 if settings.small else 20 * settings.rounds  # of less than a millisecond
    for allocator in settings.allocators:
        tell(f"overhead: {CASE.name}, allocator {allocator}")
        found = settings.measure(TASK, {"rounds": rounds, "device": settings.device}, allocator=allocator)
        names = {"bench": "overhead", "case": CASE.name, "allocator": allocator}
        made = rows_of(found, baselines=(LIMIT,), on_gpu=settings.device.startswith("cuda"), **names)
        rows += [row for row in made if row.entry != LIMIT]
    return rows


def measure(*, rounds: int, device: str) -> dict[str, Any]:
    """In one process: seconds of forward + backward, and the limit among them, which ratios are taken to."""
    place = torch.device(device)
    inputs = make_inputs(CASE, place)
    calls = {f"{name}, auto": make_our_call(name, "auto", CASE, inputs) for name in OURS}
    calls[PLAIN] = lambda: call_peer(peers.plain, CASE, inputs)
    steps = {name: make_step(call, inputs) for name, call in calls.items()}
    return {"seconds": {LIMIT: LIMIT_SECONDS, **time_in_turns(steps, rounds=rounds, device=place)}}
