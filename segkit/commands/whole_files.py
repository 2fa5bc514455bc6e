"""The class ids of all images of a file in one file of the same kind, for the tools that it came from."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from segkit.commands.predict_plan import Segmented
from segkit.data.containers.unlabelled import Unlabelled
from segkit.data.decoding.volumes import encode_labels, label_suffix
from segkit.errors import ConfigError
from segkit.system.files import write_atomically
from segkit.system.printable import show_path


def ending_of(file: Unlabelled) -> str:
    """What is added to the name of a file. Raises ConfigError for one that holds a single image, or a table."""
    if file.kind == "image":
        raise ConfigError(
            f"--save volume: {show_path(file.place)} is one image, and no volume, stack or array -> --save ids"
        )
    if file.kind == "table":
        raise ConfigError("--save volume: rows of tables may differ in size -> --save ids")
    if file.kind == "volume":
        return f"_ids{label_suffix(file.place)}"
    return "_ids.tif" if file.kind == "stack" else "_ids.npy"


class WholeFiles:
    """Keeps the class ids of a file's images until all are there, and then writes them."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []

    def add(self, each: Segmented, ids: np.ndarray) -> None:
        """Ids (H, W) of the next image of a file; files one after the other. Raises OSError, ConfigError for arrays
        whose images differ in size."""
        if each.number == 0:
            self._kept = []
        self._kept.append(ids)
        if len(self._kept) == len(each.file.images):
            write_whole(each.file, self._kept, Path(f"{each.whole}{ending_of(each.file)}"))
            self._kept = []


def write_whole(file: Unlabelled, ids: Sequence[np.ndarray], result: Path) -> None:
    """Ids of all images as pages of a TIFF file, as an array (N, H, W), or as a volume that lies where that of the
    source does."""
    write: Callable[[BinaryIO], None]
    if file.kind == "stack":
        first, *others = (Image.fromarray(page) for page in ids)

        def write(target: BinaryIO) -> None:
            options = {"save_all": True, "append_images": others, "compression": "tiff_adobe_deflate"}
            pages = io.BytesIO()  # which Pillow reads again
            first.save(pages, format="TIFF", **options)
            target.write(pages.getbuffer())

    elif file.kind == "array":

        def write(target: BinaryIO) -> None:
            np.save(target, ids[0] if len(file.images) == 1 else np.stack(ids))

    else:
        axis = 0 if file.axis is None else file.axis
        labels = np.stack([page.T for page in ids], axis=axis)  # x, y, z

        def write(target: BinaryIO) -> None:
            target.write(encode_labels(labels, file.place))

    write_atomically(result, write, durable=False)
