"""What every transform that a configuration can name promises, torchvision's included."""

import pickle
import random

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.config.signature import read_parameters
from segkit.data.sample import Sample
from segkit.data.transforms.joint import GREY
from segkit.data.transforms.torchvision_offered import OFFERED
from segkit.data.transforms.torchvision_refused import REFUSED
from segkit.data.transforms.typed import WeightMap
from segkit.registry import TRANSFORMS, RefusedName
from tests.data.transforms.transform_cases import IGNORE, block_of, build_augment, run, sample_of, tensors_of

SEEDS = range(8)
PHOTOMETRIC = {
    *("photometric", "ColorJitter", "GaussianBlur", "GaussianNoise", "Identity", "JPEG"),
    *("RandomAdjustSharpness", "RandomAutocontrast", "RandomChannelPermutation", "RandomEqualize"),
    *("RandomGrayscale", "RandomInvert", "RandomPhotometricDistort", "RandomPosterize", "RandomSolarize"),
}
GEOMETRIC = sorted(set(TRANSFORMS.names()) - PHOTOMETRIC)
STILL = {"CenterCrop", "Identity", "Pad", "Resize", "Compose"}
ONLY_COLOURS = {"RandomGrayscale", "RandomChannelPermutation"}


def same(first, second):
    return all(map(torch.equal, tensors_of(first), tensors_of(second)))


@pytest.mark.parametrize("name", TRANSFORMS.names())
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("weight", [True, False])
def test_types_sizes_and_values(name, channels, weight):
    augment = build_augment(block_of(name))
    before = sample_of(channels=channels, weight=weight)
    untouched = [tensor.clone() for tensor in tensors_of(before)]
    for seed in SEEDS:
        after = run(augment, before, seed)
        assert type(after.image) is tv_tensors.Image and type(after.target) is tv_tensors.Mask
        assert after.image.dtype == torch.uint8 and after.target.dtype == torch.uint8
        assert after.image.shape == (channels, *after.target.shape)
        assert set(after.target.unique().tolist()) <= {IGNORE, *before.target.unique().tolist()}
        assert (after.weight is None) == (before.weight is None)
        if weight:
            assert type(after.weight) is WeightMap and after.weight.dtype == torch.float32
            assert after.weight.shape == after.target.shape
            assert set(after.weight.unique().tolist()) <= {0.0, *before.weight.unique().tolist()}
    assert all(map(torch.equal, tensors_of(before), untouched)), "the data set's own tensors were changed"


@pytest.mark.parametrize("name", TRANSFORMS.names())
def test_one_seed_one_result(name):
    augment = pickle.loads(pickle.dumps(build_augment(block_of(name))))
    before = sample_of()
    python, numpy = random.getstate(), np.random.get_state()
    results = [run(augment, before, seed) for seed in (*SEEDS, *SEEDS)]
    first, second = results[: len(SEEDS)], results[len(SEEDS) :]
    assert all(map(same, first, second))
    if name not in STILL | ONLY_COLOURS:
        assert not all(same(first[0], other) for other in first), "never does anything else"
    assert random.getstate() == python, "draws from Python's generator"
    assert all(map(np.array_equal, np.random.get_state(), numpy)), "draws from NumPy's generator"


def accepts(name, option):
    return option in [parameter.name for parameter in read_parameters(TRANSFORMS.get(name), TRANSFORMS.given)]


INTERPOLATING = [n for n in GEOMETRIC if accepts(n, "interpolation")] + ["rotate", "scale_crop"]


@pytest.mark.parametrize("name", sorted(set(GEOMETRIC) - {"rotate", "scale_crop"}))
@pytest.mark.parametrize("channels", [1, 3])
def test_image_target_and_weight_move_together(name, channels):
    """With the image taken from the nearest pixel too, all three hold the same number everywhere."""
    nearest = {"interpolation": "nearest"} if name in INTERPOLATING else {}
    augment, before = build_augment(block_of(name, **nearest)), sample_of(channels=channels)
    moved = 0
    for seed in SEEDS:
        after = run(augment, before, seed)
        valid, inside = after.target != IGNORE, after.weight > 0
        ids = (after.weight * 3).round().to(torch.uint8).as_subclass(torch.Tensor)
        assert (after.weight[valid] > 0).all(), "a label has lost its weight"
        assert torch.equal(ids[valid], after.target[valid].as_subclass(torch.Tensor))
        assert (after.image[:, ~inside] == GREY).all(), "a new pixel is not grey"
        # A centre on the border of two pixels may be rounded either way.
        least = 0.95 if accepts(name, "antialias") else 1
        assert (after.image[:, inside] == ids[inside]).float().mean() >= least
        moved += not same(after, before)
    assert moved


@pytest.mark.parametrize("name", INTERPOLATING)
def test_an_interpolated_image_stays_with_its_labels(name):
    """On a ramp of one per pixel in either direction, a shift by a pixel shows as a difference of one or two."""
    ramp = (torch.arange(60)[:, None] + torch.arange(80)[None, :] + 1).to(torch.uint8)
    before = Sample(tv_tensors.Image(ramp[None].clone()), tv_tensors.Mask(ramp), "x", 0)
    smooth = {"interpolation": "bilinear"} if name not in ("rotate", "scale_crop") else {}
    augment = build_augment(block_of(name, **smooth))
    for seed in SEEDS:
        after = run(augment, before, seed)
        valid = after.target != IGNORE
        assert valid.any()
        # The outermost pixels are mixed with the grey around them.
        inner = -torch.nn.functional.max_pool2d(-valid[None].float(), 3, stride=1, padding=1)[0] > 0
        difference = after.image[0][inner].float() - after.target[inner].as_subclass(torch.Tensor).float()
        assert difference.abs().mean() < 0.75 and difference.mean().abs() < 0.3, seed


@pytest.mark.parametrize("name", sorted(PHOTOMETRIC))
def test_labels_and_weights_stay_where_they_are(name):
    before = sample_of()
    for seed in SEEDS:
        after = run(build_augment(block_of(name)), before, seed)
        assert torch.equal(after.target, before.target) and torch.equal(after.weight, before.weight)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_labels_of_64_bits_and_a_negative_ignore_index(name):
    before = sample_of(dtype=torch.int64)
    before.target[before.target == IGNORE] = -100
    for seed in SEEDS:
        after = run(build_augment(block_of(name), ignore_index=-100), before, seed)
        assert after.target.dtype == torch.int64
        assert set(after.target.unique().tolist()) <= set(before.target.unique().tolist())
        assert (after.target[after.weight == 0] == -100).all()


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric"])
def test_padding_with_the_image_itself_keeps_the_labels(mode):
    after = run(build_augment(block_of("Pad", padding_mode=mode)), sample_of(), 0)
    valid = after.target != IGNORE
    assert after.target.shape == (32, 46)
    assert torch.equal((after.weight[valid] * 3).round().to(torch.uint8), after.target[valid])
    assert (after.image[:, valid] == after.target[valid].as_subclass(torch.Tensor)).all()


def test_fill_is_of_the_image_alone():
    after = run(build_augment(block_of("Pad", fill=[1, 2, 3])), sample_of(), 0)
    assert after.image[:, 0, 0].tolist() == [1, 2, 3]
    assert after.target[0, 0] == IGNORE and after.weight[0, 0] == 0


def test_every_transform_of_torchvision_is_offered_or_refused():
    classes = {
        name
        for name, value in vars(v2).items()
        if isinstance(value, type) and issubclass(value, v2.Transform)
    }
    refused = {name for names in REFUSED for name in names}
    assert set(OFFERED) & refused == set()
    for name in classes:
        if name not in OFFERED:
            with pytest.raises(RefusedName):
                TRANSFORMS.get(name)


def test_a_later_transform_of_torchvision_is_refused_until_somebody_looked(monkeypatch):
    from segkit.data.transforms import torchvision_refused

    monkeypatch.setattr(v2, "Shiny", type("Shiny", (v2.Transform,), {}), raising=False)
    monkeypatch.setattr(TRANSFORMS, "_refused", {})
    torchvision_refused.refuse_all(tuple(OFFERED))
    with pytest.raises(RefusedName) as error:
        TRANSFORMS.get("Shiny")
    assert str(error.value) == (
        "Shiny cannot be a transform: segkit does not know whether it moves image and labels together"
    )


def test_every_parameter_of_torchvision_has_its_place():
    import inspect

    for name in OFFERED:
        if hasattr(v2, name):
            theirs = set(inspect.signature(getattr(v2, name)).parameters)
            ours = {p.name for p in read_parameters(TRANSFORMS.get(name), TRANSFORMS.given)}
            assert theirs - ours == ({"clip"} if name == "GaussianNoise" else set()), name
