"""What the network and the loss make of a few fixed images, for pictures."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segkit.evaluation.upsampled_scores import score_pixels
from segkit.evaluation.views import WHOLE, Views

Panel = dict[str, Any]


@torch.no_grad()
def example_panels(
    forward: Callable[[Tensor], Any],
    model: nn.Module,
    loss: nn.Module | None,
    batches: Iterable[Mapping[str, Any]],
    *,
    iteration: int,
    ignore_index: int,
    views: Views = WHOLE,
) -> list[Panel]:
    """Per image, on the device: `name`, `image` (C, H, W) uint8, `target` and `prediction` (H, W) ids, `ce` (H, W)
    plain cross-entropy (0 where ignored), and `kept` (H, W), the share in [0, 1] to which the loss keeps each pixel, or
    None without a loss and for one that cannot tell. `views` says how the model is shown the images. `batches` are on
    the device; the model's mode is left as it was.
    """
    was_training = model.training
    model.eval()
    panels = []
    try:
        for batch in batches:
            logits = views.logits(forward, batch["image"])
            pixels = score_pixels(logits, batch["target"], ignore_index=ignore_index)
            kept = kept_pixels(loss, logits, batch, iteration=iteration)
            parts = {
                "name": batch["name"],
                "image": batch["image"],
                "target": batch["target"],
                "prediction": pixels.prediction,
                "ce": pixels.ce,
                "kept": kept,
            }
            for n in range(len(logits)):
                panels.append({name: None if part is None else part[n] for name, part in parts.items()})
    finally:
        model.train(was_training)
    return panels


def kept_pixels(
    loss: nn.Module | None, logits: Tensor, batch: Mapping[str, Any], *, iteration: int
) -> Tensor | None:
    """Share in [0, 1] to which the loss keeps each pixel (N, H, W); None for a loss that cannot tell."""
    pixels: Any = getattr(loss, "pixels", None)
    if pixels is None:
        return None
    report = pixels(logits, batch["target"], batch.get("weight"), iteration=iteration)
    return None if report is None else report.kept
