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

from segkit.distributed.ranks import ALONE, Ranks
from segkit.errors import DataError
from segkit.evaluation import metrics
from segkit.evaluation.boundary_quality import BorderCounts, BoundaryMeter
from segkit.evaluation.calibration import Calibration, CalibrationCounts
from segkit.evaluation.image_counts import ImageCollector, Watch, join_counts
from segkit.evaluation.image_matrices import ImageMatrices
from segkit.evaluation.objects.counts import ObjectCounts
from segkit.evaluation.objects.meter import ObjectMeter
from segkit.evaluation.views import WHOLE, Views, score_views
from segkit.system.device import weights_cast_once


@dataclass(frozen=True)
class Evaluation:
    """What one pass over a validation set found.

    `matrix` is the int64 confusion matrix (C, C), rows label, columns prediction, summed over all valid pixels;
    `ce` the mean unweighted cross-entropy over the same pixels (nan if there are none); `images` their number.
    `matrices` are the confusion matrices of the images `names`, whose sum is `matrix`, in the order of the data set,
    and `places` are the images' numbers there (empty: 0, 1, 2 ...). `parts` are the parts of the data that they are of,
    empty for data in one piece. In the same order, `ce_sums` float64 (N,) are the
    sums of the cross-entropy over the valid pixels of each image; `borders` what was counted of the borders between
    classes, `calibration` of how sure the model is and `objects` of objects, if that was asked for.
    """

    matrix: Tensor
    ce: float
    images: int
    matrices: ImageMatrices | None = None
    names: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    ce_sums: Tensor | None = None
    borders: BorderCounts | None = None
    calibration: CalibrationCounts | None = None
    objects: ObjectCounts | None = None
    parts: tuple[str, ...] = ()

    @property
    def mean_iou(self) -> float:
        """Mean over the classes whose TP + FP + FN > 0, in [0, 1]; nan if no pixel is valid."""
        return metrics.mean_iou(self.matrix)


@torch.no_grad()
def evaluate(
    forward: Callable[[Tensor], Any],
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    *,
    num_classes: int,
    ignore_index: int,
    device: torch.device,
    limit: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    boundary: float | None = None,
    calibration: Calibration = False,
    objects: ObjectMeter | None = None,
    watch: Watch | None = None,
    views: Views = WHOLE,
    ranks: Ranks = ALONE,
) -> Evaluation | None:
    """Score `model` on `batches`, or on the first `limit` of them.

    In several processes all of `ranks` call this, each with its own part of the batches, and all get the scores of all
    images. Raises DataError if there is not one image among them.

    `forward` maps a uint8 image (N, C, H, W) on the device to the output of `model` (see `split_output`),
    preprocessing and autocast included; `views` says how it is shown the images. The model is in eval mode meanwhile
    and in its former mode afterwards. Returns None if `stop()` became true between two batches, in any process: half a
    validation set is not a score. With `boundary`, a tolerance in pixels of at least 1, the borders between classes
    are counted too, which takes the host longer than the rest if classes are many; with `calibration` how sure the
    model is, which takes little, and with "classwise" how sure it is of every class, which takes more; with `objects`
    what it counts. `watch` is shown the targets and predictions of each batch of this process, on the host.
    """
    known = {"num_classes": num_classes, "ignore_index": ignore_index}
    meter = None if boundary is None else BoundaryMeter(**known, tolerance=boundary)
    images = ImageCollector(
        num_classes=num_classes, meter=meter, calibration=calibration, object_meter=objects, watch=watch
    )
    # In float64, so that a large image does not lose its last digits; MPS has none.
    double = torch.float32 if device.type == "mps" else torch.float64
    stopped, was_training = False, model.training
    if limit is not None:  # of the batches of all, which are dealt out in turn
        limit = len(range(ranks.rank, limit, ranks.world))
    model.eval()
    try:
        with weights_cast_once(device):
            for batch in islice(batches, limit):
                if stop():
                    stopped = True
                    break
                target = batch["target"].to(device, non_blocking=True)  # (N, H, W)
                image = batch["image"].to(device, non_blocking=True)
                pixels = score_views(
                    forward, image, target, views, ignore_index=ignore_index, calibration=calibration
                )
                counts = metrics.confusion_matrices(target, pixels.prediction, **known)
                ce_sums = pixels.ce.flatten(1).sum(dim=1, dtype=double)  # (N,)
                images.add(batch, counts, ce_sums, pixels.prediction, pixels.calibration)
    finally:
        model.train(was_training)
    parts = ranks.gather(None if stopped else images.finish())
    if any(part is None for part in parts):
        return None
    found = join_counts(parts) if ranks.world > 1 else parts[0]
    if ranks.world > 1 and not found.places:
        raise DataError("none of the validation images can be used")
    matrix = found.matrices.sum()
    valid = int(matrix.sum())
    # By images in their order, so that it is the same however they were dealt out.
    ce = float(found.ce_sums.sum()) / valid if valid else float("nan")
    return Evaluation(matrix, ce, len(found.matrices), **found._asdict())
