"""What is counted of every single image of a pass over a validation set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.evaluation.boundary_quality import BorderCounts, BoundaryMeter
from segkit.evaluation.calibration import Calibration, CalibrationCounts, CalibrationMeter
from segkit.evaluation.image_matrices import ImageMatrices
from segkit.evaluation.objects.counts import ObjectCounts
from segkit.evaluation.objects.meter import ObjectMeter
from segkit.system.host_copy import HostCopy

#: What is shown the targets and the predictions of each batch, (N, H, W) in host memory, to count what it wants.
Watch = Callable[[Tensor, Tensor], None]


class ImageCounts(NamedTuple):
    """Of N images in the order of the data set: the fields of the same names of an `Evaluation`."""

    matrices: ImageMatrices
    ce_sums: Tensor
    borders: BorderCounts | None
    calibration: CalibrationCounts | None
    objects: ObjectCounts | None
    names: tuple[str, ...]
    places: tuple[int, ...]
    parts: tuple[str, ...] = ()


def join_counts(parts: Sequence[ImageCounts]) -> ImageCounts:
    """The counts of all `parts` (one at least), in the order of the images' places in the data set."""
    places = [place for part in parts for place in part.places]
    names = [name for part in parts for name in part.names]
    parts_of_data = [name for part in parts for name in part.parts]
    # Images of one size share a batch, so those of mixed sizes come in an order that depends on the batch size.
    order = sorted(range(len(places)), key=places.__getitem__)
    borders = [part.borders for part in parts if part.borders is not None]
    calibration = [part.calibration for part in parts if part.calibration is not None]
    objects = [part.objects for part in parts if part.objects is not None]
    return ImageCounts(
        ImageMatrices.join([part.matrices for part in parts]).reorder(order),
        torch.cat([part.ce_sums for part in parts])[order],
        BorderCounts(torch.cat([each.counts for each in borders])[order], borders[0].tolerance)
        if borders
        else None,
        CalibrationCounts.join(calibration).reorder(order) if calibration else None,
        ObjectCounts.join(objects).reorder(order) if objects else None,
        tuple(names[n] for n in order),
        tuple(places[n] for n in order),
        tuple(parts_of_data[n] for n in order) if parts_of_data else (),
    )


class ImageCollector:
    """Brings the counts of each batch to the host while the device is at the next one, and keeps what is not 0.

    So the device holds those of two batches at most, and nothing waits for the batch that it was just given.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        meter: BoundaryMeter | None,
        calibration: Calibration = False,
        object_meter: ObjectMeter | None = None,
        watch: Watch | None = None,
    ):
        self._meter, self._calibration, self._object_meter = meter, calibration, object_meter
        self._watch = watch
        self._matrices = [
            ImageMatrices.from_dense(torch.zeros(0, num_classes, num_classes, dtype=torch.int32))
        ]
        self._ce_sums = [torch.zeros(0, dtype=torch.float64)]
        self._borders = [torch.zeros(0, num_classes, 6, dtype=torch.int64)]
        of_each = num_classes if calibration == "classwise" else None
        none = CalibrationMeter(0, device=torch.device("cpu"), classes=of_each)
        self._confidences = [none.counts()]
        nothing = torch.zeros(0, 1, 1, dtype=torch.int64)
        self._objects = [] if object_meter is None else [object_meter.count(nothing, nothing)]
        self._names: list[str] = []
        self._places: list[int] = []
        self._parts: list[str] = []
        self._on_its_way: tuple[HostCopy, Tensor] | None = None

    def add(
        self,
        batch: Mapping[str, Any],
        counts: Tensor,
        ce_sums: Tensor,
        prediction: Tensor,
        calibration: CalibrationMeter | None,
    ) -> None:
        """Start to copy what was counted of `batch`, and take in what was of the one before.

        `counts` int64 (N, C, C), `ce_sums` floats (N,), `prediction` (N, H, W) and `calibration` are on the device.
        """
        self._names += batch["name"]
        self._parts += batch.get("part", [])
        places = batch["index"].tolist() if "index" in batch else range(len(self._places), len(self._names))
        self._places += places
        # No image has 2^31 pixels, and half of the bytes are to be copied.
        sure = [] if calibration is None else calibration.tensors()
        metered = any(each is not None for each in (self._meter, self._object_meter, self._watch))
        copy = HostCopy(counts.int(), ce_sums, *sure, *([prediction] if metered else []))
        before, self._on_its_way = self._on_its_way, (copy, batch["target"])
        self._take(before)

    def finish(self) -> ImageCounts:
        """Of all images, in the order of their places in the data set."""
        before, self._on_its_way = self._on_its_way, None
        self._take(before)
        borders = (
            None if self._meter is None else BorderCounts(torch.cat(self._borders), self._meter.tolerance)
        )
        found = ImageCounts(
            ImageMatrices.join(self._matrices),
            torch.cat(self._ce_sums),
            borders,
            CalibrationCounts.join(self._confidences) if self._calibration else None,
            ObjectCounts.join(self._objects) if self._objects else None,
            tuple(self._names),
            tuple(self._places),
            tuple(self._parts),
        )
        return join_counts([found])

    def _take(self, arriving: tuple[HostCopy, Tensor] | None) -> None:
        if arriving is None:
            return
        copy, target = arriving
        counts, ce_sums, *further = copy.wait()
        self._matrices.append(ImageMatrices.from_dense(counts))
        self._ce_sums.append(ce_sums.double())
        if self._calibration:
            count = len(self._confidences[0].tensors())
            self._confidences.append(CalibrationCounts(*further[:count]))
            further = further[count:]
        if self._meter is not None:
            self._borders.append(self._meter.count(target, further[0]))
        if self._object_meter is not None:
            self._objects.append(self._object_meter.count(target, further[0]))
        if self._watch is not None:
            self._watch(target, further[0])
