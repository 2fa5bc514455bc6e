"""A saved state of an optimizer, made to fit the run that goes on with it."""

from typing import Any

import torch
from torch import Tensor

#: What a parameter group says about which of torch's implementations it runs on.
KERNELS = ("fused", "foreach")


def fit_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state for loading into `optimizer`, in which that is left as it is which no result depends on.

    These are torch's implementation, which not every run has (a sharded one lacks some), and the order in memory: the
    fused ones go through weights, gradients and moments side by side without looking at their strides, so that moments
    in the order of another run would meet the wrong weights.
    """
    saved, own = state["param_groups"], optimizer.param_groups
    if [len(group["params"]) for group in saved] != [len(group["params"]) for group in own]:
        return state  # which torch refuses to load
    groups = [
        {**theirs, **{key: ours[key] for key in KERNELS if key in ours and key in theirs}}
        for theirs, ours in zip(saved, own, strict=True)
    ]
    parameters = {
        number: parameter
        for theirs, ours in zip(saved, own, strict=True)
        for number, parameter in zip(theirs["params"], ours["params"], strict=True)
    }
    values = {
        number: {key: _in_order_of(parameters[number], value) for key, value in kept.items()}
        for number, kept in state["state"].items()
    }
    return {"state": values, "param_groups": groups}


def _in_order_of(parameter: Tensor, value: Any) -> Any:
    if (
        not isinstance(value, Tensor)
        or value.shape != parameter.shape
        or value.stride() == parameter.stride()
    ):
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
