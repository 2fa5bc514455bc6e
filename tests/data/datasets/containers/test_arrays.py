"""`arrays`: which arrays are read, where their channels are, and what is said of those that do not belong together."""

import numpy as np
import pytest

from segkit.data.containers.arrays import note_compressed
from segkit.data.datasets.containers.arrays import Arrays
from segkit.errors import ConfigError, DataError
from tests.data.containers.contained_folders import CLASSES, IMAGES, LABELS

COLOURS = np.stack([IMAGES, IMAGES // 2, IMAGES // 3], axis=-1)


def arrays(root, split="train", **options):
    block = {
        "classes": CLASSES,
        "train_images": "images.npy",
        "train_labels": "labels.npy",
        "val_fraction": 0.2,
    }
    return Arrays(split, root=str(root), **{**block, **options})


def refusal(error, call):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


@pytest.mark.parametrize("labels", [LABELS, LABELS[..., None], LABELS[:, None], LABELS.astype(float)])
@pytest.mark.parametrize("images", [COLOURS, np.moveaxis(COLOURS, -1, 1)], ids=["last", "first"])
def test_channels_are_where_the_size_of_the_labels_says(tmp_path, images, labels):
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    dataset = arrays(tmp_path)
    for n, sample in enumerate(dataset):
        np.testing.assert_array_equal(sample.image, np.moveaxis(COLOURS[n], -1, 0))
        np.testing.assert_array_equal(sample.target, LABELS[n])


def test_channels_that_could_be_either(tmp_path):
    np.save(tmp_path / "images.npy", np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3))
    np.save(tmp_path / "labels.npy", np.zeros((2, 3, 3), dtype=np.uint8))
    assert refusal(DataError, lambda: arrays(tmp_path)) == (
        "cannot tell where the channels of images.npy are: an image is 3x3x3, and both orders fit its labels\n"
        "   -> data.channel_axis=last for (H, W, C), first for (C, H, W)"
    )
    assert arrays(tmp_path, channel_axis="first")[0].image[0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert arrays(tmp_path, channel_axis="last")[0].image[0].tolist() == [
        [0, 3, 6],
        [9, 12, 15],
        [18, 21, 24],
    ]


def test_a_file_for_each_image(tmp_path):
    for kind, drawn in (("images", COLOURS), ("labels", LABELS)):
        (tmp_path / kind).mkdir()
        for n, array in enumerate(drawn):
            np.save(tmp_path / kind / f"frame{n + 1}.npy", array)
    files = {"train_images": "images/{stem}.npy", "train_labels": "labels/{stem}.npy"}
    train, val = (arrays(tmp_path, split, **files) for split in ("train", "val"))
    assert train.names == [f"images/frame{n}" for n in range(1, 9)]
    assert val.names == ["images/frame9", "images/frame10"]
    assert val.files(1) == (tmp_path / "images/frame10.npy", tmp_path / "labels/frame10.npy")
    np.testing.assert_array_equal(val[1].target, LABELS[9])
    assert val[1].mask_path == tmp_path / "labels/frame10.npy"


def test_more_bands_than_three(tmp_path):
    bands = np.stack([IMAGES] * 5, axis=1)
    np.save(tmp_path / "images.npy", bands)
    np.save(tmp_path / "labels.npy", LABELS)
    np.testing.assert_array_equal(arrays(tmp_path, channels=5)[3].image, bands[3])
    assert refusal(DataError, lambda: arrays(tmp_path)[3]) == (
        f"wrong number of bands: {tmp_path}/images.npy#3 has 5 bands, and data.channels is 3 -> data.channels=5"
    )


def test_floating_point_images(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES / np.float64(255) - 0.5)
    np.save(tmp_path / "labels.npy", LABELS)
    dataset = arrays(tmp_path, channels=1)
    assert dataset.found_options == {"value_range": [-0.5, 0.5]}
    np.testing.assert_array_equal(dataset[5].image[0], IMAGES[5])


def test_arrays_that_do_not_belong_together(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS[:7])
    assert refusal(DataError, lambda: arrays(tmp_path)) == (
        "as many images as labels are needed: images.npy has 10 entries and labels.npy 7"
    )
    np.save(tmp_path / "labels.npy", LABELS[:, ::2])
    assert refusal(DataError, lambda: arrays(tmp_path)[3]) == (
        "image and mask sizes differ: images.npy#3 32x24, labels.npy#3 32x12"
    )
    np.save(tmp_path / "labels.npy", np.eye(4, dtype=np.uint8)[LABELS])
    assert refusal(DataError, lambda: arrays(tmp_path)) == (
        "cannot use labels.npy: labels are (N, H, W), and an entry of these is 24x32x4\n"
        "   -> of one array for each class (one-hot), save their argmax over the classes"
    )
    np.save(tmp_path / "labels.npy", LABELS[0])
    assert refusal(DataError, lambda: arrays(tmp_path)) == (
        "cannot use labels.npy: 24x32 is not (N, H, W), nor that with an axis of channels\n"
        "   -> for a file of one image, a pattern such as images/{stem}.npy"
    )
    np.save(tmp_path / "labels.npy", LABELS + 0.5)
    assert refusal(DataError, lambda: arrays(tmp_path)[0]).startswith(
        f"cannot use {tmp_path}/labels.npy#0 as a mask: floating-point numbers that are not whole, such as "
    )
    np.save(tmp_path / "labels.npy", LABELS + 5)
    assert refusal(DataError, lambda: arrays(tmp_path)[1]).startswith(
        "label out of range: labels.npy#1 has ids 5, 6, 7 but data.classes has 3 classes (0-2)"
    )


def test_arrays_of_an_archive(tmp_path):
    np.savez(tmp_path / "all.npz", x=IMAGES, y=LABELS)
    np.savez(tmp_path / "only.npz", y=LABELS)
    assert len(arrays(tmp_path, train_images="all.npz#x", train_labels="only.npz")) == 8
    assert refusal(ConfigError, lambda: arrays(tmp_path, train_images="all.npz")) == (
        "data.train_images='all.npz': which of x, y? -> data.train_images=all.npz#x"
    )
    assert refusal(DataError, lambda: arrays(tmp_path, train_images="all.npz#z")) == (
        f"cannot read {tmp_path}/all.npz: it has no array 'z'; there are: x, y"
    )
    assert refusal(ConfigError, lambda: arrays(tmp_path, train_images="images.mat")) == (
        "data.train_images='images.mat': expected an .npy file, FILE.npz#ARRAY, or a pattern with {stem}"
    )


def test_large_compressed_arrays_are_noted(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "all.npz", x=IMAGES, y=LABELS)
    np.save(tmp_path / "labels.npy", LABELS)
    files = {"train_images": "all.npz#x", "train_labels": "labels.npy"}
    assert arrays(tmp_path, **files).notes == []
    monkeypatch.setattr("segkit.data.containers.arrays.LARGE", 1000)
    assert arrays(tmp_path, **files).notes == [
        "all.npz#x is compressed: every process holds all of it, 0.0 GB "
        "-> np.savez instead of np.savez_compressed, or .npy files"
    ]
    assert note_compressed(tmp_path, []) == []
