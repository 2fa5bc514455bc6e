"""TIFF and PNG files at which readers part ways: turned on their side, stacks, order of bands, white that is zero."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from segkit.data.check.file_facts import read_image_facts, read_mask_facts
from segkit.data.decoding.images_and_masks import read_image, read_labels, read_numbers
from segkit.data.decoding.samples import turn
from segkit.data.decoding.value_range import find_value_range
from segkit.errors import DataError

tifffile = pytest.importorskip("tifffile")
IDS = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("codec", [None, "zlib", "lzw"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i8", "f8"])
def test_a_tiff_file_is_turned_as_its_tag_says(tmp_path, orientation, codec, dtype):
    """Pillow reads one that is mapped into memory with the rows of the turned image."""
    path = tmp_path / "a.tif"
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, IDS.astype(dtype), photometric="minisblack", compression=codec, extratags=tag)
    expected = turn(IDS[..., None], orientation)[..., 0]
    np.testing.assert_array_equal(read_labels(path)[0], expected)
    image, turned = read_image(path, channels=1, value_range=(0, 255))
    np.testing.assert_array_equal(image[0], expected)
    assert read_mask_facts(path).size == read_image_facts(path).size == expected.shape
    assert not turned and not read_image_facts(path).turned, "the mask beside it is turned by its own tag"


@pytest.mark.parametrize("bands", [3, 4])
def test_colour_on_its_side(tmp_path, bands):
    image = np.arange(12 * bands, dtype=np.uint8).reshape(3, 4, bands)
    path, extra = tmp_path / "a.tif", ["unassalpha"] * (bands - 3)
    tag = [(274, "H", 1, 6, True)]
    tifffile.imwrite(path, image, photometric="rgb", extrasamples=extra or None, extratags=tag)
    expected = turn(image, 6)[..., :3]
    np.testing.assert_array_equal(read_image(path, channels=3)[0].transpose(1, 2, 0), expected)


def write_png16(path, values, orientation):
    """A PNG file of 16 bits and 3 bands, with EXIF data behind its pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    exif = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
    ]
    parts += [(b"eXIf", exif), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_16_bit_colour_png_as_an_image(tmp_path, orientation):
    values = np.arange(36, dtype=np.uint16).reshape(3, 4, 3)
    write_png16(tmp_path / "a.png", values, orientation)
    image, turned = read_image(tmp_path / "a.png", channels=3, value_range=(0, 255))
    np.testing.assert_array_equal(image.transpose(1, 2, 0), turn(values, orientation))
    facts = read_image_facts(tmp_path / "a.png")
    assert turned == facts.turned == (orientation != 1) and facts.size == tuple(image.shape[1:])


STACKS = [({}, "i8"), ({"compression": "zstd"}, "i8")]  # which OME does not have
STACKS += [
    (options, dtype)
    for dtype in ("u1", "u2", "u4", "i4", "f4", "f8")
    for options in ({}, {"compression": "zstd"}, {"ome": True})
]


@pytest.mark.parametrize(("options", "dtype"), STACKS)
def test_a_stack_of_any_kind_is_refused(tmp_path, options, dtype):
    pages = np.zeros((3, 8, 8), dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack", **options)
    for read in (read_labels, lambda p: read_image(p, channels=1, value_range="dtype")):
        with pytest.raises(DataError, match="it holds 3 images of one size"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("kinds", [(2, 0), (1, 0), (0, 2), (0, 1, 0)])
def test_the_band_that_is_transparency_is_dropped_wherever_it_is(tmp_path, kinds):
    count = 3 + len(kinds)
    image = np.arange(count, dtype=np.uint8) * 10 + np.zeros((4, 5, 1), dtype=np.uint8)
    names = {0: "unspecified", 1: "assocalpha", 2: "unassalpha"}
    tifffile.imwrite(
        tmp_path / "a.tif",
        image,
        photometric="rgb",
        planarconfig="contig",
        extrasamples=[names[kind] for kind in kinds],
    )
    plain = [0, 10, 20, *(10 * (3 + n) for n, kind in enumerate(kinds) if kind == 0)]
    assert read_image(tmp_path / "a.tif", channels=len(plain))[0][:, 0, 0].tolist() == plain
    assert read_image(tmp_path / "a.tif", channels=count)[0][:, 0, 0].tolist() == list(
        range(0, 10 * count, 10)
    )
    assert read_image_facts(tmp_path / "a.tif").bands == len(plain)


@pytest.mark.parametrize("codec", ["lerc", "png", "jpegxl"])
def test_white_that_is_zero_in_8_bits_that_pillow_does_not_decode(tmp_path, codec):
    values = np.array([[0, 100, 255]], dtype=np.uint8).repeat(8, axis=0)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite", compression=codec)
    assert read_image(tmp_path / "a.tif", channels=1)[0][0, 0].tolist() == [255, 155, 0]
    assert read_labels(tmp_path / "a.tif")[0][0].tolist() == [0, 100, 255]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_an_image_where_0_is_white_is_inverted_whatever_its_bits(tmp_path, dtype):
    values = np.array([[0, 100, np.iinfo(dtype).max]], dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    image = read_image(tmp_path / "a.tif", channels=1, value_range="dtype")[0].flatten().tolist()
    assert (image[0], image[2]) == (255, 0)
    assert read_labels(tmp_path / "a.tif")[0].tolist() == values.tolist()
    assert dtype == "u1" or find_value_range([tmp_path / "a.tif"]) == (0, np.iinfo(dtype).max)


def test_signed_images_of_8_bits_have_a_range(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[-100, 100]], dtype=np.int8))
    assert find_value_range([tmp_path / "a.tif"]) == (-100, 100)


@pytest.mark.parametrize("codec", [None, "zlib", "lzw", "zstd", "lerc", "jpegxl"])
def test_a_damaged_file_of_many_bits_ends_no_search_for_a_range(tmp_path, codec):
    values = (
        np.random.default_rng(0)
        .integers(0, 4096, (64, 64))
        .astype(np.uint32 if codec == "lerc" else np.uint16)
    )
    whole = tmp_path / "a.tif"
    tifffile.imwrite(whole, values, compression=codec)
    content = whole.read_bytes()
    random = np.random.default_rng(1)
    paths = []
    for n in range(60):
        damaged = bytearray(content[: random.integers(8, len(content))] if n % 2 else content)
        damaged[random.integers(8, len(damaged))] ^= 1 << int(random.integers(8))
        paths.append(tmp_path / f"{n}.tif")
        paths[-1].write_bytes(damaged)
    assert find_value_range([*paths, whole]) is not None


def test_a_file_with_thousands_of_other_tags_is_read_by_those_that_matter(tmp_path):
    extra = [(40000 + n, "s", 0, "x" * 3000, True) for n in range(500)]
    tifffile.imwrite(tmp_path / "a.tif", IDS, extratags=extra)
    assert read_labels(tmp_path / "a.tif")[0].tolist() == IDS.tolist()


def test_bilevel_images_are_black_and_white(tmp_path):
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1").save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", channels=1)[0].tolist() == [[[0, 255]]]


def write_pages(path, *kinds, below=()):
    """Pages of 8x8, each a smaller copy of another (1) or not (0), those `below` in directories of the first."""
    page = np.ones((8, 8), dtype=np.uint8)
    with tifffile.TiffWriter(path) as file:
        for kind in kinds:
            file.write(page, photometric="minisblack", subfiletype=kind, subifds=len(below), metadata=None)
            for other in below:
                file.write(page, photometric="minisblack", subfiletype=other, metadata=None)


@pytest.mark.parametrize("read", [lambda p: read_image(p, channels=1), read_labels, read_numbers])
def test_an_image_behind_its_thumbnail_is_not_mistaken_for_it(tmp_path, read):
    path = tmp_path / "a.tif"
    for kinds, below, where in (
        ((1, 0), (), "of page 2"),
        ((1, 1, 0), (), "of page 3"),
        ((1,), (1, 0), "of a page below it"),
    ):
        write_pages(path, *kinds, below=below)
        with pytest.raises(
            DataError, match=rf"its first page is a thumbnail \(8x8\) {where} -> save the image"
        ):
            read(path)
    for kinds in ((0, 1), (1,), (1, 1)):  # a thumbnail behind its image, and files of nothing but such
        write_pages(path, *kinds)
        read(path)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_thumbnails_are_found_in_every_kind_of_tiff(tmp_path, order, big):
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order, bigtiff=big) as file:
        for kind in (1, 0):
            file.write(np.ones((8, 8), dtype=np.uint16), photometric="minisblack", subfiletype=kind)
    with pytest.raises(DataError, match="thumbnail"):
        read_labels(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("photometric", "dtype", "name"),
    [
        ("separated", "u2", "CMYK"),
        ("cielab", "u2", "CIELab"),
        ("icclab", "u1", "ICC Lab"),
        ("ycbcr", "u2", "YCbCr"),
    ],
)
def test_colours_that_are_not_converted_are_refused(tmp_path, photometric, dtype, name):
    count = 4 if name == "CMYK" else 3
    path, values = tmp_path / "a.tif", np.full((8, 8, count), 100, dtype=dtype)
    tifffile.imwrite(path, values, photometric=photometric)
    for channels in (1, 3, 4):
        with pytest.raises(
            DataError, match=rf"its colours are {name}, as {count} bands .* -> save it as RGB"
        ):
            read_image(path, channels=channels, value_range="dtype")
    with pytest.raises(DataError, match=f"its colours are {name}"):
        read_image_facts(path)


def test_ink_of_other_kinds_is_bands(tmp_path):
    values = np.arange(8, dtype=np.uint16).reshape(1, 2, 4)
    tag = [(332, "H", 1, 2, True)]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="separated", extratags=tag)
    image, _ = read_image(tmp_path / "a.tif", channels=4, value_range=(0, 255))
    np.testing.assert_array_equal(image.transpose(1, 2, 0), values)


@pytest.mark.parametrize("channels", [1, 3])
def test_lab_of_8_bits_is_converted(tmp_path, channels):
    values = np.zeros((8, 8, 3), dtype=np.uint8)
    values[..., 0] = 255
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="cielab")
    image, _ = read_image(tmp_path / "a.tif", channels=channels)
    assert image.shape == (channels, 8, 8) and image.min() >= 254


def write_sparse(path, dtype, count=1, **options):
    """16x16 of value 3 in 64x64 pixels, of which GDAL leaves out the rest: there is no data, which is 7."""
    rasterio = pytest.importorskip("rasterio")
    size = {"height": 64, "width": 64, "count": count, "dtype": dtype, "nodata": 7, "SPARSE_OK": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without georeference
        with rasterio.open(
            path, "w", driver="GTiff", tiled=True, blockxsize=16, blockysize=16, **size, **options
        ) as file:
            window = rasterio.windows.Window(0, 0, 16, 16)
            file.write(np.full((count, 16, 16), 3, dtype=dtype), window=window)
    expected = np.full((64, 64), 7)
    expected[:16, :16] = 3
    return expected


@pytest.mark.parametrize("codec", [None, "deflate", "lzw", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_parts_that_are_left_out_have_no_data(tmp_path, codec, dtype):
    """Pillow shows other bytes of the file in their place."""
    expected = write_sparse(tmp_path / "a.tif", dtype, **({} if codec is None else {"compress": codec}))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], expected)
    image, _ = read_image(tmp_path / "a.tif", channels=1, value_range=(0, 255))
    np.testing.assert_array_equal(image[0], expected)


def test_colour_of_which_parts_are_left_out(tmp_path):
    expected = write_sparse(tmp_path / "a.tif", "uint8", count=3, photometric="RGB")
    image, _ = read_image(tmp_path / "a.tif", channels=3)
    np.testing.assert_array_equal(image, np.stack([expected] * 3))


def test_a_palette_that_pillow_does_not_show_is_no_grey(tmp_path):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8)
    ramp = np.zeros((3, 65536), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="palette", colormap=ramp)
    with pytest.raises(DataError, match="its colours are those of a palette, as 16-bit unsigned integers"):
        read_image(tmp_path / "a.tif", channels=1, value_range="dtype")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], values)
