"""Tensors that no checkpoint holds."""

import pytest
import torch
from torch import nn

from segkit.errors import ConfigError
from segkit.models.unsaved import refuse_lost_tensors


class Fourier(nn.Module):
    """Random Fourier features of positions, kept as `how` says, beside what is the same each time."""

    def __init__(self, how):
        super().__init__()
        self.scale = torch.tensor([1.0, float("nan")])
        self.register_buffer("index", torch.arange(4), persistent=False)
        self.weighed = nn.utils.weight_norm(nn.Linear(2, 2))
        drawn = torch.randn(4, 2)
        if how == "attribute":
            self.drawn = drawn
        else:
            self.register_buffer("drawn", drawn, persistent=how == "kept")


def refuse(how):
    model = nn.Sequential(Fourier(how))
    state = torch.get_rng_state()
    refuse_lost_tensors(model, lambda: nn.Sequential(Fourier(how)), seed=5)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_what_is_drawn_anew_each_time_is_refused():
    refuse("kept")
    for how in ("attribute", "not kept"):
        with pytest.raises(ConfigError) as caught:
            refuse(how)
        assert str(caught.value).startswith(
            "model: no checkpoint would hold 0.drawn, which are others each time "
        )
        assert str(caught.value).endswith(
            "-> self.register_buffer(name, tensor), or the same numbers each time"
        )


def test_a_model_that_keeps_all_is_not_built_again():
    def build():
        raise AssertionError("built again")

    refuse_lost_tensors(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), build, seed=0)
