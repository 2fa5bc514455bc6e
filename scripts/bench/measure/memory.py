"""The most memory that a call holds at a time, beyond what was held before it."""

from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], *, device: torch.device) -> int:
    """Bytes, as torch's own allocator counts them: what operations use inside themselves is included.

    Call it once before, so that what is made once and kept does not count.
    """
    if device.type == "cuda":
        return _peak_on_cuda(call, device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = [
        (event.start_ns(), event.nbytes())
        for event in recorded.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = most = 0
    for _, size in sorted(events, key=lambda event: event[0]):  # in order of time; what is freed is negative
        held += size
        most = max(most, held)
    return most


def _peak_on_cuda(call: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
