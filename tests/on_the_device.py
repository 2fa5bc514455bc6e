"""What operations do to tensors without values: whether the host waits, what is made, and how much memory it takes."""

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ASKS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


def tensors_in(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class OnTheDevice(TorchDispatchMode):
    """Refuses operations that have the host and the device meet. A number as a 0-d tensor on the host is no such thing:
    it is an argument of the operation, and what is done to such numbers alone is the host's business."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = tensors_in(args, kwargs, result)
        here = [tensor for tensor in tensors if tensor.device.type == "cpu"]
        large = [tensor for tensor in here if tensor.ndim > 0]
        assert not large, f"{function} takes a tensor on the host, or makes one"
        if len(here) == len(tensors):
            return result
        # Its other indices are numbers, and the shape of what they take is theirs.
        by_number = function is torch.ops.aten.index.Tensor and all(
            index is None or index.dtype == torch.int64 for index in args[1]
        )
        assert by_number or not ASKS & set(function.tags), f"{function} asks for values"
        if function is torch.ops.aten._to_copy.default:
            assert args[0].device == result.device, f"{function} copies between host and device"
        return result


class Made(TorchDispatchMode):
    """Notes what operations make: `dtypes` {(dtype, number of entries): operation}, and `peak`, the largest number of
    bytes that are there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: dict[tuple[torch.dtype, int], str] = {}
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {tensor.untyped_storage()._cdata for tensor in tensors_in(args, kwargs)}
        result = function(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            storage = tensor.untyped_storage()
            if storage._cdata in given:
                continue
            self.dtypes[tensor.dtype, tensor.numel()] = str(function)
            self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {key: each for key, each in self._alive.items() if not each[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return result
