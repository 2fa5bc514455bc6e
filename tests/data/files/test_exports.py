"""What annotation tools and benchmarks export is read by configuration alone."""

import numpy as np
from PIL import Image

from segkit.data.check import check_data
from segkit.data.datasets.folder import Folder

RANDOM = np.random.default_rng(0)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def scene(size=(12, 16)):
    return RANDOM.integers(0, 256, (*size, 3), dtype=np.uint8)


def check(root, **options):
    """Both parts, checked as before a run."""
    train, val = (Folder(part, root=str(root), **options) for part in ("train", "val"))
    assert check_data(train, val, seconds=60).warnings == []
    return train, val


def test_roboflow_semantic_masks(tmp_path):
    for split, count in (("train", 3), ("valid", 2)):
        for n in range(count):
            write(tmp_path / split / f"{n}_jpg.rf.1a{split}.jpg", scene())
            write(tmp_path / split / f"{n}_jpg.rf.1a{split}_mask.png", np.eye(12, 16, k=n, dtype=np.uint8))
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, crack\n")
    train, val = check(
        tmp_path,
        classes="train/_classes.csv",
        images="{split}/{stem}.jpg",
        masks="{split}/{stem}_mask.png",
        val_split="valid",
    )
    assert (len(train), len(val)) == (3, 2)
    assert train.class_names == ("background", "crack")
    assert val[1].target.numpy().sum() == 12


def test_cvat_segmentation_mask(tmp_path):
    colours = {"background": (0, 0, 0), "road": (128, 64, 128), "car": (0, 0, 142)}
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    (tmp_path / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines]))
    table = np.array(list(colours.values()), dtype=np.uint8)
    names = [f"frame_{n:06}" for n in range(12)]
    for name in names:
        write(tmp_path / "JPEGImages" / f"{name}.jpg", scene())
        ids = RANDOM.integers(0, 3, (12, 16))
        write(tmp_path / "SegmentationClass" / f"{name}.png", table[ids])
        write(tmp_path / "SegmentationObject" / f"{name}.png", table[ids])
    listed = tmp_path / "ImageSets" / "Segmentation" / "default.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("\n".join(names))
    train, val = check(
        tmp_path,
        classes="labelmap.txt",
        images="JPEGImages",
        masks="SegmentationClass",
        train_list="ImageSets/Segmentation/default.txt",
        val_fraction=0.3,
    )
    assert sorted(train.names + val.names) == names
    assert train.palette == list(colours.values())
    assert {int(value) for sample in train for value in sample.target.unique()} == {0, 1, 2}


def test_pascal_voc(tmp_path):
    palette = [0, 0, 0, 128, 0, 0, *[0] * 753, 224, 224, 192]
    for n in range(4):
        write(tmp_path / "JPEGImages" / f"2007_{n}.jpg", scene())
        ids = Image.frombytes(
            "P", (16, 12), RANDOM.choice([0, 1, 255], size=16 * 12).astype(np.uint8).tobytes()
        )
        ids.putpalette(palette)
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        ids.save(tmp_path / "SegmentationClass" / f"2007_{n}.png")
    sets = tmp_path / "ImageSets" / "Segmentation"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("2007_0\n2007_2\n2007_3\n")
    (sets / "val.txt").write_text("2007_1\n")
    train, val = check(
        tmp_path,
        classes=["background", "aeroplane"],
        images="JPEGImages",
        masks="SegmentationClass",
        train_list="ImageSets/Segmentation/train.txt",
        val_list="ImageSets/Segmentation/val.txt",
    )
    assert (train.names, val.names) == (["2007_0", "2007_2", "2007_3"], ["2007_1"])
    assert set(val[0].target.unique().tolist()) == {0, 1, 255}


def test_one_folder_of_frames_of_several_videos(tmp_path):
    for video in "abcdef":
        for frame in range(3):
            write(tmp_path / f"{video}_{frame}.jpg", scene())
            write(tmp_path / f"{video}_{frame}.png", np.eye(12, 16, k=frame, dtype=np.uint8) * 255)
    train, val = check(
        tmp_path,
        classes=["background", "crack"],
        label_map={0: 0, 255: 1},
        images="{stem}.jpg",
        masks="{stem}.png",
        val_fraction=0.3,
        split_group="^[^_]+",
    )
    videos = [{name[0] for name in part.names} for part in (train, val)]
    assert videos[0] | videos[1] == set("abcdef")
    assert videos[0] & videos[1] == set()
