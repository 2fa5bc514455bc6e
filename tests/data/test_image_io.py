"""What a file says is what is read."""

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.data.image_io import read_image, read_labels, read_numbers
from segkit.errors import DataError

IDS = np.array([[0, 1, 2], [3, 2, 1]], dtype=np.uint8)


def palette_image(ids):
    image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_palette_mask_gives_ids_not_grey_values(tmp_path, suffix):
    path = tmp_path / f"mask.{suffix}"
    palette_image(IDS).save(path)
    values, are_colours = read_labels(path)
    with Image.open(path) as image:
        assert image.mode == "P"
    assert not are_colours
    np.testing.assert_array_equal(values, IDS)


def test_palette_mask_gives_colours_when_asked(tmp_path):
    palette_image(IDS).save(tmp_path / "mask.png")
    values, are_colours = read_labels(tmp_path / "mask.png", colours=True)
    assert are_colours
    np.testing.assert_array_equal(values, [[0, 0x800000, 0x008000], [0x808000, 0x008000, 0x800000]])


def test_16_bit_mask(tmp_path, save):
    ids = np.array([[0, 300], [65535, 1]], dtype=np.uint16)
    values, _ = read_labels(save(tmp_path / "mask.png", ids))
    np.testing.assert_array_equal(values, ids)


def test_1_bit_mask_is_0_and_1(tmp_path):
    Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8)).convert("1").save(tmp_path / "mask.png")
    values, _ = read_labels(tmp_path / "mask.png")
    np.testing.assert_array_equal(values, [[0, 1], [1, 0]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colour_mask_is_packed(tmp_path, save, mode):
    pixels = np.array([[[255, 0, 1], [0, 16, 0]]], dtype=np.uint8)
    values, are_colours = read_labels(save(tmp_path / "mask.png", pixels, mode))
    assert are_colours
    np.testing.assert_array_equal(values, [[0xFF0001, 0x001000]])


def test_alpha_of_a_grey_mask_is_dropped(tmp_path, save):
    values, are_colours = read_labels(save(tmp_path / "mask.png", IDS, "LA"))
    assert not are_colours
    np.testing.assert_array_equal(values, IDS)


def test_float_mask_is_refused(tmp_path, save):
    path = save(tmp_path / "mask.tif", IDS.astype(np.float32))
    with pytest.raises(DataError, match=r"cannot use .*mask.tif as a mask: its pixels are of type F"):
        read_labels(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "LA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_image_becomes_uint8(tmp_path, save, mode, channels):
    pixels = np.full((4, 6, 3), 255, dtype=np.uint8)
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), pixels, mode)
    image, turned = read_image(path, channels=channels)
    assert image.dtype == torch.uint8
    assert image.shape == (channels, 4, 6)
    assert (image == 255).all()
    assert not turned


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_image_keeps_its_high_byte(tmp_path, save, channels):
    image, _ = read_image(
        save(tmp_path / "a.png", np.array([[0, 256, 65535]], dtype=np.uint16)), channels=channels
    )
    assert image.tolist() == [[[0, 1, 255]]] * channels


def test_exif_orientation_turns_images_but_not_masks(tmp_path):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image, turned = read_image(tmp_path / "a.png", channels=1)
    assert turned
    np.testing.assert_array_equal(image[0], np.rot90(pixels, -1))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png")[0], pixels)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp", "a.webp"])
@pytest.mark.parametrize("read", [lambda p: read_image(p, channels=3), read_labels])
def test_truncated_file_is_detected(tmp_path, save, name, read):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"^cannot read .*{name}: "):
        read(path)


def test_missing_and_foreign_files(tmp_path, save):
    with pytest.raises(DataError, match=r"^cannot read .*a.png: no such file$"):
        read_labels(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("not an image")
    with pytest.raises(DataError, match=r"^cannot read .*b.png: not a PNG, JPEG, BMP, TIFF or WEBP image$"):
        read_labels(tmp_path / "b.png")


def test_other_formats_are_not_decoded(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "a.png", format="PPM")
    with pytest.raises(DataError, match="not a PNG, JPEG"):
        read_image(tmp_path / "a.png", channels=1)


def test_numbers_are_raw(tmp_path, save):
    values = np.array([[0, 65535]], dtype=np.uint16)
    numbers = read_numbers(save(tmp_path / "w.png", values))
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, values)
    with pytest.raises(DataError, match="expected 8-bit or 16-bit greyscale, found pixels of type RGB"):
        read_numbers(save(tmp_path / "rgb.png", np.zeros((2, 2, 3), dtype=np.uint8)))
