"""segkit's own transforms, and the options of `standard` that are made of them."""

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.data.augments.standard import Standard
from segkit.data.sample import Sample
from segkit.data.transforms.jitter import ColorJitter
from segkit.data.transforms.joint import GREY, apply_transform
from segkit.data.transforms.quarter_turns import QuarterTurn
from segkit.data.transforms.scale_crop import ScaleCrop
from segkit.data.transforms.windows import largest_share
from tests.data.transforms.transform_cases import IGNORE, block_of, build_augment, run, sample_of, tensors_of

SEEDS = range(40)


def lopsided(height=60, width=90):
    """Class 0 everywhere but in a strip of 12 columns of class 1 at the right."""
    target = torch.zeros(height, width, dtype=torch.uint8)
    target[:, -12:] = 1
    return Sample(tv_tensors.Image(target.expand(3, -1, -1).clone()), tv_tensors.Mask(target), "x", 0)


def shares(sample, **options):
    crop = {"crop_size": 24, "scale": [1.0, 1.0], **options}
    results = [run(build_augment({"name": "scale_crop", **crop}), sample, seed) for seed in SEEDS]
    return [largest_share(result.target, (0, 0, 24, 24), IGNORE) for result in results]


def test_a_cap_on_the_share_of_one_class():
    without = shares(lopsided())
    assert max(without) == 1.0 and sum(share > 0.75 for share in without) > 20
    assert max(shares(lopsided(), max_class_share=0.75, tries=1000)) <= 0.75


def test_few_tries_take_the_best_that_was_found():
    few, many = (
        sum(share > 0.75 for share in shares(lopsided(), max_class_share=0.75, tries=n)) for n in (2, 12)
    )
    assert 0 < many < few < 40
    uniform = sample_of()
    uniform.target[:] = 3
    assert shares(uniform, max_class_share=0.5) == [1.0] * len(SEEDS)


def test_the_cap_leaves_the_distribution_of_scales_alone():
    """Only the place is drawn again: a window is not accepted for being large."""
    options = {"crop_size": 24, "scale": [0.5, 2.0]}
    free, capped = ScaleCrop(IGNORE, **options), ScaleCrop(IGNORE, **options, max_class_share=0.6)
    for seed in SEEDS:
        heights = []
        for transform in (free, capped):
            torch.manual_seed(seed)
            sample = lopsided()
            heights.append(transform.make_params([sample.image, sample.target])["window"].place[2])
        assert heights[0] == heights[1]


def test_ignored_pixels_do_not_count_for_the_share():
    ids = torch.tensor([[IGNORE, IGNORE, 0, 1], [IGNORE, IGNORE, 0, 0]], dtype=torch.uint8)
    assert largest_share(ids, (0, 0, 2, 4), IGNORE) == 0.75
    assert largest_share(ids, (0, 0, 2, 2), IGNORE) == 1.0
    assert largest_share(ids.long() - 0, (0, 3, 1, 1), IGNORE) == 1.0


def test_cut_out_ignores_what_it_hides():
    before = sample_of(60, 80)
    covered = []
    for seed in SEEDS:
        after = run(build_augment({"name": "cut_out", "p": 1.0, "area": [0.1, 0.2]}), before, seed)
        cut = after.weight == 0
        assert (after.target[cut] == IGNORE).all() and (after.image[:, cut] == GREY).all()
        rows, columns = cut.any(dim=1).nonzero(), cut.any(dim=0).nonzero()
        assert cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "not a rectangle"
        for old, new in zip(tensors_of(before), tensors_of(after), strict=True):
            assert torch.equal(old[..., ~cut], new[..., ~cut])
        covered.append(cut.float().mean().item())
    assert 0.08 < min(covered) < 0.13 and 0.17 < max(covered) < 0.22


def test_cut_out_happens_with_its_probability():
    counts = [
        run(build_augment(block_of("cut_out", p=0.25)), sample_of(), s).weight.min() == 0 for s in SEEDS
    ]
    assert 3 <= sum(counts) <= 18


def test_rotation_turns_image_and_labels_by_the_same_angle():
    before = sample_of(41, 41)
    after = run(build_augment({"name": "rotate", "degrees": 180.0}), before, 3)
    assert after.target.shape == (41, 41) and after.target[20, 20] == before.target[20, 20]
    assert (after.target == IGNORE).float().mean() > 0.05
    assert run(build_augment({"name": "rotate", "p": 0.0}), before, 3).target.equal(before.target)


def test_photometric_keeps_grey_images_grey():
    grey = sample_of(channels=3)
    for seed in SEEDS:
        after = run(build_augment({"name": "photometric", "hue": 0.0, "p": 1.0}), grey, seed).image
        assert (after.float().std(dim=0) <= 1).all()


def test_photometric_values():
    sample = sample_of()
    sample.image[:] = 100
    fixed = {"contrast": [1.5, 1.5], "saturation": [1.0, 1.0], "brightness": 0.0, "hue": 0.0, "p": 1.0}
    assert (run(build_augment({"name": "photometric", **fixed}), sample, 0).image == 150).all()
    shifted = {**fixed, "contrast": [1.0, 1.0], "brightness": 0.2}
    found = {
        int(run(build_augment({"name": "photometric", **shifted}), sample, s).image[0, 0, 0]) for s in SEEDS
    }
    assert min(found) < 60 and max(found) > 140 and min(found) >= 49 and max(found) <= 151
    assert run(build_augment({"name": "photometric", "p": 0.0}), sample, 0).image.equal(sample.image)


OFF = {"max_class_share": None, "rotate": 0.0, "cut_out": 0.0}


@pytest.mark.parametrize("options", [{}, {"crop_size": [24, 36], "vflip": 0.5, "hue": 0.1}])
@pytest.mark.parametrize("turns", [False, True])
def test_standard_without_its_newer_options_draws_as_before(options, turns):
    """Runs made before they existed can be repeated, bit by bit, and resumed."""
    crop = {key: value for key, value in options.items() if key == "crop_size"}
    before = v2.Compose(
        [
            *([QuarterTurn()] if turns else []),
            ScaleCrop(IGNORE, **crop),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomVerticalFlip(options.get("vflip", 0.0)),
            v2.ColorJitter(0.3, 0.3, 0.3, options.get("hue", 0.0)),
        ]
    )
    now = Standard(IGNORE, **options, **OFF, quarter_turns=turns)
    for seed in range(6):
        old = run(lambda sample: apply_transform(before, sample), sample_of(), seed)
        state = torch.get_rng_state()
        new = run(now, sample_of(), seed)
        assert all(map(torch.equal, tensors_of(old), tensors_of(new)))
        assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("option", [{"max_class_share": 0.02}, {"rotate": 30.0}, {"cut_out": 1.0}])
def test_standard_with_its_newer_options(option):
    changed = 0
    for seed in SEEDS:
        plain = run(Standard(IGNORE, crop_size=20), sample_of(), seed)
        after = run(Standard(IGNORE, crop_size=20, **option), sample_of(), seed)
        assert set(after.target.unique().tolist()) <= {IGNORE, *sample_of().target.unique().tolist()}
        inside = after.target != IGNORE
        ids = (after.weight * 3).round().to(torch.uint8)
        assert torch.equal(
            ids[inside].as_subclass(torch.Tensor), after.target[inside].as_subclass(torch.Tensor)
        )
        changed += not torch.equal(plain.target, after.target)
    assert changed > 5


def test_jitter_is_torchvisions_for_grey_and_colour_and_leaves_the_order_of_other_bands():
    for bands in (1, 3):
        image = tv_tensors.Image(torch.randint(0, 256, (bands, 6, 8), dtype=torch.uint8))
        torch.manual_seed(3)
        expected = v2.ColorJitter(0.3, 0.3, 0.3)(image)
        torch.manual_seed(3)
        assert torch.equal(ColorJitter(0.3, 0.3, 0.3)(image), expected)
    image = tv_tensors.Image(torch.arange(4 * 48).reshape(4, 6, 8).to(torch.uint8))
    torch.manual_seed(3)
    changed = ColorJitter(0.3, 0.3, 0.3)(image)
    assert isinstance(changed, tv_tensors.Image) and changed.dtype == torch.uint8
    assert not torch.equal(changed, image)
    assert (changed.reshape(-1).int().diff() >= 0).all(), "the factors are the same for all bands"


def test_contrast_of_other_bands_is_about_their_mean():
    image = tv_tensors.Image(torch.tensor([100, 200], dtype=torch.uint8).reshape(2, 1, 1))
    assert ColorJitter(0, (0.5, 0.5), 0)(image).flatten().tolist() == [125, 175]
    assert ColorJitter((0.5, 0.5), 0, 0)(image).flatten().tolist() == [50, 100]
