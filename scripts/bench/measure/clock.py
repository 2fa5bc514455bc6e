"""Seconds of several calls, taken in turns."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def time_in_turns(
    calls: Mapping[str, Callable[[], object]], *, rounds: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of each call over `rounds`, in each of which every one runs once, after one round unmeasured.

    What slows the machine down for a while slows all of them down, and their ratios stay.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            taken = _time(call, device)
            if turn:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _time(call: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    started = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - started


def wait_for(device: torch.device) -> None:
    """Wait until a CUDA device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
