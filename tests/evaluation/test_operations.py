"""Operations are those that torch's own counter finds."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from segkit.evaluation.operations import COUNTED, count_operations

IMAGE = torch.zeros(2, 4, 12, 10)


class Product(nn.Module):
    def forward(self, image):
        return image @ image.mT


def theirs(compute):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        compute()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "model",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 6, 3, dilation=2, bias=False),
        nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
        nn.Sequential(
            nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear")
        ),
        nn.Linear(10, 7),
        Product(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_as_torch_counts_them(model):
    model.eval()
    expected = theirs(lambda: model(IMAGE))
    with torch.no_grad():
        for plain in (True, False):
            output, found = count_operations(lambda: model(IMAGE), plain=plain)
            assert found == expected > 0
            assert torch.equal(output, model(IMAGE))


def test_a_branch_counts_as_torch_counts_it():
    weight = torch.ones(10, 3)

    def compute():
        return torch.cond(
            IMAGE.sum() > 0, lambda x: x @ weight, lambda x: x @ weight @ weight.T @ weight, (IMAGE,)
        )

    with torch.no_grad():
        assert count_operations(compute)[1] == theirs(compute) > 0


class Attention(nn.Module):
    def forward(self, tokens):
        return functional.scaled_dot_product_attention(tokens, tokens[..., :9, :], tokens[..., :9, :6])


@pytest.mark.parametrize("plain", [True, False])
def test_attention_is_counted_on_a_cpu_too(plain):
    """Where torch's own counter finds nothing."""
    tokens = torch.zeros(2, 4, 12, 10)  # of 2 images, in 4 heads
    with torch.no_grad():
        found = count_operations(lambda: Attention()(tokens), plain=plain)[1]
    assert found == 2 * 2 * 4 * 12 * 9 * (10 + 6)
    assert found == count_operations(lambda: _by_products(tokens))[1]


def _by_products(tokens):
    return (tokens @ tokens[..., :9, :].mT).softmax(-1) @ tokens[..., :9, :6]


@pytest.mark.parametrize("plain", [True, False])
def test_a_layer_of_a_transformer_counts_what_it_trains_with(plain):
    """In evaluation it is a single operator, which torch counts nothing for."""
    tokens = torch.zeros(2, 12, 16)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    attention = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    of_attention = 2 * 2 * 12 * 16 * 4 * 16 + 2 * 2 * 12 * 12 * 2 * 16
    enabled = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        found = count_operations(lambda: attention(tokens, tokens, tokens)[0], plain=plain)[1]
        whole = count_operations(lambda: layer(tokens), plain=plain)[1]
    assert found == of_attention and whole == of_attention + 2 * 2 * 12 * 16 * 2 * 32
    assert torch.backends.mha.get_fastpath_enabled() == enabled


@pytest.mark.parametrize("plain", [True, False])
def test_a_deformable_convolution_counts_as_a_plain_one(plain):
    deformable = pytest.importorskip("torchvision.ops").DeformConv2d(4, 6, 3, padding=1)
    convolution = nn.Conv2d(4, 6, 3, padding=1)
    with torch.no_grad():
        found = count_operations(lambda: deformable(IMAGE, torch.zeros(2, 18, 12, 10)), plain=plain)[1]
        assert found == count_operations(lambda: convolution(IMAGE))[1] > 0


def test_an_error_of_the_model_is_the_models():
    def compute():
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        count_operations(compute)


def test_the_names_of_what_torch_counts():
    assert [each for each in flop_registry if not COUNTED.search(each.__name__)] == []
