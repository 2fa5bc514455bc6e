"""Operations are those that torch's own counter finds."""

import pytest
import torch
from torch import nn
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


def test_an_error_of_the_model_is_the_models():
    def compute():
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        count_operations(compute)


def test_the_names_of_what_torch_counts():
    assert [each for each in flop_registry if not COUNTED.search(each.__name__)] == []
