"""TIFF files that are segmented window by window: the same ids as of the whole image, and what is kept of the file."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segkit.commands import by_windows
from segkit.commands.predict import predict_images, with_other_views
from segkit.commands.tiff_files import by_rasterio, by_tifffile
from segkit.errors import ConfigError, DataError
from segkit.evaluation.views import predict_blocks
from segkit.runs.predictor import load_predictor
from tests.runs.test_predictor import CPU, make_run

rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed: pip install 'segkit[geo]'")
tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed: pip install 'segkit[formats]'")
pytest.importorskip("imagecodecs", reason="imagecodecs is not installed: pip install 'segkit[formats]'")
TILES = ["predict.tile=[48,40]", "predict.overlap=0.3"]


@pytest.fixture(params=["by_rasterio", "by_tifffile"])
def _library(request, monkeypatch):
    """The one alone."""
    monkeypatch.setattr(by_windows, "LIBRARIES", {request.param: by_windows.LIBRARIES[request.param]})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("windows"))


def write_tiff(path, *, bands=3, size=(130, 171), dtype="uint8", **options):
    """A TIFF file of noise; its values (bands, H, W)."""
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (bands, *size), dtype=dtype)
    profile = {"driver": "GTiff", "height": size[0], "width": size[1], "count": bands, "dtype": dtype}
    with rasterio.open(path, "w", **profile, **options) as file:
        file.write(values)
    return values


def predict(run, source, output, *overrides):
    options = {"forms": ["geotiff"], "opacity": 0.5, "device": "cpu"}
    assert predict_images(str(run.path), source, overrides or TILES, output=output, **options) == 0


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize(
    "layout", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 32}, {"compress": "deflate"}]
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_ids_are_those_of_the_image_in_memory(run, tmp_path, layout):
    values = write_tiff(tmp_path / "a.tif", photometric="RGB", **layout)
    predict(run, tmp_path / "a.tif", tmp_path / "out")
    predictor = with_other_views(load_predictor(run.path, CPU), TILES)
    expected = predictor.predict(torch.from_numpy(values))
    with rasterio.open(tmp_path / "out/a_ids.tif") as file:
        assert (file.count, file.dtypes, file.shape) == (1, ("uint8",), (130, 171))
        np.testing.assert_array_equal(file.read(1), expected.numpy())
        colours = file.colormap(1)
        assert [colours[n][:3] for n in range(5)] == [tuple(color) for color in predictor.labels.palette]
    assert len(expected.unique()) > 1


def test_the_cache_holds_the_blocks_of_a_window_and_of_a_row_of_strips():
    def cache(block, size=(20_000, 20_000), dtype="uint8", bands=3):
        file = SimpleNamespace(
            block_shapes=[block] * bands, height=size[0], width=size[1], count=bands, dtypes=[dtype] * bands
        )
        return by_rasterio.choose_cache(file, (512, 512))

    assert cache((256, 256)) == cache((512, 512)) == by_rasterio.CACHE
    assert cache((1, 20_000)) == 513 * 20_000 * 3, "each row of windows reads its strips once"
    assert cache((1, 20_000), dtype="uint16", bands=4) == 513 * 20_000 * 8
    assert cache((4096, 4096)) == 8192 * 8192 * 3, "a window may lie on four"
    assert cache((20_000, 20_000)) == 20_000 * 20_000 * 3, "and never more than there is"
    assert cache((8, 30), size=(20, 30)) == by_rasterio.CACHE


@pytest.mark.usefixtures("_library")
def test_the_georeference_is_kept(run, tmp_path):
    transform = rasterio.Affine(0.2, 0.0, 440_000.0, 0.0, -0.2, 5_600_000.0)
    write_tiff(tmp_path / "a.tif", photometric="RGB", crs="EPSG:25832", transform=transform)
    predict(run, tmp_path / "a.tif", tmp_path / "out")
    with rasterio.open(tmp_path / "out/a_ids.tif") as file:
        assert file.crs == rasterio.crs.CRS.from_epsg(25832) and file.transform == transform


@pytest.mark.usefixtures("_library")
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_ground_control_points_are_kept(run, tmp_path):
    point = rasterio.control.GroundControlPoint
    points = [point(0, 0, 10.0, 50.0), point(0, 170, 10.1, 50.0), point(129, 0, 10.0, 49.9)]
    write_tiff(tmp_path / "a.tif", photometric="RGB", crs="EPSG:4326", gcps=points)
    predict(run, tmp_path / "a.tif", tmp_path / "out")
    with rasterio.open(tmp_path / "out/a_ids.tif") as file:
        kept, system = file.gcps
    assert [(p.row, p.col, p.x, p.y) for p in kept] == [(p.row, p.col, p.x, p.y) for p in points]
    assert system.to_epsg() == 4326


@pytest.mark.usefixtures("_library")
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_transparency_is_left_out_and_grey_becomes_colour(run, tmp_path):
    values = write_tiff(tmp_path / "rgba.tif", bands=4, photometric="RGB", alpha="YES")
    grey = write_tiff(tmp_path / "grey.tif", bands=1)
    predictor = with_other_views(load_predictor(run.path, CPU), TILES)
    for name, image in (("rgba", values[:3]), ("grey", grey.repeat(3, axis=0))):
        predict(run, tmp_path / f"{name}.tif", tmp_path / "out")
        with rasterio.open(tmp_path / f"out/{name}_ids.tif") as file:
            np.testing.assert_array_equal(file.read(1), predictor.predict(torch.from_numpy(image)).numpy())


def test_little_of_a_large_image_is_in_memory_at_once(run):
    """Parts are asked for once each tile, and none is larger than one."""
    predictor = with_other_views(load_predictor(run.path, CPU), TILES)
    asked = []

    class Noise:
        shape, device = torch.Size((1, 3, 400, 300)), CPU

        def __getitem__(self, part):
            rows, columns = part[1:]
            asked.append((rows.stop - rows.start, columns.stop - columns.start))
            return torch.zeros(1, 3, *asked[-1], dtype=torch.uint8)

    blocks = [block for block, _ in predict_blocks(predictor.forward, Noise(), predictor.views)]
    assert set(asked) == {(48, 40)} and len(asked) == len(blocks)
    covered = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in blocks)
    assert covered == 400 * 300


@pytest.mark.usefixtures("_library")
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_cannot_be_read_by_windows_is_an_error(run, tmp_path, monkeypatch):
    write_tiff(tmp_path / "a.tif", photometric="RGB")
    with pytest.raises(ConfigError, match=r"tile by tile -> predict\.tile=\[512,512\]"):
        predict(run, tmp_path / "a.tif", tmp_path / "out", "predict.flip=true")
    write_tiff(tmp_path / "five.tif", bands=5)
    with pytest.raises(DataError, match=r"five\.tif has 5 bands, and data\.channels is 3"):
        predict(run, tmp_path / "five.tif", tmp_path / "out")
    write_tiff(tmp_path / "deep.tif", photometric="RGB", dtype="uint16")
    with pytest.raises(DataError, match=r"deep\.tif: its pixels are of type uint16"):
        predict(run, tmp_path / "deep.tif", tmp_path / "out")
    (tmp_path / "no.tif").write_bytes(b"II*\0 nothing")
    with pytest.raises(DataError, match=r"no\.tif"):
        predict(run, tmp_path / "no.tif", tmp_path / "out")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:30_000])
    with pytest.raises(DataError, match=r"cut\.tif"):
        predict(run, tmp_path / "cut.tif", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.*"))
    options = {"output": tmp_path / "out", "opacity": 0.5, "device": "cpu"}
    with pytest.raises(ConfigError, match="--save geotiff: is written window by window"):
        predict_images(str(run.path), tmp_path / "a.tif", TILES, forms=["geotiff", "ids"], **options)
    monkeypatch.undo()
    for name in ("rasterio", "imagecodecs"):  # without which tifffile decodes hardly anything
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ConfigError, match=r"needs rasterio, or tifffile .* -> pip install 'segkit\[geo\]'"):
        predict(run, tmp_path / "a.tif", tmp_path / "out")


@pytest.mark.parametrize("tile", [(1, 1), (48, 40), (300, 300)])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"blockysize": 7},
        {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "deflate", "predictor": 2},
        {"tiled": True, "blockxsize": 64, "blockysize": 48, "interleave": "band", "compress": "lzw"},
        {"interleave": "band", "blockysize": 9, "compress": "zstd"},
        {
            "tiled": True,
            "blockxsize": 16,
            "blockysize": 16,
            "dtype": "uint16",
            "bands": 5,
            "endianness": "big",
        },
        {"tiled": True, "blockxsize": 256, "blockysize": 256, "BIGTIFF": "YES", "dtype": "int16", "bands": 1},
    ],
    ids=lambda layout: "_".join(map(str, layout.values())) or "plain",
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_parts_are_the_same_by_either_library(tmp_path, layout, tile, monkeypatch):
    monkeypatch.setattr(by_tifffile, "CACHE", 1)  # so that what was decoded is let go of
    values = np.moveaxis(write_tiff(tmp_path / "a.tif", **layout), 0, 2)
    random = np.random.default_rng(1)
    ends = [np.sort(random.integers(0, side + 1, (12, 2))) for side in values.shape[:2]]
    parts = [(slice(0, values.shape[0]), slice(0, values.shape[1]))]
    parts += [(slice(a, b), slice(c, d)) for (a, b), (c, d) in zip(*ends, strict=True) if a < b and c < d]
    for library in (by_rasterio, by_tifffile):
        with library.opened(tmp_path / "a.tif", tile) as file:
            assert (file.height, file.width) == values.shape[:2]
            for part in parts:
                found = file.read(*part)
                assert found.dtype == values.dtype and np.array_equal(found, values[part])


@pytest.mark.parametrize("nodata", [None, 7])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_parts_that_are_left_out_hold_no_data(tmp_path, nodata):
    profile = {"driver": "GTiff", "height": 64, "width": 48, "count": 1, "dtype": "uint8", "nodata": nodata}
    options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "SPARSE_OK": "TRUE"}
    with rasterio.open(tmp_path / "a.tif", "w", **profile, **options) as file:
        file.write(np.full((16, 16), 3, dtype=np.uint8), 1, window=((16, 32), (16, 32)))
    found = []
    for library in (by_rasterio, by_tifffile):
        with library.opened(tmp_path / "a.tif", (16, 16)) as file:
            found.append(file.read(slice(3, 50), slice(2, 40)))
    assert np.array_equal(*found) and set(np.unique(found[0])) == {3, nodata or 0}


@pytest.mark.parametrize("heights", [[5], [32], [64, 1], [7, 40, 31, 32, 3], [1] * 70])
def test_rows_are_cut_into_strips_as_they_come(heights):
    ids = np.random.default_rng(0).integers(0, 9, (sum(heights), 6), dtype=np.uint8)
    starts = np.cumsum([0, *heights])
    parts = [(a, ids[a:b].copy()) for a, b in pairwise(starts.tolist())]
    strips = list(by_tifffile.cut_into_strips(parts))
    assert [len(strip) for strip in strips[:-1]] == [by_rasterio.STRIP] * (len(strips) - 1)
    assert np.array_equal(np.concatenate(strips), ids)


def test_a_file_written_by_tifffile_says_what_one_by_rasterio_does(run, tmp_path, monkeypatch):
    transform = rasterio.Affine(0.2, 0.0, 440_000.0, 0.0, -0.2, 5_600_000.0)
    write_tiff(tmp_path / "a.tif", photometric="RGB", crs="EPSG:25832", transform=transform, tiled=True)
    found = []
    for name, packages in by_windows.LIBRARIES.items():
        with monkeypatch.context() as patched:
            patched.setattr(by_windows, "LIBRARIES", {name: packages})
            predict(run, tmp_path / "a.tif", tmp_path / name)
        with rasterio.open(tmp_path / name / "a_ids.tif") as file:
            found.append((file.read(1).tobytes(), file.colormap(1), file.crs, file.transform, file.profile))
    assert found[0][:4] == found[1][:4]
    assert {**found[0][4], "nodata": None} == {**found[1][4], "nodata": None}
