"""Contrast changes around a mean that does not depend on how many threads add it up."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.data.sample import Sample
from segkit.data.transforms import colours
from segkit.data.transforms.colours import Jitter, change_contrast, find_mean
from segkit.data.transforms.jitter import ColorJitter
from tests.data.transforms.transform_cases import build_augment, run

SIZE = (500, 731)  # whose sum of greys float32 rounds


def grey_of(seed):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, *SIZE), dtype=torch.uint8, generator=random)


def exact_mean(image):
    return np.float32(int(image.numpy().sum(dtype=np.int64)) / image.numel())


def change(image, mean, factor):
    return image.mul(factor).add(torch.tensor(mean), alpha=1.0 - factor).clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def image_and_factor():
    """An image, and a factor of contrast with which the mean as float32 adds it up makes another image of it."""
    greys = torch.arange(256, dtype=torch.uint8)
    for seed in range(20):
        image = grey_of(seed)
        exact, rounded = exact_mean(image), image.float().mean().numpy()
        for value in range(256) if exact != rounded else ():
            for target in range(1, 255):
                factor = float((target - exact) / (value - exact))
                inside = 0.3 < factor < 1.7
                if inside and not torch.equal(change(greys, exact, factor), change(greys, rounded, factor)):
                    return image, factor
    raise AssertionError("float32 has added up all images without an error")


def test_the_mean_is_exact():
    for seed in range(10):
        image = grey_of(seed)
        assert find_mean(image.float()).item() == exact_mean(image)


def test_threads_never_show():
    image, before = grey_of(0).expand(4, -1, -1), torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            made.append(find_mean(image * 0.7))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(each, made[0]) for each in made)


def test_every_change_of_contrast_takes_it(image_and_factor):
    image, factor = image_and_factor
    expected = change(image, exact_mean(image), factor)
    assert not torch.equal(F.adjust_contrast(image, factor), expected)
    assert torch.equal(change_contrast(image, factor), expected)
    assert torch.equal(ColorJitter(0, (factor, factor), 0)(tv_tensors.Image(image)), expected)
    jitter = Jitter(0.0, 0.1, 0.0)
    jitter.ranges[1] = (factor, factor)
    assert torch.equal(jitter(image), expected)
    sample = Sample(image, torch.zeros(SIZE, dtype=torch.uint8), "x", 0)
    still = {"brightness": [1, 1], "saturation": [1, 1], "hue": [0, 0], "p": 1}
    for block in ({"name": "ColorJitter"}, {"name": "RandomPhotometricDistort", **still}):
        changed = run(build_augment({**block, "contrast": [factor, factor]}), sample, 0)
        assert torch.equal(changed.image.as_subclass(torch.Tensor), expected), block["name"]


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (33, 17), (131, 257)])
@pytest.mark.parametrize("packed", [False, True])
def test_colours_change_a_block_at_a_time_as_torchvision_changes_a_whole_image(
    monkeypatch, bands, size, packed
):
    image = torch.randint(0, 256, (bands, *size), dtype=torch.uint8)
    if packed:
        image = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    monkeypatch.setattr(colours, "BLOCK", 300)
    for seed in range(12):
        torch.manual_seed(seed)
        changed = Jitter(0.9, 0.9, 0.9)(image)
        torch.manual_seed(seed)
        expected = v2.ColorJitter(0.9, 0.9, 0.9)(tv_tensors.Image(image))
        assert torch.equal(changed, expected.as_subclass(torch.Tensor))
        assert changed.dtype == torch.uint8 and changed.is_contiguous()
