"""Tensors of a model that no checkpoint holds, and that are not the same when it is built again."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from segkit.errors import ConfigError


def refuse_lost_tensors(model: nn.Module, build: Callable[[], nn.Module], *, seed: int) -> None:
    """Raises ConfigError for tensors that whoever uses a checkpoint would draw anew, such as the frequencies of random
    Fourier features that are no buffer: the network would be another one, without a word.

    `build` makes the model as it is made for a checkpoint, and is called, with another `seed` than the model was built
    with, only if there are tensors that no checkpoint holds. torch's random numbers are left as they were.
    """
    unsaved = dict(_find_unsaved(model))
    if not unsaved:
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        again = dict(_find_unsaved(build()))
    lost = [name for name, tensor in unsaved.items() if name in again and _is_drawn_anew(tensor, again[name])]
    if lost:
        names = ", ".join(lost[:4]) + (f" and {len(lost) - 4} more" if len(lost) > 4 else "")
        raise ConfigError(
            f"model: no checkpoint would hold {names}, which are others each time that the model is built, so that it "
            "would predict something else than it was trained for\n   -> self.register_buffer(name, tensor), or the "
            "same numbers each time"
        )


def _find_unsaved(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Buffers that are not persistent, and tensors that are plain attributes, by their names."""
    saved = set(model.state_dict())
    for prefix, module in model.named_modules():
        parameters = [name for name, _ in module.named_parameters(recurse=False)]
        for key, value in {**dict(module.named_buffers(recurse=False)), **vars(module)}.items():
            name = f"{prefix}.{key}" if prefix else key
            # torch's weight_norm and spectral_norm compute `weight` of `weight_g` or `weight_orig` in each pass.
            computed = any(each.startswith(f"{key}_") for each in parameters)
            if isinstance(value, Tensor) and name not in saved and not computed:
                yield name, value


def _is_drawn_anew(tensor: Tensor, other: Tensor) -> bool:
    """Of another shape it is no drawing: then the model itself is built otherwise, which loading a checkpoint tells."""
    if tensor.is_meta or tensor.shape != other.shape or tensor.dtype != other.dtype:
        return False
    return not torch.equal(tensor.detach().nan_to_num(), other.detach().nan_to_num())
