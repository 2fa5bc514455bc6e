"""One yardstick for every loss: the confusion matrix and plain cross-entropy over the validation set.

Nothing here knows the training loss or the iteration, so validating cannot move a schedule, and two runs
trained with different losses are measured alike.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from segkit.evaluation import metrics
from segkit.evaluation.upsampled_scores import score_pixels


@dataclass(frozen=True)
class Evaluation:
    """What one pass over a validation set found.

    `matrix` is the int64 confusion matrix (C, C), rows label, columns prediction, summed over all valid pixels;
    `ce` the mean unweighted cross-entropy over the same pixels (nan if there are none); `images` their number.
    `matrices` int64 (N, C, C) are the confusion matrices of the images `names`, whose sum is `matrix`, in the order of
    the data set, and `places` are the images' numbers there (empty: 0, 1, 2 ...).
    """

    matrix: Tensor
    ce: float
    images: int
    matrices: Tensor | None = None
    names: tuple[str, ...] = ()
    places: tuple[int, ...] = ()

    @property
    def mean_iou(self) -> float:
        """Mean over the classes whose TP + FP + FN > 0, in [0, 1]; nan if no pixel is valid."""
        return metrics.mean_iou(self.matrix)


def output_logits(output: Tensor | Mapping[str, Tensor]) -> Tensor:
    """The main logits of a model's output, which is a tensor or torchvision's dict with the key `out`."""
    return output["out"] if isinstance(output, Mapping) else output


@torch.no_grad()
def evaluate(
    forward: Callable[[Tensor], Tensor | Mapping[str, Tensor]],
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    *,
    num_classes: int,
    ignore_index: int,
    device: torch.device,
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    observe: Callable[[Tensor, Tensor], None] | None = None,
) -> Evaluation | None:
    """Score `model` on `batches`, or on the first `limit` of them.

    `forward` maps a uint8 image (N, C, H, W) on the device to the output of `model`, preprocessing and autocast
    included. The model is in eval mode meanwhile and in its former mode afterwards. Returns None if `stop()`
    became true between two batches: half a validation set is not a score. `observe` gets the labels and the predicted
    ids of each batch, both (N, H, W) on the device.
    """
    matrices = [torch.zeros(0, num_classes, num_classes, dtype=torch.int32, device=device)]
    names: list[str] = []
    places: list[int] = []
    # Sums in float64, so that a large set does not lose its last digits; MPS has no float64.
    ce_sum = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    was_training = model.training
    model.eval()
    try:
        for batch in islice(batches, limit):
            if stop():
                return None
            target = batch["target"].to(device, non_blocking=True)  # (N, H, W)
            output = forward(batch["image"].to(device, non_blocking=True))
            pixels = score_pixels(output_logits(output), target, ignore_index=ignore_index)
            counts = metrics.confusion_matrices(
                target, pixels.prediction, num_classes=num_classes, ignore_index=ignore_index
            )
            if observe is not None:
                observe(target, pixels.prediction)
            matrices.append(counts.int())  # (N, C, C); no image has 2^31 pixels
            names += batch["name"]
            places += batch["index"].tolist() if "index" in batch else range(len(places), len(names))
            ce_sum += pixels.ce.sum(dtype=ce_sum.dtype)
    finally:
        model.train(was_training)
    # Images of one size share a batch, so those of mixed sizes come in an order that depends on the batch size.
    order = sorted(range(len(places)), key=places.__getitem__)
    per_image = torch.cat(matrices).cpu().long()[order]  # (images, C, C)
    matrix = per_image.sum(dim=0)
    valid = int(matrix.sum())
    ce = float(ce_sum) / valid if valid else float("nan")
    return Evaluation(
        matrix,
        ce,
        len(per_image),
        per_image,
        tuple(names[n] for n in order),
        tuple(places[n] for n in order),
    )
