"""Batch normalisation that overwrites its input in predictions on a CPU, and nowhere else."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from segkit.models.norms import OverwritingBatchNorm2d, build_norm


def twins(dtype=torch.float32):
    """A layer of ours and torch's, with the same numbers, in evaluation."""
    ours, usual = build_norm("batch", 4), nn.BatchNorm2d(4)
    assert isinstance(ours, OverwritingBatchNorm2d)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    ours.running_mean.normal_()
    ours.running_var.uniform_(0.5, 2)
    usual.load_state_dict(ours.state_dict())
    return ours.eval().to(dtype), usual.eval().to(dtype)


def random_features(*, channels_last=False, dtype=torch.float32):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.randn(2, 4, 5, 6).to(dtype).contiguous(memory_format=layout)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("of_layer", "of_features"),
    [
        (torch.float32, torch.float32),
        (torch.float32, torch.bfloat16),  # under autocast
        (torch.float32, torch.float16),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("without_gradients", [torch.no_grad, torch.inference_mode])
def test_predictions_are_written_over_the_input_and_are_the_usual_ones(
    channels_last, of_layer, of_features, without_gradients
):
    ours, usual = twins(of_layer)
    with without_gradients():
        features = random_features(channels_last=channels_last, dtype=of_features)
        expected = usual(features)
        found = ours(features)
    assert torch.equal(found, expected)
    assert found.stride() == expected.stride() and found.dtype == expected.dtype
    assert found.data_ptr() == features.data_ptr()


def of_training(layer, features):
    with torch.no_grad():
        return layer.train()(features)


def with_gradients(layer, features):
    return layer(features)


def of_a_view(layer, features):
    with torch.no_grad():
        return layer(features[..., 1:])


def counted(layer, features):
    with torch.no_grad(), FlopCounterMode(display=False):
        return layer(features)


def of_several_at_once(layer, features):
    with torch.no_grad():
        return torch.vmap(layer)(features[None])[0]


def in_forward_direction(layer, features):
    with torch.no_grad(), forward_ad.dual_level():
        return forward_ad.unpack_dual(layer(forward_ad.make_dual(features, torch.ones_like(features)))).primal


def exported(layer, features):
    with torch.no_grad():
        return torch.export.export(layer, (features,)).module()(features)


def of_a_kind_of_tensor(layer, features):
    kind = type("Marked", (Tensor,), {})
    with torch.no_grad():
        return layer(features.as_subclass(kind)).as_subclass(Tensor)


# Of torch's own way to derive a normalisation forwards.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize(
    "call",
    [
        of_training,
        with_gradients,
        of_a_view,
        counted,
        of_several_at_once,
        in_forward_direction,
        exported,
        of_a_kind_of_tensor,
    ],
)
def test_elsewhere_the_input_stays(call):
    ours, usual = twins()
    features = random_features()
    before = features.clone()
    found = call(ours, features)
    assert torch.equal(features, before)
    torch.testing.assert_close(found, call(usual, before))


def test_gradients_of_a_layer_that_is_frozen_in_evaluation_mode():
    ours, usual = twins()
    gradients = []
    for layer in (ours, usual):
        features = random_features().zero_().add_(1).requires_grad_()
        (layer(features) * torch.arange(6.0)).sum().backward()
        gradients.append((features.grad, layer.weight.grad, layer.bias.grad))
    for found, expected in zip(*gradients, strict=True):
        assert torch.equal(found, expected)
