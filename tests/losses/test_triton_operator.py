"""The Triton kernels as operators: torch.compile keeps a full graph; nothing waits for the device; CUDA graphs."""

import warnings

import pytest
import torch

from tests.losses.triton_cases import (
    DEVICE,
    INTERPRET,
    differentiate,
    import_kernels,
    make_inputs,
)

import_kernels()

from segkit.losses.kernels.triton_cross_entropy import triton_cross_entropy  # noqa: E402

needs_cuda = pytest.mark.skipif(DEVICE != "cuda", reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    for name, value in INTERPRET.items():
        monkeypatch.setenv(name, value)


# The warning is opcheck's own.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.heavy
def test_the_operators_keep_the_promises_of_torch_library():
    """Schema, fake tensors, autograd registration and AOT dispatch, also with dynamic shapes."""
    logits, target, grad_ce = make_inputs((2, 3, 2, 3), (4, 6))
    lse = torch.ops.segkit.upsampled_cross_entropy(logits, target, 255)[1]
    forward = torch.ops.segkit.upsampled_cross_entropy.default
    for given in (
        logits,
        logits.clone().requires_grad_(),
        logits.contiguous(memory_format=torch.channels_last).requires_grad_(),
    ):
        torch.library.opcheck(forward, (given, target, 255))
    backward = torch.ops.segkit.upsampled_cross_entropy_backward.default
    torch.library.opcheck(backward, (grad_ce, logits, target, lse, 255))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"] + ["inductor"] * (DEVICE == "cuda"))
def test_compile_keeps_a_full_graph(backend):
    def loss(logits, target, *, ignore_index):
        ce, wrong = triton_cross_entropy(logits * 2, target, ignore_index=ignore_index)
        return ce * 3, wrong

    compiled = torch.compile(loss, backend=backend, fullgraph=True)
    inputs = make_inputs()
    try:
        for found, expected in zip(
            differentiate(compiled, *inputs), differentiate(loss, *inputs), strict=True
        ):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    finally:
        torch.compiler.reset()


def test_two_gradients_of_one_forward():
    """What is saved for the backward is not consumed by it."""
    logits, target, grad_ce = make_inputs((1, 2, 2, 2), (4, 4))
    logits.requires_grad_()
    ce, _ = triton_cross_entropy(logits, target, ignore_index=255)
    first = torch.autograd.grad(ce, logits, grad_ce, retain_graph=True)
    second = torch.autograd.grad(ce, logits, grad_ce)
    assert torch.equal(first[0], second[0])


# ------------------------------------------------------------------------------------------------- on a CUDA device


@needs_cuda
def test_nothing_waits_for_the_device():
    inputs = make_inputs((2, 19, 8, 16), (64, 128), dtype=torch.bfloat16, label_dtype=torch.uint8)
    differentiate(triton_cross_entropy, *inputs)  # compiles, which may wait
    try:
        with warnings.catch_warnings(action="ignore"):  # that it does not notice everything
            torch.cuda.set_sync_debug_mode("error")
        differentiate(triton_cross_entropy, *inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_cuda
def test_a_cuda_graph_replays_with_new_inputs():
    logits, target, grad_ce = make_inputs((2, 19, 8, 16), (64, 128))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        differentiate(triton_cross_entropy, logits, target, grad_ce)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = differentiate(triton_cross_entropy, logits, target, grad_ce)
    others = make_inputs((2, 19, 8, 16), (64, 128), seed=1)
    for given, other in zip((logits, target, grad_ce), others, strict=True):
        given.copy_(other)
    graph.replay()
    for found, expected in zip(captured, differentiate(triton_cross_entropy, *others), strict=True):
        assert torch.equal(found, expected)


@needs_cuda
def test_full_size_runs_are_bitwise_equal():
    inputs = make_inputs((2, 19, 64, 128), (512, 1024), dtype=torch.bfloat16, label_dtype=torch.uint8)
    first = differentiate(triton_cross_entropy, *inputs)
    for _ in range(3):
        for value, other in zip(first, differentiate(triton_cross_entropy, *inputs), strict=True):
            assert torch.equal(value, other)


@needs_cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_current_device_need_not_be_the_tensors():
    inputs = make_inputs()
    expected = differentiate(triton_cross_entropy, *inputs)
    found = differentiate(triton_cross_entropy, *(tensor.to("cuda:1") for tensor in inputs))
    for value, other in zip(found, expected, strict=True):
        assert torch.equal(value.cpu(), other.cpu())
