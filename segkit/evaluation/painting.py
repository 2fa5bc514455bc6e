"""What is painted over one image: classes, errors, kept pixels. On NumPy arrays, so that a report needs no torch."""

from collections.abc import Sequence

import numpy as np

from segkit.data.palette import IGNORE_COLOR, Color

DARK = 0.55  # of an image over which something bright is painted
KEPT = 0.85  # of the yellow in a pixel that is kept entirely
YELLOW = (255.0, 214.0, 0.0)
RED = (230.0, 30.0, 40.0)


def colorize(
    ids: np.ndarray,
    colors: Sequence[Color],
    *,
    ignore_index: int | None = None,
    ignore_color: Color = IGNORE_COLOR,
) -> np.ndarray:
    """Paint class ids: integers (..., H, W) -> uint8 (..., 3, H, W).

    `ignore_index` and every id outside `colors` get `ignore_color`.
    """
    unknown = len(colors)
    table = np.array([*colors, ignore_color], dtype=np.uint8)  # (C + 1, 3)
    ids = ids.astype(np.int64)
    known = (ids >= 0) & (ids < unknown)
    if ignore_index is not None:
        known &= ids != ignore_index
    painted = table[np.where(known, ids, unknown)]  # (..., H, W, 3)
    return np.moveaxis(painted, -1, -3)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """A uint8 image (1 or 3, H, W), or the first three channels of a wider one, as RGB (3, H, W)."""
    return image[:3] if len(image) >= 3 else np.broadcast_to(image[:1], (3, *image.shape[1:]))


def color_ids(ids: np.ndarray, palette: Sequence[Color], ignore_index: int) -> np.ndarray:
    """Class ids (H, W) as colours, uint8 (3, H, W); ignored pixels hatched, so that they look like no class."""
    picture = np.ascontiguousarray(colorize(ids, palette, ignore_index=ignore_index))
    ignored = ids.astype(np.int64) == ignore_index
    if ignored.any():
        rows, columns = np.nonzero(ignored)
        picture[:, rows, columns] = ((rows + columns) % 8 < 4) * 70 + 150  # two greys
    return picture


def kept_over(image: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The image (C, H, W) in dark grey with the pixels the loss keeps in yellow, as strongly as they are kept (H, W):
    floats in [0, 1]. uint8 (3, H, W)."""
    share = kept.astype(np.float32).clip(0, 1)[None]
    yellow = np.array(YELLOW, dtype=np.float32)[:, None, None]
    return (_dark_grey(image) * (1 - KEPT * share) + yellow * KEPT * share).astype(np.uint8)


def errors_over(
    image: np.ndarray, target: np.ndarray, prediction: np.ndarray, ignore_index: int
) -> np.ndarray:
    """The image (C, H, W) in dark grey with wrongly predicted valid pixels in red: uint8 (3, H, W)."""
    target, prediction = target.astype(np.int64), prediction.astype(np.int64)  # (H, W) each
    wrong = (target != prediction) & (target != ignore_index)
    picture = np.repeat(_dark_grey(image), 3, axis=0)
    picture[:, wrong] = np.array(RED, dtype=np.float32)[:, None]
    return picture.astype(np.uint8)


def _dark_grey(image: np.ndarray) -> np.ndarray:
    """float32 (1, H, W)."""
    return as_rgb(image).mean(axis=0, dtype=np.float32, keepdims=True) * np.float32(DARK)
