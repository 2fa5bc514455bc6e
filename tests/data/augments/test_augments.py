"""Augmentations move image, target and weight together, and invent no labels."""

import pytest
import torch
from torchvision import tv_tensors

from segkit.data.augments.none import NoAugment
from segkit.data.augments.standard import Standard
from segkit.data.sample import Sample
from segkit.data.transforms.joint import GREY, apply_transforms
from segkit.data.transforms.quarter_turns import QuarterTurn
from segkit.data.transforms.typed import WeightMap
from segkit.registry import AUGMENTS

IGNORE = 255
STILL = {"scale": [1.0, 1.0], "hflip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}


def sample_of(height=30, width=40, channels=3):
    """A sample whose image, target and weight all hold the same number in a pixel: a smooth ramp 1...100."""
    ramp = torch.linspace(1, 100, height * width).reshape(height, width).round()
    return Sample(
        tv_tensors.Image(ramp.to(torch.uint8).expand(channels, -1, -1).clone()),
        tv_tensors.Mask(ramp.to(torch.uint8)),
        "x",
        0,
        weight=WeightMap(ramp),
    )


def augmented(seed=0, sample=None, **options):
    torch.manual_seed(seed)
    return Standard(IGNORE, **options)(sample or sample_of())


@pytest.mark.parametrize("name", AUGMENTS.names())
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_weight", [True, False])
def test_every_augmentation_keeps_types_and_sizes(name, channels, with_weight):
    options = {"standard": {"ignore_index": IGNORE}, "compose": {"transforms": [QuarterTurn()]}}
    augment = AUGMENTS.get(name)(**options.get(name, {}))
    sample = sample_of(channels=channels)
    if not with_weight:
        sample = Sample(sample.image, sample.target, "x", 7)
    out = augment(sample)
    assert type(out.image) is tv_tensors.Image and type(out.target) is tv_tensors.Mask
    assert out.image.dtype == torch.uint8 and out.target.dtype == torch.uint8
    assert out.image.shape == (channels, *out.target.shape)
    assert sorted(out.target.shape) == [30, 40]
    assert (type(out.weight) is WeightMap) == with_weight
    assert (out.name, out.index) == (sample.name, sample.index)


def test_none_changes_nothing():
    sample = sample_of()
    assert NoAugment()(sample) is sample


def test_nothing_asked_for_changes_nothing():
    sample = sample_of()
    out = augmented(sample=sample, **STILL)
    for name in ("image", "target", "weight"):
        assert torch.equal(getattr(out, name), getattr(sample, name))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("crop", [None, 24, [50, 20], [20, 70], 100])
@pytest.mark.parametrize("turns", [False, True])
def test_image_target_and_weight_stay_together(seed, crop, turns):
    sample = sample_of()
    options = {**STILL, "scale": [0.5, 2.0], "hflip": 0.5, "vflip": 0.5, "quarter_turns": turns}
    out = augmented(seed, sample, crop_size=crop, **options)
    if crop is not None or not turns:
        size = (30, 40) if crop is None else (crop, crop) if isinstance(crop, int) else tuple(crop)
        assert tuple(out.target.shape) == size
    inside = out.target != IGNORE
    assert inside.any()
    assert torch.equal(out.weight[inside].to(torch.uint8), out.target[inside])
    assert (out.weight[~inside] == 0).all()
    assert (out.image[:, ~inside] == GREY).all()
    difference = (out.image[0].int() - out.target.int())[inside].abs()
    assert difference.max() <= 6  # one row of the ramp, which interpolation may mix
    assert difference.float().mean() < 2
    assert set(out.target.unique().tolist()) <= {IGNORE, *sample.target.unique().tolist()}


def test_padding_surrounds_and_never_splits_the_image():
    for seed in range(20):
        inside = augmented(seed, **{**STILL, "scale": [0.5, 0.9]}).target != IGNORE
        rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
        box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()
        factor = (box.numel() / inside.numel()) ** 0.5
        assert 0.47 < factor < 0.93


def test_enlarging_leaves_no_padding():
    for seed in range(20):
        out = augmented(seed, **{**STILL, "scale": [1.0, 3.0]}, crop_size=[17, 23])
        assert (out.target != IGNORE).all()


def test_target_keeps_64_bits():
    sample = sample_of()
    wide = Sample(sample.image, tv_tensors.Mask(sample.target.long() + 70000), "x", 0)
    torch.manual_seed(1)
    out = Standard(-100, scale=[0.5, 0.6])(wide)
    assert out.target.dtype == torch.int64
    assert set(out.target.unique().tolist()) <= {-100, *wide.target.unique().tolist()}
    assert (out.target == -100).any()


PLAIN = [
    {},
    {"crop_size": 24},
    {"crop_size": [50, 20], "vflip": 0.5, "max_class_share": 0.3},
    {"scale": [0.5, 0.9], "brightness": 0.0, "contrast": 1.5},
    {"saturation": 0.0, "contrast": 0.0, "hflip": 1.0},
]


@pytest.mark.parametrize("options", PLAIN)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("with_weight", [True, False])
def test_what_needs_no_torchvision_is_what_torchvision_does(options, channels, with_weight):
    random = torch.Generator().manual_seed(channels)
    image = torch.randint(0, 256, (channels, 31, 47), dtype=torch.uint8, generator=random)
    target = torch.randint(0, 5, (31, 47), dtype=torch.uint8, generator=random)
    weight = torch.rand(31, 47, generator=random) if with_weight else None
    sample, augment = Sample(image, target, "x", 0, weight=weight), Standard(IGNORE, **options)
    for seed in range(10):
        results, drawn = [], []
        for change in (augment, lambda sample: apply_transforms(augment.steps, sample)):
            torch.manual_seed(seed)
            results.append(change(sample))
            drawn.append(torch.rand(()))
        ours, theirs = results
        assert torch.equal(*drawn), "not as many random numbers"
        for name in ("image", "target", "weight")[: 2 + with_weight]:
            value, expected = getattr(ours, name), getattr(theirs, name).as_subclass(torch.Tensor)
            assert type(value) is torch.Tensor and value.dtype == expected.dtype
            assert torch.equal(value, expected), name
        assert (ours.weight is None) != with_weight


def test_flips():
    sample = sample_of()
    assert torch.equal(augmented(sample=sample, **{**STILL, "hflip": 1.0}).target, sample.target.flip(1))
    assert torch.equal(augmented(sample=sample, **STILL, vflip=1.0).target, sample.target.flip(0))


def test_quarter_turns_take_all_four():
    sample = sample_of(20, 20)
    found = {
        tuple(augmented(seed, sample, **STILL, quarter_turns=True).target[0, [0, -1]].tolist())
        for seed in range(20)
    }
    turned = {tuple(torch.rot90(sample.target, k)[0, [0, -1]].tolist()) for k in range(4)}
    assert found == turned


def test_photometric_changes_leave_labels_and_weights_alone():
    sample = sample_of()
    options = {**STILL, "brightness": 0.5, "contrast": 0.5, "saturation": 0.5}
    out = augmented(3, sample, **options, hue=0.2)
    assert not torch.equal(out.image, sample.image)
    assert torch.equal(out.target, sample.target)
    assert torch.equal(out.weight, sample.weight)


def test_same_seed_same_result():
    assert torch.equal(augmented(5).image, augmented(5).image)
    assert not torch.equal(augmented(5).image, augmented(6).image)


def test_scale_in_the_wrong_order():
    with pytest.raises(ValueError, match=r"scale must be \[lowest, highest\], got \[2.0, 0.5\]"):
        Standard(IGNORE, scale=[2.0, 0.5])
