"""What is written as a weight map is what is read, and a PNG file says what its values mean."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from segkit.data.datasets.folder import Folder
from segkit.data.weight_maps.file import File
from segkit.data.weight_maps.weight_files import (
    digest_labels,
    encode_weights,
    find_weights,
    read_weights,
    weight_stem,
)
from segkit.errors import DataError


def random_weights(seed, highest):
    weight = np.random.default_rng(seed).random((31, 17), dtype=np.float32) * np.float32(highest)
    weight[:5] = 0
    return weight


def written(tmp_path, weight, suffix=".png"):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(encode_weights(weight, suffix))
    return path


@pytest.mark.parametrize("highest", [1e-6, 0.3, 1.0, 11.1, 255.0, 1e6])
def test_png_is_off_by_half_a_step_at_most_and_keeps_0(tmp_path, highest):
    weight = random_weights(0, highest)
    read = read_weights(written(tmp_path, weight), scale=None)
    assert read.dtype == np.float32
    assert np.abs(read.astype(float) - weight).max() <= weight.max() / 65535 * 0.501
    assert ((read == 0) >= (weight == 0)).all()
    assert read.max() == pytest.approx(weight.max(), rel=1e-7)


@pytest.mark.parametrize("value", [0.0, 1.0, 2.5, 0.1])
def test_png_of_one_weight(tmp_path, value):
    read = read_weights(written(tmp_path, np.full((2, 3), value, np.float32)), scale=None)
    np.testing.assert_allclose(read, np.float32(value), rtol=1e-7)


def test_npy_is_exact(tmp_path):
    weight = random_weights(1, 12.0)
    np.testing.assert_array_equal(read_weights(written(tmp_path, weight, ".npy"), scale=None), weight)


def test_pictures_can_be_read_by_other_programs(tmp_path):
    weight = random_weights(2, 3.0)
    with Image.open(written(tmp_path, weight)) as image:
        assert image.format == "PNG" and image.mode.startswith("I;16") and image.size == (17, 31)
        values = np.asarray(image) * float(image.info["segkit scale"])
    np.testing.assert_allclose(values, weight, atol=3.0 / 65535)


def test_labels_are_told_apart():
    labels = np.random.default_rng(0).integers(0, 3, size=(6, 8), dtype=np.uint8)
    digests = [
        digest_labels(x)
        for x in (labels, labels.T, labels.reshape(8, 6), labels.astype(np.int64), labels + 1)
    ]
    assert len(set(digests)) == 5
    assert digest_labels(labels.T.copy()) == digests[1]


def message(call):
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def test_two_scales(tmp_path):
    path = written(tmp_path, np.full((2, 3), 65535 / 4, np.float32))
    assert read_weights(path, scale=0.25).max() == 65535 / 4
    assert message(lambda: read_weights(path, scale=0.5)) == (
        f"{path} says that its scale is 0.25, and data.weight_map.scale is 0.5\n"
        "   -> leave data.weight_map.scale out: files made by python scripts/make_weights.py carry their scale"
    )


def test_16_bits_need_a_scale_and_8_bits_do_not(tmp_path, save):
    wide = save(tmp_path / "wide.png", np.full((2, 3), 500, np.uint16))
    assert message(lambda: read_weights(wide, scale=None)) == (
        f"{wide} has 16-bit values, and nothing says what they mean\n"
        "   -> data.weight_map.scale=NUMBER, by which they are multiplied (such as 0.001)"
    )
    assert read_weights(wide, scale=0.01).tolist() == [[5.0] * 3] * 2
    narrow = save(tmp_path / "narrow.png", np.full((2, 3), 50, np.uint8))
    assert read_weights(narrow, scale=None).tolist() == [[50.0] * 3] * 2


@pytest.mark.parametrize("text", ["", "much", "0", "-1", "nan", "inf"])
def test_scale_that_is_none(tmp_path, text):
    info = PngImagePlugin.PngInfo()
    info.add_text("segkit scale", text)
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((2, 3), np.uint16)).save(path, pnginfo=info)
    assert message(lambda: read_weights(path, scale=None)) == (
        f"cannot use {path}: it says that its scale is {text!r}, which is no positive number"
    )


def test_png_comes_before_npy(tmp_path):
    assert find_weights(tmp_path / "a.b") is None
    (tmp_path / "a.b.npy").touch()
    assert find_weights(tmp_path / "a.b") == tmp_path / "a.b.npy"
    (tmp_path / "a.b.png").touch()
    assert find_weights(tmp_path / "a.b") == tmp_path / "a.b.png"


@pytest.mark.parametrize(
    ("path", "name", "below"),
    [
        ("data/weights/train/a", "a", "weights/train/a"),
        ("data/weights/train/sub/a", "sub/a", "weights/train/sub/a"),
        ("weights/mine/weights/train/weights/a", "weights/a", "weights/train/weights/a"),
        ("data/weights/2012/train/a", "a", "weights/2012/train/a"),
        ("data/maps/a", "a", "maps/a"),
    ],
)
def test_another_root(path, name, below):
    assert weight_stem(Path(path), name, None) == Path(path)
    assert weight_stem(Path(path), name, Path("else")) == Path("else") / below


def test_file_reads_from_another_root(make_folder, tmp_path_factory):
    dataset = Folder("val", root=str(make_folder()), classes=["a", "b", "c"])
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    weight = np.full((24, 32), 1.5, np.float32)
    maker = File(root=str(elsewhere))
    assert f"expected {elsewhere}/weights/val/000.(png|npy)" in message(lambda: maker(dataset[0]))
    (elsewhere / "weights/val").mkdir(parents=True)
    (elsewhere / "weights/val/000.png").write_bytes(encode_weights(weight, ".png"))
    assert torch.equal(maker(dataset[0]), torch.from_numpy(weight))
