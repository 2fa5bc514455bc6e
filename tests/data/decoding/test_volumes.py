"""MetaImage and NRRD volumes, which SimpleITK and pynrrd write here where they are installed: the same slices as of the
array, and as of the NIfTI file of the same voxels."""

import gzip
import json
import os

import numpy as np
import pytest

from segkit.data.datasets.containers.nnunet import NnUNet
from segkit.data.decoding.volumes import cut, encode_labels, find_filled, label_suffix, read_volume_head
from segkit.errors import DataError
from tests.data.containers.contained_folders import describe_cases

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (9, 7, 5)).astype(np.int16)  # x, y, z
SPACING = (0.5, 0.75, 3.0)


def sitk():
    return pytest.importorskip(
        "SimpleITK", reason="SimpleITK, which reads MetaImage and NRRD, is not installed"
    )


def save(path, voxels=VOXELS, *, compressed=False, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    image = sitk().GetImageFromArray(voxels.T)
    image.SetSpacing(SPACING)
    image.SetOrigin((1, 2, 3))
    image.SetDirection(direction)
    sitk().WriteImage(image, str(path), compressed)
    return path


def assert_slices(path, voxels=VOXELS):
    assert read_volume_head(path).shape == voxels.shape
    for axis in range(3):
        for place, each in enumerate(cut(path, axis)):
            np.testing.assert_array_equal(each.read().values[..., 0], voxels.take(place, axis=axis).T)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "nhdr", "NRRD"])
def test_slices_of_what_simpleitk_writes(tmp_path, ending, compressed):
    path = save(tmp_path / f"a.{ending.lower()}", compressed=compressed)
    path = path.rename(tmp_path / f"a.{ending}")
    assert_slices(path)
    assert read_volume_head(path) == ((9, 7, 5), SPACING, "LPS")
    files = cut(path, 2)[0].files
    assert len(files) == (2 if ending in ("mhd", "nhdr") else 1)
    assert {file.name for file in files} == {file.name for file in tmp_path.iterdir()}
    labels = np.where(np.arange(5) % 2, np.abs(VOXELS), 0)
    path = save(tmp_path / f"b.{ending.lower()}", labels, compressed=compressed)
    assert find_filled(path, 2).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_the_same_voxels_in_another_format_are_the_same_slices(tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="nibabel, which writes NIfTI, is not installed")
    affine = np.array([[0, -2, 0, 7], [3, 0, 0, -8], [0, 0, 9, 9], [0, 0, 0, 1]], float)
    nibabel.save(nibabel.Nifti1Image(VOXELS, affine), tmp_path / "a.nii.gz")
    for ending in ("mha", "nrrd"):
        sitk().WriteImage(sitk().ReadImage(str(tmp_path / "a.nii.gz")), str(tmp_path / f"a.{ending}"))
        assert_slices(tmp_path / f"a.{ending}")
        found, expected = (read_volume_head(tmp_path / f"a.{end}") for end in (ending, "nii.gz"))
        np.testing.assert_allclose(found.spacing, expected.spacing)
        assert found.ways == expected.ways == "ALS"


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "int64", "float32", "float64"])
def test_every_type_of_number(tmp_path, dtype):
    voxels = (VOXELS % 100).astype(dtype)
    for ending in ("mha", "nrrd"):
        assert_slices(save(tmp_path / f"a.{ending}", voxels), voxels)
        assert cut(tmp_path / f"a.{ending}", 0)[0].read().values.dtype == dtype


#: What pynrrd is given beside the voxels, and spacing and ways that are read.
HEADS = {
    "nothing": ({}, (1, 1, 1), "LPS"),
    "spacings": ({"spacings": [1, 2, 3]}, (1, 2, 3), "LPS"),
    "as 3D Slicer": (
        {
            "space": "left-posterior-superior",
            "space directions": np.diag(SPACING),
            "space origin": [1, 2, 3],
            "kinds": ["domain"] * 3,
        },
        SPACING,
        "LPS",
    ),
    "another space": ({"space": "RAS", "space directions": np.diag(SPACING)}, SPACING, "RAS"),
    "another order": (
        {"space": "LPS", "space directions": [[0, 0, 3.0], [0, -2, 0], [1, 0, 0]]},
        (3, 2, 1),
        "SAL",
    ),
    "text": ({"encoding": "ascii"}, (1, 1, 1), "LPS"),
    "the other order of bytes": ({"endian": "big"}, (1, 1, 1), "LPS"),
    "names of things": ({"Segment0_Name": "encoding: gzip", "space": "LPS"}, (1, 1, 1), "LPS"),
}


@pytest.mark.parametrize("case", HEADS)
def test_slices_of_what_pynrrd_writes(tmp_path, case):
    nrrd = pytest.importorskip("nrrd", reason="pynrrd, which writes NRRD, is not installed")
    head, spacing, ways = HEADS[case]
    sitk()
    if head.get("space") and "space directions" not in head:
        head = {**head, "space directions": np.eye(3)}
    voxels = VOXELS.astype(">i2") if head.get("endian") == "big" else VOXELS
    for options in ({}, {"detached_header": True}):
        path = tmp_path / ("a.nhdr" if options else "a.nrrd")
        nrrd.write(str(path), voxels, dict(head), **options)
        assert_slices(path)
        assert read_volume_head(path) == ((9, 7, 5), pytest.approx(spacing), ways)


def test_an_image_is_a_volume_of_one_slice(tmp_path):
    sitk().WriteImage(sitk().GetImageFromArray(VOXELS[..., 2].T), str(tmp_path / "a.mha"))
    assert_slices(tmp_path / "a.mha", VOXELS[..., 2:3])
    assert read_volume_head(tmp_path / "a.mha") == ((9, 7, 1), (1, 1, 1), "LPS")
    assert find_filled(tmp_path / "a.mha", 2).tolist() == [True]


@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "nhdr"])
def test_labels_lie_where_their_volume_does(tmp_path, ending):
    path = save(tmp_path / f"a.{ending}", direction=(0, -1, 0, 1, 0, 0, 0, 0, 1))
    labels = (VOXELS % 3).astype(np.uint8)
    written = tmp_path / f"b{label_suffix(path)}"
    written.write_bytes(encode_labels(labels, path))
    assert_slices(written, labels)
    found, expected = sitk().ReadImage(str(written)), sitk().ReadImage(str(path))
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(found, what)() == getattr(expected, what)()
    assert found.GetPixelID() == sitk().sitkUInt8


@pytest.mark.parametrize(("ending", "kind"), [("nii", "Nifti1Image"), ("nii.gz", "Nifti2Image")])
def test_labels_of_a_nifti_volume_that_is_scaled(tmp_path, ending, kind):
    """What its head says of its numbers is not of the labels."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel, which writes NIfTI, is not installed")
    affine = np.array([[0, -2, 0, 7], [3, 0, 0, -8], [0, 0, 9, 9], [0, 0, 0, 1]], float)
    image = getattr(nibabel, kind)(VOXELS * 0.37 - 1024.5, affine)
    image.header.set_data_dtype(np.int16)
    image.header["cal_max"] = 400
    image.header.set_xyzt_units("mm", "sec")
    path = tmp_path / f"a.{ending}"
    nibabel.save(image, path)
    assert nibabel.load(path).dataobj.slope != 1
    labels = (VOXELS % 300).astype(np.uint16)
    written = tmp_path / f"b{label_suffix(path)}"
    written.write_bytes(encode_labels(labels, path))
    assert_slices(written, labels)
    found = nibabel.load(written)
    assert type(found) is type(image) and found.get_data_dtype() == np.uint16
    np.testing.assert_array_equal(found.affine, affine)
    assert (found.header["cal_max"], found.header.get_xyzt_units()) == (0, ("mm", "sec"))


def test_a_changed_file_is_read_anew(tmp_path):
    """By the file of the numbers, too: the head of an .mhd file stays what it was."""
    for ending in ("mhd", "nrrd"):
        path = save(tmp_path / f"a.{ending}", compressed=ending == "nrrd")
        cut(path, 2)[1].read()
        head = path.stat()
        save(path, VOXELS + 1, compressed=ending == "nrrd")
        if ending == "mhd":
            os.utime(path, ns=(head.st_atime_ns, head.st_mtime_ns))
        os.utime(cut(path, 2)[1].files[-1], (5, 5))
        np.testing.assert_array_equal(cut(path, 2)[1].read().values[..., 0], VOXELS[..., 1].T + 1)


def refusal(call):
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def test_files_that_cannot_be_used(tmp_path, capfd):
    for ending in ("mha", "nrrd"):
        for compressed in (False, True):
            path = save(tmp_path / f"a.{ending}", compressed=compressed)
            path.write_bytes(path.read_bytes()[:-40])
            last = cut(path, 2)[-1]
            message = refusal(lambda last=last: read(last))
            assert message.startswith(f"cannot read {path}: damaged, cut short, or no volume (")
    path.write_bytes(b"no volume")
    assert refusal(lambda: read_volume_head(path)).startswith(
        f"cannot read {path}: damaged, cut short, or no volume ("
    )
    assert (
        refusal(lambda: read_volume_head(tmp_path / "b.mha")) == f"cannot read {tmp_path}/b.mha: no such file"
    )
    path = save(tmp_path / "b.mha").rename(tmp_path / "b.MHA")
    assert refusal(lambda: read_volume_head(path)) == (
        f"cannot read {path}: SimpleITK does not know the suffix .MHA -> rename it to .mha"
    )
    path = save(tmp_path / "c.mhd")
    (tmp_path / "c.raw").unlink()
    assert refusal(lambda: read(cut(path, 2)[0])) == (
        f"cannot read {path}: its numbers are in c.raw, and there is no such file beside it"
    )
    colours = sitk().GetImageFromArray(np.zeros((5, 7, 9, 3), np.uint8), isVector=True)
    sitk().WriteImage(colours, str(tmp_path / "d.mha"))
    assert refusal(lambda: read_volume_head(tmp_path / "d.mha")) == (
        f"cannot use {tmp_path}/d.mha: 3 numbers at each voxel -> save each channel as a file of its own"
    )
    sitk().WriteImage(
        sitk().GetImageFromArray(np.zeros((2, 5, 7, 9), np.uint8), isVector=False), str(tmp_path / "e.nrrd")
    )
    assert "9x7x5x2 is no volume of three axes" in refusal(lambda: read_volume_head(tmp_path / "e.nrrd"))
    capfd.readouterr()  # what the library says itself


def read(part):
    """As whoever reads it to train."""
    from segkit.data.decoding.images_and_masks import read_labels

    return read_labels(part)


def test_numbers_packed_by_bzip2_are_refused(tmp_path):
    nrrd = pytest.importorskip("nrrd", reason="pynrrd, which writes NRRD, is not installed")
    sitk()
    nrrd.write(str(tmp_path / "a.nrrd"), VOXELS, {"encoding": "bzip2"})
    assert refusal(lambda: read(cut(tmp_path / "a.nrrd", 2)[0])) == (
        f"cannot read {tmp_path}/a.nrrd: compressed by bzip2 -> save it with gzip, or raw"
    )


def test_without_simpleitk_it_is_said_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.mha").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    assert refusal(lambda: read_volume_head(tmp_path / "a.mha")) == (
        f"cannot read {tmp_path}/a.mha: a MetaImage or NRRD volume\n"
        "   -> pip install SimpleITK   (the extra `itk`) reads it"
    )


def test_labels_that_say_they_lie_otherwise_are_noted(tmp_path):
    describe_cases(tmp_path, ".nrrd")
    for n in range(3):
        save(tmp_path / f"imagesTr/a{n}_0000.nrrd")
        flipped = (-1, 0, 0, 0, -1, 0, 0, 0, 1) if n == 1 else (1, 0, 0, 0, 1, 0, 0, 0, 1)
        save(tmp_path / f"labelsTr/a{n}.nrrd", (VOXELS % 3).astype(np.uint8), direction=flipped)
    folds = [{"train": ["a0", "a1"], "val": ["a2"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    train, val = (NnUNet(split, root=str(tmp_path)) for split in ("train", "val"))
    assert val.notes == []
    assert train.notes == [
        "in 1 of 2 cases, axes of image and labels lead elsewhere, by their heads (LPS and RAS in a1): they are read "
        "voxel by voxel, as nnU-Net does -> look at some of them"
    ]
    assert train.found_options["axis"] == "z"


def test_a_head_written_by_hand(tmp_path):
    """With numbers beside it, which are packed, as `gzip a.raw` does it."""
    sitk()
    (tmp_path / "a.raw.gz").write_bytes(gzip.compress(VOXELS.T.tobytes()))
    (tmp_path / "a.nhdr").write_text(
        "NRRD0004\n# by hand\ntype: short\ndimension: 3\nsizes: 9 7 5\nencoding: gzip\nendian: little\n"
        "data file: a.raw.gz\n"
    )
    assert_slices(tmp_path / "a.nhdr")
    assert [path.name for path in cut(tmp_path / "a.nhdr", 0)[0].files] == ["a.nhdr", "a.raw.gz"]
