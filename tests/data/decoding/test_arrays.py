"""Arrays in NumPy's files: one image is read of many, whatever the order in the file; and no pickle is opened."""

import numpy as np
import pytest

from segkit.data.check.file_facts import read_image_facts, read_mask_facts
from segkit.data.decoding.arrays import ArrayPart, list_members, open_array, read_head
from segkit.data.decoding.images_and_masks import read_image, read_labels
from segkit.data.decoding.value_range import find_value_range
from segkit.errors import DataError
from tests.data.containers.contained_folders import IMAGES, LABELS


def refusal(call, *arguments):
    with pytest.raises(DataError) as raised:
        call(*arguments)
    return str(raised.value)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u1", "<u2", ">u2", "<i8", "<f4", ">f8", "?"])
def test_labels_of_any_type(tmp_path, order, dtype):
    drawn = np.asarray(LABELS > 0 if dtype == "?" else LABELS, dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", drawn)
    np.savez(tmp_path / "b.npz", x=drawn, y=drawn[:2])
    np.savez_compressed(tmp_path / "c.npz", x=drawn)
    for path, member in ((tmp_path / "a.npy", None), (tmp_path / "b.npz", "x"), (tmp_path / "c.npz", "x")):
        part = ArrayPart(path, "7", member, 7, None)
        values, are_colours = read_labels(part)
        np.testing.assert_array_equal(values, drawn[7])
        assert not are_colours and read_mask_facts(part).size == drawn.shape[1:]


def test_what_is_not_compressed_stays_in_the_file(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    np.savez(tmp_path / "b.npz", x=IMAGES, y=LABELS)
    np.savez_compressed(tmp_path / "c.npz", x=IMAGES)
    assert isinstance(open_array(tmp_path / "a.npy"), np.memmap)
    assert isinstance(open_array(tmp_path / "b.npz", "y"), np.memmap)
    np.testing.assert_array_equal(open_array(tmp_path / "b.npz", "y"), LABELS)
    assert not isinstance(open_array(tmp_path / "c.npz", "x"), np.memmap)
    assert (read_head(tmp_path / "c.npz", "x").shape, list_members(tmp_path / "b.npz")) == (
        IMAGES.shape,
        ["x", "y"],
    )


def test_images_with_channels_first_or_last(tmp_path):
    drawn = np.stack([IMAGES, IMAGES // 2, IMAGES // 3], axis=-1)
    np.save(tmp_path / "last.npy", drawn)
    np.save(tmp_path / "first.npy", np.moveaxis(drawn, -1, 1))
    for name in ("last", "first"):
        part = ArrayPart(tmp_path / f"{name}.npy", "4", None, 4, name)
        image, _ = read_image(part, channels=3)
        np.testing.assert_array_equal(image, np.moveaxis(drawn[4], -1, 0))
        assert read_image_facts(part).bands == 3


def test_colours_are_labels(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[[255, 0, 0], [0, 0, 7]]]], dtype=np.uint8))
    values, are_colours = read_labels(ArrayPart(tmp_path / "a.npy", "0", None, 0, "last"))
    assert are_colours and values.tolist() == [[0xFF0000, 7]]


def test_floating_point_images_have_a_range(tmp_path):
    np.save(tmp_path / "a.npy", (IMAGES / np.float32(255)).astype(np.float32))
    parts = [ArrayPart(tmp_path / "a.npy", str(n), None, n, None) for n in range(len(IMAGES))]
    low, high = find_value_range(parts)
    assert (low, round(high, 3)) == (0, 1)
    image, _ = read_image(parts[2], channels=1, value_range=(0, 1))
    np.testing.assert_array_equal(image[0], IMAGES[2])


def test_pickles_are_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("it was opened",)

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=np.array([Trap()], dtype=object))
    for path, member, shown in ((tmp_path / "a.npy", None, "a.npy"), (tmp_path / "b.npz", "x", "b.npz#x")):
        for call in (read_head, open_array):
            assert refusal(call, path, member) == (
                f"cannot read {tmp_path}/{shown}: it holds Python objects, a pickle, which is never opened since it "
                "can run programs\n   -> save numbers: np.save(FILE, np.stack(IMAGES)), or a file for each image"
            )


def test_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "a.npy"
    assert refusal(read_head, path) == f"cannot read {path}: no such file"
    path.write_bytes(b"\x93NUMPY\x01\0\x05\0abcde")
    assert refusal(read_head, path).startswith(f"cannot read {path}: no array of NumPy's, or damaged: ")
    np.save(path, np.zeros((2, 3), dtype=complex))
    assert refusal(read_head, path) == (
        f"cannot use {path}: its entries are of type complex128, which are no numbers of pixels"
    )
    np.save(path, IMAGES)
    path.write_bytes(path.read_bytes()[:-1000])
    assert refusal(open_array, path).startswith(f"cannot read {path}: ")
    np.savez(tmp_path / "b.npz", x=IMAGES)
    assert refusal(read_head, tmp_path / "b.npz", "y") == (
        f"cannot read {tmp_path}/b.npz: it has no array 'y'; there are: x"
    )
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04")
    assert (
        refusal(list_members, tmp_path / "c.npz") == f"cannot read {tmp_path}/c.npz: File is not a zip file"
    )
