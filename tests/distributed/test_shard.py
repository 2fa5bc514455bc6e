"""Which parts of a model are gathered by themselves."""

import pytest
import torch
from torch import nn

import segkit.models
from segkit.distributed.shard import find_blocks
from segkit.registry import MODELS

assert segkit.models  # registers them


def count(module):
    return sum(each.numel() for each in module.parameters())


@pytest.mark.parametrize("name", ["unet", "deeplabv3_resnet50", "fcn_resnet101", "lraspp_mobilenet_v3_large"])
def test_a_model_falls_into_blocks(name):
    with torch.device("meta"):
        model = MODELS.get(name)(num_classes=21, in_channels=3)
    blocks = find_blocks(model)
    assert len(blocks) >= 6
    inside = [module for block in blocks for module in block.modules()]
    assert len(set(inside)) == len(inside)  # none lies in another
    assert all(type(block).forward is not nn.Module.forward for block in blocks)
    left = count(model) - sum(map(count, blocks))
    assert 0 < left < 0.3 * count(model)
    assert max(map(count, blocks)) < 0.5 * count(model)


class Chain(nn.Module):
    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)


def test_something_is_always_left_to_the_model_itself():
    small, large = nn.Linear(8, 4), nn.Linear(8, 8)
    assert find_blocks(Chain(small, large)) == [large]


def test_what_shares_parameters_is_left_whole():
    one, other, third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
    assert len(find_blocks(Chain(one, other, third))) == 2
    other.weight = one.weight
    assert find_blocks(Chain(one, other, third)) == []


def test_a_chain_of_small_layers_is_one_block_and_a_list_of_them_is_none():
    many = [nn.Linear(4, 4) for _ in range(60)]
    chain, large = nn.Sequential(*many), nn.Linear(80, 40)
    assert find_blocks(Chain(chain, large)) == [large]  # the smaller of the two is left over
    assert find_blocks(Chain(chain, large, nn.Linear(8, 4))) == [chain, large]
    assert find_blocks(Chain(nn.ModuleList(many), large, nn.Linear(8, 4))) == [large]
