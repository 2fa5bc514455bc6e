"""How an image lies in memory changes no pixel of a batch: files give it pixel by pixel, caches band by band."""

from dataclasses import replace

import pytest
import torch
from torchvision.transforms import v2

from segkit.data.augments.compose import ComposeAugment
from segkit.data.augments.none import NoAugment
from segkit.data.augments.standard import Standard
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.view import TrainView, ValView
from segkit.data.transforms.typed import Typed


class PixelByPixel:
    """Shapes whose images lie in memory as those of files do."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitem__(self, index):
        sample = self.dataset[index]
        packed = sample.image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        return replace(sample, image=packed)

    def __len__(self):
        return len(self.dataset)

    def __getattr__(self, name):
        return getattr(self.dataset, name)


class SeesLayout:
    """Somebody's augmentation and weight map, whose results depend on it."""

    takes_plain_tensors = True

    def augment(self, sample):
        return replace(sample, image=sample.image + sample.image.stride()[0] % 7)

    def weight(self, sample):
        return torch.full(tuple(sample.target.shape), float(sample.image.stride()[0]))


class Derived(Standard):
    """Somebody's own step before those of `standard`."""

    def __call__(self, sample):
        return super().__call__(SeesLayout().augment(sample))


def blurred():
    return ComposeAugment(transforms=[v2.GaussianBlur(5)])


@pytest.fixture(scope="module")
def datasets():
    usual = Shapes("train", size=40, train_size=4)
    packed = PixelByPixel(usual)
    assert not packed[0].image.is_contiguous()
    return usual, packed


AUGMENTS = {
    "standard": lambda: Standard(255, crop_size=24),
    "standard, of the same size": lambda: Standard(255, scale=[1.0, 1.0]),
    "standard, with torchvision": lambda: Standard(255, crop_size=24, rotate=30.0, hue=0.1),
    "compose": blurred,
    "none": NoAugment,
    "one's own, derived": lambda: Derived(255, crop_size=24),
    "one's own": lambda: SeesLayout().augment,
    "one's own, typed": lambda: Typed(SeesLayout().augment),
}


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("weights", [False, True])
def test_training_images_are_the_same(datasets, name, weights):
    maker = SeesLayout().weight if weights else None
    usual, packed = (TrainView(each, weight_map=maker, augment=AUGMENTS[name](), seed=3) for each in datasets)
    for place in ((epoch, index) for epoch in range(3) for index in range(4)):
        one, other = usual[place], packed[place]
        assert one["image"].is_contiguous() and other["image"].is_contiguous()
        for key in ("image", "target", *(["weight"] if weights else [])):
            assert torch.equal(one[key], other[key])


def test_validation_images_are_the_same(datasets):
    usual, packed = (ValView(each, weight_map=SeesLayout().weight) for each in datasets)
    for index in range(4):
        one, other = usual[index], packed[index]
        assert other["image"].is_contiguous() and torch.equal(one["image"], other["image"])
        assert torch.equal(one["weight"], other["weight"])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.uint8])
def test_what_an_augmentation_makes_may_be_of_any_kind_and_layout(kind):
    def augment(sample):
        return replace(sample, image=sample.image.to(kind).transpose(1, 2))

    dataset = Shapes("train", size=40, train_size=1)
    image = TrainView(dataset, weight_map=None, augment=augment, seed=3)[0, 0]["image"]
    assert image.is_contiguous() and image.dtype == kind
    assert torch.equal(image, dataset[0].image.transpose(1, 2).to(kind))
