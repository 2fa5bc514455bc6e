"""The views of an image that are averaged, and what is said of each pixel then."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.data.sample import resize_image
from segkit.evaluation.calibration import Calibration
from segkit.evaluation.model_output import output_logits
from segkit.evaluation.upsampled_scores import PixelScores, predict_pixels, score_pixels
from segkit.evaluation.views.tiles import Blend, Block, blend_tiles, lay_out

#: Logits (N, K, h, w) and a size (H, W) -> something of each pixel (N, ..., H, W).
PixelFunction = Callable[[Tensor, tuple[int, int]], Tensor]
#: A uint8 image (N, C, H, W) on its device -> the output of a model, preprocessing and autocast included.
Forward = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Views:
    """How an image is shown to a network.

    `tile`: height and width in pixels of the tiles that it is cut into, None for the whole image at once; `overlap`:
    the least share of a tile that it has in common with the next; `blend`: by which weights tiles are averaged. Each is
    shown in the sizes `scales`, and with `flip` also mirrored from left to right. What is averaged are logits, that is,
    the geometric mean of the probabilities is taken. `resize`: the height and width that an image is brought to before
    all that, in uint8 as data sets do it; None: it is shown as it is.
    """

    tile: tuple[int, int] | None = None
    overlap: float = 0.25
    blend: Blend = "gaussian"
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    resize: tuple[int, int] | None = None

    @property
    def plain(self) -> bool:
        """Whether the network sees the whole image, in one size, and nothing else."""
        return self.tile is None and not self.changed

    @property
    def changed(self) -> bool:
        """Whether it sees more of an image or a tile than this itself."""
        return self.flip or self.scales != (1.0,)

    def bring(self, images: Tensor) -> Tensor:
        """uint8 images (N, C, H, W) in the size that they are shown in."""
        return images if self.resize is None else resize_image(images, self.resize)

    def logits(self, forward: Forward, images: Tensor) -> Tensor:
        """The logits (N, K, h, w) of uint8 images (N, C, H, W) on their device: of a plain view in the size that the
        model gives them, else in that in which the images are shown."""
        images = self.bring(images)
        if self.plain:
            return output_logits(forward(images))
        whole: Tensor | None = None
        for (rows, columns), logits in self.blocks(forward, images):
            if whole is None:
                whole = logits.new_empty(*logits.shape[:2], *images.shape[-2:])
            whole[..., rows, columns] = logits
        assert whole is not None
        return whole

    def blocks(self, forward: Forward, images: Tensor) -> Iterator[tuple[Block, Tensor]]:
        """The same block by block, see `blend_tiles`, of images that have the size in which they are shown."""
        height, width = images.shape[-2:]
        tile = self.tile or (height, width)
        rows, columns = (
            lay_out(pixels, length, self.overlap, self.blend, device=images.device)
            for pixels, length in zip((height, width), tile, strict=True)
        )
        yield from blend_tiles(lambda part: self._look(forward, part), images, rows, columns)

    def _look(self, forward: Forward, images: Tensor) -> Tensor:
        """The mean of the logits of all views of `images` (N, C, h, w), at that size, in fp32."""
        size = (images.shape[-2], images.shape[-1])
        total: Tensor | None = None
        for scale in self.scales:
            scaled = tuple(max(1, round(pixels * scale)) for pixels in size)
            shown = images if scale == 1 else resize_image(images, (scaled[0], scaled[1]))
            for mirrored in (False, True) if self.flip else (False,):
                logits = output_logits(forward(shown.flip(-1) if mirrored else shown)).float()
                if logits.shape[-2:] != size:
                    logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
                logits = logits.flip(-1) if mirrored else logits
                total = logits if total is None else total.add_(logits)
        assert total is not None
        return total if not self.changed else total.div_(len(self.scales) * (1 + self.flip))


#: The whole image, as it is.
WHOLE = Views()


@torch.no_grad()
def score_views(
    forward: Forward,
    images: Tensor,
    target: Tensor,
    views: Views,
    *,
    ignore_index: int,
    calibration: Calibration = False,
) -> PixelScores:
    """What `score_pixels` says of images (N, C, H, W) with a target (N, H', W'), both on the device."""
    how: dict[str, Any] = {"ignore_index": ignore_index, "calibration": calibration}
    images = views.bring(images)
    if views.plain or target.shape[-2:] != images.shape[-2:]:
        return score_pixels(views.logits(forward, images), target, **how)
    parts: PixelScores | None = None
    for (rows, columns), logits in views.blocks(forward, images):
        part = score_pixels(logits, target[:, rows, columns], **how)
        if parts is None:
            parts = PixelScores(
                part.prediction.new_empty(target.shape), part.ce.new_empty(target.shape), part.calibration
            )
        elif parts.calibration is not None and part.calibration is not None:
            parts.calibration.take(part.calibration)
        parts.prediction[:, rows, columns], parts.ce[:, rows, columns] = part.prediction, part.ce
    assert parts is not None
    return parts


@torch.no_grad()
def view_pixels(
    forward: Forward,
    images: Tensor,
    size: tuple[int, int],
    views: Views,
    functions: Mapping[str, PixelFunction],
) -> dict[str, Tensor]:
    """What each of the functions makes of the logits of images (N, C, H, W), at the size (H', W'), by its name. The
    network sees the images once."""
    images = views.bring(images)
    if views.plain or size != tuple(images.shape[-2:]):
        logits = views.logits(forward, images)
        return {name: function(logits, size) for name, function in functions.items()}
    found: dict[str, Tensor] = {}
    for (rows, columns), logits in views.blocks(forward, images):
        for name, function in functions.items():
            part = function(logits, (logits.shape[-2], logits.shape[-1]))
            if name not in found:
                found[name] = part.new_empty(*part.shape[:-2], *size)
            found[name][..., rows, columns] = part
    return found


def predict_views(forward: Forward, images: Tensor, size: tuple[int, int], views: Views) -> Tensor:
    """The prediction of `score_views` at the size (H', W'), without labels."""
    return view_pixels(forward, images, size, views, {"ids": predict_pixels})["ids"]


@torch.no_grad()
def predict_blocks(forward: Forward, images: Any, views: Views) -> Iterator[tuple[Block, Tensor]]:
    """The prediction of images that are seen in tiles, block by block: which part, and its class ids (N, h, w).

    `images` need not be in memory: it has the `shape` (N, C, H, W) and the `device` of a uint8 tensor, and gives parts
    of it when sliced as one.
    """
    for block, logits in views.blocks(forward, images):
        ids = predict_pixels(logits, (logits.shape[-2], logits.shape[-1]))
        del logits  # else it is in memory while the next tile is computed
        yield block, ids
