"""Whether an exported file says what the network says, in every kind of size: the trap of such files."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segkit.commands.export.trace import make_image
from segkit.errors import ConfigError

Run = Callable[[Tensor], Tensor]

#: Even and odd heights and widths, more and fewer than the network's stride, upright and not; with one image and three.
SIZES = ((64, 96), (65, 96), (64, 97), (67, 93), (33, 47), (130, 64))
BATCHES = (1, 3)
#: By how much logits may differ, of the largest; and class ids of noise, as a share of the pixels.
LOGITS_TOLERANCE, IDS_TOLERANCE = 1e-3, 1e-3


@torch.no_grad()
def sweep(
    network: nn.Module,
    run: Run,
    channels: int,
    size: tuple[int, int] | None,
    dtype: torch.dtype,
    *,
    tolerance: float = LOGITS_TOLERANCE,
) -> int:
    """Compare `run` with `network` on noise of each of the sizes, or of `size` alone, and return how many cases there
    were. Raises ConfigError, naming the size, at the first that differs by more than `tolerance` or fails."""
    cases = [(count, *each) for each in ([size] if size else SIZES) for count in BATCHES]
    for count, height, width in cases:
        image = make_image((count, channels, height, width), dtype, seed=height * width)
        wanted = network(image)
        problem = find_problem(wanted, run, image, tolerance)
        if problem is not None:
            shape = f"{count} {'image' if count == 1 else 'images'} of {height} x {width}"
            advice = "" if size else " -> if the network is made for images of one size, --size H W"
            raise ConfigError(
                f"the exported file is not the network: of {shape} {problem}; nothing is kept{advice}"
            )
    return len(cases)


def find_problem(wanted: Tensor, run: Run, image: Tensor, tolerance: float) -> str | None:
    """How what `run` makes of the image differs from what is wanted, None if it does not."""
    try:
        found = run(image)
    except Exception as error:  # of ONNX Runtime or of an exported program: either way it is no good
        return f"it makes nothing ({str(error).strip().partition(chr(10))[0]})"
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return f"it makes {found.dtype} {tuple(found.shape)}, and that {wanted.dtype} {tuple(wanted.shape)}"
    if wanted.is_floating_point():
        most = largest_difference(found, wanted)
        if not most <= tolerance * max(1.0, float(wanted.abs().max())):
            return f"its logits differ by {most:.2g}"
        return None
    share = float((found != wanted).double().mean())
    return None if share <= IDS_TOLERANCE else f"{share:.2%} of its class ids differ"


def largest_difference(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute difference; NaN where one of them is NaN."""
    return float((found - wanted).abs().max())
