"""One image with its labels.

Its tensors are plain ones: the types by which torchvision's transforms tell them apart take a second to import, and are
put on where such transforms are used (segkit/data/transforms/typed.py).
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate


def as_height_width(size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W) from one number (a square) or two."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def band_by_band(image: torch.Tensor) -> torch.Tensor:
    """The image (C, H, W) with each band in one piece of memory; itself if it is so. In files the bands of a pixel are
    neighbours."""
    if image.is_contiguous() or image.dtype != torch.uint8 or image.device.type != "cpu":
        return image.contiguous()  # also of what somebody's own augmentation makes, which NumPy may not know
    return torch.from_numpy(np.ascontiguousarray(image.numpy()))  # which takes half as long


def resize_nearest(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(H, W) of any type brought to `size` by taking, for each new pixel, the old one its centre falls into."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, values.shape, strict=True)
    )
    # In NumPy, since indexing in torch takes four times as long.
    return torch.from_numpy(values.numpy().take(rows, axis=0).take(columns, axis=1))


def resize_image(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (..., C, H, W) brought to `size`, bilinear with antialiasing, to the last bit as torchvision does it.

    uint8 stays uint8: some processors resize it as it is, for the others it is rounded at the end. So it is where the
    result is one pixel wide, of which torch 2.14 otherwise makes any numbers, or an error.
    """
    if tuple(image.shape[-2:]) == size:
        return image
    batch = image.reshape(-1, *image.shape[-3:])  # (N, C, H, W)
    on_bytes = batch.device.type == "cpu" and size[1] > 1 and _resizes_bytes()
    as_it_is = batch.is_floating_point() or on_bytes
    values = batch if as_it_is else batch.float()
    resized = interpolate(values, size=size, mode="bilinear", align_corners=False, antialias=True)
    if not as_it_is:
        resized = resized.round_().to(image.dtype)
    return resized.reshape(*image.shape[:-2], *size)


def _resizes_bytes() -> bool:
    """Whether torch resizes uint8 on this processor without a detour by floats."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in (
        "aarch64",
        "arm64",
    )


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its labels.

    image        uint8 (C, H, W), C = 1 or 3; as a data set gives it, the bands of a pixel may be neighbours in memory:
                 `view` fails then, and `reshape` does not
    target       uint8 or int64 (H, W), class ids and `ignore_index`
    name         what messages and result files call it
    index        its place in the data set
    weight       float32 (H, W) >= 0, or None
    mask_path    the file the target was read from, if any
    weight_path  where a file with this sample's weights belongs, without suffix, if files can be had
    file_size    (H, W) of the files on disk, if the data set resized them
    file_target  the target before it was resized, if a file with weights may have been made from it; of a sample that
                 was kept, the digest by which such a file names it
    """

    image: torch.Tensor
    target: torch.Tensor
    name: str
    index: int
    weight: torch.Tensor | None = None
    mask_path: Path | None = None
    weight_path: Path | None = None
    file_size: tuple[int, int] | None = None
    file_target: torch.Tensor | str | None = None


def as_sample(
    image: np.ndarray,
    target: np.ndarray,
    *,
    resize: tuple[int, int] | None,
    name: str,
    index: int,
    mask_path: Path | None = None,
    weight_path: Path | None = None,
) -> Sample:
    """The sample of an image (C, H, W) and its labels (H, W), brought to the size `resize` if that is not None."""
    pixels, ids = torch.from_numpy(image), torch.from_numpy(target)
    file_size = file_target = None
    if resize is not None and resize != target.shape:
        file_size, file_target = target.shape, None if weight_path is None else ids
        pixels = resize_image(pixels, resize)
        ids = resize_nearest(ids, resize)
    return Sample(
        image=pixels,
        target=ids,
        name=name,
        index=index,
        mask_path=mask_path,
        weight_path=weight_path,
        file_size=file_size,
        file_target=file_target,
    )
