"""Whether a folder holds a published data set, or what a tool exports in the layout of one."""

from pathlib import Path

from segkit.data.decoding.opening import opened_image
from segkit.data.sources import Source, recognise_source
from segkit.errors import DataError

#: Files that Datumaro's exports have and no publication has in the layout of that name: their values mean the classes
#: that stand there.
FOREIGN = {
    "camvid/segnet.yaml": ("label_colors.txt", "dataset_meta.json"),
    "cityscapes/ohem.yaml": ("label_colors.txt", "dataset_meta.json"),
    "voc/ohem.yaml": ("VOCdevkit/VOC2012/labelmap.txt", "VOCdevkit/VOC2012/dataset_meta.json"),
}
#: Files without which the published layout is another one, and labels that are no colours.
NEEDED = {"cityscapes/ohem.yaml": "leftImg8bit/train/*/*_leftImg8bit.png"}
VALUES = {"camvid/segnet.yaml": "trainannot/*.png"}


def recognise_published(root: Path) -> Source | None:
    """The data set that lies in `root` as it was published, with the values that its publication gave it."""
    source = recognise_source(root)
    if source is None:
        return None
    config = source.config_for(root)
    if any((root / name).exists() for name in FOREIGN.get(config, ())):
        return None
    if config in NEEDED and not any(root.glob(NEEDED[config])):
        return None
    return None if config in VALUES and _hold_colours(root, VALUES[config]) else source


def _hold_colours(root: Path, pattern: str) -> bool:
    """Whether the first file of the pattern holds colours instead of values."""
    first = min(root.glob(pattern), default=None)
    if first is None:
        return False
    try:
        with opened_image(first) as image:
            return image.mode in ("RGB", "RGBA")
    except DataError:
        return False  # which the check of the data set reports
