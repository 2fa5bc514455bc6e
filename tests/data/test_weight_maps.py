"""Weight maps against their definitions."""

import math

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes
from segkit.data.loader import val_batches
from segkit.data.sample import Sample
from segkit.data.weight_maps.boundary import Boundary, squared_distance
from segkit.data.weight_maps.constant import Constant
from segkit.data.weight_maps.file import File
from segkit.errors import DataError
from segkit.registry import WEIGHT_MAPS

IGNORE = 255


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


@pytest.mark.parametrize("name", [n for n in WEIGHT_MAPS.names() if n != "file"])
def test_every_weight_map_gives_one_finite_weight_per_pixel(name):
    constructor = WEIGHT_MAPS.get(name)
    maker = constructor(IGNORE) if name == "boundary" else constructor()
    sample = Shapes("train", size=[40, 50])[0]
    weight = maker(sample)
    assert weight.shape == (40, 50)
    assert weight.dtype == torch.float32
    assert (weight >= 0).all() and weight.isfinite().all()


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
        "   -> data.weight_map={name: boundary} computes one from the labels"
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
    assert message(lambda: with_file(root)) == text.format(path)


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
