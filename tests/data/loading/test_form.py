"""What data sets and augmentations of others give: that it is a sample, or one message about it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segkit.data.cache.cached_data import Cached
from segkit.data.cache.place import in_memory
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.view import TrainView, read_sample
from segkit.data.sample import Sample
from segkit.errors import DataError

IMAGE = "\n   -> a sample's image is a tensor, uint8 (C, H, W), of 0 to 255"
TARGET = "\n   -> a sample's target is a tensor of class ids, uint8 or int64 (H, W), of the size of its image"


class Own:
    """Somebody's own data set of one image, which `change` makes something else of."""

    num_classes, ignore_index, channels, class_names = 5, 255, 3, Shapes.class_names

    def __init__(self, change):
        self.change, self.shapes = change, Shapes("val", size=32, val_size=1)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.change(self.shapes[index])


def message(action) -> str:
    with pytest.raises(DataError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: {"image": s.image}, "dict as sample 0, and no Sample"),
        (lambda s: None, "NoneType as sample 0, and no Sample"),
        (lambda s: replace(s, image=s.image / 255), "an image that is float32 (3, 32, 32)" + IMAGE),
        (lambda s: replace(s, image=s.image.numpy()), "an image that is ndarray uint8 (3, 32, 32)" + IMAGE),
        (lambda s: replace(s, image=s.image[0]), "an image that is uint8 (32, 32)" + IMAGE),
        (
            lambda s: replace(s, image=s.image.permute(1, 2, 0)),
            "an image that is uint8 (32, 32, 3)" + IMAGE,
        ),
        (
            lambda s: replace(s, image=s.image[:1]),
            "an image of 1 channels, where its `channels` are 3" + IMAGE,
        ),
        (lambda s: replace(s, target=s.target[1:]), "an image of 32x32 and labels of 32x31" + TARGET),
        (lambda s: replace(s, target=s.target[None]), "labels that are uint8 (1, 32, 32)" + TARGET),
        (lambda s: replace(s, target=s.target.float()), "labels that are float32 (32, 32)" + TARGET),
        (lambda s: replace(s, target=s.target > 0), "labels that are bool (32, 32)" + TARGET),
        (
            lambda s: replace(s, target=np.zeros((32, 32))),
            "labels that are ndarray float64 (32, 32)" + TARGET,
        ),
    ],
)
def test_what_a_data_set_gives_and_is_no_sample(change, text):
    found = message(lambda: read_sample(Own(change), 0, None))
    assert found.startswith("the data set gives ") and text in found


def test_a_cache_keeps_nothing_that_is_no_sample():
    cached = Cached(Own(lambda sample: replace(sample, image=sample.image / 255)), in_memory(), settings={})
    assert "an image that is float32" in message(lambda: cached[0])


def augmented(change):
    view = TrainView(Shapes("train", size=32, train_size=1), weight_map=ones, augment=change, seed=0)
    return view[0, 0]


def ones(sample):
    return torch.ones(sample.target.shape)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: None, "the augmentation makes NoneType of train_00000, and no Sample"),
        (lambda s: replace(s, image=s.image[:, 8:, 8:]), "an image of 24x24 and labels of 32x32" + TARGET),
        (lambda s: replace(s, image=s.image[:1]), "an image of 1 channels, of 3" + IMAGE),
        (
            lambda s: replace(s, image=s.image / s.image.max()),
            "an image of 0 to 1, which is black to the network",
        ),
        (lambda s: replace(s, target=s.target.float()), "labels that are float32 (32, 32)" + TARGET),
        (lambda s: Sample(s.image, s.target, s.name, s.index), "no weight map, and it had one"),
        (lambda s: replace(s, weight=s.weight[1:]), "a weight map that is float32 (31, 32)"),
    ],
)
def test_what_an_augmentation_makes_and_is_no_sample(change, text):
    assert text in message(lambda: augmented(change))


def test_what_an_augmentation_may_make():
    """Soft labels, numbers of another type, a black image."""
    soft = augmented(lambda s: replace(s, target=torch.full((5, 32, 32), 0.2)))
    assert soft["target"].shape == (5, 32, 32)
    for factor in (0.0, 0.5, 1.0):
        assert (
            augmented(lambda s, factor=factor: replace(s, image=s.image * factor))["image"].dtype
            == torch.float32
        )


@pytest.mark.parametrize("made", [None, np.ones((32, 32), np.float32)])
def test_a_weight_map_that_is_no_tensor(made):
    shown = "NoneType" if made is None else "ndarray float32 (32, 32)"
    assert message(lambda: read_sample(Own(lambda sample: sample), 0, lambda sample: made)) == (
        f"the weight map of val_00000 is {shown}, and no tensor\n"
        "   -> a weight map is a tensor, float32 (H, W), of the size of the labels"
    )


def test_a_weight_map_with_a_gradient_is_one():
    def make(sample):
        return torch.ones(sample.target.shape, requires_grad=True)

    assert not read_sample(Own(lambda sample: sample), 0, make).weight.requires_grad
