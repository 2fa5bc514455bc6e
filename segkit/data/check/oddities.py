"""What is suspicious in a data set, from the tally of its samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segkit.data.check.finding import Finding, counted, note, problem, warning
from segkit.data.check.tally import Tally
from segkit.data.files.validate import shorten
from segkit.system.printable import show_path

MUCH_IGNORED = 0.5


def find_oddities(dataset: Any, tally: Tally, part: str, batch_size: int | None) -> list[Finding]:
    """What is suspicious in one data set, `train` or `val`; `batch_size` is given for the one that is trained on."""
    found = [warning("files", text) for text in getattr(dataset, "notes", [])]
    if part == "train":
        found += _find_absent_classes(dataset, tally)
    found += _find_unlabelled(tally, part)
    if batch_size is not None and tally.total < batch_size:
        found.append(
            warning(
                "small-set",
                f"{tally.total} {part} images are fewer than a batch of {batch_size}: a batch repeats images",
            )
        )
    found += _find_lossy_masks(tally)
    found += _find_soft_masks(tally, part)
    found += _find_constant_images(tally, part)
    return found


def find_channel_oddities(dataset: Any, tally: Tally, part: str) -> list[Finding]:
    """Notes on images that are read otherwise than they were saved."""
    found = []
    looked = tally.image_kinds.total()
    grey = sum(look.image.is_grey for look in (*tally.looks, *tally.failures) if look.image is not None)
    if looked and grey == looked and dataset.channels == 3:
        text = f"the {part} images are greyscale and read as colour -> data.channels=1 reads them as they are"
        found.append(note("channels", text))
    if looked and not grey and dataset.channels == 1:
        text = f"the {part} images are in colour and read as greyscale (data.channels=1)"
        found.append(note("channels", text))
    found += _find_transparency(dataset, tally, part)
    ends = getattr(dataset, "value_range", None)
    if part == "train" and isinstance(ends, tuple):
        text = f"images of more than 8 bits: {ends[0]:,g} becomes black and {ends[1]:,g} white (data.value_range)"
        found.append(note("value-range", text))
    upright = [look for look in tally.looks if look.image is not None and look.image.turned]
    turned = [look.image_path for look in upright if look.image_path is not None]
    if turned:
        text = counted(len(turned), f"{part} image is", f"{part} images are")
        found.append(
            note(
                "exif",
                f"{text} turned upright as EXIF data say, their masks are not: {show_path(turned[0])}",
                turned,
            )
        )
    return found


def _find_transparency(dataset: Any, tally: Tally, part: str) -> list[Finding]:
    """Bands that are dropped because the file calls them transparency: some cameras save near-infrared there."""
    clear = [look for look in tally.looks if look.image is not None and look.image.alpha]
    if not clear or clear[0].image is None or dataset.channels > clear[0].image.bands:
        return []
    paths = [look.image_path for look in clear if look.image_path is not None]
    have = counted(len(clear), f"{part} image has", f"{part} images have")
    text = f"{have} transparency, which is dropped: {show_path(paths[0])}"
    bands = clear[0].image.bands
    if bands == 3:
        text += f" -> data.channels={bands + 1} if it is a band of its own, such as near-infrared"
    return [note("transparency", text, paths)]


def find_ignored_foreground(dataset: Any, tally: Tally) -> list[Finding]:
    """Masks of 0 and 255 mean background and foreground nearly always, not background and unknown."""
    ignore = dataset.ignore_index
    explains: Callable[[int], bool] = getattr(dataset, "explains_value", lambda value: True)
    if not (tally.mask_paths and tally.ignored and not any(tally.pixels[1:]) and not explains(ignore)):
        return []
    return [
        problem(
            "foreground-ignored",
            f"masks hold only 0 and {ignore}, and {ignore} is ignore_index: all but "
            f"{dataset.class_names[0]!r} would be ignored, as in {show_path(tally.mask_paths[0])}\n"
            f"   -> data.label_map: {{0: 0, {ignore}: 1}} if {ignore} is a class, "
            f"{{{ignore}: ignore}} if it does mean unknown",
            tally.mask_paths,
        )
    ]


def find_weightless(tally: Tally) -> list[Finding]:
    """Weight maps that are 0 wherever there is a label."""
    if not tally.valid or tally.weighted:
        return []
    return [
        problem(
            "weights-zero",
            f"the weight maps of all {tally.samples} train samples checked are 0 at every labelled pixel: "
            "nothing would be learned\n"
            "   -> data.weight_map='{name: boundary}' computes maps from the labels",
        )
    ]


def find_classes_only_in_val(dataset: Any, train: Tally, val: Tally) -> list[Finding]:
    """Classes that are asked for but never taught."""
    names = [
        name
        for name, in_train, in_val in zip(dataset.class_names, train.images, val.images, strict=True)
        if in_val and not in_train
    ]
    if not names:
        return []
    return [
        warning(
            "classes-only-in-val",
            f"in the val masks checked but not in the train masks checked: {shorten(names)}",
        )
    ]


def find_ids_from_1(dataset: Any, tallies: list[Tally]) -> list[Finding]:
    """No pixel of the first class, but some of the last: the masks may count from 1."""
    if getattr(dataset, "labels_are_drawn", False):
        return []
    images = [sum(tally.images[n] for tally in tallies) for n in range(dataset.num_classes)]
    if len(images) < 3 or images[0] or not images[-1] or not any(tally.mask_paths for tally in tallies):
        return []
    return [
        warning(
            "ids-from-1",
            f"no mask checked has a pixel of the first class, {dataset.class_names[0]!r}: do the ids count from 1? "
            "-> data.label_map: {1: 0, 2: 1, ...}",
        )
    ]


def _find_absent_classes(dataset: Any, tally: Tally) -> list[Finding]:
    absent = [name for name, images in zip(dataset.class_names, tally.images, strict=True) if not images]
    whole = tally.samples == tally.total
    where = "no train mask" if whole else f"none of the {tally.samples} train masks checked"
    return [warning("absent-classes", f"in {where}: {shorten(absent)}")] if absent else []


def _find_unlabelled(tally: Tally, part: str) -> list[Finding]:
    found = []
    if tally.ignored_share > MUCH_IGNORED:
        found.append(
            warning(
                "much-ignored", f"{100 * tally.ignored_share:.0f} % of the {part} pixels checked are ignored"
            )
        )
    if tally.unlabelled:
        empty = [look.mask_path or look.name for look in tally.looks if not any(look.pixels)]
        found.append(
            warning(
                "no-label",
                f"{tally.unlabelled} of the {tally.samples} {part} masks checked have no labelled pixel",
                empty,
            )
        )
    return found


def _find_lossy_masks(tally: Tally) -> list[Finding]:
    lossy: dict[str, list[Path]] = {}
    for look in (*tally.looks, *tally.failures):
        if look.mask_path is not None:
            is_jpeg = look.mask_path.suffix.lower() in (
                ".jpg",
                ".jpeg",
            )  # of those that are not looked at closely
            codec = look.mask.lossy if look.mask is not None else "JPEG" if is_jpeg else None
            if codec is not None:
                lossy.setdefault(codec, []).append(look.mask_path)
    return [
        warning(
            "lossy-masks",
            f"masks are compressed as {codec}, which changes labels near edges: {show_path(paths[0])} "
            "-> save masks as PNG",
            paths,
        )
        for codec, paths in lossy.items()
    ]


def _find_soft_masks(tally: Tally, part: str) -> list[Finding]:
    looks = (*tally.looks, *tally.failures)
    looked = [
        (look.mask_path, look.mask) for look in looks if look.mask_path is not None and look.mask is not None
    ]
    soft = [(path, mask) for path, mask in looked if mask.is_soft]
    if not soft:
        return []
    path, first = soft[0]
    values = [f"#{value:06x}" if first.colours else str(value) for value in first.soft]
    are = "is" if len(soft) == 1 else "are"
    return [
        warning(
            "soft-masks",
            f"{len(soft)} of the {len(looked)} {part} masks looked at closely {are} smoothed: values that lie only on "
            f"edges, such as {shorten(values, most=4)} in {show_path(path)} -> resize masks with `nearest`",
            [path for path, _ in soft],
        )
    ]


def _find_constant_images(tally: Tally, part: str) -> list[Finding]:
    constant = [look.image_path or look.name for look in tally.looks if look.constant]
    if not constant:
        return []
    are = "is" if len(constant) == 1 else "are"
    count = f"{len(constant)} of the {tally.samples} {part} images checked {are}"
    text = f"{count} one colour throughout: {show_path(constant[0])}"
    return [warning("constant-images", text, constant)]
