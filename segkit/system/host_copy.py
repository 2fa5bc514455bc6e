"""Tensors on their way from the device to the host, without anybody waiting on the way."""

import torch
from torch import Tensor


class HostCopy:
    """Copies of tensors that were just computed, all on one device, in host memory.

    A GPU copies when it is through with what makes them; the program goes on meanwhile and asks for the copies later.
    Elsewhere they are made at once: on a CPU they are the tensors themselves, and MPS cannot say when it is done.
    """

    def __init__(self, *tensors: Tensor):
        on_gpu = bool(tensors) and tensors[0].is_cuda
        self._copies = [tensor.to("cpu", non_blocking=on_gpu) for tensor in tensors]
        self._done: torch.cuda.Event | None = None
        if on_gpu:
            self._done = torch.cuda.Event()
            self._done.record(torch.cuda.current_stream(tensors[0].device))

    def wait(self) -> list[Tensor]:
        """The copies, once they are complete."""
        if self._done is not None:
            self._done.synchronize()
        return self._copies
