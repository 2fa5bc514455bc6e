"""What the named data sets say about files that are absent, in the wrong place or not the published ones."""

import importlib.util

import numpy as np
import pytest

from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS
from tests.data.datasets import published_layouts as layouts

HAS_SCIPY = importlib.util.find_spec("scipy") is not None
MAKERS = {
    "ade20k": layouts.make_ade20k,
    "camvid": layouts.make_camvid_segnet,
    "cityscapes": layouts.make_cityscapes,
    "coco_stuff": layouts.make_coco_stuff,
    "pets": layouts.make_pets,
    "sbd": layouts.make_sbd,
    "voc": layouts.make_voc,
}
NEEDED = {
    "ade20k": "ADEChallengeData2016/images/training and ADEChallengeData2016/annotations/training",
    "camvid": "train, trainannot and train.txt",
    "cityscapes": "leftImg8bit/train and gtFine/train",
    "coco_stuff": "images/train2017 and annotations/train2017",
    "pets": "oxford-iiit-pet/images, oxford-iiit-pet/annotations/trimaps and "
    "oxford-iiit-pet/annotations/trainval.txt",
    "sbd": "img, cls, train.txt and val.txt",
    "voc": "VOCdevkit/VOC2012/JPEGImages, VOCdevkit/VOC2012/SegmentationClass and "
    "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt",
}
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=sorted(MAKERS))
def name(request):
    if request.param == "sbd" and not HAS_SCIPY:
        pytest.skip("scipy is not installed, which reads the labels of sbd")
    return request.param


def build(name, root, split="train", **options):
    return DATASETS.get(name)(split, root=str(root), **options)


def data_error(call):
    with pytest.raises(DataError) as raised:
        call()
    return str(raised.value)


def test_absent(name, tmp_path):
    assert data_error(lambda: build(name, tmp_path / "there")) == (
        f"dataset folder not found: {tmp_path}/there\n"
        f"   {name} is read from {NEEDED[name]} in data.root\n"
        f"   -> python scripts/prepare_data.py {name} --root {tmp_path}/there"
    )


def test_empty_folder(name, tmp_path):
    first = NEEDED[name].split(" and ")[0].split(", ")[0]
    assert data_error(lambda: build(name, tmp_path)) == (
        f"no {first} in {tmp_path}, which is empty\n"
        f"   {name} is read from {NEEDED[name]} in data.root\n"
        f"   -> python scripts/prepare_data.py {name} --root {tmp_path}"
    )


def test_root_one_folder_too_high(name, tmp_path):
    MAKERS[name](tmp_path / "down")
    text = data_error(lambda: build(name, tmp_path))
    assert f" in {tmp_path}, which has down\n" in text
    assert text.endswith(f"\n   -> data.root={tmp_path}/down")


@pytest.mark.parametrize("below", ["VOCdevkit", "VOCdevkit/VOC2012"])
def test_root_too_low(tmp_path, below):
    layouts.make_voc(tmp_path)
    text = data_error(lambda: build("voc", tmp_path / below))
    assert text.endswith(f"\n   -> data.root={tmp_path}")
    if below == "VOCdevkit/VOC2012":
        assert ", which has ImageSets, JPEGImages, SegmentationClass\n" in text


def test_another_year_of_voc_is_not_the_one_that_is_prepared(tmp_path):
    text = data_error(lambda: build("voc", tmp_path, year=2010))
    assert text.splitlines()[-1].startswith("   -> unpack there http")
    assert text.endswith("/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar")


def test_label_files_that_are_missing(name, tmp_path):
    MAKERS[name](tmp_path)
    dataset = build(name, tmp_path)
    for path in dataset.mask_paths[:2]:
        path.unlink()
    assert data_error(lambda: build(name, tmp_path)) == (
        f"2 label files are missing: {dataset.mask_paths[0]}\n"
        f"   -> unpack the archive of {name} again; a download or a copy that was cut short leaves files out"
    )


@pytest.mark.parametrize("name", ["camvid", "pets", "voc"])
def test_images_that_are_missing(name, tmp_path):
    MAKERS[name](tmp_path)
    path = build(name, tmp_path).image_paths[1]
    path.unlink()
    assert data_error(lambda: build(name, tmp_path)).startswith(f"1 image file is missing: {path}\n")


@pytest.mark.parametrize("name", ["ade20k", "coco_stuff", "cityscapes"])
def test_no_images(name, tmp_path):
    MAKERS[name](tmp_path)
    for path in build(name, tmp_path).image_paths:
        path.unlink()
    assert data_error(lambda: build(name, tmp_path)).startswith("no images in ")


@pytest.mark.parametrize(
    ("name", "listing"),
    [
        ("voc", "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"),
        ("pets", "oxford-iiit-pet/annotations/trainval.txt"),
        ("camvid", "train.txt"),
        ("sbd", "train.txt"),
    ],
)
def test_an_empty_list(name, listing, tmp_path):
    if name == "sbd" and not HAS_SCIPY:
        pytest.skip("scipy is not installed, which reads the labels of sbd")
    MAKERS[name](tmp_path)
    (tmp_path / listing).write_text("")
    assert data_error(lambda: build(name, tmp_path)) == f"no images: {tmp_path / listing} is empty"


#: A value that no label file of the data set has, and how a message names it.
STRANGE = {"ade20k": 151, "camvid": 12, "cityscapes": 34, "coco_stuff": 11, "pets": 0, "voc": 21}


@pytest.mark.parametrize("name", sorted(STRANGE))
def test_values_that_are_not_published(name, tmp_path):
    MAKERS[name](tmp_path)
    dataset = build(name, tmp_path)
    path = dataset.mask_paths[0]
    values = np.full(layouts.SIZE, STRANGE[name], dtype=np.uint8)
    layouts.write_labels(path, values)
    assert data_error(lambda: dataset[0]) == (
        f"not a label of {name}: {path.relative_to(tmp_path)} has the value {STRANGE[name]}, "
        "which its publication does not name\n"
        "   -> unpack the file again; for labels of your own: data.name=folder with a data.label_map"
    )
    layouts.write_labels(path, np.full(layouts.SIZE, 256 + min(2, STRANGE[name]), dtype=np.uint16))
    assert f"has the value {256 + min(2, STRANGE[name])}, which" in data_error(lambda: dataset[0])
    layouts.write_image(path)
    assert data_error(lambda: dataset[0]) == (
        f"not a label file of {name}: {path.relative_to(tmp_path)} is an RGB image, "
        "the published ones are single-channel"
    )


def test_colours_that_are_not_published(tmp_path):
    layouts.make_camvid_rgb(tmp_path)
    dataset = build("camvid", tmp_path)
    path = dataset.mask_paths[0]
    layouts.write_labels(path, np.full((*layouts.SIZE, 3), (1, 2, 3), dtype=np.uint8))
    assert data_error(lambda: dataset[0]).startswith(
        "not a label of camvid: LabeledApproved_full/0001TP_006690_L.png has the colour #010203, which its"
    )
    layouts.write_labels(path, np.zeros(layouts.SIZE, dtype=np.uint8))
    assert data_error(lambda: dataset[0]) == (
        "not a label file of camvid: LabeledApproved_full/0001TP_006690_L.png is a single-channel image, "
        "the published ones are RGB"
    )


def test_lists_that_cannot_be_used(tmp_path):
    layouts.make_pets(tmp_path / "pets")
    listing = tmp_path / "pets/oxford-iiit-pet/annotations/trainval.txt"
    listing.write_text("Abyssinian_1\n")
    assert data_error(lambda: build("pets", tmp_path / "pets")) == (
        "cannot list the images of pets: not enough values to unpack (expected 4, got 1)\n"
        "   -> unpack its archive again"
    )
    layouts.make_camvid_segnet(tmp_path / "camvid")
    listing = tmp_path / "camvid/train.txt"
    listing.write_text("/SegNet/CamVid/train/0001TP_006690.png\n")
    assert data_error(lambda: build("camvid", tmp_path / "camvid")) == (
        f"cannot use {listing}: it lists 1 files, which are not pairs of image and label"
    )


@pytest.mark.parametrize("name", ["voc", "pets"])
def test_lists_that_are_no_text(name, tmp_path):
    for path in MAKERS[name](tmp_path).rglob("train*.txt"):
        path.write_bytes(b"\xff\xfe")
    start = f"cannot list the images of {name}: 'utf-8' codec can't decode byte 0xff"
    assert data_error(lambda: build(name, tmp_path)).startswith(start)


def test_a_list_of_colours_that_cannot_be_used(tmp_path):
    layouts.make_camvid_rgb(tmp_path)
    listing = tmp_path / "label_colors.txt"
    listing.write_text(layouts.CAMVID_COLOURS.replace("Wall", "Fort"))
    assert data_error(lambda: build("camvid", tmp_path)) == (
        f"cannot use {listing}: it should name the 32 classes of CamVid, but for Fort, Wall"
    )
    listing.write_text("64 128 Animal\n")
    assert data_error(lambda: build("camvid", tmp_path)) == (
        f"cannot use {listing}: '64 128 Animal' is not a colour and a name: 64 128 64 Animal"
    )


def test_frames_that_are_in_no_part(tmp_path):
    layouts.make_camvid_rgb(tmp_path)
    layouts.write_image(tmp_path / "701_StillsRaw_full" / "cover.png")
    assert build("camvid", tmp_path).notes == ["1 images are in no part, such as cover.png"]
    for path in (tmp_path / "701_StillsRaw_full").glob("0016E5_07*.png"):
        path.unlink()
    (tmp_path / "701_StillsRaw_full" / "0016E5_08159.png").unlink()
    assert data_error(lambda: build("camvid", tmp_path, "val")) == (
        f"no images of the val part in {tmp_path}/701_StillsRaw_full (*.png, such as 0016E5_07959.png)"
    )


def test_cityscapes_with_a_file_among_its_cities(tmp_path):
    layouts.make_cityscapes(tmp_path)
    (tmp_path / "leftImg8bit/train/notes.txt").write_text("")
    assert data_error(lambda: build("cityscapes", tmp_path)).startswith(
        "cannot list the images of cityscapes: [Errno 20] Not a directory: "
    )


def test_sbd_without_scipy(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(ConfigError, match=r"^data.name=sbd needs scipy, .* -> pip install scipy$"):
        build("sbd", tmp_path)


def test_sbd_files_that_cannot_be_used(tmp_path):
    savemat = pytest.importorskip("scipy.io", reason="scipy is not installed").savemat
    layouts.make_sbd(tmp_path, noval=False)
    assert data_error(lambda: build("sbd", tmp_path, train_split="train_noval")).splitlines() == [
        f"no train_noval.txt in {tmp_path}: the archive does not have this list",
        "   -> save https://www.cs.cornell.edu/~bharathh/train_noval.txt there, or data.train_split=train",
    ]
    dataset = build("sbd", tmp_path)
    path = dataset.mask_paths[0]
    path.write_bytes(path.read_bytes()[:200])
    assert data_error(lambda: dataset[0]) == f"cannot read {path}: no Matlab file with GTcls.Segmentation"
    savemat(path, {"GTinst": {"Segmentation": np.zeros((2, 2), dtype=np.uint8)}})
    assert data_error(lambda: dataset[0]) == f"cannot read {path}: no Matlab file with GTcls.Segmentation"
    savemat(path, {"GTcls": {"Segmentation": np.zeros((2, 2))}})
    assert data_error(lambda: dataset[0]) == f"cannot use {path}: GTcls.Segmentation is not a matrix of bytes"
    path.unlink()
    assert data_error(lambda: dataset[0]) == f"cannot read {path}: no such file"
