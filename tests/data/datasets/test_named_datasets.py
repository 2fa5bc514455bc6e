"""The named data sets, on tiny folders in their published layouts."""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from segkit.data.check import check_data
from segkit.data.datasets.camvid import GROUPS, segnet_split
from segkit.data.palette import voc_color
from segkit.registry import DATASETS
from segkit.runs.fingerprints import data_fingerprint
from tests.data.datasets import published_layouts as layouts

HAS_SCIPY = importlib.util.find_spec("scipy") is not None
SEGNET_VALUES = {**{value: value for value in range(11)}, 11: 255}
#: name, how it is written, options, (classes, train images, val images), file value -> class id
CASES = {
    "voc": ("voc", layouts.make_voc, {}, (21, 3, 2), {**{v: v for v in range(21)}, 255: 255}),
    "cityscapes": (
        "cityscapes",
        layouts.make_cityscapes,
        {},
        (19, 4, 4),
        {c.id: c.train_id for c in torchvision.datasets.Cityscapes.classes if c.id >= 0},
    ),
    "pets": ("pets", layouts.make_pets, {}, (2, 3, 2), {1: 1, 2: 0, 3: 255}),
    "pets border": ("pets", layouts.make_pets, {"border": "class"}, (3, 3, 2), {1: 1, 2: 0, 3: 2}),
    "camvid segnet": ("camvid", layouts.make_camvid_segnet, {}, (11, 5, 2), SEGNET_VALUES),
    "ade20k": (
        "ade20k",
        layouts.make_ade20k,
        {},
        (150, 3, 2),
        {0: 255, **{value: value - 1 for value in range(1, 151)}},
    ),
    "coco_stuff": (
        "coco_stuff",
        layouts.make_coco_stuff,
        {},
        (171, 3, 2),
        {**{v: n for n, v in enumerate(layouts.COCO_STUFF_VALUES[:-1])}, 255: 255},
    ),
}


def build(name, root, split="train", **options):
    return DATASETS.get(name)(split, root=str(root), **options)


def slow_labels(path, meaning):
    """Class ids of a single-channel label file, pixel by pixel."""
    with Image.open(path) as file:
        return [[meaning[file.getpixel((x, y))] for x in range(file.width)] for y in range(file.height)]


@pytest.mark.parametrize("case", CASES)
def test_reads_its_published_layout(tmp_path, case):
    name, make, options, (classes, train_images, val_images), meaning = CASES[case]
    make(tmp_path)
    train, val = (build(name, tmp_path, split, **options) for split in ("train", "val"))
    assert (len(train), len(val)) == (train_images, val_images)
    assert (train.num_classes, len(set(train.class_names)), train.ignore_index) == (classes, classes, 255)
    assert train.palette is None or len(train.palette) == classes
    for dataset in (train, val):
        for n, sample in enumerate(dataset):
            assert sample.target.dtype == torch.uint8
            assert sample.target.tolist() == slow_labels(dataset.mask_paths[n], meaning)
            with Image.open(dataset.image_paths[n]) as image:
                np.testing.assert_array_equal(sample.image.permute(1, 2, 0), np.asarray(image.convert("RGB")))
            assert sample.name == dataset.names[n] and sample.name in dataset.image_paths[n].name
    assert len(set(train.names)) == len(train)
    # The tiny images hold every value that the publication names, so every class is there.
    report = check_data(train, val)
    assert report.warnings == [] and all(report.train.images)


@pytest.mark.parametrize("case", CASES)
def test_options_that_all_share(tmp_path, case):
    name, make, options, _, _ = CASES[case]
    make(tmp_path)
    small = build(name, tmp_path, channels=1, resize=[6, 10], **options)
    assert small.channels == 1
    sample = small[0]
    assert sample.image.shape == (1, 6, 10) and sample.target.shape == (6, 10)
    assert sample.file_size == layouts.SIZE
    assert sample.weight_path.is_relative_to(tmp_path / "weights")
    assert sample.mask_path in small.files(0) and sample.mask_path.is_file()
    assert data_fingerprint(small, small) == data_fingerprint(
        build(name, tmp_path, **options, channels=1, resize=[6, 10]), small
    )


@pytest.mark.parametrize("name", ["voc", "sbd", "cityscapes", "pets", "camvid", "ade20k", "coco_stuff"])
def test_is_documented(name):
    text = inspect.getdoc(DATASETS.get(name))
    words = " ".join(text.split())
    assert "Licence: " in words or "(CC " in words
    assert "Source: " in words and "et al." in words and "Raises DataError" in words
    constructor = inspect.signature(DATASETS.get(name))
    undocumented = [p for p in constructor.parameters if p != "split" and f"\n{p} " not in text]
    assert undocumented == []


def test_cityscapes_classes_are_the_published_ones():
    trained = {c.train_id: c for c in torchvision.datasets.Cityscapes.classes if c.train_id not in (-1, 255)}
    dataset = DATASETS.get("cityscapes")
    module = inspect.getmodule(dataset)
    assert [(c.name, c.id, c.color) for _, c in sorted(trained.items())] == list(module.CLASSES)


def test_cityscapes_train_ids_and_files_that_are_no_images(tmp_path):
    layouts.make_cityscapes(tmp_path, train_ids=True)
    (tmp_path / "leftImg8bit/train/zurich/.DS_Store").write_text("")
    dataset = build("cityscapes", tmp_path, labels="train_ids")
    assert len(dataset) == 4 and dataset.names[0].startswith("aachen_")
    meaning = {**{v: v for v in range(19)}, 255: 255}
    assert dataset[1].target.tolist() == slow_labels(dataset.mask_paths[1], meaning)


def test_cityscapes_archives_are_left_alone(tmp_path):
    """torchvision would unpack archives beside a missing folder, in the middle of opening a data set."""
    for archive in ("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"):
        (tmp_path / archive).write_bytes(b"no archive")
    with pytest.raises(Exception, match=r"^no leftImg8bit/train in .*, which has gtFine_trainvaltest.zip, "):
        build("cityscapes", tmp_path)


@pytest.mark.parametrize("year", [2007, 2011])
def test_voc_years(tmp_path, year):
    layouts.make_voc(tmp_path, year=year)
    dataset = build("voc", tmp_path, year=year, train_split="trainval")
    assert len(dataset) == 5 and f"VOC{year}" in dataset.image_paths[0].parts
    assert len(dataset.palette) == 21 and dataset.palette[15] == voc_color(15) == (192, 128, 128)
    if year == 2007:
        assert build("voc", tmp_path, "val", year=year, val_split="test").names == ["000001"]


def test_voc_2012_has_no_labels_of_test_images(tmp_path):
    with pytest.raises(
        ValueError, match=r"^val_split=test: the labels of the test images are published for 2007"
    ):
        build("voc", tmp_path, "val", val_split="test")


def test_pets_take_the_other_list(tmp_path):
    layouts.make_pets(tmp_path)
    assert len(build("pets", tmp_path, train_split="test")) == 2
    assert build("pets", tmp_path, border="class").class_names == ("background", "pet", "border")


def test_coco_stuff_in_its_other_folder_and_with_labels_that_have_no_image(tmp_path):
    layouts.make_coco_stuff(tmp_path, folder="stuffthingmaps")
    (tmp_path / "images/train2017/000000000139.jpg").unlink()
    dataset = build("coco_stuff", tmp_path)
    assert dataset.names == ["000000000140", "000000000141"]
    assert dataset.notes == [
        f"1 label files have no image: {tmp_path}/stuffthingmaps/train2017/000000000139.png"
    ]


def camvid_meaning(*, all_classes):
    """Colour -> class id of the original CamVid, from its list and the groups."""
    rows = [line.split() for line in layouts.CAMVID_COLOURS.splitlines()]
    names = [row[3] for row in rows if row[3] != "Void"]
    meaning = {}
    for *colour, name in rows:
        groups = [n for n, (_, _, members) in enumerate(GROUPS) if name in members]
        class_id = names.index(name) if all_classes and name in names else (groups or [255])[0]
        meaning[tuple(map(int, colour))] = class_id
    return meaning


@pytest.mark.parametrize("all_classes", [False, True])
def test_the_original_camvid(tmp_path, all_classes):
    layouts.make_camvid_rgb(tmp_path)
    train, val = (build("camvid", tmp_path, split, all_classes=all_classes) for split in ("train", "val"))
    assert (train.names, val.names) == (layouts.CAMVID_FRAMES["train"], layouts.CAMVID_FRAMES["val"])
    assert train.num_classes == (31 if all_classes else 11) == len(train.palette)
    assert train[1].target.tolist() == slow_labels(
        train.mask_paths[1], camvid_meaning(all_classes=all_classes)
    )
    assert build("camvid", tmp_path, "val", val_split="test").names == layouts.CAMVID_FRAMES["test"]


def test_the_groups_of_camvid_hold_each_class_once():
    members = [name for _, _, names in GROUPS for name in names]
    published = [line.split()[3] for line in layouts.CAMVID_COLOURS.splitlines()]
    assert sorted([*members, "Void"]) == sorted(published)


def test_both_versions_of_camvid_in_one_folder(tmp_path):
    layouts.make_camvid_rgb(layouts.make_camvid_segnet(tmp_path))
    assert build("camvid", tmp_path).mask_paths[0].name == "0001TP_006690_L.png"
    segnet = build("camvid", tmp_path, version="segnet")
    assert segnet.mask_paths[0] == tmp_path / "trainannot/0001TP_006690.png"
    assert segnet.class_names == build("camvid", tmp_path).class_names
    with pytest.raises(ValueError, match=r"^all_classes: SegNet's version has 11 classes; the original"):
        build("camvid", tmp_path, version="segnet", all_classes=True)


def test_camvid_is_split_as_segnet_splits_it(camvid):
    """The real lists of SegNet: of all 468 labelled train and val frames, none goes to another part."""
    for part in ("train", "val"):
        names = [path.stem for path in (Path(camvid) / "images" / part).iterdir()]
        assert {segnet_split(name) for name in names} == {part}
    assert segnet_split("0001TP_008550") == segnet_split("Seq05VD_f05100") == "test"
    assert segnet_split("thumbs") is None and segnet_split("0016E5_x") is None


def test_real_camvid_is_what_folder_makes_of_it(camvid, tmp_path):
    """SegNet's layout around the real files: the same images and labels as through `folder` and a label map."""
    names = [name for name, _, _ in GROUPS]
    for part in ("train", "val"):
        (tmp_path / part).symlink_to(Path(camvid) / "images" / part)
        (tmp_path / f"{part}annot").symlink_to(Path(camvid) / "labels" / part)
        stems = sorted(path.stem for path in (tmp_path / part).iterdir())
        lines = [f"/SegNet/CamVid/{part}/{s}.jpg /SegNet/CamVid/{part}annot/{s}.png" for s in stems]
        layouts.write_lines(tmp_path / f"{part}.txt", lines)
        mine = build("camvid", tmp_path, part)
        folder = build("folder", camvid, part, classes=names, label_map={11: "ignore"})
        assert len(mine) == len(folder) == {"train": 367, "val": 101}[part]
        for index in (0, len(mine) // 2, len(mine) - 1):
            ours, theirs = mine[index], folder[index]
            assert ours.name == theirs.name
            assert torch.equal(ours.image, theirs.image) and torch.equal(ours.target, theirs.target)


def test_sbd(tmp_path):
    if not HAS_SCIPY:
        pytest.skip("scipy is not installed, which reads the labels")
    from scipy.io import loadmat

    layouts.make_sbd(tmp_path)
    dataset = build("sbd", tmp_path)
    assert (len(dataset), len(build("sbd", tmp_path, "val")), dataset.num_classes) == (3, 2, 21)
    assert len(build("sbd", tmp_path, train_split="train_noval")) == 2
    published = loadmat(dataset.mask_paths[1])["GTcls"]["Segmentation"][0][0]
    np.testing.assert_array_equal(dataset[1].target, published)
    assert dataset.files(1)[1].suffix == ".mat" and len(np.unique(published)) == 21
    assert check_data(dataset, build("sbd", tmp_path, "val")).warnings == []
