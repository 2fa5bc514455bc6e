"""Tiny data sets in the exact layouts of published ones, each with random images and labels.

`make_NAME(root)` writes a data set below `root`. The labels hold every value that the publication names, as far as
they fit into an image, in the order given here from the first pixel on.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

#: (H, W) of the images; labels are squares of BLOCK pixels.
SIZE = (48, 80)
BLOCK = 4
VOC_VALUES = [*range(21), 255]
CITYSCAPES_VALUES = list(range(34))
#: Values of COCO-Stuff that no label file has: the things that were taken out of COCO.
COCO_STUFF_ABSENT = [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90]
COCO_STUFF_VALUES = [*sorted(set(range(182)) - set(COCO_STUFF_ABSENT)), 255]
CAMVID_COLOURS = """\
64 128 64\tAnimal
192 0 128\tArchway
0 128 192\tBicyclist
0 128 64\tBridge
128 0 0\t\tBuilding
64 0 128\tCar
64 0 192\tCartLuggagePram
192 128 64\tChild
192 192 128\tColumn_Pole
64 64 128\tFence
128 0 192\tLaneMkgsDriv
192 0 64\tLaneMkgsNonDriv
128 128 64\tMisc_Text
192 0 192\tMotorcycleScooter
128 64 64\tOtherMoving
64 192 128\tParkingBlock
64 64 0\t\tPedestrian
128 64 128\tRoad
128 128 192\tRoadShoulder
0 0 192\t\tSidewalk
192 128 128\tSignSymbol
128 128 128\tSky
64 128 192\tSUVPickupTruck
0 0 64\t\tTrafficCone
0 64 64\t\tTrafficLight
192 64 128\tTrain
128 128 0\tTree
192 128 192\tTruck_Bus
64 0 64\t\tTunnel
192 192 0\tVegetationMisc
0 0 0\t\tVoid
64 192 0\tWall
"""
CAMVID_FRAMES = {
    "train": ["0001TP_006690", "0001TP_008520", "0006R0_f00930", "0016E5_00390", "0016E5_08640"],
    "val": ["0016E5_07959", "0016E5_08159"],
    "test": ["0001TP_008550", "Seq05VD_f00000"],
}


def make_voc(root: Path, *, year: int = 2012, train: int = 3, val: int = 2, values=None) -> Path:
    """VOCdevkit/VOC2012: JPEGImages, SegmentationClass with palette PNGs, ImageSets/Segmentation."""
    base = root / ("TrainVal/VOCdevkit" if year == 2011 else "VOCdevkit") / f"VOC{year}"
    names = [f"{year - 5}_{n:06d}" for n in range(train + val)]
    lists = {"train": names[:train], "val": names[train:], "trainval": names}
    if year == 2007:
        lists["test"] = ["000001"]
        names = [*names, "000001"]
    for n, name in enumerate(names):
        write_image(base / "JPEGImages" / f"{name}.jpg")
        write_palette(base / "SegmentationClass" / f"{name}.png", label_values(values or VOC_VALUES, n))
    for part, members in lists.items():
        write_lines(base / "ImageSets" / "Segmentation" / f"{part}.txt", members)
    return root


def make_sbd(root: Path, *, train: int = 3, val: int = 2, noval: bool = True) -> Path:
    """img, cls with Matlab files (needs scipy), train.txt, val.txt and, on request, train_noval.txt."""
    from scipy.io import savemat

    names = [f"2008_{n:06d}" for n in range(train + val)]
    (root / "cls").mkdir(parents=True)
    for n, name in enumerate(names):
        write_image(root / "img" / f"{name}.jpg")
        labels = {
            "Segmentation": label_values(range(21), n),
            "CategoriesPresent": np.arange(1, 21, dtype=np.uint8),
        }
        savemat(root / "cls" / f"{name}.mat", {"GTcls": labels})
    write_lines(root / "train.txt", names[:train])
    write_lines(root / "val.txt", names[train:])
    if noval:
        write_lines(root / "train_noval.txt", names[: train - 1])
    return root


def make_cityscapes(root: Path, *, train_ids: bool = False) -> Path:
    """leftImg8bit and gtFine with two cities each, and all files that the archives have beside the labels."""
    cities = {"train": ["aachen", "zurich"], "val": ["frankfurt", "munster"]}
    values = [*range(19), 255] if train_ids else CITYSCAPES_VALUES
    for part, names in cities.items():
        for n, (city, frame) in enumerate((city, frame) for city in reversed(names) for frame in (19, 20)):
            stem = f"{city}_{n:06d}_{frame:06d}"
            write_image(root / "leftImg8bit" / part / city / f"{stem}_leftImg8bit.png")
            labels = root / "gtFine" / part / city
            end = "labelTrainIds" if train_ids else "labelIds"
            write_labels(labels / f"{stem}_gtFine_{end}.png", label_values(values, n))
            write_image(labels / f"{stem}_gtFine_color.png")
            write_labels(labels / f"{stem}_gtFine_instanceIds.png", np.zeros(SIZE, dtype=np.uint16))
            (labels / f"{stem}_gtFine_polygons.json").write_text("{}")
    return root


def make_pets(root: Path, *, train: int = 3, val: int = 2) -> Path:
    """oxford-iiit-pet/images and annotations, with trimaps of 1, 2, 3 and the lists of four columns."""
    base = root / "oxford-iiit-pet"
    breeds = ["Abyssinian", "american_bulldog"]
    names = [f"{breeds[n % 2]}_{n + 1}" for n in range(train + val)]
    for n, name in enumerate(names):
        write_image(base / "images" / f"{name}.jpg")
        write_labels(base / "annotations" / "trimaps" / f"{name}.png", label_values([1, 2, 3], n))
    rows = [f"{name} {n % 2 + 1} {n % 2 + 1} 1" for n, name in enumerate(names)]
    write_lines(base / "annotations" / "trainval.txt", rows[:train])
    write_lines(base / "annotations" / "test.txt", rows[train:])
    return root


def make_camvid_segnet(root: Path) -> Path:
    """train, trainannot, train.txt and so on; label values 0 to 11; lists of absolute paths in SegNet's container."""
    for part, frames in CAMVID_FRAMES.items():
        for n, name in enumerate(frames):
            write_image(root / part / f"{name}.png")
            write_labels(root / f"{part}annot" / f"{name}.png", label_values(range(12), n))
        pairs = [f"/SegNet/CamVid/{part}/{name}.png /SegNet/CamVid/{part}annot/{name}.png" for name in frames]
        write_lines(root / f"{part}.txt", pairs)
    return root


def make_camvid_rgb(root: Path) -> Path:
    """701_StillsRaw_full, LabeledApproved_full with RGB labels NAME_L.png, label_colors.txt."""
    colours = [[int(number) for number in line.split()[:3]] for line in CAMVID_COLOURS.splitlines()]
    for n, name in enumerate(name for frames in CAMVID_FRAMES.values() for name in frames):
        write_image(root / "701_StillsRaw_full" / f"{name}.png")
        picture = np.array(colours, dtype=np.uint8)[label_values(range(32), n)]  # (H, W, 3)
        write_labels(root / "LabeledApproved_full" / f"{name}_L.png", picture)
    (root / "label_colors.txt").write_text(CAMVID_COLOURS)
    return root


def make_ade20k(root: Path, *, train: int = 3, val: int = 2) -> Path:
    """ADEChallengeData2016: images and annotations, each with training and validation; label values 0 to 150."""
    base = root / "ADEChallengeData2016"
    for part, short, count in (("training", "train", train), ("validation", "val", val)):
        for n in range(count):
            name = f"ADE_{short}_{n + 1:08d}"
            write_image(base / "images" / part / f"{name}.jpg")
            write_labels(base / "annotations" / part / f"{name}.png", label_values(range(151), n))
    (base / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n")
    return root


def make_coco_stuff(root: Path, *, train: int = 3, val: int = 2, folder: str = "annotations") -> Path:
    """images/train2017 and annotations/train2017 (stuffthingmaps), and the same for val2017."""
    for part, count in (("train2017", train), ("val2017", val)):
        for n in range(count):
            name = f"{139 + n:012d}"
            write_image(root / "images" / part / f"{name}.jpg")
            write_labels(root / folder / part / f"{name}.png", label_values(COCO_STUFF_VALUES, n))
    return root


def label_values(values: Sequence[int], seed: int) -> np.ndarray:
    """(H, W) uint8 of squares of the values: each once from the first square on, then at random."""
    pool = np.array(list(values), dtype=np.uint8)
    rows, columns = SIZE[0] // BLOCK, SIZE[1] // BLOCK
    squares = np.random.default_rng(seed).choice(pool, size=rows * columns)
    count = min(len(pool), len(squares))
    squares[:count] = pool[:count]
    return squares.reshape(rows, columns).repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


def write_image(path: Path) -> None:
    """An RGB image of noise, of SIZE, another for each name."""
    random = np.random.default_rng(zlib.crc32("/".join(path.parts[-2:]).encode()))
    write_labels(path, random.integers(0, 256, size=(*SIZE, 3), dtype=np.uint8))


def write_labels(path: Path, values: np.ndarray) -> None:
    """An image file of just these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def write_palette(path: Path, values: np.ndarray) -> None:
    """A palette PNG, in whose palette no colour is equal to its index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.frombytes("P", (values.shape[1], values.shape[0]), values.tobytes())
    image.putpalette([(index * 37 + 11 * channel) % 256 for index in range(256) for channel in range(3)])
    image.save(path)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """A text file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
