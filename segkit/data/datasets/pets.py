"""`pets`: the trimaps of the Oxford-IIIT Pet dataset."""

from typing import Literal

from torchvision.datasets import OxfordIIITPet

from segkit.data.files.label_table import IGNORE_INDEX, LabelTable
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.published import find_root, listed_pairs, listing
from segkit.registry import DATASETS
from segkit.types import Size

FOLDER = "oxford-iiit-pet"
#: In a trimap, 1 is the animal, 2 the background, 3 the border between them.
VALUES = {1: 1, 2: 0}
BORDER = 3


@DATASETS.register("pets")
class Pets(PairedFiles):
    """Oxford-IIIT Pet, cats and dogs, 2 or 3 classes: oxford-iiit-pet/{images,annotations/trimaps} (torchvision's).

    root         the folder that holds `oxford-iiit-pet`
    border       what the outline of the animal is: `ignore`, or `class`, a third class
    train_split  the list in `annotations` that is trained on: `trainval` (3680 images) or `test`
    val_split    the list that scores come from: `test` (3669 images) or `trainval`
    channels     3 for colour images, 1 for greyscale; files are converted
    resize       [height, width] that every image is brought to, or null

    Source: https://www.robots.ox.ac.uk/~vgg/data/pets. Licence: CC BY-SA 4.0; the images stay their owners'. Parkhi et
    al., "Cats and Dogs" (CVPR 2012).

    Raises DataError for what is missing on disk.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        border: Literal["ignore", "class"] = "ignore",
        train_split: Literal["trainval", "test"] = "trainval",
        val_split: Literal["trainval", "test"] = "test",
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
    ):
        chosen = train_split if split == "train" else val_split
        names_file = f"{FOLDER}/annotations/{chosen}.txt"
        path = find_root("pets", root, [f"{FOLDER}/images", f"{FOLDER}/annotations/trimaps", names_file])
        with listing("pets"):
            found = OxfordIIITPet(path, split=chosen, target_types="segmentation")
        # torchvision has no public way to its lists of files.
        names, image_paths, mask_paths = listed_pairs(
            "pets", found._images, found._segs, names_file=path / names_file
        )
        with_border = border == "class"
        super().__init__(
            path,
            names=names,
            image_paths=image_paths,
            mask_paths=mask_paths,
            weight_paths=[path / "weights" / chosen / name for name in names],
            class_names=["background", "pet", "border"] if with_border else ["background", "pet"],
            label_map=LabelTable("pets", values={**VALUES, BORDER: 2 if with_border else IGNORE_INDEX}),
            channels=channels,
            resize=resize,
        )
