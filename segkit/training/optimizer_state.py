"""The state of an optimizer: a saved one, made to fit the run that goes on with it, and what fused SGD begins with."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segkit.errors import CheckpointError

#: What a parameter group says about which of torch's implementations it runs on.
KERNELS = ("fused", "foreach")
#: By what the learning rate of a group is multiplied.
FACTOR = "lr_factor"
#: Options without which an optimizer keeps less, so that they cannot be switched on later.
KEEP_MORE = ("amsgrad", "centered", "momentum")
#: Optimizers that keep the same, so that one can go on with what another has left.
KIN = ({"adam", "adamw"},)
#: What torch's optimizers keep of each number of a weight, by its name in their states.
OF_EACH_NUMBER = (
    *("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg", "grad_avg"),
    *("acc_delta", "sum", "variance", "prev", "step_size", "ax"),
)
#: What to do with a state that is of no use.
ANEW = "   -> a new run that begins with the weights alone: model.init_from"


def find_unfit(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The keys of an `optimizer` block, with both values, that keep the state which the one before has left from being
    used by the one after."""
    names = before.get("name"), after.get("name")
    if names[0] != names[1] and not any({*names} <= kin for kin in KIN):
        return {"name": names}
    unfit = {
        key: (before.get(key), after[key]) for key in KEEP_MORE if after.get(key) and not before.get(key)
    }
    groups = before.get("groups") or {}, after.get("groups") or {}
    return unfit if _division(groups[0]) == _division(groups[1]) else {**unfit, "groups": groups}


def refuse_unfit(before: Mapping[str, Any], after: Mapping[str, Any], checkpoint: object) -> None:
    """Raises CheckpointError for what `find_unfit` finds in the `optimizer` blocks of two configurations, and for
    other frozen parts of the model: a state goes by the order of what is trained, and knows no names."""
    found = find_unfit(before.get("optimizer", {}), after.get("optimizer", {}))
    unfit = {f"optimizer.{key}": values for key, values in found.items()}
    frozen = [config.get("model", {}).get("freeze") or [] for config in (before, after)]
    if _outermost(frozen[0]) != _outermost(frozen[1]):
        unfit["model.freeze"] = frozen[0], frozen[1]
    if unfit:
        lines = (f"   {key}: {old} -> {new}\n" for key, (old, new) in unfit.items())
        raise CheckpointError(
            f"what the optimizer keeps in {checkpoint} is of no use with\n{''.join(lines)}"
            "   -> restore these values, or begin a new run with the weights alone: model.init_from=RUN"
        )


def _outermost(parts: Sequence[str]) -> set[str]:
    """The parts that are not within another one."""
    return {part for part in parts if not any(part.startswith(f"{other}.") for other in parts)}


def _division(groups: Mapping[str, Any]) -> list[tuple[str, int]]:
    """What the order of the parameters in an optimizer depends on: the parts, in order, and of each whether factors
    rise from layer to layer (1), fall (-1), or are the same (0)."""
    ends = {part: factor if isinstance(factor, list) else [factor, factor] for part, factor in groups.items()}
    return [(part, (last > first) - (last < first)) for part, (first, last) in ends.items()]


def fit_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state for loading into `optimizer`, in which that is left as it is which the configuration says, and which
    no result depends on.

    The first are the options of its constructor and the factors of the learning rate: torch would load those of before.
    What an optimizer notes of its own beside them is of the state. The others are torch's implementation, which not
    every run has (a sharded one lacks some), and the order in memory: the fused ones go through weights, gradients and
    moments side by side without looking at their strides, so that moments in the order of another run would meet the
    wrong weights, and those of a smaller weight would be read beyond their end. Raises CheckpointError for a state of
    other parameters.
    """
    saved, own = state["param_groups"], optimizer.param_groups
    counts = [[len(group["params"]) for group in groups] for groups in (saved, own)]
    if counts[0] != counts[1]:
        raise CheckpointError(
            f"the state of the optimizer is of {counts[0]} parameters by group, and this one has {counts[1]}\n{ANEW}"
        )
    kept = {*KERNELS, FACTOR, *inspect.signature(type(optimizer)).parameters} - {"params"}
    groups = [
        {**theirs, **{key: ours[key] for key in kept if key in ours and key in theirs}}
        for theirs, ours in zip(saved, own, strict=True)
    ]
    parameters = {
        number: parameter
        for theirs, ours in zip(saved, own, strict=True)
        for number, parameter in zip(theirs["params"], ours["params"], strict=True)
    }
    for number, kept_of_it in state["state"].items() if _is_of_torch(optimizer) else ():
        _refuse_other_shapes(kept_of_it, parameters[number])
    values = {
        number: {key: _in_order_of(parameters[number], value) for key, value in kept.items()}
        for number, kept in state["state"].items()
    }
    return {"state": values, "param_groups": groups}


def _is_of_torch(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is one of torch's, or made of one: what others keep has their names."""
    return any(kind.__module__.startswith("torch.optim.") for kind in type(optimizer).__mro__[:2])


def _refuse_other_shapes(kept: Mapping[str, Any], parameter: Tensor) -> None:
    for key, value in kept.items():
        if key in OF_EACH_NUMBER and isinstance(value, Tensor) and value.shape != parameter.shape:
            raise CheckpointError(
                f"the state of the optimizer is of other parameters: '{key}' has the shape {tuple(value.shape)}, and "
                f"the parameter at its place {tuple(parameter.shape)}\n{ANEW}"
            )


def _in_order_of(parameter: Tensor, value: Any) -> Any:
    if (
        not isinstance(value, Tensor)
        or value.shape != parameter.shape
        or value.stride() == parameter.stride()
    ):
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def start_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give fused SGD a momentum of zeros for each parameter that has none yet, with which its first update is what it
    is without.

    Left to itself it makes the momentum in the first update, of memory as it comes, and leaves that unwritten where an
    update is skipped by loss scaling, as the first ones with fp16 usually are: the next update would go by whatever was
    there before (findings/the_momentum_of_a_skipped_update.sh). And it fails where a parameter has its first gradient
    later than others. With dampening zeros would make another first update, so there loss scaling is told to skip by
    not calling it, for which it waits for the device.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        if not group["fused"] or not group["momentum"]:
            continue
        if not group["dampening"]:
            for parameter in group["params"]:
                if optimizer.state[parameter].get("momentum_buffer") is None:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        else:
            vars(optimizer)["_step_supports_amp_scaling"] = False  # which torch's own constructor sets
