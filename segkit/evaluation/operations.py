"""Counting the floating-point operations of what is computed."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry


def count_operations(compute: Callable[[], Tensor], *, plain: bool = True) -> tuple[Tensor, int]:
    """What `compute()` gives, and its operations by torch's own formulas (a multiply-add counts as two).

    torch's FlopCounterMode loads torch's compiler, which takes most of a second, so it is used only where more is asked
    of it than adding up: for operators that hold whole graphs, and for tensors that are not `plain`, such as those of
    a sharded model.
    """
    if plain:
        try:
            with _Sum() as counted:
                return compute(), counted.total
        except _HoldsGraph:
            pass
    with FlopCounterMode(display=False) as counter:
        return compute(), counter.get_total_flops()


class _HoldsGraph(Exception):
    """An operator such as `torch.cond`, whose operations depend on what is in it."""


class _Sum(TorchDispatchMode):
    """Adds up the operations of what runs within it in `total`."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, so nothing has to be kept from being compiled

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            raise _HoldsGraph
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out
