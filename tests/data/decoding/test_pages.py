"""Pages of TIFF files are what Pillow and tifffile find in them when they go through the whole file."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from segkit.data.check.file_facts import read_image_facts, read_mask_facts
from segkit.data.decoding.images_and_masks import read_image, read_labels
from segkit.data.decoding.pages import find_pages, split_stack
from segkit.data.decoding.value_range import find_value_range
from segkit.errors import DataError
from tests.data.containers.contained_folders import IMAGES, LABELS, save_stack


def read_all(path):
    """Reference: all pages (N, H, W), by going through the file."""
    with Image.open(path) as image:
        return np.stack([np.asarray(page) for page in ImageSequence.Iterator(image)])


def labels_of(path):
    return np.stack([read_labels(page)[0] for page in find_pages(path)])


@pytest.mark.parametrize("codec", [None, "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pages_that_pillow_writes(tmp_path, codec, dtype):
    drawn = LABELS.astype(dtype) * (1 if dtype == "uint8" else 300)
    path = save_stack(tmp_path / "a.tif", drawn, compression=codec)
    np.testing.assert_array_equal(read_all(path), drawn)
    np.testing.assert_array_equal(labels_of(path), drawn)
    page = find_pages(path)[3]
    assert str(page) == f"{path}#3"
    assert read_image_facts(page).size == drawn.shape[1:]
    values, counts = np.unique(drawn[3], return_counts=True)
    assert read_mask_facts(page).counts == dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_colour_pages(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), dtype=np.uint8)
    path = save_stack(tmp_path / "a.tif", drawn, compression="tiff_lzw")
    for page, colours in zip(find_pages(path), drawn, strict=True):
        image, turned = read_image(page, channels=3)
        np.testing.assert_array_equal(image, colours.transpose(2, 0, 1))
        assert not turned


#: How tifffile writes a stack, and of which type its numbers are.
WRITTEN = {
    "plain": ("uint8", {}),
    "ImageJ": ("uint8", {"imagej": True}),
    "OME": ("uint8", {"ome": True}),
    "BigTIFF": ("uint8", {"bigtiff": True}),
    "big endian": ("uint16", {"byteorder": ">"}),
    "tiles": ("uint8", {"tile": (16, 16), "compression": "lzw"}),
    "zlib": ("uint16", {"compression": "zlib"}),
    "Zstandard": ("uint8", {"compression": "zstd"}),
    "PNG": ("uint8", {"compression": "png"}),
    "int32": ("int32", {}),
    "uint32, zlib": ("uint32", {"compression": "zlib"}),
    "float32": ("float32", {}),
    "float64": ("float64", {"compression": "zlib"}),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_pages_that_tifffile_writes(tmp_path, name):
    tifffile = pytest.importorskip("tifffile", reason="tifffile, which writes these files, is not installed")
    dtype, options = WRITTEN[name]
    drawn, path = LABELS.astype(dtype), tmp_path / "a.tif"
    tifffile.imwrite(path, drawn, **{"photometric": "minisblack", **options})
    np.testing.assert_array_equal(labels_of(path), drawn)
    if dtype != "uint8":
        assert find_value_range(find_pages(path)) == (0, 2)


def test_pages_keep_what_files_say_of_themselves(tmp_path):
    """A palette's places are values, and the tag Orientation turns a page like a file."""
    pages = []
    for labels in LABELS[:3]:
        page = Image.fromarray(labels).convert("P")
        page.frombytes(labels.tobytes())
        page.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        pages.append(page)
    path = tmp_path / "a.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(labels_of(path), LABELS[:3])
    values, are_colours = read_labels(find_pages(path)[1], colours=True)
    assert are_colours and set(np.unique(values)) == {0, 0xFF0000, 0x00FF00}


def test_smaller_copies_are_no_pages(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="tifffile, which writes this file, is not installed")
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for labels in LABELS[:3]:
            file.write(labels, photometric="minisblack")
            file.write(labels[::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(labels_of(path), LABELS[:3])


def test_what_is_a_stack(tmp_path):
    stack = save_stack(tmp_path / "a.tif", IMAGES)
    single = save_stack(tmp_path / "b.tif", IMAGES[:1])
    other = tmp_path / "c.tif"
    Image.fromarray(IMAGES[0]).save(
        other, save_all=True, append_images=[Image.fromarray(IMAGES[1, ::2, ::2])]
    )
    assert [len(split_stack(path)) for path in (stack, single, other, tmp_path / "none.tif")] == [10, 0, 0, 0]


def test_files_without_pages(tmp_path):
    def refusal(path):
        with pytest.raises(DataError) as raised:
            find_pages(path)
        return str(raised.value)

    assert refusal(tmp_path / "a.tif") == f"cannot read {tmp_path}/a.tif: no such file"
    Image.fromarray(IMAGES[0]).save(tmp_path / "b.png")
    message = "not a TIFF file, and other files have no pages"
    assert refusal(tmp_path / "b.png") == f"cannot read {tmp_path}/b.png: {message}"
    tifffile = pytest.importorskip("tifffile", reason="tifffile, which writes this file, is not installed")
    tifffile.imwrite(tmp_path / "c.tif", IMAGES[0], description="ImageJ=1.54f\nimages=700\n", metadata=None)
    assert refusal(tmp_path / "c.tif") == (
        f"cannot use {tmp_path}/c.tif: it holds 700 images, of which it lists one, as ImageJ does it beyond 4 GB "
        "-> save it as several files"
    )


def test_a_stack_that_is_cut_short(tmp_path):
    """Of pages whose numbers are gone, the message names the page."""
    path = save_stack(tmp_path / "a.tif", IMAGES, compression="tiff_lzw")
    pages = find_pages(path)
    content = bytearray(path.read_bytes())
    start, end = pages[2].directory, pages[3].directory
    content[start + 200 : end] = bytes(end - start - 200)
    path.write_bytes(content)
    damaged = [page for page in pages if _fails(page)]
    assert damaged and all(f"a.tif#{page.key}: " in _fails(page) for page in damaged)


def _fails(page):
    try:
        read_labels(page)
    except DataError as error:
        return str(error)
    return ""
