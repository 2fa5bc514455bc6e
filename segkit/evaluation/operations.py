"""Counting the floating-point operations of what is computed."""

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

#: What the names of the operators have in common whose operations torch knows.
COUNTED = re.compile("conv|mm|attention")


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
        except Exception:  # the model's, which raises it again below, or of what only torch can count
            pass
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        return compute(), counter.get_total_flops()


class _Sum(TorchDispatchMode):
    """Adds up the operations of what runs within it in `total`; fails at an operator that holds a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled in here, so nothing has to be kept from being compiled

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        formula = _find_formula(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def _find_formula(operator: Any) -> Callable[..., int] | None:
    """How to count an operator, None if torch counts nothing for it."""
    if operator is torch.ops.aten.convolution:
        return _count_convolution
    if not COUNTED.search(operator.__name__):
        return None
    from torch.utils.flop_counter import flop_registry  # loads triton where there is a CUDA build of torch

    return flop_registry.get(operator)


def _count_convolution(
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    *rest: Any,
    out_val: Tensor,
) -> int:
    """As torch counts it: every place of the output (of the input, if transposed) has every weight once."""
    places = (image if transposed else out_val).shape[2:]
    return 2 * image.shape[0] * math.prod(places) * weight.numel()
