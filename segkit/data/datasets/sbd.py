"""`sbd`: the Semantic Boundaries Dataset, more images with Pascal VOC's classes."""

from pathlib import Path
from typing import Literal

import numpy as np
from torchvision.datasets import SBDataset

from segkit.data.datasets.voc import CLASSES
from segkit.data.files.label_table import LabelTable
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.published import find_root, listed_pairs, listing
from segkit.data.palette import voc_color
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import Size


@DATASETS.register("sbd")
class Sbd(PairedFiles):
    """Semantic Boundaries Dataset, the 21 classes of Pascal VOC: img/*.jpg and cls/*.mat (torchvision's SBDataset).

    root         the folder that holds `img`, `cls`, `train.txt` and `val.txt`
    train_split  `train` (8498 images); `train_noval` (5623), which has no image of VOC 2012's validation set and is a
                 list of its own to be fetched
    val_split    `val` (2857 images)
    channels     3 for colour images, 1 for greyscale; files are converted
    resize       [height, width] that every image is brought to, or null

    The labels are Matlab files, which take `pip install scipy` to read; no pixel is ignored. `data.cache: disk` keeps
    them from being decoded again. Source: the images of Pascal VOC 2011, labels of
    http://home.bharathh.info/pubs/codes/SBD/download.html. Licence: the images are Flickr's users', under Flickr's
    terms of use. Hariharan et al., "Semantic Contours from Inverse Detectors" (ICCV 2011).

    Raises DataError for what is missing on disk and ConfigError without scipy.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        train_split: Literal["train", "train_noval", "val"] = "train",
        val_split: Literal["train", "train_noval", "val"] = "val",
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
    ):
        _require_scipy()
        chosen = train_split if split == "train" else val_split
        path = find_root("sbd", root, ["img", "cls", "train.txt", "val.txt"])
        if not (path / f"{chosen}.txt").is_file():
            raise DataError(
                f"no {chosen}.txt in {path}: the archive does not have this list\n"
                f"   -> save {SBDataset.voc_train_url} there, or data.{split}_split=train"
            )
        with listing("sbd"):
            found = SBDataset(path, image_set=chosen, mode="segmentation")
        names, image_paths, mask_paths = listed_pairs(
            "sbd", found.images, found.masks, names_file=path / f"{chosen}.txt"
        )
        super().__init__(
            path,
            names=names,
            image_paths=image_paths,
            mask_paths=mask_paths,
            weight_paths=[path / "weights" / chosen / name for name in names],
            class_names=CLASSES,
            label_map=LabelTable("sbd", values={value: value for value in range(len(CLASSES))}),
            channels=channels,
            resize=resize,
            palette=[voc_color(index) for index in range(len(CLASSES))],
        )

    def read_values(self, mask_path: Path) -> tuple[np.ndarray, bool]:
        """The class ids (H, W) of a Matlab file, `GTcls.Segmentation`. Raises DataError for any other."""
        from scipy.io import loadmat  # not one of segkit's requirements

        try:
            with mask_path.open("rb") as file:
                values = loadmat(file)["GTcls"][0]["Segmentation"][0]
        except FileNotFoundError:
            raise DataError(f"cannot read {show_path(mask_path)}: no such file") from None
        except MemoryError:  # which says nothing about the file
            raise
        except Exception as error:  # a damaged file makes scipy raise nearly anything
            raise DataError(
                f"cannot read {show_path(mask_path)}: no Matlab file with GTcls.Segmentation"
            ) from error
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype != np.uint8:
            raise DataError(f"cannot use {show_path(mask_path)}: GTcls.Segmentation is not a matrix of bytes")
        return values, False


def _require_scipy() -> None:
    try:
        import scipy.io  # noqa: F401
    except ImportError:
        raise ConfigError(
            "data.name=sbd needs scipy, which reads its Matlab files -> pip install scipy"
        ) from None
