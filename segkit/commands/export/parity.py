"""An exported file beside the network that it was made of, on real images: what differs, and how long each takes."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segkit.commands.evaluate import open_data
from segkit.commands.export.sweep import Run, largest_difference
from segkit.commands.export.trace import make_image
from segkit.errors import ConfigError, DataError
from segkit.evaluation.model_output import output_logits
from segkit.evaluation.upsampled_scores import predict_pixels
from segkit.runs.predictor import Predictor

#: Validation images that are compared, and how often one of them is timed in each of the two.
IMAGES, ROUNDS = 8, 7
#: Seconds of the clock after which there are only so many rounds of timing: of a large network the median is of fewer.
LONGEST, FEWEST = 5.0, 3
#: The least share of the pixels whose class ids are the same.
LEAST_EQUAL = 0.9999
#: Of generated images, where there are no others.
GENERATED = (192, 256)


class Images(NamedTuple):
    """uint8 images (1, C, H, W) as the network is shown them, and where they are from."""

    images: list[Tensor]
    source: str


class Parity(NamedTuple):
    """What was found: `logits` is the largest difference (None of a file that gives ids), `equal` the share of class
    ids that are the same, `timed` the times of the exported network and of PyTorch's in fp32, of one image."""

    logits: float | None
    equal: float
    timed: "InTurn"


class InTurn(NamedTuple):
    """The median seconds of two that were called in turn, and of how many rounds they are."""

    first: float
    second: float
    rounds: int


def find_images(predictor: Predictor, overrides: Sequence[str], size: tuple[int, int] | None) -> Images:
    """The first images of the run's validation set, of a network of one size those parts of them; generated ones, with
    the reason, if the data cannot be read here."""
    try:
        _, dataset = open_data(predictor, overrides, split="val")
        count = min(IMAGES, len(dataset))
        images = [predictor.views.bring(dataset[index].image[None]) for index in range(count)]
    except (ConfigError, DataError) as error:
        if overrides:
            raise
        height, width = size or predictor.resize or GENERATED
        shape = (1, predictor.channels, height, width)
        images = [make_image(shape, torch.uint8, seed=index) for index in range(2)]
        return Images(
            images, f"generated ones, because the data of the run cannot be read: {_first_line(error)}"
        )
    if size is not None:
        images = [_part(each, size) for each in images]
    return Images(images, f"the validation set of {predictor.config.data.name}")


def _part(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The upper left part of an image, repeated below and beside where the image is smaller."""
    rows, columns = (-(-wanted // own) for wanted, own in zip(size, image.shape[-2:], strict=True))
    return image.repeat(1, 1, rows, columns)[..., : size[0], : size[1]].contiguous()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@torch.no_grad()
def compare(predictor: Predictor, run: Run, images: Sequence[Tensor], *, ids_inside: bool) -> Parity:
    """Show `run` and the predictor's network in fp32 the same images, in turn. With `ids_inside`, `run` takes bytes and
    gives ids. Raises ConfigError if fewer of the ids than `LEAST_EQUAL` are the same."""
    most, equal, pixels = 0.0, 0, 0

    def network(image: Tensor) -> Tensor:
        return output_logits(predictor.model(image)).float()

    def whole(image: Tensor) -> Tensor:
        return predict_pixels(network(predictor.preprocess(image)), image.shape[-2:])

    for image in images:
        size = image.shape[-2:]
        normalised = predictor.preprocess(image)
        wanted = network(normalised)
        ids = predict_pixels(wanted, size)
        if ids_inside:
            found = run(image)
        else:
            logits = run(normalised)
            most = max(most, largest_difference(logits, wanted))
            found = predict_pixels(logits, size)
        equal += int((found == ids).sum())
        pixels += ids.numel()
    share = equal / pixels
    if share < LEAST_EQUAL:
        raise ConfigError(
            f"the exported file is not the network: {1 - share:.4%} of the class ids differ, and {1 - LEAST_EQUAL:.2%} "
            "may; nothing is kept"
        )
    shown = images[0] if ids_inside else predictor.preprocess(images[0])
    timed = time_in_turn(run, whole if ids_inside else network, shown)
    return Parity(None if ids_inside else most, share, timed)


def time_in_turn(
    first: Run, second: Run, image: Any, *, clock: Callable[[], float] = time.perf_counter
) -> InTurn:
    """The median seconds of each, called in turn, so that what else the machine does meets both; the first round, in
    which memory is taken, does not count."""
    begun, times = clock(), ([], [])
    for number in range(ROUNDS + 1):
        for run, kept in zip((first, second), times, strict=True):
            before = clock()
            run(image)
            if number:
                kept.append(clock() - before)
        if number >= FEWEST and clock() - begun > LONGEST:
            break
    return InTurn(statistics.median(times[0]), statistics.median(times[1]), len(times[0]))
