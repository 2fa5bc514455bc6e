"""One sample, read and looked at: the unit that both checks count."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from segkit.data.check.file_facts import ImageFacts, MaskFacts, read_image_facts, read_mask_facts
from segkit.data.decoding.parts import Source
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.validate import check_ids
from segkit.data.loading.bad_samples import find_sources, name_by_place, require_bad
from segkit.errors import DataError
from segkit.system.printable import show_path

if TYPE_CHECKING:  # it needs torch, and a check of files does not
    from segkit.data.loading.view import WeightMaker

#: Height and width of the small image by which copies are found.
THUMBNAIL = 16


@dataclass(frozen=True)
class Look:
    """What one sample showed; plain values, so that a worker can send them.

    error     the message if it cannot be used, and then nothing below is known but the facts of its files
    pixels    valid pixels of each class
    ignored   pixels that are ignored
    weighted  valid pixels with a weight above 0
    constant  whether the image is one colour throughout
    digest    the same for images of the same pixels, however they are encoded
    thumbnail the image in 16 x 16 greys, by which copies that lost something are found, if looked at closely
    """

    index: int
    name: str
    image_path: Path | None = None
    mask_path: Path | None = None
    error: str | None = None
    pixels: tuple[int, ...] = ()
    ignored: int = 0
    weighted: int = 0
    size: tuple[int, int] | None = None
    constant: bool = False
    digest: bytes = b""
    thumbnail: bytes = b""
    image: ImageFacts | None = None
    mask: MaskFacts | None = None


#: The facts of files that were read already.
Known = Mapping[Source, ImageFacts | MaskFacts]


def look_at(
    dataset: Any, index: int, weight_map: "WeightMaker | None", *, closely: bool, known: Known | None = None
) -> Look:
    """Read sample `index` and count its labels; with `closely`, its files are read as they are, too, but for those
    whose facts are `known`."""
    sources = find_sources(dataset, index)[:2]
    paths = (Path(os.fspath(source)) for source in sources)
    facts: dict[str, Any] = dict(zip(("image_path", "mask_path"), paths, strict=False))
    if closely:
        facts |= _file_facts(*sources, known=known or {})
    try:
        seen = read_arrays(dataset, index, weight_map)
    except DataError as error:
        require_bad(error)
        name = str(facts.get("mask_path") or facts.get("image_path") or name_by_place(dataset, index))
        return Look(index, name, error=str(error), **facts)
    facts["mask_path"] = seen.mask_path
    facts |= _count(seen, dataset)
    if closely:
        facts["thumbnail"] = _make_thumbnail(seen.image)
    return Look(index, seen.name, **facts)


class Arrays(NamedTuple):
    """A sample in arrays: image (C, H, W), ids (H, W), weights (H, W) if there are some, and (H, W) of its files."""

    image: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    name: str
    mask_path: Path | None
    file_size: tuple[int, int] | None


def read_arrays(dataset: Any, index: int, weight_map: "WeightMaker | None" = None) -> Arrays:
    """The sample with its weights. Raises DataError for wrong labels and weights, naming the file."""
    is_plain = isinstance(dataset, PairedFiles) and type(dataset).__getitem__ is PairedFiles.__getitem__
    if is_plain and dataset.resize is None and weight_map is None:
        pair, mask_path = dataset.read(index), dataset.mask_paths[index]
        check_ids(
            pair.target,
            num_classes=dataset.num_classes,
            ignore_index=dataset.ignore_index,
            source=show_path(mask_path),
        )
        return Arrays(*pair, None, dataset.names[index], mask_path, None)
    from segkit.data.loading.view import read_sample  # needs torch

    sample = read_sample(dataset, index, weight_map)
    weight = None if sample.weight is None else sample.weight.numpy()
    image, target = sample.image.numpy(), sample.target.numpy()
    return Arrays(image, target, weight, sample.name, sample.mask_path, sample.file_size)


def _file_facts(image: Source | None = None, mask: Source | None = None, *, known: Known) -> dict[str, Any]:
    """The facts of both files, without those of a file that cannot be read: reading the sample reports it."""
    facts: dict[str, Any] = {}
    for name, path, read in (("image", image, read_image_facts), ("mask", mask, read_mask_facts)):
        try:
            facts[name] = None if path is None else known.get(path) or read(path)
        except DataError:
            facts[name] = None
    return facts


def _count(seen: Arrays, dataset: Any) -> dict[str, Any]:
    image, target = np.ascontiguousarray(seen.image), seen.target
    weighted = 0
    if seen.weight is not None:
        weighted = int(((seen.weight > 0) & (target != dataset.ignore_index)).sum())
    pixels, ignored = _count_ids(target, dataset.num_classes, dataset.ignore_index)
    content = hashlib.sha256(str(image.shape).encode())  # which processors have instructions for
    content.update(image.data)
    return {
        "pixels": tuple(pixels),
        "ignored": ignored,
        "weighted": weighted,
        "size": seen.file_size or target.shape,
        # The first row tells of nearly all images that they are not.
        "constant": bool((image[:, 0] == image[:, 0, :1]).all() and (image == image[:, :1, :1]).all()),
        "digest": content.digest(),
    }


def _count_ids(target: np.ndarray, num_classes: int, ignore_index: int) -> tuple[list[int], int]:
    """Pixels of each class, and how many are ignored, of ids (H, W) that are either."""
    labelled = target.reshape(-1) if target.dtype == np.uint8 else target[target != ignore_index]
    pixels = np.bincount(labelled, minlength=num_classes)[:num_classes].tolist()
    return pixels, target.size - sum(pixels)


def _make_thumbnail(image: np.ndarray) -> bytes:
    """Mean greys (16 x 16) of an image (C, H, W)."""
    grey = image.mean(axis=0, dtype=np.float32)  # (H, W)
    small = Image.fromarray(grey).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(small)).astype(np.uint8).tobytes()
