"""A model whose parameters, gradients and optimizer state are spread over the processes: torch's `fully_shard`.

Each process keeps its part of every tensor, cut along the first dimension. A block of the model is whole while it
computes, and no longer. Nothing of torch.distributed is imported before a model is sharded, which takes seconds.
"""

from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segkit.distributed.ranks import Ranks
from segkit.errors import ConfigError, SegkitError

#: The share of all parameters from which on a part of the model is gathered by itself.
SMALLEST_BLOCK = 1 / 50


class ShardedModel(nn.Module):
    """A model, sharded in place over all of `ranks`; its parameters are others afterwards.

    Its forward pass is one that all processes take part in, unless it is within `gathered`. So is every method here
    but `distribute`. Raises ConfigError for a model that cannot be cut.
    """

    def __init__(self, model: nn.Module, ranks: Ranks, device: torch.device):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        super().__init__()
        _refuse_scalars(model)
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()  # torch cuts no other memory format
        with torch.no_grad():
            ranks.broadcast([*model.parameters(), *model.buffers()])
        mesh = init_device_mesh(device.type, (ranks.world,))
        for block in find_blocks(model):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        # Backward begins with what is left over, which stays as it is.
        fully_shard(model, mesh=mesh, reshard_after_forward=False)
        self.module, self.ranks, self.mesh = model, ranks, mesh
        self._shards: list[Any] = [module for module in model.modules() if isinstance(module, FSDPModule)]
        self._whole = False

    def forward(self, image: Tensor) -> Any:
        """What the model gives."""
        return self.module(image)

    @contextmanager
    def gathered(self) -> Generator[None]:
        """Within, every process has the whole model: it runs without the others, as often as it likes, but is not
        trained."""
        if self._whole:
            yield
            return
        self.gather()
        try:
            yield
        finally:
            self._whole = False
            for shard in self._shards:
                shard.set_reshard_after_forward(shard is not self.module, recurse=False)
                shard.reshard()

    def gather(self) -> None:
        """Have the whole model in every process from now on."""
        for shard in self._shards:
            shard.set_reshard_after_forward(False, recurse=False)
            shard.unshard()
        self._whole = True

    def join(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """A state (dicts and lists around tensors and plain values) with whole tensors for the parts in it: those of a
        model that is in one process. Only the main process keeps them, in host memory; the others' are empty.

        Raises SegkitError where this process has left the others, and their parts with them.
        """
        if not self.ranks.connected:
            raise SegkitError(
                "a sharded model is put together by all its processes, and this one has left the others"
            )
        return self._join(state)

    def _join(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            whole = whole_tensor(value)
            return whole.cpu() if self.ranks.main else whole.new_empty(0)
        if isinstance(value, Mapping):
            joined: Any = {key: self._join(item) for key, item in value.items()}
            if isinstance(value, OrderedDict):  # of a module, with the versions of its layers
                joined = OrderedDict(joined)
                joined.__dict__.update(value.__dict__)
            return joined
        return type(value)(map(self._join, value)) if isinstance(value, list | tuple) else value

    def distribute(self, state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The reverse, of a trainer's state that every process has all of: each gets its parts of `state["model"]`
        and of `state["optimizer"]`, which is that of `optimizer`."""
        parameters: dict[str, Any] = dict(self.module.named_parameters())
        model = {
            name: _part_of(value, parameters[name]) if name in parameters else value
            for name, value in state["model"].items()
        }
        ordered = [each for group in optimizer.param_groups for each in group["params"]]
        kept = {
            number: {key: _part_of(value, ordered[number]) for key, value in values.items()}
            for number, values in state["optimizer"]["state"].items()
        }
        return {**state, "model": model, "optimizer": {**state["optimizer"], "state": kept}}


def whole_tensor(tensor: Any) -> Tensor:
    """The tensor of which every process has a part; one that is no such tensor is returned as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _part_of(value: Any, parameter: Any) -> Any:
    """This process's part of a whole tensor that is cut as `parameter` is; a value of another shape (a number of
    updates) is every process's own."""
    from torch.distributed.tensor import distribute_tensor

    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    value = value.to(parameter.device).contiguous()  # as the parameter is
    # Without a source of the data, each takes its part of what it has.
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def find_blocks(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that are gathered by themselves: its larger children, and the larger ones in lists of them.

    What is left over belongs to the model itself, and that is never nothing: torch prefetches in backward what came
    last before this forward pass, and where that was an evaluation, of which not every process has a part, only the
    model itself, whole all the time, is prefetched by nobody. Of a model that shares parameters between modules
    nothing is gathered by itself: one module would not have them while it computes.
    """
    if len(list(model.parameters())) < len(list(model.named_parameters(remove_duplicate=False))):
        return []
    blocks = [block for child in model.children() for block in _split(child, _count(model) * SMALLEST_BLOCK)]
    if sum(map(_count, blocks)) == _count(model):
        blocks.remove(min(blocks, key=_count))
    return blocks


def _split(module: nn.Module, least: float) -> Iterator[nn.Module]:
    if _count(module) < least:
        return
    parts: list[nn.Module] = []
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        parts = [part for child in module.children() for part in _split(child, least)]
        if (
            not parts and type(module).forward is nn.Module.forward
        ):  # nobody calls it, so it is never gathered
            return
    yield from parts or [module]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _refuse_scalars(model: nn.Module) -> None:
    names = [name for name, parameter in model.named_parameters() if parameter.ndim == 0]
    if names:
        raise ConfigError(
            f"train.shard: parameters without a dimension cannot be cut: {', '.join(names[:4])}"
            " -> give them the shape (1,)"
        )
