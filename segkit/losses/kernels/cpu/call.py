"""A call of a kernel: the numbers that it reads, its threads, and their buffers."""

from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from segkit.losses.kernels.cpu.threads import choose_threads, run_threads

#: Codes of the dtypes of labels in the kernels.
TARGET_KINDS = {torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4}

#: Said wherever memory is made that the kernels get the address of: torch's defaults may be other ones.
CPU = torch.device("cpu")

#: No label: for an ignore_index that the target's dtype cannot hold, where it would wrap around to a class.
NO_LABEL = -(2**62)


class Call:
    """The numbers of a call of a kernel whose places are `slots`; `work` says how much it has to do, in logits."""

    def __init__(self, slots: type[IntEnum], work: int, **values: int):
        self.slots, self.work = slots, work
        self.numbers = np.zeros(slots["END"], dtype=np.int64)
        self.threads = choose_threads(work)
        self.set(**values)

    def set(self, **values: int) -> None:
        """Write numbers to places by name."""
        for name, value in values.items():
            self.numbers[self.slots[name]] = value

    def place(self, **tensors: Tensor) -> None:
        """Write the addresses of tensors that somebody keeps to places by name."""
        self.set(**{name: tensor.data_ptr() for name, tensor in tensors.items()})

    def set_target(self, target: Tensor, ignore_index: int) -> None:
        """Class ids of any integer dtype, contiguous."""
        limits = torch.iinfo(target.dtype)
        ignored = ignore_index if limits.min <= ignore_index <= limits.max else NO_LABEL
        kind = TARGET_KINDS[target.dtype]
        self.set(
            TARGET=target.data_ptr(), TARGET_KIND=kind, TARGET_BYTES=target.itemsize, IGNORE_INDEX=ignored
        )

    def run(self, kernel: int, *held: Tensor, buffer: int = 0) -> None:
        """Run a kernel with a buffer of so many bytes for each thread; `held`: what it reads and nothing else keeps."""
        size = -(-buffer // 64) * 64 + 64
        # Never more than before, for which there may be memory already.
        self.threads = min(self.threads, choose_threads(self.work))
        scratch = torch.empty(self.threads * size, dtype=torch.uint8, device=CPU)
        self.set(SCRATCH=scratch.data_ptr(), SCRATCH_BYTES=size)
        self.numbers[0] = self.numbers[8] = 0  # the counters
        run_threads(kernel, self.numbers.ctypes.data, self.threads)
