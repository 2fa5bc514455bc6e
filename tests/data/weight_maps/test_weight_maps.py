"""Weight maps against their definitions."""

import math
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from segkit.cli.run_command import import_user_code
from segkit.config.load import config_from_mapping
from segkit.data.augments.standard import Standard
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes
from segkit.data.label_counts import LabelCounts
from segkit.data.loading.loader import val_batches
from segkit.data.sample import Sample
from segkit.data.transforms.typed import WeightMap, WeightsBesideMask
from segkit.data.weight_maps.boundary import Boundary, squared_distance
from segkit.data.weight_maps.constant import Constant
from segkit.data.weight_maps.file import File
from segkit.errors import ConfigError, DataError
from segkit.registry import WEIGHT_MAPS
from segkit.training.build import build_data
from segkit.training.build_dataset import build_weight_map

IGNORE = 255
SHORT = {"train": {"iterations": 1}}


def sample_of(target):
    target = torch.as_tensor(target)
    return Sample(
        tv_tensors.Image(torch.zeros(3, *target.shape, dtype=torch.uint8)), tv_tensors.Mask(target), "x", 0
    )


def reference_boundary(target, *, base, amplitude, sigma):
    """The definition, pixel by pixel: slow and obvious."""
    height, width = target.shape
    border = [
        (y, x)
        for y in range(height)
        for x in range(width)
        for ny, nx in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        if 0 <= ny < height
        and 0 <= nx < width
        and IGNORE not in (target[y, x], target[ny, nx])
        and target[y, x] != target[ny, nx]
    ]
    weight = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            if target[y, x] != IGNORE:
                d = min((math.hypot(y - by, x - bx) for by, bx in border), default=math.inf)
                weight[y, x] = base + amplitude * math.exp(-(d**2) / (2 * sigma**2))
    return weight


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("shape", [(23, 31), (31, 23), (1, 40), (40, 1), (2, 2)])
def test_boundary_equals_its_definition(seed, dtype, shape):
    random = np.random.default_rng(seed)
    coarse = random.choice([0, 0, 0, 1, 2, IGNORE], size=(shape[0] // 8 + 1, shape[1] // 8 + 1))
    target = np.kron(coarse, np.ones((8, 8), dtype=int))[: shape[0], : shape[1]]
    options = {"base": 0.5, "amplitude": 4.0, "sigma": 2.0}
    weight = Boundary(IGNORE, **options)(sample_of(torch.tensor(target, dtype=dtype)))
    assert weight.dtype == torch.float32
    np.testing.assert_allclose(weight, reference_boundary(target, **options), rtol=1e-5, atol=1e-4)


def test_boundary_in_numbers():
    weight = Boundary(IGNORE, base=1.0, amplitude=5.0, sigma=1.0)(sample_of([[0, 0, 0, 1, 1]]))
    near, far = 1 + 5 * math.exp(-0.5), 1 + 5 * math.exp(-2)
    assert weight[0].tolist() == pytest.approx([far, near, 6.0, 6.0, near])


def test_an_ignored_region_is_no_border_and_weighs_nothing():
    weight = Boundary(IGNORE, base=1.0)(sample_of([[0, 0, IGNORE, 1, 1]]))
    assert weight.tolist() == [[1.0, 1.0, 0.0, 1.0, 1.0]]


@pytest.mark.parametrize("fill", [0, IGNORE])
def test_boundary_of_one_class_only(fill):
    weight = Boundary(IGNORE)(sample_of(torch.full((5, 7), fill)))
    assert torch.equal(weight, torch.full((5, 7), float(fill != IGNORE)))


def test_squared_distance_is_exact_up_to_the_radius():
    points = torch.zeros(9, 21, dtype=torch.bool)
    points[4, 10] = True
    y, x = torch.meshgrid(torch.arange(9) - 4, torch.arange(21) - 10, indexing="ij")
    true = (y**2 + x**2).float()
    found = squared_distance(points, radius=5)
    assert torch.equal(found[true <= 25], true[true <= 25])
    assert (found[true > 25] > 25).all()


def test_constant():
    weight = Constant(value=2.5)(sample_of([[0, IGNORE]]))
    assert weight.tolist() == [[2.5, 2.5]]
    assert weight.dtype == torch.float32


COMPUTED = [name for name in WEIGHT_MAPS.names() if name != "file"]


def build_map(name, train):
    """The weight map of that name with its defaults, as a run with the data set `train` builds it."""
    data = {"name": "shapes", "weight_map": {"name": name}}
    config = config_from_mapping({"data": data, "loss": {"name": "weighted_mask_ce"}, **SHORT}, origin="test")
    return build_weight_map(config, train, LabelCounts(train, None, settings={}).weigh)


@pytest.fixture(scope="module")
def shapes():
    dataset = Shapes("train", size=[40, 50], train_size=12)
    assert any((dataset[n].target == IGNORE).any() for n in range(12))
    return dataset


@pytest.mark.parametrize("name", COMPUTED)
def test_every_weight_map_gives_one_finite_weight_per_pixel_and_always_the_same(name, shapes):
    maker = build_map(name, shapes)
    again = pickle.loads(pickle.dumps(maker))  # as a worker that is started afresh gets it
    for n in range(len(shapes)):
        sample = shapes[n]
        weight = maker(sample)
        assert weight.shape == (40, 50)
        assert type(weight) is torch.Tensor and weight.dtype == torch.float32
        assert (weight >= 0).all() and weight.isfinite().all()
        assert torch.equal(weight, again(shapes[n]))
        assert torch.equal(sample.target, shapes[n].target)


@pytest.mark.parametrize("name", [name for name in COMPUTED if name != "constant"])
def test_ignored_pixels_weigh_nothing_where_weights_come_from_labels(name, shapes):
    maker = build_map(name, shapes)
    for n in range(len(shapes)):
        sample = shapes[n]
        weight, ignored = maker(sample), sample.target == IGNORE
        assert (weight[ignored] == 0).all()
        assert (weight[~ignored] > 0).all()


@pytest.mark.parametrize("name", COMPUTED)
def test_augmentation_moves_weights_and_invents_none(name, shapes):
    """After it every pixel has a weight of the map, or 0 where there was no image, and those of its own label."""
    maker = build_map(name, shapes)
    for n in range(len(shapes)):
        sample = replace(shapes[n], weight=WeightMap(maker(shapes[n])))
        torch.manual_seed(n)
        out = Standard(IGNORE, crop_size=48, scale=[0.4, 2.0], vflip=0.5, quarter_turns=True)(sample)
        assert type(out.weight) is WeightsBesideMask and out.weight.dtype == torch.float32
        weight, target = out.weight.as_subclass(torch.Tensor), out.target.as_subclass(torch.Tensor)
        pairs = {*zip(sample.target.flatten().tolist(), sample.weight.flatten().tolist(), strict=True)}
        found = {*zip(target.flatten().tolist(), weight.flatten().tolist(), strict=True)}
        assert found <= pairs | {(IGNORE, 0.0)}


USER_MAP = """
from segkit.registry import WEIGHT_MAPS
from segkit.types import PositiveFloat


@WEIGHT_MAPS.register("halves")
class Halves:
    def __init__(self, class_names, num_classes: int, *, left: PositiveFloat):
        assert len(class_names) == num_classes
        self.left = left

    def __call__(self, sample):
        weight = sample.target.new_ones(sample.target.shape).float()
        weight[:, : weight.shape[1] // 2] = self.left
        return weight
"""


def test_map_of_the_user(tmp_path, monkeypatch, shapes):
    """A file of a few lines is imported, checked, built and applied like segkit's own."""
    WEIGHT_MAPS.names()
    monkeypatch.setattr(WEIGHT_MAPS, "_constructors", dict(WEIGHT_MAPS._constructors))
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "halves_of_the_user.py"
    path.write_text(USER_MAP)
    import_user_code([str(path)])
    data = {"name": "shapes", "size": 32, "weight_map": {"name": "halves", "left": 3}}
    config = config_from_mapping({"data": data, "loss": {"name": "weighted_mask_ce"}, **SHORT}, origin="test")
    batch = next(
        iter(val_batches(Shapes("val", size=32), weight_map=build_data(config).weight_map, batch_size=2))
    )
    assert batch["weight"][:, :, :16].unique().tolist() == [3.0]
    assert batch["weight"][:, :, 16:].unique().tolist() == [1.0]
    data["weight_map"]["left"] = 0
    with pytest.raises(ConfigError, match="left: expected"):
        config_from_mapping({"data": data, "loss": {"name": "weighted_mask_ce"}, **SHORT}, origin="test")
    del sys.modules["halves_of_the_user"]


def with_file(root, **options):
    dataset = Folder("train", root=str(root), classes=["a", "b", "c"], **options)
    return next(iter(val_batches(dataset, weight_map=File(scale=0.5), batch_size=1)))["weight"][0]


def message(call):
    with pytest.raises(DataError) as raised:
        call()
    return str(raised.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_is_scaled(make_folder, save, dtype):
    root = make_folder()
    values = np.arange(24 * 32).reshape(24, 32).astype(dtype)
    save(root / "weights/train/000.png", values)
    np.testing.assert_array_equal(with_file(root), values * np.float32(0.5))


def test_npy_is_used_as_it_is(make_folder):
    root = make_folder()
    values = np.random.default_rng(0).random((24, 32))
    (root / "weights/train").mkdir(parents=True)
    np.save(root / "weights/train/000.npy", values)
    np.testing.assert_array_equal(with_file(root), values.astype(np.float32))


def test_file_follows_data_resize(make_folder, save):
    root = make_folder()
    with (root / "masks/train/000.png").open("rb") as mask:
        (root / "weights/train").mkdir(parents=True)
        (root / "weights/train/000.png").write_bytes(mask.read())
    dataset = Folder("train", root=str(root), classes=["a", "b", "c"], resize=[50, 20])
    sample = dataset[0]
    assert torch.equal(File()(sample).to(torch.uint8), sample.target.as_subclass(torch.Tensor))


def test_missing_file(make_folder):
    root = make_folder()
    assert message(lambda: with_file(root)) == (
        f"the weight map 'file' needs a map for every image: expected {root}/weights/train/000.(png|npy)\n"
        "   -> python scripts/make_weights.py writes them; data.weight_map='{name: boundary}' computes them on the fly"
    )


def test_generated_data_has_no_files():
    assert message(lambda: File()(Shapes("train")[0])).startswith(
        "the weight map 'file' needs a data set of files"
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.full((24, 32), -0.5), "weight map with negative values: {} goes down to -0.5"),
        (np.full((24, 32), np.nan), "weight map with NaN or infinite values: {}"),
        (np.full((24, 32), np.inf), "weight map with NaN or infinite values: {}"),
        (np.ones((24, 31)), "weight map of the wrong size: {} is 31x24, its image 32x24"),
        (np.ones((24, 32, 1)), "weight map of the wrong size: {} is 1x32x24, its image 32x24"),
        (np.full((24, 32), "x"), "cannot use {}: expected an array of numbers (H, W)"),
    ],
)
def test_maps_that_are_no_weights(make_folder, values, text):
    root = make_folder()
    (root / "weights/train").mkdir(parents=True)
    path = root / "weights/train/000.npy"
    np.save(path, values)
    advice = "\n   -> mend or remove the file, or go on without such: data.on_bad_sample=skip"
    assert message(lambda: with_file(root)) == text.format(path) + advice


class Trap:
    def __reduce__(self):
        return print, ("code from a data file ran",)


def test_npy_never_runs_code(make_folder, capsys):
    root = make_folder()
    (root / "weights/train").mkdir(parents=True)
    np.save(root / "weights/train/000.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert message(lambda: with_file(root)).startswith(f"cannot read {root}/weights/train/000.npy: ")
    assert capsys.readouterr().out == ""


def test_what_a_weight_map_computes_is_checked_too(make_folder):
    dataset = Folder("train", root=str(make_folder()), classes=["a", "b", "c"])
    batches = val_batches(dataset, weight_map=lambda sample: -torch.ones(24, 32), batch_size=1)
    assert message(lambda: next(iter(batches))).startswith(
        "weight map with negative values: the weight map of "
    )
