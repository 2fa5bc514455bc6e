"""One block for every registered transform, and a sample that shows whether a transform kept it together."""

import torch
from torchvision import tv_tensors

from segkit.config.load import config_from_mapping
from segkit.data.sample import Sample
from segkit.data.transforms.typed import WeightMap
from segkit.registry import AUGMENTS

IGNORE = 255
FLIPS = [{"name": "RandomHorizontalFlip"}, {"name": "RandomVerticalFlip"}]

#: Options with which a transform does the most, as far as it needs any.
OPTIONS = {
    "cut_out": {"p": 1.0, "number": 3},
    "rotate": {"degrees": 60.0},
    "scale_crop": {"max_class_share": 0.3},
    "Compose": {"transforms": FLIPS},
    "RandomApply": {"transforms": FLIPS},
    "RandomChoice": {"transforms": FLIPS, "p": [1, 2]},
    "RandomOrder": {"transforms": [{"name": "RandomRotation", "degrees": 30}, *FLIPS]},
    "CenterCrop": {"size": [50, 20]},
    "ElasticTransform": {"alpha": 80, "sigma": 3},
    "Pad": {"padding": [3, 1]},
    "RandomAffine": {"degrees": 40, "translate": [0.2, 0.3], "scale": [0.5, 1.5], "shear": 20},
    "RandomCrop": {"size": [36, 30], "padding": 4, "pad_if_needed": True},
    "RandomPerspective": {"p": 1.0},
    "RandomResize": {"min_size": 20, "max_size": 60},
    "RandomResizedCrop": {"size": [25, 35]},
    "RandomRotation": {"degrees": [-90, 90], "expand": True},
    "RandomShortestSize": {"min_size": [20, 33, 50], "max_size": 60},
    "RandomZoomOut": {"p": 1.0},
    "Resize": {"size": [45, 26]},
    "ScaleJitter": {"target_size": [40, 40], "scale_range": [0.5, 1.5]},
    "ColorJitter": {"brightness": 0.3, "contrast": [0.7, 1.3]},
    "GaussianBlur": {"kernel_size": 3},
    "JPEG": {"quality": [20, 60]},
    "RandomAdjustSharpness": {"sharpness_factor": 2},
    "RandomGrayscale": {"p": 0.5},
    "RandomPosterize": {"bits": 3},
    "RandomSolarize": {"threshold": 50},
}


def block_of(name, **options):
    return {"name": name, **OPTIONS.get(name, {}), **options}


def build_augment(*blocks, ignore_index=IGNORE):
    """The `compose` augmentation of these blocks, by way of the configuration."""
    mapping = {"augment": {"name": "compose", "transforms": list(blocks)}}
    return build_of(mapping, ignore_index=ignore_index)


def build_of(mapping, *, ignore_index=IGNORE):
    from segkit.training.build_component import build_component

    config = config_from_mapping(
        {"loss": {"name": "ce"}, "train": {"iterations": 9}, **mapping}, origin="test"
    )
    return build_component(AUGMENTS, config.augment, "augment", total=1, ignore_index=ignore_index)


def sample_of(height=30, width=40, *, channels=3, weight=True, dtype=torch.uint8):
    """A sample whose image, target and weight hold the same number in a pixel: one of 1 ... 100, in blocks of three
    by three pixels, with an ignored strip. The weights are a third of it, which float32 can only round."""
    rows, columns = torch.arange(height)[:, None] // 3, torch.arange(width)[None, :] // 3
    ids = (rows * 7 + columns * 11) % 100 + 1
    image, target = ids.to(torch.uint8).expand(channels, -1, -1).clone(), ids.to(dtype)
    target[:, :2] = IGNORE
    weights = WeightMap(ids / 3) if weight else None
    return Sample(tv_tensors.Image(image), tv_tensors.Mask(target), "x", 0, weight=weights)


def run(augment, sample, seed):
    torch.manual_seed(seed)
    return augment(sample)


def tensors_of(sample):
    return [value for value in (sample.image, sample.target, sample.weight) if value is not None]
