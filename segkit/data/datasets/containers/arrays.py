"""`arrays`: images and labels in NumPy's files.

    root/images.npy    (N, H, W), (N, H, W, C) or (N, C, H, W)
    root/labels.npy    (N, H, W)

or as arrays of an .npz file, or with a file for each image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from segkit.data.containers.part_division import check_parts, pair_by_stem, take_part
from segkit.data.containers.parted_files import PartedFiles, below, shown_below
from segkit.data.decoding.arrays import (
    ARCHIVE,
    ARRAY,
    ArrayHead,
    ArrayPart,
    list_members,
    read_head,
)
from segkit.data.files.file_patterns import STEM
from segkit.data.files.options import Channels, Classes, Ends, Fraction, find_ends, read_meanings
from segkit.data.files.paired_files import existing_root
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import Expects, Size

Array = Annotated[
    str, Expects("a file such as images.npy or all.npz#images, or a pattern such as images/{stem}.npy")
]
Axis = Literal["first", "last"]
#: Bytes of a compressed array from which on it is said that it is held in memory.
LARGE = 2**28


class Drawn(NamedTuple):
    """A sample: its name, and the parts that hold its image and its labels."""

    name: str
    image: ArrayPart
    labels: ArrayPart


@DATASETS.register("arrays")
class Arrays(PartedFiles):
    """NumPy arrays: entry n of one is an image, and entry n of the other has its labels.

    root          the folder that the files lie in
    classes       names of the classes, in the order of their ids, or a file that lists them; see `folder`
    train_images  the images that are trained on: `images.npy`, (N, H, W) or with an axis of channels; an array of an
                  archive, `all.npz#images`; or a file for each, `images/{stem}.npy`, (H, W) or with channels
    train_labels  their labels, (N, H, W), or (H, W) in a file for each
    val_images    the same for the images that validate
    val_labels    the same for their labels
    val_fraction  the share of the training images that validates instead: the last ones, since what lies side by side,
                  such as slices and frames, is often nearly the same
    channel_axis  where the numbers of a pixel are: `first`, (C, H, W), or `last`, (H, W, C); `auto` takes that with
                  which the images have the size of their labels
    label_map     what the values in the labels mean; see `folder`
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else the channels of the
                  arrays
    value_range   which numbers become 0 and 255 in images of more than 8 bits, or of floating-point numbers; see
                  `folder`
    resize        [height, width] that every image is brought to, or null

    Of .npy files, and of .npz files that are not compressed, one image is read at a time; compressed arrays are held in
    memory by every process. A sample is called like the file of its image, with its number, from 0: `images_012`.
    Arrays of Python objects, which are pickles, are never opened.

    Raises DataError for what is missing on disk and for arrays that do not belong together, ConfigError for options
    that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        classes: Classes,
        train_images: Array,
        train_labels: Array,
        val_images: Array | None = None,
        val_labels: Array | None = None,
        val_fraction: Fraction | None = None,
        channel_axis: Literal["auto", "first", "last"] = "auto",
        label_map: dict[int | str, int | str] | None = None,
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        check_parts(val_images, val_labels, val_fraction)
        meanings = read_meanings(
            classes, label_map, ignore_index=ignore_index, root=lambda: existing_root(root)
        )
        folder = existing_root(root)

        def find(part: Literal["train", "val"]) -> Sequence[Drawn]:
            if part == "val" and val_images is not None and val_labels is not None:
                return find_drawn(folder, val_images, val_labels, key="val", channel_axis=channel_axis)
            drawn = find_drawn(folder, train_images, train_labels, key="train", channel_axis=channel_axis)
            if val_fraction is None:
                return drawn
            return take_part(drawn, part, val_fraction, what=f"data.train_images={train_images}")

        drawn = find(split)
        ends = find_ends(value_range, lambda: [each.image for each in find("train")])
        super().__init__(
            folder,
            names=[each.name for each in drawn],
            images=[each.image for each in drawn],
            labels=[each.labels for each in drawn],
            meanings=meanings,
            channels=channels,
            value_range=ends,
            found=value_range == "auto",
            resize=resize,
            notes=_note_compressed(folder, drawn),
        )


def find_drawn(root: Path, images: str, labels: str, *, key: str, channel_axis: str = "auto") -> list[Drawn]:
    """The samples that data.KEY_images and data.KEY_labels name. Raises DataError and ConfigError."""
    names = (f"data.{key}_images", f"data.{key}_labels")
    if STEM in images or STEM in labels:
        pairs = pair_by_stem(root, images, labels, names)
        first = next(iter(pairs.values()))
        shapes = [read_head(path).shape for path in first]
        axis = _find_axis(shapes[0], shapes[1], channel_axis, shown_below(first[0], root))
        label_axis = _find_label_axis(shapes[1], shown_below(first[1], root))
        return [
            Drawn(
                below(image, root),
                ArrayPart(image, "", None, None, axis),
                ArrayPart(label, "", None, None, label_axis),
            )
            for image, label in pairs.values()
        ]
    (image_path, image_member), (label_path, label_member) = (
        _find_file(root, text, name) for text, name in zip((images, labels), names, strict=True)
    )
    image_head, label_head = read_head(image_path, image_member), read_head(label_path, label_member)
    shown = [
        _shown(root, path, member)
        for path, member in ((image_path, image_member), (label_path, label_member))
    ]
    for head, what in ((image_head, shown[0]), (label_head, shown[1])):
        _require_rows(head, what)
    if image_head.shape[0] != label_head.shape[0]:
        raise DataError(
            f"as many images as labels are needed: {shown[0]} has {image_head.shape[0]} entries and {shown[1]} "
            f"{label_head.shape[0]}"
        )
    axis = _find_axis(image_head.shape[1:], label_head.shape[1:], channel_axis, shown[0])
    label_axis = _find_label_axis(label_head.shape[1:], shown[1])
    digits = max(3, len(str(image_head.shape[0] - 1)))
    start = below(image_path, root)
    return [
        Drawn(
            f"{start}_{row:0{digits}}",
            ArrayPart(image_path, _key(image_member, row), image_member, row, axis),
            ArrayPart(label_path, _key(label_member, row), label_member, row, label_axis),
        )
        for row in range(image_head.shape[0])
    ]


def _find_file(root: Path, text: str, name: str) -> tuple[Path, str | None]:
    """File and array that the option `name` names."""
    file, _, member = text.partition("#")
    path = root / file
    if path.suffix.lower() == ARRAY and not member:
        return path, None
    if path.suffix.lower() != ARCHIVE:
        raise ConfigError(
            f"{name}={text!r}: expected an {ARRAY} file, FILE{ARCHIVE}#ARRAY, or a pattern with {STEM}"
        )
    if member:
        return path, member
    there = list_members(path)
    if len(there) != 1:
        raise ConfigError(
            f"{name}={text!r}: which of {', '.join(there)}? -> {name}={text}#{there[0] if there else 'ARRAY'}"
        )
    return path, there[0]


def _require_rows(head: ArrayHead, what: str) -> None:
    if len(head.shape) < 3 or not head.shape[0]:
        size = "x".join(map(str, head.shape)) or "a single number"
        raise DataError(
            f"cannot use {what}: {size} is not (N, H, W), nor that with an axis of channels\n"
            "   -> for a file of one image, "
            f"a pattern such as images/{STEM}{ARRAY}"
        )


def _find_axis(image: Sequence[int], labels: Sequence[int], option: str, what: str) -> Axis | None:
    """Where the channels of an image are, by the size of its labels. Raises DataError where that does not say it."""
    if len(image) == 2:
        return None
    if len(image) != 3:
        raise DataError(f"cannot use {what}: an image of {len(image)} axes ({'x'.join(map(str, image))})")
    size = tuple(length for length in labels if length != 1) if len(labels) == 3 else tuple(labels)
    fits: list[Axis] = []
    if tuple(image[:2]) == size:
        fits.append("last")
    if tuple(image[1:]) == size:
        fits.append("first")
    if option == "auto" and len(fits) != 1:
        shape = "x".join(map(str, image))
        why = "both orders fit its labels" if fits else f"its labels are {'x'.join(map(str, labels))}"
        raise DataError(
            f"cannot tell where the channels of {what} are: an image is {shape}, and {why}\n"
            "   -> data.channel_axis=last for (H, W, C), first for (C, H, W)"
        )
    return fits[0] if option == "auto" else ("first" if option == "first" else "last")


def _find_label_axis(shape: Sequence[int], what: str) -> Axis | None:
    """The same for labels, which have one number for a pixel, or a colour. Raises DataError for others."""
    if len(shape) == 2:
        return None
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        return "first" if shape[0] == 1 else "last"
    if len(shape) == 3 and shape[2] == 3:
        return "last"
    raise DataError(
        f"cannot use {what}: labels are (N, H, W), and an entry of these is {'x'.join(map(str, shape))}\n"
        "   -> of one array for each class (one-hot), save their argmax over the classes"
    )


def _key(member: str | None, row: int) -> str:
    return str(row) if member is None else f"{member}[{row}]"


def _shown(root: Path, path: Path, member: str | None) -> str:
    return shown_below(path, root) + ("" if member is None else f"#{show_path(member)}")


def _note_compressed(root: Path, drawn: Sequence[Drawn]) -> list[str]:
    """What is said of large arrays that cannot be read one image at a time."""
    notes = []
    for part in (drawn[0].image, drawn[0].labels):
        head = read_head(part.file, part.member)
        size = head.dtype.itemsize
        for length in head.shape:
            size *= length
        if head.place is None and size > LARGE:
            notes.append(
                f"{_shown(root, part.file, part.member)} is compressed: every process holds all of it, "
                f"{size / 1e9:.1f} GB -> np.savez instead of np.savez_compressed, or {ARRAY} files"
            )
    return notes
