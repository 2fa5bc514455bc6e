"""Events of TensorBoard that are made where pictures are drawn and written where the events file is."""

import io
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from PIL import Image
from tensorboard.compat.proto import summary_pb2
from torch import Tensor
from torch.utils.tensorboard import summary

#: Bars of a histogram of probabilities.
BARS = 50


class Sketch(NamedTuple):
    """An event, encoded, and the iteration it is of."""

    encoded: bytes
    iteration: int


def read_pictures(sketches: Iterable[Sketch]) -> list[tuple[str, int, bytes]]:
    """Name, iteration and PNG file of each picture among the sketches."""
    protocol: Any = summary_pb2
    return [
        (value.tag, iteration, value.image.encoded_image_string)
        for encoded, iteration in sketches
        for value in protocol.Summary.FromString(encoded).value
        if value.HasField("image")
    ]


class EventSketches:
    """Encodes events and keeps them in `made`; none if they are not `wanted`."""

    def __init__(self, *, wanted: bool):
        self.wanted = wanted
        self.made: list[Sketch] = []

    def image(self, name: str, picture: Tensor, iteration: int) -> None:
        """A uint8 picture (3, H, W)."""
        if not self.wanted:
            return
        # As torch's summary.image, which compresses as far as PNG goes, for five times as long.
        stream = io.BytesIO()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(stream, format="PNG", compress_level=1)
        _, height, width = picture.shape
        protocol: Any = summary_pb2  # its classes are made when it is imported
        shown = protocol.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=stream.getvalue()
        )
        self._keep(protocol.Summary(value=[protocol.Summary.Value(tag=name, image=shown)]), iteration)

    def probabilities(self, name: str, parts: Iterable[Tensor], iteration: int) -> None:
        """A histogram of the values in [0, 1] of all `parts` together; none if there are no values."""
        if not self.wanted:
            return
        found = summarise_probabilities(parts)
        if found["num"]:
            self._keep(summary.histogram_raw(name, **found), iteration)

    def _keep(self, event: Any, iteration: int) -> None:
        self.made.append(Sketch(event.SerializeToString(), iteration))


def summarise_probabilities(parts: Iterable[Tensor]) -> dict[str, Any]:
    """The arguments of TensorBoard's `histogram_raw` for values in [0, 1], in BARS bars of equal width."""
    counts = torch.zeros(BARS, dtype=torch.float64)
    smallest, largest, number, total, squares = 1.0, 0.0, 0, 0.0, 0.0
    for part in parts:
        values = part.detach().float().cpu().flatten().clamp(0, 1)
        if not values.numel():
            continue
        counts += torch.histc(values, bins=BARS, min=0, max=1).double()
        smallest, largest = min(smallest, float(values.min())), max(largest, float(values.max()))
        number += values.numel()
        total += float(values.sum(dtype=torch.float64))
        squares += float(values.double().square().sum())
    return {
        "min": smallest,
        "max": largest,
        "num": number,
        "sum": total,
        "sum_squares": squares,
        "bucket_limits": [(bar + 1) / BARS for bar in range(BARS)],
        "bucket_counts": counts.tolist(),
    }
