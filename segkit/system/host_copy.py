"""Tensors on their way between the device and the host, without anybody waiting on the way."""

from collections.abc import Mapping
from typing import Any

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


class DeviceCopies:
    """Copies batches from the host to one device.

    To a GPU by a stream of its own, from pinned memory: it copies while it computes what it was given before, and waits
    for the copy before what it is given next. The program waits for neither. Elsewhere tensors are moved at once.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self._stream: torch.cuda.Stream | None = None

    def copy(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with its tensors on the device, to be used on the present stream."""
        if self.device.type != "cuda":
            return self._move(batch)
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(self._stream):
            moved = self._move(batch)
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self._stream)
        for value in moved.values():
            if isinstance(value, Tensor):
                value.record_stream(current)  # else a later copy could get its memory while it is read
        return moved

    def _move(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }
