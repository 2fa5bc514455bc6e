"""`cityscapes`: street scenes with fine labels."""

from pathlib import Path
from typing import Literal

from torchvision.datasets import Cityscapes as Files

from segkit.data.files.label_table import IGNORE_INDEX, LabelTable
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.published import check_files, find_root, listing
from segkit.data.palette import Color
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.types import Size

IMAGE_END = "_leftImg8bit.png"
LABEL_ENDS = {"ids": "_gtFine_labelIds.png", "train_ids": "_gtFine_labelTrainIds.png"}
#: The 19 classes that are trained and scored: name, id in the `labelIds` files, colour.
CLASSES: tuple[tuple[str, int, Color], ...] = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
#: `labelIds` has ids 0 to 33; those that are no class, such as 0 (unlabeled) and 29 (caravan), are ignored.
IDS = {
    **dict.fromkeys(range(34), IGNORE_INDEX),
    **{value: index for index, (_, value, _) in enumerate(CLASSES)},
}
#: `labelTrainIds` has the 19 class ids and 255.
TRAIN_IDS = {**{index: index for index in range(len(CLASSES))}, 255: IGNORE_INDEX}


@DATASETS.register("cityscapes")
class Cityscapes(PairedFiles):
    """Cityscapes, 19 classes: leftImg8bit/{train,val}/CITY/*.png and gtFine/... (torchvision's Cityscapes).

    root      the folder that holds `leftImg8bit` and `gtFine`
    labels    `ids`: the published *_labelIds.png, whose 34 ids become 19 class ids and 255;
              `train_ids`: the *_labelTrainIds.png that cityscapesScripts makes, class ids already
    channels  3 for colour images, 1 for greyscale; files are converted
    resize    [height, width] that every image is brought to, or null

    2975 train and 500 val images of 2048x1024 pixels. Source: https://www.cityscapes-dataset.com, after registration.
    Licence: its own, for non-commercial research and teaching, not to be passed on. Cordts et al., "The Cityscapes
    Dataset for Semantic Urban Scene Understanding" (CVPR 2016).

    Raises DataError for what is missing on disk.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        labels: Literal["ids", "train_ids"] = "ids",
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
    ):
        # Both folders are there before torchvision looks, which would unpack archives it finds beside them.
        path = find_root("cityscapes", root, [f"leftImg8bit/{split}", f"gtFine/{split}"])
        with listing("cityscapes"):
            found = Files(path, split=split, mode="fine", target_type="semantic")
        pairs = {}
        for image, (target,) in zip(found.images, found.targets, strict=True):
            if image.endswith(IMAGE_END):
                label = target.removesuffix(LABEL_ENDS["ids"]) + LABEL_ENDS[labels]
                pairs[Path(image).name.removesuffix(IMAGE_END)] = (Path(image), Path(label))
        if not pairs:
            raise DataError(f"no images in {path}/leftImg8bit/{split} (CITY/*{IMAGE_END})")
        names = sorted(pairs)
        mask_paths = [pairs[name][1] for name in names]
        check_files("cityscapes", mask_paths, what="label")
        super().__init__(
            path,
            names=names,
            image_paths=[pairs[name][0] for name in names],
            mask_paths=mask_paths,
            weight_paths=[path / "weights" / split / name for name in names],
            class_names=[name for name, _, _ in CLASSES],
            label_map=LabelTable("cityscapes", values=IDS if labels == "ids" else TRAIN_IDS),
            channels=channels,
            resize=resize,
            palette=[colour for _, _, colour in CLASSES],
        )
