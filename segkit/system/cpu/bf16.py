"""Whether the processor computes in bf16."""

import functools
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

#: bf16 has to be so many times as fast as fp32. With units for it, a convolution is 1.6 to 3 times as fast; where it is
#: emulated it takes more than twice as long. What is between the two was measured beside other programs, and is
#: measured again, up to LOOKS times.
ENOUGH, EMULATED = 1.3, 0.8
ROUNDS, LOOKS = 4, 15


@functools.cache
def computes_bf16() -> bool:
    """Whether a 3x3 convolution, forward and backward, is clearly faster in bf16 than in fp32 on this CPU.

    Measured once in a process, for some 20 ms, or 300 where others disturb it, or where bf16 takes twelve times as long
    (a Zen 3, of AVX2 alone): what a processor is called does not say what it does in a virtual machine, and what oneDNN
    supports includes what it emulates. Neither torch's random numbers nor its settings change.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other, and so for whatever else the machine does
    calls = _convolution(torch.float32), _convolution(torch.bfloat16)
    fp32 = bf16 = float("inf")
    try:
        for _ in range(LOOKS):
            found = _shortest(*calls)
            fp32, bf16 = min(fp32, found[0]), min(bf16, found[1])
            if not EMULATED * bf16 <= fp32 < ENOUGH * bf16:
                break
    finally:
        torch.set_num_threads(threads)
    return fp32 >= ENOUGH * bf16


def _convolution(dtype: torch.dtype) -> Callable[[], object]:
    """Of the size of a small network's: 4 images of 32 x 32 pixels, 32 channels."""
    image = torch.full((4, 32, 32, 32), 0.5, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.full((32, 32, 3, 3), 0.01, dtype=dtype).to(memory_format=torch.channels_last)
    inputs = (image.requires_grad_(), weight.requires_grad_())

    def call() -> object:
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            # From a scalar: from anything else autograd imports sympy first.
            return torch.autograd.grad(F.conv2d(image, weight, padding=1).sum(), inputs)

    return call


def _shortest(*calls: Callable[[], object]) -> list[float]:
    """The shortest time of each call in seconds of this thread on a processor. They take turns; what took longer than
    it would have taken alone says nothing, and so the shortest counts, not the median."""
    for call in calls:  # the first call chooses a kernel
        call()
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for n, call in enumerate(calls):
            start = time.thread_time()
            call()
            best[n] = min(best[n], time.thread_time() - start)
    return best
