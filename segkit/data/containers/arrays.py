"""NumPy's arrays in pairs: images with their labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from segkit.data.containers.part_division import pair_by_stem
from segkit.data.containers.parted_files import below, shown_below
from segkit.data.decoding.arrays import ARCHIVE, ARRAY, ArrayHead, ArrayPart, list_members, read_head
from segkit.data.files.file_patterns import STEM
from segkit.errors import ConfigError, DataError
from segkit.system.printable import show_path

Axis = Literal["first", "last"]
#: Bytes of a compressed array from which on it is said that it is held in memory.
LARGE = 2**28


class LabelledArray(NamedTuple):
    """A sample: its name, and the parts that hold its image and its labels."""

    name: str
    image: ArrayPart
    labels: ArrayPart


def find_labelled_arrays(
    root: Path, images: str, labels: str, *, key: str, channel_axis: str = "auto"
) -> list[LabelledArray]:
    """The samples that data.KEY_images and data.KEY_labels name. Raises DataError and ConfigError."""
    names = (f"data.{key}_images", f"data.{key}_labels")
    if STEM in images or STEM in labels:
        return _pair_files(root, pair_by_stem(root, images, labels, names), channel_axis)
    found = [_find_file(root, text, name) for text, name in zip((images, labels), names, strict=True)]
    shown = [_shown(root, path, member) for path, member in found]
    heads = [read_head(path, member) for path, member in found]
    for head, what in zip(heads, shown, strict=True):
        _require_rows(head, what)
    counts = [head.shape[0] for head in heads]
    if counts[0] != counts[1]:
        raise DataError(
            f"as many images as labels are needed: {shown[0]} has {counts[0]} entries and {shown[1]} {counts[1]}"
        )
    image_shape, label_shape = (head.shape[1:] for head in heads)
    axes = (
        _find_axis(image_shape, label_shape, channel_axis, shown[0]),
        _find_label_axis(label_shape, shown[1]),
    )
    digits, start = max(3, len(str(counts[0] - 1))), below(found[0][0], root)

    def entry(place: int, row: int) -> ArrayPart:
        path, member = found[place]
        return ArrayPart(path, str(row) if member is None else f"{member}[{row}]", member, row, axes[place])

    return [
        LabelledArray(f"{start}_{row:0{digits}}", entry(0, row), entry(1, row)) for row in range(counts[0])
    ]


def _pair_files(root: Path, pairs: Mapping[str, tuple[Path, Path]], channel_axis: str) -> list[LabelledArray]:
    """The samples of files that hold one image each; where the channels are, the first says for all."""
    first = next(iter(pairs.values()))
    image_shape, label_shape = (read_head(path).shape for path in first)
    axis = _find_axis(image_shape, label_shape, channel_axis, shown_below(first[0], root))
    label_axis = _find_label_axis(label_shape, shown_below(first[1], root))
    return [
        LabelledArray(
            below(image, root),
            ArrayPart(image, "", None, None, axis),
            ArrayPart(label, "", None, None, label_axis),
        )
        for image, label in pairs.values()
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


def _shown(root: Path, path: Path, member: str | None) -> str:
    return shown_below(path, root) + ("" if member is None else f"#{show_path(member)}")


def note_compressed(root: Path, found: Sequence[LabelledArray]) -> list[str]:
    """What is said of large arrays that cannot be read one image at a time."""
    notes = []
    for part in (found[0].image, found[0].labels) if found else ():
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
