"""Which files belong together that hold several images each, and which of those images validate."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from segkit.data.containers.parted_files import shown_below
from segkit.data.files.file_patterns import STEM
from segkit.errors import ConfigError, DataError
from segkit.system.printable import show_path


def check_parts(images: Any, labels: Any, fraction: float | None) -> None:
    """Raises ConfigError unless `val_images` and `val_labels`, or `val_fraction`, say what validates."""
    if (images is None) != (labels is None):
        given, missing = ("images", "labels") if labels is None else ("labels", "images")
        raise ConfigError(f"data.val_{given} is set but data.val_{missing} is not -> data.val_{missing}=FILE")
    if images is None and fraction is None:
        raise ConfigError(
            "nothing says which images validate -> data.val_images and data.val_labels, or data.val_fraction=0.2 for "
            "the last fifth"
        )
    if images is not None and fraction is not None:
        raise ConfigError(
            "data.val_images and data.val_fraction both say which images validate -> remove one"
        )


def take_part(
    parts: Sequence[Any], split: Literal["train", "val"], fraction: float, *, what: str
) -> Sequence[Any]:
    """Of neighbours the last ones for validation, about `fraction`, at least one, never all; the others for training.

    Slices of a volume and frames of a film are nearly what the ones beside them are. Chosen one by one, most of those
    that validate would lie between two that were trained on. Raises DataError for a single one, which `what` names.
    """
    if len(parts) < 2:
        raise DataError(
            f"data.val_fraction={fraction:g} cannot divide {what}, which has {len(parts)}, into a training and a "
            "validation part"
        )
    end = len(parts) - min(len(parts) - 1, max(1, round(len(parts) * fraction)))
    return parts[:end] if split == "train" else parts[end:]


def pair_by_stem(root: Path, images: str, labels: str, names: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """The files that two patterns find with the same text in the place of {stem}, by that text; `names` are the
    options that messages name. Raises ConfigError for patterns that cannot be, DataError for files without partner."""
    found = [_find_stems(root, pattern, name) for pattern, name in zip((images, labels), names, strict=True)]
    for place, other in ((0, 1), (1, 0)):
        alone = sorted(found[place].keys() - found[other].keys())
        if alone:
            first = shown_below(found[place][alone[0]], root)
            raise DataError(
                f"{names[place]}: {first} has no partner, {(images, labels)[other].replace(STEM, alone[0])} "
                f"({len(alone)} of {len(found[place])} files have none)"
            )
    return {stem: (found[0][stem], found[1][stem]) for stem in sorted(found[0], key=_by_number)}


def _by_number(stem: str) -> list[tuple[int, str]]:
    """The order in which frame 2 comes before frame 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", stem)]


def _find_stems(root: Path, pattern: str, name: str) -> dict[str, Path]:
    """The files of a pattern in one folder, by what stands for {stem}."""
    folder, _, file = pattern.rpartition("/")
    if file.count(STEM) != 1 or STEM in folder:
        raise ConfigError(f"{name}={pattern!r}: expected {STEM} once, in the name of the file")
    before, after = file.split(STEM)
    found = {}
    for path in sorted((root / folder).glob("*")):
        if path.name.startswith(before) and path.name.endswith(after) and not path.name.startswith("."):
            found[path.name[len(before) : len(path.name) - len(after)]] = path
    if not found:
        raise DataError(f"{name}: no files {pattern} in {show_path(root)}")
    return found
