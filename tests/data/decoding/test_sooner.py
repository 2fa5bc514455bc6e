"""What tifffile decodes sooner than Pillow, grey of 16 bits and whatever is deflated: both give the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from segkit.data.decoding import samples
from segkit.data.decoding.images_and_masks import read_image, read_labels
from segkit.data.decoding.samples import read_header
from segkit.data.decoding.value_range import find_value_range
from segkit.errors import DataError

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")

WAYS = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"photometric": "miniswhite"},
    {"tile": (16, 16)},
    {"rowsperstrip": 5},
    {"extratags": [(274, "H", 1, 6, True)]},
]


def drawn():
    return np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)


def by_both(monkeypatch, read, path):
    """What tifffile and what Pillow make of the file: of two copies, since what was read last is kept."""
    assert not read_header(path).read_by_pillow
    copy = Path(shutil.copy(path, path.with_name("copy.tif")))
    sooner = read(path)
    with monkeypatch.context() as patch:
        patch.setattr(samples, "_has_tifffile", lambda: False)
        assert read_header(copy).read_by_pillow
        return sooner, read(copy)


@pytest.mark.parametrize("codec", [None, "zlib", "zstd"])
@pytest.mark.parametrize("way", WAYS, ids=[next(iter(way), "plain") for way in WAYS])
def test_both_decoders_give_the_same(tmp_path, monkeypatch, codec, way):
    path = tmp_path / "a.tif"
    options = {"photometric": "minisblack", **way}
    tifffile.imwrite(path, drawn(), compression=codec, predictor=codec is not None, **options)

    def pixels(path):
        return read_image(path, channels=1, value_range=(0, 3000))[0]

    for read in (pixels, lambda path: read_labels(path)[0], lambda path: find_value_range([path])):
        np.testing.assert_array_equal(*by_both(monkeypatch, read, path))


@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("way", [way for way in WAYS if "photometric" not in way], ids=str)
def test_both_decoders_give_the_same_8_bits(tmp_path, monkeypatch, photometric, planes, way):
    path, pixels = tmp_path / "a.tif", np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    pixels = pixels[..., 0] if photometric == "minisblack" else pixels
    pixels = np.moveaxis(pixels, 2, 0) if pixels.ndim == 3 and planes == "separate" else pixels
    options = {"planarconfig": planes if pixels.ndim == 3 else None, **way}
    tifffile.imwrite(path, pixels, photometric=photometric, compression="zlib", predictor=True, **options)
    for read in (
        *(lambda path, count=count: read_image(path, channels=count)[0] for count in (1, 3)),
        *(lambda path, part=part: read_labels(path)[part] for part in (0, 1)),
    ):
        np.testing.assert_array_equal(*by_both(monkeypatch, read, path))


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "miniswhite"},
        {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
        {"photometric": "minisblack", "dtype": np.int8},
        {"photometric": "minisblack", "dtype": np.float32},
    ],
    ids=str,
)
def test_what_pillow_makes_more_of_is_left_to_it(tmp_path, options):
    options = dict(options)
    pixels = np.zeros((8, 8), dtype=options.pop("dtype", np.uint8))
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", **options)
    header = read_header(tmp_path / "a.tif")
    assert header.read_by_pillow == header.shown_by_pillow


@pytest.mark.parametrize("codec", [None, "zlib", "zstd"])
def test_a_file_cut_short_is_refused_by_both(tmp_path, monkeypatch, codec):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, drawn(), compression=codec)
    path.write_bytes(path.read_bytes()[:-100])

    def read(path):
        with pytest.raises(DataError, match="cannot read"):
            read_labels(path)

    by_both(monkeypatch, read, path)


@pytest.mark.parametrize("missing", ["tifffile", "imagecodecs"])
def test_pillow_reads_where_the_extra_is_not_whole(tmp_path, monkeypatch, missing):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, drawn(), compression="zlib")
    monkeypatch.setattr(samples, "find_spec", lambda name: None if name == missing else object())
    samples._has_tifffile.cache_clear()
    try:
        assert read_header(path).read_by_pillow
    finally:
        samples._has_tifffile.cache_clear()
