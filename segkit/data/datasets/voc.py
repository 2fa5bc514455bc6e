"""`voc`: the segmentation task of Pascal VOC."""

from typing import Literal

from torchvision.datasets import VOCSegmentation
from torchvision.datasets.voc import DATASET_YEAR_DICT

from segkit.data.files.label_table import IGNORE_INDEX, LabelTable
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.published import find_root, listed_pairs, listing
from segkit.data.palette import voc_color
from segkit.registry import DATASETS
from segkit.types import Size

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
#: Outlines and objects that are too hard to tell are 255.
VALUES = {**{value: value for value in range(len(CLASSES))}, 255: IGNORE_INDEX}


@DATASETS.register("voc")
class Voc(PairedFiles):
    """Pascal VOC, 21 classes: VOCdevkit/VOC2012 as its archive unpacks (torchvision's VOCSegmentation).

    root         the folder that holds `VOCdevkit` (for 2011 `TrainVal/VOCdevkit`, as that archive unpacks)
    year         2007 to 2012
    train_split  the list in ImageSets/Segmentation that is trained on: `train`, `trainval`
    val_split    the list that scores come from: `val`, or `test`, which 2007 alone has labels for
    channels     3 for colour images, 1 for greyscale; files are converted
    resize       [height, width] that every image is brought to, or null

    Images in JPEGImages, palette PNGs in SegmentationClass, of which the values are read and not the colours: 0 is the
    background, 1-20 the classes, 255 outlines and what is too hard, which is ignored. 1464 train and 1449 val images
    in 2012. Source: https://www.robots.ox.ac.uk/~vgg/projects/pascal/VOC. Licence: the images are Flickr's users',
    under Flickr's terms of use. Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective" (IJCV
    2015).

    Raises DataError for what is missing on disk, ValueError for a list that the year does not have.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        year: Literal[2007, 2008, 2009, 2010, 2011, 2012] = 2012,
        train_split: Literal["train", "trainval", "val", "test"] = "train",
        val_split: Literal["train", "trainval", "val", "test"] = "val",
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
    ):
        chosen = train_split if split == "train" else val_split
        if chosen == "test" and year != 2007:
            raise ValueError(f"{split}_split=test: the labels of the test images are published for 2007 only")
        archive = DATASET_YEAR_DICT["2007-test" if chosen == "test" else str(year)]
        folder = archive["base_dir"]
        names_file = f"{folder}/ImageSets/Segmentation/{chosen}.txt"
        needed = [f"{folder}/JPEGImages", f"{folder}/SegmentationClass", names_file]
        how = None if year == 2012 else f"unpack there {archive['url']}"
        path = find_root("voc", root, needed, how=how)
        with listing("voc"):
            found = VOCSegmentation(path, year=str(year), image_set=chosen)
        names, image_paths, mask_paths = listed_pairs(
            "voc", found.images, found.masks, names_file=path / names_file
        )
        super().__init__(
            path,
            names=names,
            image_paths=image_paths,
            mask_paths=mask_paths,
            weight_paths=[path / "weights" / chosen / name for name in names],
            class_names=CLASSES,
            label_map=LabelTable("voc", values=VALUES),
            channels=channels,
            resize=resize,
            palette=[voc_color(index) for index in range(len(CLASSES))],
        )
