"""Whether a folder holds a published data set, or what a tool exports in the layout of one."""

from contextlib import suppress
from pathlib import Path

from segkit.data.check.find_layout import find_layout
from segkit.data.check.finding import Finding, warning
from segkit.data.decoding.opening import opened_image
from segkit.data.sources import Source, recognise_source
from segkit.errors import DataError
from segkit.system.typed import typed

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


def find_other_counts(source: Source, root: Path, counts: tuple[int, int]) -> list[Finding]:
    """Other `counts` of train and val images than are published: people put their own data into known layouts, too, and
    then classes and values mean something else."""
    if counts == source.counts:
        return []
    found, published = ("{:,} train and {:,} val images".format(*each) for each in (counts, source.counts))
    text = (
        f"{found}, and {source.title.partition(':')[0]} was published with {published}: another data set in its layout "
        "has other classes"
    )
    own = next((place for place in (root, *_above_marks(source, root)) if _has_layout(place)), None)
    if own is not None:
        text += f"\n   -> {typed('check_data', own, '--classes', 'NAME', 'NAME', '...')}"
    return [warning("published-counts", text)]


def _above_marks(source: Source, root: Path) -> list[Path]:
    """The folders below the root in which the folders of a published layout are."""
    config = source.config_for(root)
    marks = next(marks for name, marks in source.configs if name == config)
    return [place for place in dict.fromkeys((root / mark).parent for mark in marks) if place != root]


def _has_layout(folder: Path) -> bool:
    with suppress(DataError):
        find_layout(folder)
        return True
    return False
