"""Weight maps go through torchvision's transforms like targets, and stay weights."""

from dataclasses import replace

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from segkit.data.augments.standard import Standard
from segkit.data.sample import Sample, as_height_width, resize_image, resize_nearest
from segkit.data.transforms.joint import apply_transform
from segkit.data.transforms.scale_crop import ScaleCrop
from segkit.data.transforms.typed import TargetMask, Typed, WeightMap, WeightsBesideMask, as_typed

WEIGHT = torch.arange(1.0, 25.0).reshape(4, 6)


def transformed(transform, seed=0):
    torch.manual_seed(seed)
    sample = {
        "image": tv_tensors.Image(torch.full((3, 4, 6), 9, dtype=torch.uint8)),
        "target": TargetMask(WEIGHT.to(torch.uint8)),
        "weight": WeightMap(WEIGHT),
    }
    return transform(sample)


def test_is_float32_whatever_it_is_made_of():
    weight = WeightMap(torch.tensor([[1, 2]]))
    assert weight.dtype == torch.float32
    assert isinstance(weight, tv_tensors.Mask)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, {tv_tensors.Mask: torch.int64, "others": None}])
def test_dtype_conversion_leaves_weights_alone(dtype):
    weight = transformed(v2.ToDtype(dtype))["weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, WeightMap(WEIGHT))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_dtype_functional(dtype):
    assert v2.functional.to_dtype(WeightMap(WEIGHT), dtype, scale=True).dtype == torch.float32


@pytest.mark.parametrize(
    "transform",
    [
        v2.Pad([2, 1, 0, 3], fill=7),
        v2.Pad(1, fill={tv_tensors.Image: 5, tv_tensors.Mask: 255}),
        v2.RandomRotation((30, 30), fill=255),
        v2.RandomRotation((45, 45), fill=255, expand=True),
        v2.RandomAffine(20, translate=(0.3, 0.3), scale=(0.5, 0.6), shear=10, fill=255),
        v2.RandomPerspective(0.6, p=1.0, fill=255),
        v2.ElasticTransform(2.0, sigma=0.2, fill=255),
        v2.RandomZoomOut(fill=255, p=1.0),
        v2.RandomCrop((6, 8), pad_if_needed=True, fill=255),
    ],
    ids=lambda t: type(t).__name__,
)
def test_new_pixels_weigh_nothing_and_the_others_stay_with_their_labels(transform):
    out = transformed(transform)
    weight, target = out["weight"], out["target"]
    assert type(weight) is WeightMap
    assert weight.dtype == torch.float32
    assert weight.shape == target.shape == out["image"].shape[-2:]
    inside = weight > 0
    assert inside.any() and not inside.all()
    assert torch.equal(weight[inside].to(torch.uint8), target[inside].to(torch.uint8))
    assert set(weight.unique().tolist()) <= {0.0, *WEIGHT.flatten().tolist()}


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomHorizontalFlip(1.0),
        v2.RandomVerticalFlip(1.0),
        v2.CenterCrop((2, 4)),
        v2.RandomCrop((3, 3)),
        v2.Resize((7, 5)),
        v2.RandomResizedCrop((5, 5)),
        v2.ScaleJitter((8, 8)),
    ],
    ids=lambda t: type(t).__name__,
)
def test_moves_like_the_target(transform):
    out = transformed(transform)
    assert type(out["weight"]) is WeightMap
    assert torch.equal(out["weight"].to(torch.uint8), out["target"].to(torch.uint8))


def test_beside_torchvisions_own_mask_it_moves_like_that():
    """As in an augmentation of one's own, also after a transform that does not resize. By the centres of the pixels,
    as beside a TargetMask, each weight would be that of another label."""
    image = torch.full((3, 4, 6), 9, dtype=torch.uint8)
    weight = WEIGHT[:4, :6]
    augment = v2.Compose(
        [v2.Pad(2, fill={tv_tensors.Mask: 255, "others": 0}), v2.Resize((3, 4)), v2.RandomResizedCrop((5, 2))]
    )

    def own(sample):
        return replace(
            sample, **augment({name: getattr(sample, name) for name in ("image", "target", "weight")})
        )

    for seed in range(10):
        torch.manual_seed(seed)
        out = Typed(own)(Sample(image, weight.to(torch.uint8), "a", 0, weight=weight))
        found, labels = out.weight.as_subclass(torch.Tensor), out.target.as_subclass(torch.Tensor)
        assert torch.equal(found == 0, labels == 255)
        assert torch.equal(found[found > 0].to(torch.uint8), labels[labels != 255])
        assert isinstance(out.weight, WeightMap) and type(out.target) is tv_tensors.Mask


def test_photometric_transforms_pass_it_by():
    weight = transformed(v2.ColorJitter(0.5, 0.5, 0.5, 0.5))["weight"]
    assert torch.equal(weight, WeightMap(WEIGHT))


def test_resize_nearest_takes_the_pixel_under_the_new_centre():
    row = torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8)
    assert resize_nearest(row, (1, 8)).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]
    assert resize_nearest(row, (2, 2)).tolist() == [[1, 3], [1, 3]]
    assert resize_nearest(row.to(torch.int64), (1, 3)).tolist() == [[0, 2, 3]]
    assert resize_nearest(row, (1, 8)).dtype == torch.uint8


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(3, 30, 40), (2, 1, 30, 40)])
@pytest.mark.parametrize("size", [(15, 20), (31, 40), (60, 90), (30, 40)])
def test_images_are_resized_as_torchvision_does(dtype, shape, size):
    image = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 255).to(dtype)
    assert torch.equal(
        resize_image(image, size), v2.functional.resize_image(image, list(size), antialias=True)
    )


@pytest.mark.parametrize("capability", ["AVX2", "DEFAULT"])
def test_on_processors_that_do_not_resize_bytes_too(capability, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    image = (torch.rand(3, 30, 40, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    assert torch.equal(
        resize_image(image, (17, 9)), v2.functional.resize_image(image, [17, 9], antialias=True)
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "size", [(3, 1, 8, 1), (8, 1, 3, 1), (5, 4, 9, 1), (7, 3, 2, 1), (1, 1, 1, 5), (9, 1, 1, 1)]
)
def test_an_image_one_pixel_wide_is_resized_too(channels, size):
    image = torch.randint(0, 256, (channels, *size[:2]), dtype=torch.uint8)
    exact = resize_image(image.double(), size[2:])
    assert (resize_image(image, size[2:]) - exact).abs().max() < 0.6


def test_a_window_one_pixel_wide_is_resized_too():
    """With torchvision's types and without them."""
    rows = torch.tensor([10, 200, 60, 250], dtype=torch.uint8)
    image = rows[:, None].expand(3, 4, 5).contiguous()
    sample = Sample(image, torch.zeros(4, 5, dtype=torch.uint8), "x", 0)
    plain = Standard(255, crop_size=[8, 1], scale=[2, 2], brightness=0, contrast=0, saturation=0)
    typed = apply_transform(ScaleCrop(255, crop_size=[8, 1], scale=[2, 2]), sample).image
    exact = resize_image(image[..., :1].double(), (8, 1))
    for changed in (plain(sample).image, typed.as_subclass(torch.Tensor)):
        assert changed.dtype == torch.uint8 and (changed - exact).abs().max() < 0.6


def test_a_sample_gets_torchvisions_types_where_they_are_needed():
    sample = Sample(torch.zeros(3, 2, 2), torch.zeros(2, 2), "a", 0, weight=torch.ones(2, 2))
    typed = as_typed(sample)
    assert [type(value) for value in (typed.image, typed.target, typed.weight)] == [
        tv_tensors.Image,
        tv_tensors.Mask,
        WeightsBesideMask,
    ]
    assert as_typed(Sample(sample.image, sample.target, "a", 0)).weight is None


def test_a_sample_cannot_be_changed():
    sample = Sample(tv_tensors.Image(torch.zeros(3, 2, 2)), tv_tensors.Mask(torch.zeros(2, 2)), "a", 0)
    with pytest.raises(AttributeError):
        sample.name = "b"


def test_sizes():
    assert as_height_width(5) == (5, 5)
    assert as_height_width([2, 3]) == (2, 3)
