"""Finding the hardest pixels among many losses: ours beside a sort and topk."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from segkit.losses.selections import select_hardest

TASK = "scripts.bench.losses.selection:measure"
SORT, TOP_K, OURS = "sort", "topk", "select_hardest"
#: How losses may be spread; equal ones and zeros are what late training and saturated probabilities give.
SPREADS = ("random", "all equal", "99 % zeros")
LOSSES, SHARE = 2**20, 1 / 16


def bench_selection(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows for every spread."""
    count = 2**12 if settings.small else LOSSES
    rows = []
    for spread, allocator in itertools.product(SPREADS, settings.allocators):
        case = f"{count:,} losses, {spread}, k = 1/16 of them"
        tell(f"selection: {case}, allocator {allocator}")
        rounds = 5 * settings.rounds  # of milliseconds, which a median of few does not tell
        arguments = {"spread": spread, "count": count, "rounds": rounds, "device": settings.device}
        found = settings.measure(TASK, arguments, allocator=allocator)
        rows += rows_of(found, bench="selection", case=case, baselines=(SORT, TOP_K), allocator=allocator)
    return rows


def measure(*, spread: str, count: int, rounds: int, device: str) -> dict[str, Any]:
    """In one process: seconds of finding and averaging the k largest losses."""
    place = torch.device(device)
    losses = make_losses(spread, count).to(place)[None]  # (1, count)
    valid, k = torch.ones_like(losses, dtype=torch.bool), int(SHARE * count)
    calls = {
        SORT: lambda: losses.flatten().sort(descending=True).values[:k],
        TOP_K: lambda: losses.flatten().topk(k, sorted=False).values,
        OURS: lambda: select_hardest(losses, valid, k),
    }
    return {"seconds": time_in_turns(calls, rounds=rounds, device=place)}


def make_losses(spread: str, count: int) -> Tensor:
    """(count,) fp32 losses >= 0."""
    generator = torch.Generator().manual_seed(0)
    losses = -torch.rand(count, generator=generator).clamp_min(1e-6).log()
    if spread == "all equal":
        return torch.full_like(losses, 0.5)
    if spread == "99 % zeros":
        return losses * (torch.rand(count, generator=generator) < 0.01)
    return losses
