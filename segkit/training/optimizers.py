"""The optimizers a configuration can name (`optimizer.name`): those of `torch.optim`, under torch's own names
in small letters.

Left out are the ones that a plain training step cannot drive: LBFGS (needs a closure), SparseAdam (sparse
gradients only) and Muon (matrices only, so it refuses every bias and convolution).
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from segkit.registry import OPTIMIZERS

#: Name -> where it is written, so that its options are known before torch is loaded.
WRITTEN_IN = {
    "sgd": "torch.optim.sgd.SGD",
    "adam": "torch.optim.adam.Adam",
    "adamw": "torch.optim.adamw.AdamW",
    "nadam": "torch.optim.nadam.NAdam",
    "radam": "torch.optim.radam.RAdam",
    "adamax": "torch.optim.adamax.Adamax",
    "adadelta": "torch.optim.adadelta.Adadelta",
    "adagrad": "torch.optim.adagrad.Adagrad",
    "adafactor": "torch.optim._adafactor.Adafactor",
    "asgd": "torch.optim.asgd.ASGD",
    "rmsprop": "torch.optim.rmsprop.RMSprop",
    "rprop": "torch.optim.rprop.Rprop",
}

#: What every optimizer inherits, and what torch keeps out of compiled code.
INHERITED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def without_compiler(optimizer: type[Optimizer]) -> type[Optimizer]:
    """The same optimizer, without the wrappers by which torch keeps its methods out of what it compiles, and SGD with
    the momentum that it means to have.

    The wrappers do nothing else, and the first call of any of them loads torch's compiler, which takes most of a
    second. What segkit compiles is the model, never the optimizer.
    """
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(optimizer, name)) for name in INHERITED}
    step = inspect.unwrap(optimizer.step)
    methods["step"] = _without_gradients(_from_zeros(step) if optimizer is torch.optim.SGD else step)
    return type(
        optimizer.__name__, (optimizer,), {**methods, "__doc__": optimizer.__doc__, "__module__": __name__}
    )


def _without_gradients(step: Callable) -> Callable:
    """`step` as its wrapper calls it: gradients of the update itself are for `differentiable` alone."""

    def guarded(self: Optimizer, closure: Callable | None = None) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return step(self, closure)

    return guarded


def _from_zeros(step: Callable) -> Callable:
    """`step` of SGD, with momentum that is there before the first one where torch's fused kernel is to fill it.

    That kernel takes memory as it finds it, and where GradScaler has it skip the first update, that stays what later
    ones go on from. It also fails for a weight whose first gradient comes later than those of others. From zeros the
    first update is the same, but with dampening, which the first one is without: there `build_optimizer` sees to it.
    """

    def begun(self: Optimizer, closure: Callable | None = None) -> Any:
        for group in self.param_groups:
            if group["fused"] and group["momentum"] and not group["dampening"]:
                for parameter in group["params"]:
                    if self.state[parameter].get("momentum_buffer") is None:
                        self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return step(self, closure)

    return begun


for _name, _place in WRITTEN_IN.items():
    OPTIMIZERS.register(_name)(without_compiler(getattr(torch.optim, _place.rpartition(".")[2])))
