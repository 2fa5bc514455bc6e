"""`nnunet`: dataset.json, channels, splits and slices; NIfTI files are written by nibabel, where that is installed."""

import json

import numpy as np
import pytest
from PIL import Image

from segkit.data.check.contained import propose_cases
from segkit.data.datasets.containers.nnunet import NnUNet
from segkit.errors import ConfigError, DataError
from tests.data.containers.contained_folders import (
    CLASSES,
    IMAGES,
    LABELS,
    describe_cases,
    make_cases,
    make_volumes,
    save_stack,
)


def nnunet(root, split="train", **options):
    return NnUNet(split, root=str(root), **options)


def refusal(error, call):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


def redescribe(root, **changes):
    """Change keys of dataset.json; None removes one."""
    path = root / "dataset.json"
    described = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in described.items() if value is not None}))


def test_classes_splits_and_folds(tmp_path):
    make_cases(tmp_path)
    train, val = nnunet(tmp_path), nnunet(tmp_path, "val")
    assert (train.class_names, train.channels) == (tuple(CLASSES), 1)
    assert val.names == ["case_08", "case_09"]
    assert val.files(0) == (
        tmp_path / "imagesTr/case_08_0000.png",
        tmp_path / "labelsTr/case_08.png",
        tmp_path / "dataset.json",
    )
    assert refusal(DataError, lambda: nnunet(tmp_path, fold=1)) == (
        f"data.fold=1: {tmp_path}/splits_final.json has 1 folds (from 0)"
    )
    folds = [{"train": ["case_00"], "val": ["case_01"]}, {"train": ["case_01"], "val": ["case_00"]}]
    (tmp_path / "others.json").write_text(json.dumps(folds))
    assert nnunet(tmp_path, splits="others.json", fold=1).names == ["case_01"]


def test_a_share_of_the_cases(tmp_path):
    make_cases(tmp_path)
    (tmp_path / "splits_final.json").unlink()
    train, val = (nnunet(tmp_path, split, val_fraction=0.3) for split in ("train", "val"))
    assert sorted([*train.names, *val.names]) == [f"case_{n:02}" for n in range(10)] and val.names
    assert refusal(ConfigError, lambda: nnunet(tmp_path)) == (
        f"nothing says which cases validate: {tmp_path} has no splits_final.json\n"
        "   -> data.splits=FILE, or data.val_fraction=0.2"
    )
    assert refusal(ConfigError, lambda: nnunet(tmp_path, val_fraction=0.3, fold=2)) == (
        "data.fold=2 does nothing beside data.val_fraction -> remove one"
    )
    assert refusal(ConfigError, lambda: nnunet(tmp_path, splits="none.json")) == (
        f"data.splits: no file none.json in {tmp_path} or in the current folder"
    )


def test_channels_become_bands_and_ignored_pixels_are_ignored(tmp_path):
    describe_cases(tmp_path, ".png", channels=2, background=0, cell=1, ignore=2)
    for n in range(3):
        Image.fromarray(IMAGES[n]).save(tmp_path / f"imagesTr/a_{n}_0000.png")
        Image.fromarray(IMAGES[n + 3]).save(tmp_path / f"imagesTr/a_{n}_0001.png")
        Image.fromarray(LABELS[n]).save(tmp_path / f"labelsTr/a_{n}.png")
    dataset = nnunet(tmp_path, val_fraction=0.3)
    assert (dataset.class_names, dataset.channels) == (("background", "cell"), 2)
    n = int(dataset.names[0][-1])
    np.testing.assert_array_equal(dataset[0].image, np.stack([IMAGES[n], IMAGES[n + 3]]))
    np.testing.assert_array_equal(dataset[0].target, np.array([0, 1, 255])[LABELS[n]])
    Image.fromarray(IMAGES[0, ::2]).save(tmp_path / f"imagesTr/{dataset.names[0]}_0001.png")
    folder = tmp_path / "imagesTr"
    assert refusal(DataError, lambda: dataset[0]) == (
        f"bands of one image differ in size: {folder}/{dataset.names[0]}_0000.png 32x24, "
        f"{folder}/{dataset.names[0]}_0001.png 32x12"
    )


def test_one_file_with_all_colours(tmp_path):
    describe_cases(tmp_path, ".png", channels=3)
    for n in range(2):
        Image.fromarray(np.stack([IMAGES[n]] * 3, axis=2)).save(tmp_path / f"imagesTr/a_{n}_0000.png")
        Image.fromarray(LABELS[n]).save(tmp_path / f"labelsTr/a_{n}.png")
    assert nnunet(tmp_path, val_fraction=0.5)[0].image.shape == (3, 24, 32)


def test_pages_of_tiff_files_are_slices(tmp_path):
    describe_cases(tmp_path, ".tif")
    for n in range(2):
        save_stack(tmp_path / f"imagesTr/a_{n}_0000.tif", IMAGES[5 * n : 5 * n + 5])
        save_stack(tmp_path / f"labelsTr/a_{n}.tif", LABELS[5 * n : 5 * n + 5])
    dataset = nnunet(tmp_path, val_fraction=0.5)
    assert len(dataset) == 5 and dataset.names[2].endswith("_002")
    case = int(dataset.names[0][2])
    np.testing.assert_array_equal(dataset[2].target, LABELS[5 * case + 2])
    save_stack(tmp_path / "labelsTr/a_1.tif", LABELS[:4])
    assert "case a_1: a_1_0000.tif and a_1.tif differ in pages: 5 and 4" in refusal(
        DataError, lambda: [nnunet(tmp_path, split, val_fraction=0.5) for split in ("train", "val")]
    )


def test_files_that_dataset_json_lists(tmp_path):
    make_cases(tmp_path)
    listed = {
        f"x{n}": {"images": [f"imagesTr/case_0{n}_0000.png"], "label": f"labelsTr/case_0{n}.png"}
        for n in range(3)
    }
    redescribe(tmp_path, dataset=listed)
    names = [name for split in ("train", "val") for name in nnunet(tmp_path, split, val_fraction=0.3).names]
    assert sorted(names) == ["x0", "x1", "x2"]


#: Changes of dataset.json, and what is said of it.
DESCRIPTIONS = {
    "regions": (
        {"labels": {"background": 0, "whole": [1, 2], "core": [2]}},
        "labels: whole, core are regions of several values, which overlap\n"
        "   -> a pixel has one class here: name each value by itself",
    ),
    "nnU-Net 1, a name for two": (
        {"labels": {"0": "background", "1": "cell", "2": "cell"}},
        "labels: 1 and 2 are both called 'cell'",
    ),
    "nnU-Net 1, no name": (
        {"labels": {"0": "background", "1": 1}},
        "labels: '1': expected a name, got 1",
    ),
    "nnU-Net 1, gaps": (
        {"labels": {"0": "background", "2": "cell"}},
        "labels: expected the values 0, 1, 2 ... of at least 2 classes, got 0, 2",
    ),
    "nnU-Net 1, no list": (
        {"labels": {"0": "background", "1": "cell"}, "training": {}},
        "training: expected a list of cases",
    ),
    "gaps": (
        {"labels": {"background": 0, "cell": 2}},
        "labels: expected the values 0, 1, 2 ... of at least 2 classes, got 0, 2",
    ),
    "words": (
        {"labels": {"background": 0, "cell": "1"}},
        "labels: 'cell': expected a whole number, got '1'",
    ),
    "no ending": ({"file_ending": None}, "expected the key 'file_ending', as nnU-Net 2 writes it"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_descriptions_that_cannot_be_used(tmp_path, case):
    changes, message = DESCRIPTIONS[case]
    make_cases(tmp_path)
    redescribe(tmp_path, **changes)
    assert refusal(DataError, lambda: nnunet(tmp_path)) == f"{tmp_path}/dataset.json: {message}"


def describe_first(root, files, channels=1):
    """The dataset.json of nnU-Net 1 and of the Decathlon, beside volumes that are there."""
    described = {
        "name": "X",
        "tensorImageSize": "3D",
        "modality": {str(n): f"m{n}" for n in range(channels)},
        "labels": {"0": "background", "2": "border", "1": "cell"},
        "numTraining": len(files),
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in files],
        "test": ["./imagesTs/z.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(described))


def test_what_nnunet_1_and_the_decathlon_describe(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="nibabel, which writes volumes, is not installed")
    make_volumes(tmp_path)
    (tmp_path / "splits_final.json").unlink()
    expected = [sample for split in ("train", "val") for sample in nnunet(tmp_path, split, val_fraction=0.4)]
    files = [f"case_{n:02}.nii.gz" for n in range(0, 10, 2)]
    describe_first(tmp_path, files)
    for numbered in (True, False):  # as nnU-Net has it, and as the Decathlon
        if not numbered:
            for name in files:
                (tmp_path / "imagesTr" / name.replace(".nii", "_0000.nii")).rename(
                    tmp_path / "imagesTr" / name
                )
        found = [sample for split in ("train", "val") for sample in nnunet(tmp_path, split, val_fraction=0.4)]
        assert [sample.name for sample in found] == [sample.name for sample in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.target, other.target)
        assert nnunet(tmp_path, val_fraction=0.4).class_names == ("background", "cell", "border")
    block = propose_cases(tmp_path)
    assert block == {"name": "nnunet", "root": str(tmp_path), "val_fraction": 0.2}
    describe_first(tmp_path, files[:2])
    assert (
        len([name for split in ("train", "val") for name in nnunet(tmp_path, split, val_fraction=0.4).names])
        == 4
    )
    both = nibabel.Nifti1Image(np.zeros((32, 24, 2, 2), np.uint8), np.eye(4))
    nibabel.save(both, tmp_path / "imagesTr" / files[0])
    describe_first(tmp_path, files[:2], channels=2)
    assert "32x24x2x2 is no volume of three axes -> save each channel as a file of its own" in refusal(
        DataError, lambda: [nnunet(tmp_path, split, val_fraction=0.4) for split in ("train", "val")]
    )


def test_cases_of_nnunet_1_that_cannot_be_used(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    describe_first(tmp_path, ["a.nii.gz"], channels=2)
    assert (
        refusal(DataError, lambda: nnunet(tmp_path)) == "case a has no labels: labelsTr/a.nii.gz is missing"
    )
    (tmp_path / "labelsTr/a.nii.gz").write_bytes(b"")
    assert refusal(DataError, lambda: nnunet(tmp_path)) == "case a has no image: imagesTr/a.nii.gz is missing"
    (tmp_path / "imagesTr/a_0001.nii.gz").write_bytes(b"")
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        "case a has no a_0000.nii.gz: dataset.json names 2 channels (modality)"
    )
    describe_first(tmp_path, ["a.nii.gz", "a.nii.gz"], channels=2)
    (tmp_path / "imagesTr/a_0000.nii.gz").write_bytes(b"")
    assert refusal(DataError, lambda: nnunet(tmp_path)) == "dataset.json: training: case a is listed twice"
    redescribe(tmp_path, training=["imagesTr/a.nii.gz"])
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        'dataset.json: training: entry 0: expected {"image": ..., "label": ...}, got imagesTr/a.nii.gz'
    )


def test_files_that_are_missing(tmp_path):
    make_cases(tmp_path)
    (tmp_path / "labelsTr/case_03.png").unlink()
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        "case case_03 has no labels: labelsTr/case_03.png is missing"
    )
    redescribe(tmp_path, channel_names={"0": "a", "1": "b", "2": "c", "3": "d"})
    (tmp_path / "imagesTr/case_00_0000.png").rename(tmp_path / "imagesTr/case_00_0002.png")
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        "case case_00 has the channels _0002, and dataset.json names 4 (channel_names)"
    )
    redescribe(tmp_path, file_ending=".gipl")
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        "dataset.json: file_ending '.gipl' is not read\n"
        "   -> save the files as .png, .tif, .nii.gz, .mha or .nrrd, and say so there"
    )
    redescribe(tmp_path, file_ending=".bmp")
    assert refusal(DataError, lambda: nnunet(tmp_path)) == f"no images imagesTr/CASE_0000.bmp in {tmp_path}"
    (tmp_path / "dataset.json").write_text("{")
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        f"cannot read {tmp_path}/dataset.json: it is no JSON, or damaged"
    )


def test_splits_that_cannot_be_used(tmp_path):
    make_cases(tmp_path)
    path = tmp_path / "splits_final.json"
    for folds, message in (
        ([{"train": ["case_00", "x"], "val": ["case_01"]}], "fold 0: 'train' names x: no such case"),
        ([{"train": ["case_00"], "val": ["case_00"]}], "fold 0: case_00 trains and validates"),
        ([{"train": ["case_00"]}], "fold 0: 'val' is no list of cases"),
        ({"train": []}, 'expected [{"train": [...], "val": [...]}, ...]'),
    ):
        path.write_text(json.dumps(folds))
        assert refusal(DataError, lambda: nnunet(tmp_path)) == f"{path}: {message}"


def test_volumes_are_cut_where_voxels_lie_farthest_apart(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="nibabel, which writes volumes, is not installed")
    describe_cases(tmp_path, ".nii.gz")
    random = np.random.default_rng(0)
    volume = random.integers(-1000, 1000, (6, 20, 16)).astype(np.int16)
    labels = random.integers(0, 3, (6, 20, 16)).astype(np.uint8)
    labels[2] = 0
    for n in range(2):
        spacing = np.diag([5, 1, 1, 1])
        nibabel.save(nibabel.Nifti1Image(volume, spacing), tmp_path / f"imagesTr/a{n}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, spacing), tmp_path / f"labelsTr/a{n}.nii.gz")
    dataset = nnunet(tmp_path, val_fraction=0.5)
    assert (len(dataset), dataset[0].image.shape) == (6, (1, 16, 20))
    for place, sample in enumerate(dataset):
        np.testing.assert_array_equal(sample.target, labels[place].T)
    assert str(dataset.images[3]).endswith("_0000.nii.gz#x3")
    assert dataset.value_range == (volume.min(), volume.max())
    filled = nnunet(tmp_path, val_fraction=0.5, empty_slices="skip")
    assert [name[-3:] for name in filled.names] == ["000", "001", "003", "004", "005"]
    assert len(nnunet(tmp_path, "val", val_fraction=0.5, empty_slices="skip")) == 6
    assert nnunet(tmp_path, val_fraction=0.5, axis="z")[0].image.shape == (1, 20, 6)


def test_volumes_that_cannot_be_used(tmp_path):
    make_volumes(tmp_path)
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "labelsTr/case_00.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((32, 24, 3), np.uint8), np.eye(4)), path)
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        "case case_00: case_00_0000.nii.gz and case_00.nii.gz differ in voxels: 32x24x2 and 32x24x3"
    )
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.uint8), np.eye(4)), path)
    assert refusal(DataError, lambda: nnunet(tmp_path)) == (
        f"cannot use {path}: 4x4x4x2 is no volume of three axes -> save each channel as a file of its own"
    )
    path.write_bytes(b"no volume")
    assert refusal(DataError, lambda: nnunet(tmp_path)).startswith(f"cannot read {path}: ")


def test_without_nibabel_it_is_said_what_to_install(tmp_path, monkeypatch):
    describe_cases(tmp_path, ".nii.gz")
    for name in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    assert refusal(DataError, lambda: nnunet(tmp_path, val_fraction=0.5)).startswith("data.val_fraction")
    for name in ("imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    assert refusal(DataError, lambda: nnunet(tmp_path, val_fraction=0.5)) == (
        f"cannot read {tmp_path}/labelsTr/a.nii.gz: a NIfTI volume\n"
        "   -> pip install nibabel   (the extra `nnunet`) reads it"
    )
