"""`augment: {name: compose}`: the order of its transforms, and what it says when one of them fails."""

from dataclasses import replace

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.data.augments.compose import ComposeAugment
from segkit.data.sample import Sample
from segkit.errors import ConfigError, DataError
from tests.data.transforms.transform_cases import build_augment, run, sample_of


def refusal(*transforms):
    with pytest.raises(DataError) as caught:
        ComposeAugment(transforms=list(transforms))(sample_of())
    return str(caught.value)


def test_in_the_order_of_the_list():
    pad, crop = {"name": "Pad", "padding": 4}, {"name": "CenterCrop", "size": [20, 20]}
    assert run(build_augment(pad, crop), sample_of(), 0).target.shape == (20, 20)
    assert run(build_augment(crop, pad), sample_of(), 0).target.shape == (28, 28)


def test_the_rest_of_the_sample_stays():
    before = replace(sample_of(), name="a", index=7, file_size=(3, 4))
    after = build_augment({"name": "quarter_turns"})(before)
    assert (after.name, after.index, after.file_size) == ("a", 7, (3, 4))


def test_a_window_larger_than_the_image():
    with pytest.raises(DataError) as caught:
        build_augment({"name": "Identity"}, {"name": "RandomCrop", "size": 64})(sample_of())
    assert str(caught.value) == (
        "augment.transforms[1] (RandomCrop) cannot handle x (40x30, 3 channels): Required crop size (64, 64) is larger "
        "than input image size (30, 40).\n"
        "   -> pad_if_needed: true, or {name: scale_crop, crop_size: ...}, which pads what is missing"
    )


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"name": "RandomResize", "min_size": 9, "max_size": 9}, "min_size=9 must be below max_size=9"),
        (
            {"name": "Resize", "size": 20, "max_size": 10},
            "max_size=10 goes with one number as size, smaller than it, got size=20",
        ),
        (
            {"name": "Resize", "size": [20, 20], "max_size": 30},
            "max_size=30 goes with one number as size, smaller than it, got size=[20, 20]",
        ),
        ({"name": "RandomZoomOut", "side_range": [0.5, 1.0]}, "Invalid side range provided [0.5, 1.0]."),
    ],
)
def test_options_that_do_not_fit_together(block, message):
    with pytest.raises(ConfigError) as caught:
        build_augment({"name": "Identity"}, block)
    assert str(caught.value) == f"augment.transforms[1]: {block['name']}: {message}"


def test_padding_wider_than_the_image_it_mirrors():
    with pytest.raises(DataError) as caught:
        build_augment({"name": "Pad", "padding": 35, "padding_mode": "reflect"})(sample_of(channels=1))
    assert str(caught.value).startswith("augment.transforms[0] (Pad) cannot handle x (40x30, 1 channel): ")


class Own(v2.Transform):
    """A transform of a user that does one thing to one kind of tensor."""

    def __init__(self, kind, change):
        super().__init__()
        self.kind, self.change = kind, change

    def transform(self, inpt, params):
        return self.change(inpt) if type(inpt).__name__ == self.kind else inpt


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("Image", lambda image: image.float(), "makes the image float32 instead of uint8"),
        ("Image", lambda image: image[:1], "makes 1 channels of 3"),
        ("Image", lambda image: image[..., 1:], "brings the image to 39x30 and the labels to 40x30"),
        ("TargetMask", lambda ids: ids.long(), "makes the labels int64 instead of uint8"),
        ("WeightMap", lambda weight: None, "loses the weight map"),
        ("WeightMap", lambda weight: weight + 1, "does not keep the weight map a WeightMap of float32"),
        (
            "WeightMap",
            lambda weight: tv_tensors.wrap(weight[1:], like=weight),
            "brings the labels to 40x30 and the weight map to 40x29",
        ),
    ],
)
def test_a_transform_that_breaks_the_contract(kind, change, problem):
    assert refusal(Own(kind, change)) == (
        f"augment.transforms[0] (Own) {problem}, which an augmentation must not do (x)"
    )


def test_a_bug_in_a_transform_keeps_its_traceback():
    def broken(inpt):
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        ComposeAugment(transforms=[Own("Image", broken)])(sample_of())


def test_an_own_transform_may_use_labels_and_weights_in_one_operation():
    class Louder(v2.Transform):
        def forward(self, values):
            weight = tv_tensors.wrap(values["weight"] * (values["target"] > 5), like=values["weight"])
            return {**values, "weight": weight}

    after = ComposeAugment(transforms=[Louder()])(sample_of())
    assert (after.weight[after.target <= 5] == 0).all() and (after.weight > 0).any()


def test_one_pixel_is_an_image():
    blocks = [{"name": name} for name in ("cut_out", "scale_crop", "rotate", "photometric", "quarter_turns")]
    pixel = Sample(
        tv_tensors.Image(torch.full((3, 1, 1), 9, dtype=torch.uint8)),
        tv_tensors.Mask(torch.ones(1, 1, dtype=torch.uint8)),
        "x",
        0,
    )
    for seed in range(10):
        assert run(build_augment(*blocks), pixel, seed).target.shape == (1, 1)


def test_a_transform_of_colours_on_other_bands_says_so():
    sample = replace(sample_of(), image=tv_tensors.Image(torch.zeros(4, 30, 40, dtype=torch.uint8)))
    with pytest.raises(DataError, match=r"\(ColorJitter\) cannot handle x \(40x30, 4 channels\): .* found 4"):
        ComposeAugment(transforms=[v2.ColorJitter(0.5, 0.5)])(sample)
