"""What a file says is what is read."""

import math
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from segkit.data.decoding.images_and_masks import read_image, read_labels, read_numbers
from segkit.errors import DataError

IDS = np.array([[0, 1, 2], [3, 2, 1]], dtype=np.uint8)


def palette_image(ids):
    image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    return image


def write_grey_png(path, depth, row, *, width, colour_type=0, transparent=None):
    """One row of packed greyscale pixels, of `depth` bits each; Pillow itself writes 1, 8 and 16 bits."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0))]
    if transparent is not None:
        parts.append(chunk(b"tRNS", struct.pack(">H", transparent)))
    parts += [chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def write_grey_tiff(path, bits, row, *, width, white_is_zero=False, sample_format=1, pages=1):
    """An uncompressed TIFF file of one row, `pages` times."""
    fields = [(256, width), (257, 1), (258, bits), (259, 1), (262, int(not white_is_zero)), (273, 8)]
    fields += [(277, 1), (278, 1), (279, len(row)), (339, sample_format)]
    directory = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", t, 4, 1, v) for t, v in fields)
    row = row + b"\0" * (len(row) % 2)
    size, start = len(directory) + 4, 8 + len(row)
    ends = [start + size * (page + 1) for page in range(pages - 1)] + [0]
    parts = [b"II*\0", struct.pack("<I", start), row]
    path.write_bytes(b"".join(parts + [directory + struct.pack("<I", end) for end in ends]))
    return path


@pytest.mark.parametrize(
    ("depth", "row", "ids"),
    [(1, b"\x40", [0, 1]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x01\x2f", [0, 1, 2, 15]), (8, b"\0\7", [0, 7])],
)
@pytest.mark.parametrize("write", [write_grey_png, write_grey_tiff])
def test_few_bits_are_ids_not_brightness(tmp_path, write, depth, row, ids):
    path = write(tmp_path / "mask", depth, row, width=len(ids))
    assert read_labels(path)[0].tolist() == [ids]
    brightness = [value * 255 // (2**depth - 1) for value in ids]
    assert read_image(path, channels=1)[0].tolist() == [[brightness]]


@pytest.mark.parametrize(("bits", "row", "ids"), [(4, b"\x01\x2f", [0, 1, 2, 15]), (8, b"\0\7", [0, 7])])
def test_labels_where_0_is_white_are_not_inverted(tmp_path, bits, row, ids):
    path = write_grey_tiff(tmp_path / "a.tif", bits, row, width=len(ids), white_is_zero=True)
    assert read_labels(path)[0].tolist() == [ids]
    assert read_image(path, channels=1)[0][0, 0, 0] == 255


def test_group_4_mask_comes_back_as_it_was_saved(tmp_path):
    mask = Image.fromarray(np.array([[0, 255, 255]], dtype=np.uint8)).convert("1")
    mask.save(tmp_path / "a.tif", compression="group4")
    assert read_labels(tmp_path / "a.tif")[0].tolist() == [[0, 1, 1]]


def test_signed_and_32_bit_labels(tmp_path, save):
    ids = np.array([[0, 70000, -1]], dtype=np.int32)
    np.testing.assert_array_equal(read_labels(save(tmp_path / "a.tif", ids))[0], ids)
    path = write_grey_tiff(tmp_path / "b.tif", 16, struct.pack("<2h", 5, -1), width=2, sample_format=2)
    assert read_labels(path)[0].tolist() == [[5, -1]]


def test_one_transparent_grey_is_still_a_label(tmp_path):
    path = write_grey_png(tmp_path / "a.png", 8, b"\0\1\2", width=3, transparent=1)
    assert read_labels(path)[0].tolist() == [[0, 1, 2]]
    assert read_image(path, channels=3)[0].tolist() == [[[0, 1, 2]]] * 3


def test_16_bit_grey_mask_with_alpha(tmp_path):
    path = write_grey_png(tmp_path / "a.png", 16, struct.pack(">2H", 300, 65535), width=1, colour_type=4)
    assert read_labels(path)[0].tolist() == [[300]]
    assert read_image(path, channels=1, value_range=(0, 600))[0].tolist() == [[[128]]]
    assert read_image(path, channels=2, value_range="dtype")[0].tolist() == [[[1]], [[255]]]


@pytest.mark.parametrize("alpha", [[], [65535]])
def test_16_bit_colours(tmp_path, alpha):
    row, colour_type = [0, 300, 4095, *alpha], 6 if alpha else 2
    path = write_grey_png(
        tmp_path / "a.png", 16, struct.pack(f">{len(row)}H", *row), width=1, colour_type=colour_type
    )
    assert read_image(path, channels=3, value_range=(0, 4095))[0].flatten().tolist() == [0, 19, 255]
    assert read_image(path, channels=3, value_range="dtype")[0].flatten().tolist() == [0, 1, 15]
    assert (
        read_image(path, channels=1, value_range=(0, 4095))[0].item()
        == (19 * 38470 + 255 * 7471 + 0x8000) >> 16
    )


def test_more_than_8_bits_without_a_range_are_refused(tmp_path, save):
    path = save(tmp_path / "a.png", np.array([[0, 4095]], dtype=np.uint16))
    with pytest.raises(DataError) as raised:
        read_image(path, channels=1)
    assert str(raised.value) == (
        f"cannot use {path}: its pixels are of type uint16, and nothing says which numbers are black and white\n"
        "   -> data.value_range: [LOW, HIGH], or dtype for all that the type has"
    )


@pytest.mark.parametrize("read", [lambda p: read_image(p, channels=1), read_labels])
def test_volume_is_refused(tmp_path, read):
    path = write_grey_tiff(tmp_path / "a.tif", 8, b"\1\2", width=2, pages=3)
    with pytest.raises(
        DataError, match=r"a.tif: it holds 3 images of one size -> save each as a file of its own"
    ):
        read(path)


def test_smaller_copies_in_a_tiff_file_are_no_volume(tmp_path):
    whole, small = Image.new("L", (4, 4), 3), Image.new("L", (2, 2), 9)
    whole.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert read_labels(tmp_path / "a.tif")[0].tolist() == [[3] * 4] * 4


def test_a_tiff_file_that_needs_the_extra_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    path = write_grey_tiff(tmp_path / "a.tif", 64, struct.pack("<q", 5), width=1)
    with pytest.raises(DataError) as raised:
        read_labels(path)
    assert str(raised.value) == (
        f"cannot read {path}: a TIFF file with 64-bit unsigned integers\n"
        "   -> pip install tifffile imagecodecs   (the extra `formats`) reads it; or save it with 8 or 16 bits"
    )


def test_cmyk_jpeg_image(tmp_path):
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert read_image(tmp_path / "a.jpg", channels=3)[0][:, 0, 0].tolist() == [255, 0, 0]


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


@pytest.mark.parametrize("odd", [None, 0.5, math.nan, math.inf])
def test_whole_floating_point_numbers_are_labels(tmp_path, save, odd):
    values = IDS.astype(np.float32)
    if odd is None:
        np.testing.assert_array_equal(read_labels(save(tmp_path / "mask.tif", values))[0], IDS)
        return
    values[0, 1] = odd
    path = save(tmp_path / "mask.tif", values)
    with pytest.raises(DataError, match=rf"mask.tif as a mask: floating-point .* not whole, such as {odd}"):
        read_labels(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "LA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_image_becomes_uint8(tmp_path, save, mode, channels):
    pixels = np.full((4, 6, 3), 255, dtype=np.uint8)
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), pixels, mode)
    image, turned = read_image(path, channels=channels)
    assert image.dtype == np.uint8
    assert image.shape == (channels, 4, 6)
    assert (image == 255).all()
    assert not turned


def test_grey_and_its_transparency_are_two_bands(tmp_path, save):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 6, 2)
    image, _ = read_image(save(tmp_path / "a.png", pixels, "LA"), channels=2)
    assert np.array_equal(image, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_image(tmp_path, save, channels):
    path = save(tmp_path / "a.png", np.array([[0, 256, 4095, 65535]], dtype=np.uint16))
    assert (
        read_image(path, channels=channels, value_range="dtype")[0].tolist() == [[[0, 1, 15, 255]]] * channels
    )
    assert (
        read_image(path, channels=channels, value_range=(0, 4095))[0].tolist()
        == [[[0, 16, 255, 255]]] * channels
    )


def test_exif_orientation_turns_images_but_not_masks(tmp_path):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    image, turned = read_image(tmp_path / "a.png", channels=1)
    assert turned
    np.testing.assert_array_equal(image[0], np.rot90(pixels, -1))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png")[0], pixels)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp", "a.webp", "a.gif"])
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
    with pytest.raises(
        DataError, match=r"^cannot read .*b.png: not a PNG, JPEG, BMP, TIFF, WEBP or GIF image$"
    ):
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


def test_a_small_file_that_says_it_is_huge_takes_no_memory(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((16, 16), dtype=np.int64))
    content = bytearray(path.read_bytes())
    for tag in (256, 257):  # width and height: 4 bytes behind tag, type and count
        at = (
            content.index(struct.pack("<HHI", tag, 4, 1))
            if struct.pack("<HHI", tag, 4, 1) in content
            else None
        )
        at = content.index(struct.pack("<HHI", tag, 3, 1)) if at is None else at
        content[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 1_000_000)
    path.write_bytes(content)
    for read in (read_labels, lambda p: read_image(p, channels=1, value_range="dtype")):
        with pytest.raises(
            DataError, match=r"1,000,000,000,000 pixels are more than the limit of .*\n.*cut it into tiles"
        ):
            read(path)


def test_black_colours_are_colours_in_every_layout(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((3, 8, 8), dtype=np.uint8), photometric="rgb", planarconfig="separate"
    )
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 8, 3), dtype=np.uint16), photometric="rgb")
    assert [read_labels(tmp_path / name)[1] for name in ("a.tif", "b.tif")] == [True, True]
