"""The same image twice: in the training and the validation set, or twice in one of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.check.finding import Finding, warning
from segkit.data.check.look import Look
from segkit.data.check.tally import Tally
from segkit.data.loading.spread import spread
from segkit.system.printable import show_path

HEAD = 4096  # bytes that are compared first
MOST_FILES = 20_000  # training files that are compared, spread evenly: a second or two
#: Greys by which the thumbnails of two copies differ at most (photographs of CamVid saved as JPEG of quality 30: 4,
#: halved: 1; two of its frames: 7 and more), and which a thumbnail must span to be compared at all.
ALIKE, CONTRAST = 4, 40


def find_shared_images(
    train: Tally, val: Tally, equal_files: Sequence[tuple[Path, Path]] = ()
) -> list[Finding]:
    """Validation images that are also training images: of the same pixels, however they are encoded, among the
    samples read, and `equal_files`, pairs of a training file and a validation file."""
    originals = {look.digest: look.image_path or look.name for look in reversed(train.looks)}
    copies: dict[Path | str, Path | str] = {copy: original for original, copy in equal_files}
    for look in val.looks:
        if look.digest in originals:
            copies.setdefault(look.image_path or look.name, originals[look.digest])
    if not copies:
        return []
    copy, original = next(iter(copies.items()))
    count = (
        f"{len(copies)} val images are also train images"
        if len(copies) > 1
        else "1 val image is also a train image"
    )
    text = f"{count}: {show_path(copy)} is {show_path(original)}, so the scores flatter"
    return [warning("shared-images", text, [path for pair in copies.items() for path in pair])]


def find_similar_images(train: Tally, val: Tally) -> list[Finding]:
    """Validation images that are training images saved with losses, resized or touched up, by their thumbnails.

    Frames of one video differ by more than `ALIKE`, unless neither camera nor scene moves.
    """
    originals, copies = (_clear_thumbnails(tally) for tally in (train, val))
    exact = {look.digest for look in train.looks}
    originals.sort(key=lambda entry: entry[0])
    means = np.array([mean for mean, _, _ in originals])
    found: dict[Path | str, Path | str] = {}
    for mean, pixels, look in copies:
        first, last = np.searchsorted(means, (mean - ALIKE, mean + ALIKE))
        near = [entry for entry in originals[first:last] if np.abs(entry[1] - pixels).max() <= ALIKE]
        if near and look.digest not in exact:
            original = near[0][2]
            found[look.image_path or look.name] = original.image_path or original.name
    if not found:
        return []
    copy, original = next(iter(found.items()))
    count = f"{len(found)} val images look" if len(found) > 1 else "1 val image looks"
    pair = f"{show_path(copy)} like {show_path(original)}"
    text = f"{count} like train images saved anew: {pair}, so the scores may flatter"
    return [warning("similar-images", text, [path for pair in found.items() for path in pair])]


def _clear_thumbnails(tally: Tally) -> list[tuple[float, np.ndarray, Look]]:
    """Mean and greys of the thumbnails in which there is something to see."""
    found = []
    for look in tally.looks:
        greys = np.frombuffer(look.thumbnail, dtype=np.uint8).astype(np.int16)
        if greys.size and np.ptp(greys) >= CONTRAST:
            found.append((float(greys.mean()), greys, look))
    return found


def find_repeated_images(tally: Tally, part: str) -> list[Finding]:
    """Images whose pixels occur more than once in one part."""
    first: dict[bytes, Path | str] = {}
    repeated: dict[Path | str, Path | str] = {}
    for look in tally.looks:
        path = look.image_path or look.name
        if first.setdefault(look.digest, path) != path:
            repeated[path] = first[look.digest]
    if not repeated:
        return []
    copy, original = next(iter(repeated.items()))
    count = (
        f"{len(repeated)} {part} images repeat others"
        if len(repeated) > 1
        else f"1 {part} image repeats another"
    )
    text = f"{count}: {show_path(copy)} is {show_path(original)}"
    return [warning("repeated-images", text, [path for pair in repeated.items() for path in pair])]


def find_equal_files(train: Any, val: Any, limit: int) -> list[tuple[Path, Path]]:
    """Training files, at most MOST_FILES, and validation files, at most `limit`, that are equal byte by byte."""
    train_paths, val_paths = getattr(train, "image_paths", None), getattr(val, "image_paths", None)
    if not train_paths or not val_paths:
        return []
    val_paths = [
        path for path in (val_paths[place] for place in spread(len(val_paths), limit)) if _is_readable(path)
    ]
    val_sizes = {path.stat().st_size for path in val_paths}
    train_heads: dict[tuple[int, bytes], list[Path]] = {}
    for place in spread(len(train_paths), MOST_FILES):
        path = train_paths[place]
        if _is_readable(path) and path.stat().st_size in val_sizes:
            train_heads.setdefault(_head(path), []).append(path)
    return [
        (original, path)
        for path in val_paths
        for original in train_heads.get(_head(path), [])
        if original.read_bytes() == path.read_bytes()
    ]


def _is_readable(path: Path) -> bool:
    """Whether there is such a file and it may be read; what is wrong with it is reported where samples are read."""
    return path.is_file() and os.access(path, os.R_OK)


def _head(path: Path) -> tuple[int, bytes]:
    with path.open("rb") as file:
        return path.stat().st_size, file.read(HEAD)
