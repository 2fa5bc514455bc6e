"""What is found in files and folders without labels, by the data that a network was trained on."""

import numpy as np
import pytest
from PIL import Image

from segkit.data.containers.array_layout import Trained
from segkit.data.containers.parted_files import files_of
from segkit.data.containers.unlabelled import find_unlabelled
from segkit.errors import DataError
from tests.data.containers.contained_folders import COUNT, IMAGES, LABELS


def describe(name="folder", channels=1, **options):
    return Trained(name, options, channels)


def found_shape(path, trained):
    (file,) = find_unlabelled(path, trained)
    return len(file.images), file.images[0].read().values.shape, file.names[0]


@pytest.mark.parametrize(
    ("shape", "trained", "expected"),
    [
        ((9, 7), describe(), (1, (9, 7, 1), "a")),
        ((5, 9, 7), describe(), (5, (9, 7, 1), "a_000")),
        ((9, 7, 3), describe(channels=3), (1, (9, 7, 3), "a")),
        ((5, 9, 7), describe(channels=3), (5, (9, 7, 1), "a_000")),
        ((5, 9, 7, 3), describe(channels=3), (5, (9, 7, 3), "a_000")),
        ((5, 4, 9, 7), describe(channels=4), (5, (9, 7, 4), "a_000")),
        ((9, 7), describe("arrays", train_images="images.npy"), (1, (9, 7, 1), "a")),
        ((5, 9, 7), describe("arrays", train_images="images.npy"), (5, (9, 7, 1), "a_000")),
        ((9, 7, 3), describe("arrays", 3, train_images="images.npy"), (1, (9, 7, 3), "a")),
        ((9, 7, 1), describe("arrays", 1, train_images="images.npy", channel_axis="first"), (1, (9, 7, 1), "a")),
        ((3, 9, 7), describe("arrays", 3, train_images="i/{stem}.npy"), (1, (9, 7, 3), "a")),
        ((3, 9, 3), describe("arrays", 3, train_images="i/{stem}.npy", channel_axis="first"), (1, (9, 3, 3), "a")),
        ((5, 3, 9, 3), describe("arrays", 3, train_images="i.npy", channel_axis="last"), (5, (3, 9, 3), "a_000")),
    ],
)  # fmt: skip
def test_what_an_array_holds_is_told_by_the_training(tmp_path, shape, trained, expected):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert found_shape(tmp_path / "a.npy", trained) == expected
    assert found_shape(tmp_path, trained) == expected


@pytest.mark.parametrize(
    ("shape", "trained", "message"),
    [
        ((3, 9, 7), describe(channels=3), "may be an image of 3 channels, or as many images"),
        ((5, 3, 9, 3), describe(channels=3), "either may be the channels"),
        ((5, 8, 9, 7), describe(channels=4), "no axis is of 4 channels"),
        ((5, 8, 9, 7), describe("arrays", 1, train_images="i/{stem}.npy"), r"5x8x9x7 is not \(H, W\), nor that"),
        ((0, 9, 7), describe(), "an array of 0x9x7 holds no images"),
        ((9,), describe(), "an array of 9 holds no images"),
        ((), describe(), "an array of one number holds no images"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_told(tmp_path, shape, trained, message):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=message):
        find_unlabelled(tmp_path / "a.npy", trained)


def test_which_array_of_an_archive(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, y=LABELS)
    with pytest.raises(DataError, match=r"which of its arrays\? -> --source .*a.npz#NAME with one of x, y"):
        find_unlabelled(tmp_path / "a.npz", describe())
    for source, trained in (("a.npz#x", describe()), ("a.npz", describe("arrays", train_images="b.npz#x"))):
        (file,) = find_unlabelled(tmp_path / source, trained)
        np.testing.assert_array_equal(file.images[4].read().values[..., 0], IMAGES[4])
    with pytest.raises(DataError, match="it has no array 'z'; there are: x, y"):
        find_unlabelled(tmp_path / "a.npz#z", describe())


def test_of_a_folder_with_several_kinds_the_trained_one_is_taken(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    Image.fromarray(IMAGES[0]).save(tmp_path / "b.png")
    assert [file.names for file in find_unlabelled(tmp_path, describe())] == [["b"]]
    (file,) = find_unlabelled(tmp_path, describe("arrays", train_images="x.npy"))
    assert len(file.images) == COUNT
    (tmp_path / "b.png").unlink()
    assert len(find_unlabelled(tmp_path, describe())[0].images) == COUNT
    (tmp_path / "a.npy").unlink()
    with pytest.raises(
        DataError, match=r"no images in it \(looked for .png, .*.npy, .npz, .parquet and volumes\)"
    ):
        find_unlabelled(tmp_path, describe())


def test_which_files_are_the_channels_of_a_case(tmp_path):
    def names(*files, channels=2):
        for path in tmp_path.iterdir():
            path.unlink()
        for file in files:
            Image.fromarray(IMAGES[0]).save(tmp_path / file)
        found = find_unlabelled(tmp_path, describe("nnunet", channels))
        for file in files:  # each by itself stands for its case
            (one,) = find_unlabelled(tmp_path / file, describe("nnunet", channels))
            assert one in found and tmp_path / file in files_of(one.images[0])
        return {each.stem: [path.name for path in files_of(each.images[0])] for each in found}

    assert names("a_0000.png", "a_0001.png", "b.png") == {"a": ["a_0000.png", "a_0001.png"], "b": ["b.png"]}
    assert names("IMG_1234.png", "IMG_1235.png") == {
        "IMG_1234": ["IMG_1234.png"],
        "IMG_1235": ["IMG_1235.png"],
    }
    assert names("a_0000.png", "b_0000.png", channels=1) == {"a": ["a_0000.png"], "b": ["b_0000.png"]}
    for files, there in (
        (("a_0000.png", "a_0002.png"), "_0000, _0002"),
        (("a_0000.png", "a_0001.png", "a_0002.png"), "_0000, _0001, _0002"),
    ):
        with pytest.raises(DataError) as raised:
            names(*files)
        assert str(raised.value) == (
            f"case a has the channels {there} in {tmp_path}, and the weights were trained on 2\n"
            "   -> if they are images of their own, call them otherwise"
        )


def test_rows_without_labels(tmp_path):
    """A test split, or a table of images alone."""
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    features = datasets.Features({"image": datasets.Image(), "depth": datasets.Image()})
    rows = [{"image": Image.fromarray(image), "depth": Image.fromarray(image // 2)} for image in IMAGES[:3]]
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/test-00000-of-00001.parquet"
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(path))
    (file,) = find_unlabelled(tmp_path, describe("hf"))
    assert file.names == ["test_000000", "test_000001", "test_000002"]
    assert file.images[2].key == "image[2]"
    (file,) = find_unlabelled(tmp_path, describe("hf", image_column="depth"))
    assert file.images[2].key == "depth[2]"
    with pytest.raises(
        DataError, match=r"no column 'photo' of images, on which the weights were trained, .*, test"
    ):
        find_unlabelled(tmp_path, describe("hf", image_column="photo"))
    with pytest.raises(DataError, match=f"a table is read with its folder -> --source {path.parent}"):
        find_unlabelled(path, describe("hf"))
