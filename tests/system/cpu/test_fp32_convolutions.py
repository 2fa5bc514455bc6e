"""Convolutions that leave autocast on a CPU."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from segkit.system.cpu.fp32_convolutions import LIBRARIES, Fp32Conv2d, depthwise_in_fp32


def test_only_depthwise_convolutions_are_changed():
    own = type("Own", (nn.Conv2d,), {})
    model = nn.ModuleDict(
        {
            "depthwise": nn.Conv2d(4, 4, 3, groups=4),
            "multiplied": nn.Conv2d(4, 8, 3, groups=4),
            "grouped": nn.Conv2d(4, 4, 3, groups=2),
            "plain": nn.Conv2d(4, 4, 3),
            "one channel": nn.Conv2d(1, 4, 3),
            "own": own(4, 4, 3, groups=4),
        }
    )
    changed = [name for name, each in depthwise_in_fp32(model).items() if type(each) is Fp32Conv2d]
    assert changed == ["depthwise", "multiplied"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_kinds_of_libraries_that_pad_by_themselves_are_changed_too(library):
    """As all depthwise convolutions of EfficientNet are in smp, and of timm's networks from TensorFlow."""

    def forward(self, image):
        return nn.Conv2d.forward(self, nn.functional.pad(image, (1, 1, 1, 1)))

    kind = type("PaddedConv2d", (nn.Conv2d,), {"forward": forward, "__module__": f"{library}.layers"})
    layers = nn.Sequential(kind(4, 4, 3, groups=4), kind(4, 4, 3))
    model = copy.deepcopy(depthwise_in_fp32(depthwise_in_fp32(copy.deepcopy(layers))))
    assert isinstance(model[0], kind) and type(model[1]) is kind
    image = torch.randn(2, 4, 9, 9)
    with torch.autocast("cpu"):
        hidden = model[0](image)
        assert model[1](hidden).dtype == torch.bfloat16
    assert torch.equal(hidden, layers[0](image))
    assert torch.equal(model(image), layers(image))


def test_names_parameters_and_copies_stay():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"), nn.ReLU())
    before = dict(model.named_parameters())
    image = torch.randn(2, 4, 8, 8)
    expected = model(image)
    depthwise_in_fp32(model)
    assert all(value is before[name] for name, value in model.named_parameters())
    assert torch.equal(model(image), expected)
    twin = copy.deepcopy(model)  # as a moving average of the weights is made
    assert type(twin[0]) is Fp32Conv2d and torch.equal(twin(image), expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_under_autocast_it_computes_in_fp32_and_what_follows_in_bf16(stride):
    layers = nn.Sequential(nn.Conv2d(4, 4, 3, stride=stride, groups=4), nn.Conv2d(4, 4, 1))
    model = depthwise_in_fp32(copy.deepcopy(layers))
    image = torch.randn(2, 4, 9, 9).bfloat16().requires_grad_()
    with torch.autocast("cpu"):
        hidden = model[0](image)
        assert model[1](hidden).dtype == torch.bfloat16
    assert torch.equal(hidden, layers[0](image.float()))
    hidden.sum().backward()
    assert image.grad.dtype == torch.bfloat16
    assert model[0].weight.grad.dtype == torch.float32


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def logits_and_gradients(classifier, image):
    image = image.clone().requires_grad_()
    classifier.zero_grad()
    with torch.autocast("cpu"):
        logits = classifier(image)
    (logits * torch.linspace(0, 1, logits.numel()).view(logits.shape)).sum().backward()
    return [logits.detach(), image.grad, classifier.weight.grad, classifier.bias.grad]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch is without oneDNN")
@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("stride", [1, 2])
def test_logits_on_one_thread_are_computed_as_on_several(monkeypatch, one_thread, batch_size, stride):
    image = torch.randn(batch_size, 8, 9, 11).to(memory_format=torch.channels_last)
    classifier = Fp32Conv2d(8, 5, 1, stride=stride)
    calls, by_onednn = [], torch.mkldnn_convolution
    monkeypatch.setattr(
        torch, "mkldnn_convolution", lambda *arguments: (calls.append(1), by_onednn(*arguments))[1]
    )
    found = logits_and_gradients(classifier, image)
    assert calls == [1] and found[0].is_contiguous(memory_format=torch.channels_last)
    with monkeypatch.context() as patch:
        patch.setattr("segkit.system.cpu.fp32_convolutions._suits_onednn", lambda *arguments: False)
        expected = logits_and_gradients(classifier, image)
    assert calls == [1]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other)


def test_what_is_exported_on_one_thread_is_a_usual_convolution(one_thread):
    image = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last)
    classifier = Fp32Conv2d(8, 5, 1)
    with torch.autocast("cpu"), torch.no_grad():
        program = torch.export.export(nn.Sequential(classifier), (image,))
        called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not any("mkldnn" in name for name in called), called
    assert torch.equal(program.module()(image), classifier(image))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is (deprecated|not supported)")  # torch's, in jvp
def test_transforms_and_counts_on_one_thread_are_of_a_usual_convolution(one_thread):
    """vmap and derivatives in forward direction, of torch.func and without it, and operations per image."""
    images = torch.randn(3, 2, 8, 6, 6)
    images = torch.stack([image.to(memory_format=torch.channels_last) for image in images])
    classifier = Fp32Conv2d(8, 5, 1)
    weight = classifier.weight

    def logits(image):
        with torch.autocast("cpu"):
            return classifier(image)

    by_hand = torch.einsum("oc,nbchw->nbohw", weight[:, :, 0, 0], images)
    torch.testing.assert_close(
        torch.func.vmap(logits)(images), by_hand + classifier.bias[:, None, None], rtol=1e-4, atol=1e-5
    )
    image = images[0].contiguous(memory_format=torch.channels_last)
    assert image.is_contiguous(memory_format=torch.channels_last)
    slope = torch.func.jvp(logits, (image,), (image,))[1]
    torch.testing.assert_close(slope, by_hand[0], rtol=1e-4, atol=1e-5)
    with forward_ad.dual_level():
        slope = forward_ad.unpack_dual(logits(forward_ad.make_dual(image, image))).tangent
    torch.testing.assert_close(slope, by_hand[0], rtol=1e-4, atol=1e-5)
    with FlopCounterMode(display=False) as counter:
        logits(image)
    assert counter.get_total_flops() == 2 * 8 * 5 * image[:, 0].numel()
