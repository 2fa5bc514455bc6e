"""Counting the floating-point operations of what is computed."""

import math
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

#: What the names of the operators have in common whose operations torch knows.
COUNTED = re.compile("conv|mm|attention")
#: Kernels that it counts nothing for, although it counts the same on another device.
ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_attention_math_for_mps",
    "_scaled_dot_product_fused_attention_overrideable",
)
DEFORMABLE = "torchvision.deform_conv2d"


def count_operations(compute: Callable[[], Tensor], *, plain: bool = True) -> tuple[Tensor, int]:
    """What `compute()` gives, and its operations by torch's own formulas (a multiply-add counts as two), and by one for
    attention, which on a CPU torch has none for.

    torch's FlopCounterMode loads torch's compiler, which takes most of a second, so it is used only where more is asked
    of it than adding up: for operators that hold whole graphs, and for tensors that are not `plain`, such as those of
    a sharded model.
    """
    with _attention_in_steps():
        if plain:
            try:
                with _Sum() as counted:
                    return compute(), counted.total
            except Exception:  # the model's, which raises it again below, or of what only torch can count
                pass
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False, custom_mapping=_more_formulas()) as counter:
            return compute(), counter.get_total_flops()


@contextmanager
def _attention_in_steps() -> Generator[None]:
    """Within, torch's layers of transformers compute by the operators that they train with. In evaluation a whole layer
    is a single one otherwise, which nobody counts."""
    mha: Any = torch.backends.mha
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


def _more_formulas() -> dict[Any, Callable[..., int]]:
    """The formulas that torch lacks, by their operators."""
    found: dict[Any, Callable[..., int]] = {
        getattr(torch.ops.aten, name): _count_attention for name in ATTENTION if hasattr(torch.ops.aten, name)
    }
    if hasattr(torch.ops.torchvision, "deform_conv2d"):
        found[torch.ops.torchvision.deform_conv2d] = _count_deformable
    return found


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
    if operator.__name__ in ATTENTION:
        return _count_attention
    if str(operator) == DEFORMABLE:
        return _count_deformable
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


def _count_attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any) -> int:
    """Every query meets every key, and every weight that comes of it a value; masks are not accounted for."""
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _count_deformable(image: Tensor, weight: Tensor, *rest: Any, out_val: Tensor) -> int:
    """As of a plain convolution, without the interpolation."""
    return 2 * image.shape[0] * math.prod(out_val.shape[2:]) * weight.numel()


for _formula in (_count_attention, _count_deformable):
    _formula.__dict__["_get_raw"] = True  # torch gives it tensors then, not their shapes
