"""Files with weight maps: how they are named, written and read.

A PNG file holds whole numbers. What one of them stands for, the scale, is written into the file as text, so that
whoever reads it need not know it; and so is a digest of the labels that it was made from, since masks may change later.
"""

import hashlib
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

from segkit.data.decoding.images_and_masks import read_numbers
from segkit.data.decoding.opening import FORMATS
from segkit.errors import DataError
from segkit.system.printable import show_path
from segkit.system.typed import typed

if TYPE_CHECKING:
    import torch

#: In the order in which they are looked for.
SUFFIXES = (".png", ".npy")
#: The text in a PNG file that says what its values are to be multiplied by.
SCALE = "segkit scale"
#: The text in a PNG file with the digest of the labels that it was made from.
LABELS = "segkit labels"
HIGHEST = 0xFFFF
FOLDER = "weights"


def weight_stem(path: Path, name: str, root: Path | None) -> Path:
    """Where the file with a sample's weights belongs, without suffix: at `path`, unless it is to lie below `root`.

    `path` and `name` are the sample's `weight_path` and `name`.
    """
    if root is None:
        return path
    folders = path.parts[: -len(Path(name).parts)]
    # The last one is the split; a folder further up that happens to have the same name is not meant.
    start = max((n for n, part in enumerate(folders) if part == FOLDER), default=len(folders) - 1)
    return root.joinpath(*path.parts[start:])


def find_weights(stem: Path) -> Path | None:
    """The file of that name with weights, or None."""
    paths = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def digest_labels(target: np.ndarray) -> str:
    """Digest of the class ids (H, W) of an image."""
    text = f"{target.shape} {target.dtype}".encode()
    return hashlib.blake2b(np.ascontiguousarray(target).data, digest_size=16, key=text).hexdigest()


def digest_target(target: "torch.Tensor | str") -> str:
    """The same of a tensor, or the digest itself."""
    return target if isinstance(target, str) else digest_labels(target.numpy())


def encode_weights(weight: np.ndarray, suffix: str, *, labels: str | None = None) -> bytes:
    """The content of a .png or .npy file with the weights float32 (H, W), finite and >= 0. A .png file also gets the
    digest `labels`.

    A PNG file has 65536 steps from 0 to the highest weight: what is read is off by half a step at most, and 0 stays 0.
    """
    stream = io.BytesIO()
    if suffix == ".npy":
        np.save(stream, weight.astype(np.float32, copy=False), allow_pickle=False)
        return stream.getvalue()
    scale = float(weight.max(initial=0)) / HIGHEST or 1.0
    values = np.rint(weight.astype(np.float64) / scale).astype(np.uint16)
    text = PngImagePlugin.PngInfo()
    text.add_text(SCALE, repr(scale))
    if labels is not None:
        text.add_text(LABELS, labels)
    Image.fromarray(values).save(stream, format="PNG", pnginfo=text)
    return stream.getvalue()


def read_weights(path: Path, *, scale: float | None) -> np.ndarray:
    """The weights in a file, float32 (H, W): of a .npy file as they are, of an image times its scale.

    `scale` is for images that have none of their own. Raises DataError for a file that cannot be read, and where it is
    not clear what the values of an image mean.
    """
    if path.suffix == ".npy":
        return _read_npy(path)
    values = read_numbers(path)
    own, wide = _look_at(path)
    if own is not None and scale is not None and own != scale:
        raise DataError(
            f"{show_path(path)} says that its scale is {own:g}, and data.weight_map.scale is {scale:g}\n"
            f"   -> leave data.weight_map.scale out: files made by {typed('make_weights')} carry their scale"
        )
    if own is None and scale is None and wide:
        raise DataError(
            f"{show_path(path)} has 16-bit values, and nothing says what they mean\n"
            "   -> data.weight_map.scale=NUMBER, by which they are multiplied (such as 0.001)"
        )
    return (values.astype(np.float64) * (own or scale or 1.0)).astype(np.float32)


def find_labels(path: Path) -> str | None:
    """The digest of the labels that a file was made from, if it says so. `path` is a file that can be read."""
    if path.suffix == ".npy":
        return None
    with Image.open(path, formats=FORMATS) as image:
        return image.info.get(LABELS)


def _look_at(path: Path) -> tuple[float | None, bool]:
    """The scale that an image says it has, and whether its values have more than 8 bits."""
    with Image.open(path, formats=FORMATS) as image:
        text, wide = image.info.get(SCALE), image.mode != "L"
    if text is None:
        return None, wide
    try:
        scale = float(text)
    except (TypeError, ValueError):
        scale = math.nan
    if not (math.isfinite(scale) and scale > 0):
        raise DataError(
            f"cannot use {show_path(path)}: it says that its scale is {text!r}, which is no positive number"
        )
    return scale, wide


def _read_npy(path: Path) -> np.ndarray:
    """The numbers of a .npy file as float32; objects, which could run code, are refused."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {show_path(path)}: {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise DataError(f"cannot use {show_path(path)}: expected an array of numbers (H, W)")
    return values.astype(np.float32)
