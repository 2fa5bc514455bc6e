"""LightFPN: sizes, options, alignment, initialisation."""

import math

import pytest
import torch
import torch.nn.functional as F

from segkit.errors import ConfigError
from segkit.models.light_fpn import Block, Halve, LightFPN

SMALL = {"width": 4, "stem": 4, "blocks": [1, 1, 1, 1], "decoder": 4}


def random_image(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 31), (40, 1), (32, 64), (61, 66)], ids=str)
def test_logits_lie_at_stride_four(norm, size):
    model = LightFPN(5, 2, **SMALL, norm=norm).train()
    logits = model(random_image(2, 2, *size))
    assert logits.shape == (2, 5, math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_number_of_parameters():
    def block(channels):
        return 2 * (9 * channels**2 + 2 * channels)

    stem = 4 * 3 * 2 + 2 * 2 + 9 * 2 * 2 + 2 * 2
    stages = sum(
        4 * inner * outer + 2 * outer + count * block(outer)
        for inner, outer, count in [(2, 4, 1), (4, 8, 2), (8, 12, 1), (12, 16, 3)]
    )
    context = 16 * 16 + 16
    pyramid = sum(each * 6 + 12 for each in (4, 8, 12, 16)) + 3 * (9 * 6 * 6 + 12)
    model = LightFPN(7, width=4, stem=2, blocks=[1, 2, 1, 3], decoder=6)
    assert sum(p.numel() for p in model.parameters()) == stem + stages + context + pyramid + 6 * 7 + 7


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_first_loss_is_that_of_a_uniform_guess(norm):
    torch.manual_seed(0)
    model = LightFPN(7, norm=norm).train()
    loss = F.cross_entropy(model(random_image(2, 3, 64, 64)), torch.randint(0, 7, (2, 16, 16)))
    assert loss.item() == pytest.approx(math.log(7), abs=0.05)


def test_a_block_adds_to_what_came_in():
    block = Block(4, "none")
    torch.nn.init.zeros_(block.second.weight)
    torch.nn.init.zeros_(block.second.bias)
    x = random_image(2, 4, 8, 8).relu()
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("size", [9, 10])
def test_halving_keeps_pixels_in_the_middle(size):
    # A map that holds the centre of each pixel, averaged two by two, holds the centres of the larger pixels; the last
    # one of an odd size has zeros beyond the image.
    halve = Halve(1, 1, "none")
    torch.nn.init.constant_(halve.conv.weight, 0.25)
    torch.nn.init.zeros_(halve.conv.bias)
    out = halve((torch.arange(size) + 0.5).expand(1, 1, 2, size))[0, 0, 0]
    torch.testing.assert_close(out[:4], 2 * torch.arange(4) + 1.0)
    assert len(out) == 5


def test_every_stage_and_the_image_as_a_whole_reach_the_logits():
    torch.manual_seed(0)
    model = LightFPN(3, **SMALL).train()
    image = random_image(2, 3, 128, 128)
    model(image)[0, 0, 0, 0].backward()
    grads = [stage[0].conv.weight.grad for stage in model.stages] + [model.context.weight.grad]
    assert all(grad.abs().sum() > 0 for grad in grads)


def test_channels_last_is_kept_throughout():
    model = LightFPN(4, **SMALL).to(memory_format=torch.channels_last)
    formats = []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module is not model.context:
            module.register_forward_hook(
                lambda module, inputs, output: formats.append(
                    output.is_contiguous(memory_format=torch.channels_last)
                )
            )
    model(random_image(2, 3, 45, 50).to(memory_format=torch.channels_last))
    assert len(formats) == 2 + 4 + 8 + 4 + 3 + 1 and all(formats)


def test_one_value_per_channel_cannot_be_normalised():
    model = LightFPN(2, **SMALL).train()
    with pytest.raises(ConfigError) as error:
        model(random_image(1, 3, 32, 20))
    assert str(error.value) == (
        "light_fpn with norm: batch cannot train on a single 32x20 image: its stride of 32 leaves one value per "
        "channel, which has no variance\n"
        "  -> train.batch_size: 2 or more, or model.norm: group, or larger images"
    )
    assert model.eval()(random_image(1, 3, 32, 20)).isfinite().all()
    assert LightFPN(2, **SMALL, norm="group").train()(random_image(1, 3, 32, 20)).isfinite().all()
    assert LightFPN(2, **SMALL).train()(random_image(1, 3, 32, 33)).isfinite().all()


@pytest.mark.parametrize("blocks", [[1, 2, 2], [1, 1, 1, 1, 1]])
def test_blocks_are_one_number_per_stage(blocks):
    with pytest.raises(ValueError, match="blocks must be 4 numbers, one per stage"):
        LightFPN(2, blocks=blocks)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("size", [(64, 96), (61, 47)], ids=str)
def test_what_is_overwritten_in_predictions_changes_no_number(norm, size):
    model = LightFPN(5, **SMALL, norm=norm)
    image = random_image(2, 3, *size)
    model(image)  # which gives batch normalisation something to do
    model.eval()
    with torch.no_grad():
        predicted = model(image)
    assert torch.equal(predicted, model(image))  # with gradients nothing is overwritten


def test_the_image_stays_as_it_was():
    model, image = LightFPN(5, **SMALL).eval(), random_image(2, 3, 32, 32)
    before = image.clone()
    with torch.no_grad():
        model(image)
    assert torch.equal(image, before)
