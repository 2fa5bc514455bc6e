"""The folder data set: pairing, reading, and what it says about mistakes."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.data.cache.cached_data import Cached
from segkit.data.cache.place import on_disk
from segkit.data.check import check_data
from segkit.data.datasets.folder import Folder
from segkit.errors import ConfigError, DataError

CLASSES = ["sky", "road", "car"]
CAMVID = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
]


def folder(root, split="train", **options):
    return Folder(split, root=str(root), **{"classes": CLASSES, **options})


def data_error(call):
    with pytest.raises(DataError) as raised:
        call()
    return str(raised.value)


@pytest.mark.parametrize("masks", ["masks", "labels"])
def test_reads_pairs(make_folder, masks):
    root = make_folder(masks=masks)
    dataset = folder(root)
    assert (len(dataset), len(folder(root, "val"))) == (4, 2)
    assert (dataset.num_classes, dataset.class_names, dataset.ignore_index) == (3, tuple(CLASSES), 255)
    sample = dataset[2]
    assert type(sample.image) is torch.Tensor
    assert type(sample.target) is torch.Tensor
    assert (sample.image.dtype, sample.target.dtype) == (torch.uint8, torch.uint8)
    assert (sample.name, sample.index) == ("002", 2)
    assert sample.mask_path == root / masks / "train" / "002.png"
    assert sample.weight_path == root / "weights" / "train" / "002"
    with Image.open(root / "images" / "train" / "002.png") as image:
        np.testing.assert_array_equal(sample.image.permute(1, 2, 0), np.asarray(image))
    with Image.open(sample.mask_path) as mask:
        np.testing.assert_array_equal(sample.target, np.asarray(mask))


def test_stops_like_a_sequence(make_folder):
    assert len(list(folder(make_folder()))) == 4


def test_split_names_subfolders_and_hidden_files(tmp_path, save):
    for split, name in (("training", "b/0.jpg"), ("training", "a/0.JPG"), ("test", "c.png")):
        save(tmp_path / "images" / split / name, np.zeros((8, 8, 3), dtype=np.uint8))
        save((tmp_path / "masks" / split / name).with_suffix(".png"), np.zeros((8, 8), dtype=np.uint8))
    save(tmp_path / "images/training/.thumb.png", np.zeros((8, 8, 3), dtype=np.uint8))
    (tmp_path / "images/training/readme.txt").write_text("no image")
    options = {"train_split": "training", "val_split": "test"}
    assert [sample.name for sample in folder(tmp_path, **options)] == ["a/0", "b/0"]
    assert [sample.name for sample in folder(tmp_path, "val", **options)] == ["c"]


def test_label_map_and_large_ids(make_folder):
    root = make_folder(ids=(0, 7, 9))
    options = {"label_map": {0: "car", 7: "sky", 9: "ignore"}}
    plain = folder(root, **options)[0].target
    wide = folder(root, **options, ignore_index=-100)[0].target
    assert plain[:3, 0].tolist() == [2, 0, 255]
    assert wide[:3, 0].tolist() == [2, 0, -100]
    assert wide.dtype == torch.int64


def test_many_classes_do_not_wrap_around(tmp_path, save):
    save(tmp_path / "images/train/a.png", np.zeros((1, 3), dtype=np.uint8))
    save(tmp_path / "masks/train/a.png", np.array([[0, 299, 65535]], dtype=np.uint16))
    names = [f"class {n}" for n in range(300)]
    dataset = folder(tmp_path, classes=names, ignore_index=65535, channels=1)
    assert dataset[0].target.tolist() == [[0, 299, 65535]]


def test_colour_masks(tmp_path, save):
    save(tmp_path / "images/train/a.png", np.zeros((1, 2, 3), dtype=np.uint8))
    save(tmp_path / "masks/train/a.png", np.array([[[255, 0, 0], [0, 0, 0]]], dtype=np.uint8))
    assert folder(tmp_path, label_map={"#ff0000": "car", "#000000": 0})[0].target.tolist() == [[2, 0]]
    assert 'masks/train/a.png is an RGB image with "#000000", "#ff0000"' in data_error(
        lambda: folder(tmp_path)[0]
    )


def test_classes_from_a_file(tmp_path, save):
    save(tmp_path / "images/train/a.png", np.zeros((1, 3, 3), dtype=np.uint8))
    pixels = np.array([[[0, 0, 0], [0, 0, 142], [128, 64, 128]]], dtype=np.uint8)
    save(tmp_path / "masks/train/a.png", pixels)
    listed = tmp_path / "labelmap.txt"
    listed.write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\n"
    )
    dataset = folder(tmp_path, classes="labelmap.txt")
    assert dataset.class_names == ("background", "road", "car")
    assert dataset.palette == [(0, 0, 0), (128, 64, 128), (0, 0, 142)]
    assert dataset[0].target.tolist() == [[0, 2, 1]]
    assert dataset.files(0) == (*(tmp_path / kind / "train/a.png" for kind in ("images", "masks")), listed)
    ignoring = folder(tmp_path, classes="labelmap.txt", label_map={"#000000": "ignore"})
    assert ignoring[0].target.tolist() == [[255, 2, 1]]
    save(tmp_path / "masks/train/a.png", np.array([[0, 2, 1]], dtype=np.uint8))  # CVAT's other kind of mask
    assert dataset[0].target.tolist() == [[0, 2, 1]]


RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def palette_mask(ids):
    image = Image.frombytes("P", (len(ids), 1), bytes(ids))
    image.putpalette([*BLACK, *RED, *GREEN])
    return image


def rgb_mask(ids):
    return palette_mask(ids).convert("RGB")


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (lambda ids: palette_mask(ids), {}),
        (lambda ids: palette_mask(ids), {"transparency": 0}),
        (lambda ids: Image.fromarray(np.array([ids], dtype=np.uint8)), {}),
        (lambda ids: Image.fromarray(np.array([ids], dtype=np.uint8)).convert("LA"), {}),
        (lambda ids: Image.fromarray(np.array([ids], dtype=np.uint16)), {}),
        (lambda ids: Image.fromarray(np.array([ids], dtype=np.int32)), {"format": "TIFF"}),
    ],
    ids=["palette", "transparent palette", "8 bits", "grey with alpha", "16 bits", "32 bits"],
)
def test_masks_of_ids(tmp_path, save, mask, options):
    save(tmp_path / "images/train/a.png", np.zeros((1, 3, 3), dtype=np.uint8))
    path = tmp_path / ("masks/train/a.tif" if options.get("format") else "masks/train/a.png")
    path.parent.mkdir(parents=True)
    mask([0, 1, 2]).save(path, **options)
    assert folder(tmp_path)[0].target.tolist() == [[0, 1, 2]]
    assert folder(tmp_path, label_map={0: "car", 1: "ignore", "2": 0})[0].target.tolist() == [[2, 255, 0]]
    assert folder(tmp_path, label_map={1: "car", "*": "ignore"})[0].target.tolist() == [[255, 2, 255]]


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (palette_mask, {}),
        (palette_mask, {"transparency": 1}),
        (rgb_mask, {}),
        (lambda ids: rgb_mask(ids).convert("RGBA"), {}),
        (rgb_mask, {"transparency": RED}),
    ],
    ids=["palette", "transparent palette", "RGB", "RGBA", "RGB with a transparent colour"],
)
def test_masks_of_colours(tmp_path, save, mask, options):
    save(tmp_path / "images/train/a.png", np.zeros((1, 3, 3), dtype=np.uint8))
    (tmp_path / "masks/train").mkdir(parents=True)
    mask([0, 1, 2]).save(tmp_path / "masks/train/a.png", **options)
    colours = {"#000000": "sky", "#FF0000": "ignore", "#00ff00": 2}
    assert folder(tmp_path, label_map=colours)[0].target.tolist() == [[0, 255, 2]]
    assert folder(tmp_path, label_map={"#ff0000": "car", "*": "ignore"})[0].target.tolist() == [[255, 2, 255]]


def test_values_and_colours_in_one_map(tmp_path, save):
    for name, mask in (
        ("grey", np.array([[0, 7]], dtype=np.uint8)),
        ("rgb", np.array([[BLACK, RED]], dtype=np.uint8)),
    ):
        save(tmp_path / "images/train" / f"{name}.png", np.zeros((1, 2, 3), dtype=np.uint8))
        save(tmp_path / "masks/train" / f"{name}.png", mask)
    dataset = folder(tmp_path, label_map={0: "sky", 7: "car", "#000000": "sky", "#ff0000": "car"})
    assert [sample.target.tolist() for sample in dataset] == [[[0, 2]]] * 2


def test_1_bit_masks(tmp_path, save):
    save(tmp_path / "images/train/a.png", np.zeros((1, 2, 3), dtype=np.uint8))
    save(tmp_path / "masks/train/a.png", np.array([[0, 255]], dtype=np.uint8), "1")
    assert folder(tmp_path, classes=["a", "b"])[0].target.tolist() == [[0, 1]]


def test_cached_labels_follow_the_list_of_classes(tmp_path, save):
    save(tmp_path / "images/train/a.png", np.zeros((1, 2, 3), dtype=np.uint8))
    save(tmp_path / "masks/train/a.png", np.array([[7, 9]], dtype=np.uint8))
    listed, found = tmp_path / "_classes.csv", []
    for order in ("7, a\n9, b\n", "9, b\n7, a\n# swapped\n"):
        listed.write_text(f"Pixel Value, Class\n{order}")
        cached = Cached(folder(tmp_path, classes="_classes.csv"), on_disk(tmp_path / "cache"), settings={})
        found.append([cached[0].target.tolist() for _ in range(2)])
    assert found == [[[[0, 1]]] * 2, [[[1, 0]]] * 2]


def test_list_of_classes_is_checked_like_any_other(make_folder):
    root = make_folder()
    with pytest.raises(ConfigError, match=r"data.classes: no file sky in "):
        folder(root, classes="sky")
    (root / "classes.txt").write_text("a\nb\nc\n")
    assert folder(root, classes="classes.txt")[0].target.tolist() == folder(root)[0].target.tolist()
    with pytest.raises(ValueError, match="ignore_index=2 is also the id of the class 'c'"):
        folder(root, classes="classes.txt", ignore_index=2)
    assert data_error(lambda: folder(root / "no", classes="classes.txt")).startswith(
        "dataset folder not found"
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_invents_no_labels(make_folder, channels):
    sample = folder(make_folder(ids=(0, 2, 255)), resize=[37, 11], channels=channels)[0]
    assert sample.image.shape == (channels, 37, 11)
    assert sample.target.shape == (37, 11)
    assert sample.file_size == (24, 32)
    assert set(sample.target.unique().tolist()) <= {0, 2, 255}
    assert sample.target.dtype == torch.uint8


def test_missing_root(tmp_path):
    assert data_error(lambda: folder(tmp_path / "camvid")) == (
        f"dataset folder not found: {tmp_path}/camvid\n   without data:  python train.py --config ohem.yaml"
    )


def test_missing_folders(make_folder, tmp_path):
    root = make_folder()
    assert data_error(lambda: folder(root, "val", val_split="test")) == (
        f"no folder images/test or test/images in {root}, "
        "which has images/train, images/val, masks/train, masks/val\n"
        "   -> data.val_split=NAME for folders of another name, data.images='\"{split}/{stem}.jpg\"' or alike "
        "for another layout, data.val_fraction=0.2 to divide one folder"
    )
    (root / "masks" / "train").rename(root / "masks" / "training")
    assert data_error(lambda: folder(root)).startswith(
        f"no folder masks/train, labels/train, train/masks or train/labels in {root}, which has images/train, "
        "images/val, masks/training, masks/val\n   -> data.train_split=NAME"
    )
    (tmp_path / "bare").mkdir()
    assert "bare, which has no folders\n   -> data.train_split=NAME" in data_error(
        lambda: folder(tmp_path / "bare")
    )


def test_empty_split(make_folder):
    root = make_folder(train=1)
    (root / "images/train/000.png").unlink()
    assert data_error(lambda: folder(root)) == (
        f"no images in {root}/images/train (.png, .jpg, .jpeg, .bmp, .tif, .tiff, .webp, .gif)"
    )
    for name in "abcd":
        (root / "images/train" / f"{name}.dcm").touch()
    assert data_error(lambda: folder(root)).endswith(".gif); there are a.dcm, b.dcm, c.dcm, ... (4 in all)")


def test_images_without_mask(make_folder):
    root = make_folder()
    (root / "masks/train/001.png").unlink()
    assert data_error(lambda: folder(root)) == (
        "1 image has no mask: images/train/001.png -> expected masks/train/001.png\n"
        "   or leave such images out: data.unlabelled=skip"
    )
    (root / "masks/train/003.png").unlink()
    assert data_error(lambda: folder(root)).startswith("2 images have no mask: images/train/001.png")
    dataset = folder(root, unlabelled="skip")
    assert dataset.names == ["000", "002"]
    assert dataset.notes == ["2 images have no mask and are left out: images/train/001.png"]
    for path in (root / "masks/train").iterdir():
        path.unlink()
    assert data_error(lambda: folder(root, unlabelled="skip")).startswith("4 images have no mask")


def test_mask_with_a_longer_name_is_pointed_out(make_folder):
    root = make_folder()
    (root / "masks/train/001.png").rename(root / "masks/train/001_mask.png")
    assert data_error(lambda: folder(root)) == (
        "1 image has no mask: images/train/001.png -> expected masks/train/001.png\n"
        "   there is masks/train/001_mask.png -> data.masks='masks/{split}/{stem}_mask.png'"
    )


def test_root_may_begin_with_a_tilde(make_folder, monkeypatch):
    root = make_folder()
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(folder(f"~/{root.name}")) == 4


def test_masks_without_image_are_noted(make_folder):
    root = make_folder()
    (root / "images/train/001.png").unlink()
    dataset = folder(root)
    assert len(dataset) == 3
    assert dataset.notes == ["1 mask has no image: masks/train/001.png"]


def test_two_files_of_one_name(make_folder, save):
    root = make_folder()
    save(root / "images/train/001.jpg", np.zeros((24, 32), dtype=np.uint8))
    text = data_error(lambda: folder(root))
    assert text == (
        "two files of one name: images/train/001.jpg and images/train/001.png -> keep one, or "
        "data.images='images/{split}/{stem}.png' to choose"
    )
    assert len(folder(root, images="images/{split}/{stem}.png")) == 4
    save(root / "images/train/001.PNG", np.zeros((24, 32), dtype=np.uint8))
    assert data_error(lambda: folder(root, images="images/{split}/{stem}.png")) == (
        "two files of one name: images/train/001.PNG and images/train/001.png -> keep one"
    )


def test_sizes_that_differ(make_folder, save):
    root = make_folder()
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images/train/000.png", np.zeros((24, 32, 3), dtype=np.uint8), exif=exif)
    save(root / "masks/train/001.png", np.zeros((24, 31), dtype=np.uint8))
    dataset = folder(root)
    assert data_error(lambda: dataset[0]) == (
        "image and mask sizes differ: images/train/000.png 24x32 (after EXIF), masks/train/000.png 32x24"
    )
    assert data_error(lambda: dataset[1]) == (
        "image and mask sizes differ: images/train/001.png 32x24, masks/train/001.png 31x24"
    )


def test_id_out_of_range_names_the_file(make_folder):
    text = data_error(lambda: folder(make_folder(ids=(0, 1, 147)))[0])
    assert text.startswith(
        "label out of range: masks/train/000.png has ids 0, 1, 147 but data.classes has 3 classes (0-2), "
        "ignore_index 255\n"
    )


def test_large_id_does_not_pass_as_a_small_one(make_folder, save):
    root = make_folder()
    save(root / "masks/train/000.png", np.full((24, 32), 256, dtype=np.uint16))
    assert "has ids 256 but" in data_error(lambda: folder(root)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_index": 1}, "ignore_index=1 is also the id of the class 'road'"),
        ({"classes": ["a", "b", "a"]}, "classes names 'a' twice"),
        ({"classes": ["a", "ignore"]}, "a class cannot be called 'ignore', which label_map uses"),
    ],
)
def test_options_that_contradict_each_other(make_folder, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        folder(make_folder(), **options)


@pytest.mark.parametrize(
    ("count", "taken", "free"), [(3, 1, 255), (255, 254, 255), (256, 255, 65535), (65536, 65535, -1)]
)
def test_an_ignore_index_that_is_a_class_is_answered_by_one_that_is_none(make_folder, count, taken, free):
    names = [f"class {n}" for n in range(count)]
    with pytest.raises(ValueError) as caught:
        folder(make_folder(), classes=names, ignore_index=taken)
    assert str(caught.value) == (
        f"ignore_index={taken} is also the id of the class 'class {taken}'\n"
        f"   -> data.ignore_index={free}, an id that no class has; other values in the masks that mean unknown: "
        "data.label_map='{VALUE: ignore}'"
    )
    if count < 1000:
        assert folder(make_folder(), classes=names, ignore_index=free).ignore_index == free


def test_wrong_label_map_is_a_configuration_error_before_the_disk_is_touched(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'road'"):
        folder(tmp_path / "nowhere", label_map={1: "raod"})


def test_camvid(camvid):
    options = {"root": camvid, "classes": CAMVID, "label_map": {11: "ignore"}}
    train, val = Folder("train", **options), Folder("val", **options)
    assert (len(train), len(val)) == (367, 101)
    report = check_data(train, val, seconds=60)
    assert report.summary.startswith("62/62 masks fine (")
    assert report.warnings == []
    assert 0.02 < report.train.ignored_share < 0.08
    shares = dict(zip(CAMVID, [n / report.train.valid for n in report.train.pixels], strict=True))
    assert shares["road"] == pytest.approx(0.33, abs=0.03)
    assert shares["bicyclist"] < 0.01
    text = data_error(lambda: Folder("train", root=camvid, classes=CAMVID)[0])
    assert "has ids" in text and "such as {11: ignore}" in text


def test_membrane(membrane):
    options = {"root": membrane, "classes": ["membrane", "cell"], "channels": 1}
    train = Folder("train", **options, label_map={0: 0, 255: 1})
    assert len(train) == 24
    assert train[0].image.shape == (1, 512, 512)
    report = check_data(train, Folder("val", **options, label_map={0: 0, 255: 1}))
    assert report.train.ignored == 0
    assert report.train.pixels[1] / report.train.valid == pytest.approx(0.775, abs=0.02)
    with pytest.raises(
        DataError, match=r"masks hold only 0 and 255, and 255 is ignore_index: all but 'membrane'"
    ):
        check_data(Folder("train", **options))
