"""A network to a program of torch.export that takes images of any number and size, or of one size."""

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from segkit.errors import ConfigError, SegkitError
from segkit.system.memory import lacks_memory

#: Settings of torch's symbolic sizes, which it makes at run time and describes to no type checker.
_SYMBOLIC: Any = importlib.import_module("torch.fx.experimental._config")

#: Where torch works out the sizes of what operators return.
_SIZES: Any = importlib.import_module("torch._meta_registrations")

#: Height and width of the example. From an odd size every halving of a U-Net has something to cut on its way up, which
#: is what a program has to know of: from an even one the cut is left out, and with it every other size. No number is
#: computed of it.
EXAMPLE = (257, 385)
#: An odd size that is computed, to see whether the network takes others than its own.
ODD = (65, 97)


def trace(
    network: nn.Module, channels: int, size: tuple[int, int] | None, dtype: torch.dtype
) -> ExportedProgram:
    """The program of `network` for images (N, channels, H, W): of any N, H and W, or with `size` of that height and
    width alone.

    Raises ConfigError, with what torch says, for a network that takes one size alone, or cannot be exported.
    """
    if size is None:
        _require_any_size(network, channels, dtype)
    height, width = size or EXAMPLE
    free: dict[int, Any] = {0: Dim.DYNAMIC} if size else dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
    image = make_image((2, channels, height, width), dtype)
    try:
        # Nothing is concluded from the numbers of the example: not that there are two images, nor which sizes agree.
        with torch.no_grad(), _SYMBOLIC.patch(backed_size_oblivious=True), _plain_division():
            return torch.export.export(network, (image,), dynamic_shapes=(free,), strict=False)
    except Exception as error:  # torch's have no base of their own
        if isinstance(error, SegkitError) or lacks_memory(error):
            raise
        raise _refused(error, "cannot be exported", size) from error


@contextmanager
def _plain_division() -> Generator[None]:
    """In torch 2.11 pooling asks whether sizes are even, for a correction of floor division that Python's never needs,
    and what is so of the example becomes a condition of the program. Within this it does not ask, as in torch 2.14."""
    before = getattr(_SIZES, "div_rtn", None)
    if before is None:
        yield
        return
    _SIZES.div_rtn = lambda x, y: x // y
    try:
        yield
    finally:
        _SIZES.div_rtn = before


def _require_any_size(network: nn.Module, channels: int, dtype: torch.dtype) -> None:
    try:
        with torch.no_grad():
            network(make_image((1, channels, *ODD), dtype))
    except Exception as error:
        if isinstance(error, SegkitError) or lacks_memory(error):
            raise
        raise _refused(error, f"takes no images of {ODD[0]} x {ODD[1]}", None) from error


def _refused(error: Exception, what: str, size: tuple[int, int] | None) -> ConfigError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    advice = " -> if it is made for images of one size, --size H W" if size is None else ""
    return ConfigError(f"the network {what}: {reason}{advice}")


def make_image(shape: tuple[int, int, int, int], dtype: torch.dtype, *, seed: int = 0) -> Tensor:
    """Noise as an image (N, C, H, W): bytes, or floats as normalisation leaves them."""
    generator = torch.Generator().manual_seed(seed)
    if dtype == torch.uint8:
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return torch.randn(shape, generator=generator)
