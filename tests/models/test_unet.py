"""U-Net: sizes, options, initialisation."""

import math

import pytest
import torch
import torch.nn.functional as F

from segkit.errors import ConfigError
from segkit.models.unet import UNet, Up


def random_image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 31), (40, 1)], ids=str)
def test_logits_have_the_size_of_the_image(norm, depth, size):
    model = UNet(4, 2, width=2, depth=depth, norm=norm, dropout=0.5).train()
    logits = model(random_image(2, 2, *size))
    assert logits.shape == (2, 4, *size)
    assert logits.isfinite().all()


def test_channels_double_with_depth():
    model = UNet(3, width=6, depth=3)
    assert [up.reduce.in_channels for up in model.ups] == [48, 24, 12]
    assert model.classifier.in_channels == 6


def test_number_of_parameters():
    # Two 3x3 convolutions per stage, 1x1 reductions, two numbers per channel of each normalisation.
    def stage(inner, outer):
        return 9 * inner * outer + 9 * outer * outer + 4 * outer

    expected = stage(3, 8) + stage(8, 16) + stage(16, 32)  # contracting
    expected += 32 * 16 + stage(32, 16) + 16 * 8 + stage(16, 8)  # expanding
    expected += 8 * 5 + 5
    assert sum(p.numel() for p in UNet(5, width=8, depth=2).parameters()) == expected


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_first_loss_is_that_of_a_uniform_guess(norm):
    torch.manual_seed(0)
    model = UNet(7, width=8, norm=norm).train()
    loss = F.cross_entropy(model(random_image(2, 3, 32, 32)), torch.randint(0, 7, (2, 32, 32)))
    assert loss.item() == pytest.approx(math.log(7), abs=0.05)


def test_kaiming_initialisation():
    torch.manual_seed(0)
    model = UNet(4, width=16, depth=3)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module is not model.classifier:
            fan_in = module.in_channels * module.kernel_size[0] ** 2
            gain = 2.0 if module.kernel_size == (3, 3) else 1.0
            expected = pytest.approx(math.sqrt(gain / fan_in), rel=0.12)  # 432 weights in the smallest
            assert module.weight.std().item() == expected, name


@pytest.mark.parametrize("norm", ["group", "none"])
def test_an_image_is_scored_alike_alone_and_in_a_batch_while_training(norm):
    torch.manual_seed(0)
    model = UNet(3, width=8, depth=2, norm=norm).train()
    image = random_image(3, 3, 16, 16)
    torch.testing.assert_close(model(image)[1:2], model(image[1:2]), rtol=1e-4, atol=1e-6)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model = UNet(3, width=4, depth=2, norm="none", dropout=0.5)
    image = random_image(2, 3, 16, 16)
    assert not torch.equal(model.train()(image), model(image))
    assert torch.equal(model.eval()(image), model(image))


@pytest.mark.parametrize("size", [9, 10])
def test_upsampling_stays_aligned(size):
    # Pixel k of the lower map lies over pixels 2k and 2k+1, whether or not the image ends between them: a map
    # that holds the centre of each of its pixels comes out as the centres of the finer pixels, but for the edge.
    up = Up(2, "none")
    torch.nn.init.ones_(up.reduce.weight)
    seen = []
    up.conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0, 1, 0]))
    centres = 2.0 * torch.arange(5) + 1.0
    up((centres / 2).expand(1, 2, 5, 5), torch.zeros(1, 1, size, size))
    expected = torch.arange(size) + 0.5
    torch.testing.assert_close(seen[0][1:9], expected[1:9])


def test_channels_last_is_kept_throughout():
    model = UNet(4, width=4, depth=2).to(memory_format=torch.channels_last)
    formats = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda module, inputs, output: formats.append(
                    output.is_contiguous(memory_format=torch.channels_last)
                )
            )
    model(random_image(2, 3, 13, 18).to(memory_format=torch.channels_last))
    assert len(formats) == 13 and all(formats)


@pytest.mark.parametrize(("size", "depth"), [((1, 1), 1), ((4, 3), 2), ((16, 16), 4)], ids=str)
def test_one_value_per_channel_cannot_be_normalised(size, depth):
    model = UNet(2, width=2, depth=depth).train()
    with pytest.raises(ConfigError) as error:
        model(random_image(1, 3, *size))
    assert str(error.value) == (
        f"unet with norm: batch cannot train on a single {size[0]}x{size[1]} image: its {depth} downsamplings leave "
        f"one value per channel, which has no variance\n"
        f"  -> train.batch_size: 2 or more, or model.norm: group, or a smaller model.depth"
    )
    assert model.eval()(random_image(1, 3, *size)).isfinite().all()
    assert UNet(2, width=2, depth=depth, norm="group").train()(random_image(1, 3, *size)).isfinite().all()


def test_one_pixel_more_can_be_normalised():
    assert UNet(2, width=2, depth=2).train()(random_image(1, 3, 4, 5)).isfinite().all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"norm": "layer"}, "norm must be batch, group or none, got 'layer'"),
        ({"width": 0}, "width and depth must be at least 1, got 0 and 4"),
        ({"depth": 0}, "width and depth must be at least 1, got 32 and 0"),
    ],
)
def test_wrong_options_are_refused(params, message):
    with pytest.raises(ValueError) as error:
        UNet(2, **params)
    assert str(error.value) == message
