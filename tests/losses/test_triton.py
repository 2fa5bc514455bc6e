"""The Triton kernels against plain PyTorch in fp64: value, gradient, edges; on the CPU in Triton's interpreter."""

import pytest
import torch

from tests.losses.triton_cases import (
    DEVICE,
    INTERPRET,
    assert_equal_to_reference,
    differentiate,
    import_kernels,
    make_inputs,
    reference,
)

import_kernels()

from segkit.losses.kernels import triton_cross_entropy as module  # noqa: E402
from segkit.losses.kernels.triton_cross_entropy import is_available, triton_cross_entropy  # noqa: E402

# NumPy's, in the interpreter: numbers that are computed and then selected away.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning")


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    for name, value in INTERPRET.items():
        monkeypatch.setenv(name, value)


#: name: (N, C, h, w) of the logits, (H, W) of the target
GEOMETRIES = {
    "same size": ((2, 3, 5, 7), (5, 7)),
    "stride 4": ((1, 3, 2, 3), (8, 12)),
    "stride 8, several blocks of cells": ((1, 2, 1, 17), (8, 136)),
    "odd stride": ((2, 3, 2, 2), (6, 6)),
    "other ratio": ((1, 3, 3, 5), (7, 13)),
    "taller only": ((1, 3, 3, 4), (7, 4)),
    "downscale": ((1, 3, 8, 6), (5, 2)),
    "down and up": ((1, 3, 6, 2), (2, 7)),
    "far down": ((1, 2, 5, 20), (2, 3)),
    "1x1": ((2, 4, 1, 1), (1, 1)),
    "from 1x1": ((1, 3, 1, 1), (4, 5)),
    "to 1x1": ((1, 3, 3, 4), (1, 1)),
    "more rows than a block": ((1, 2, 1, 2), (40, 8)),
    "rows of logits of several programs": ((1, 2, 17, 2), (20, 4)),
    "more columns than a block": ((1, 2, 1, 2), (2, 400)),
}


@pytest.mark.parametrize(("shape", "size"), GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_geometries(shape, size):
    assert_equal_to_reference(triton_cross_entropy, *make_inputs(shape, size))


@pytest.mark.parametrize("classes", [1, 2, 3, 19, 21])
@pytest.mark.parametrize("size", [(1, 3), (1, 2)], ids=["resized", "same size"])
def test_class_counts(classes, size):
    assert_equal_to_reference(triton_cross_entropy, *make_inputs((1, classes, 1, 2), size))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [(4, 5), (2, 3)], ids=["resized", "same size"])
def test_dtypes_of_logits(dtype, size):
    assert_equal_to_reference(triton_cross_entropy, *make_inputs((1, 3, 2, 3), size, dtype=dtype))


@pytest.mark.parametrize(
    ("label_dtype", "ignore_index"),
    [
        (torch.uint8, 255),
        (torch.int8, -1),
        (torch.int16, 255),
        (torch.int32, -100),
        (torch.int64, -100),
        (torch.uint8, 0),
        (torch.uint8, -100),  # which uint8 cannot hold: then nothing is ignored
    ],
)
def test_dtypes_of_labels(label_dtype, ignore_index):
    ignored = 0.0 if label_dtype == torch.uint8 and ignore_index < 0 else 0.3
    inputs = make_inputs(label_dtype=label_dtype, ignore_index=ignore_index, ignored=ignored)
    assert_equal_to_reference(triton_cross_entropy, *inputs, ignore_index=ignore_index)


@pytest.mark.parametrize("size", [(4, 6), (2, 3)], ids=["resized", "same size"])
def test_all_ignored(size):
    logits, target, grad_ce = make_inputs((2, 3, 2, 3), size, ignored=1.1)
    ce, wrong, gradient = differentiate(triton_cross_entropy, logits, target, grad_ce)
    assert not ce.any()
    assert not wrong.any()
    assert not gradient.any()


def strided(logits):
    """The same values with other strides."""
    wide = torch.zeros(*logits.shape[:3], 2 * logits.shape[3], dtype=logits.dtype, device=logits.device)
    wide[..., ::2] = logits
    more = torch.cat([logits, logits], dim=1)
    return {
        "channels_last": logits.contiguous(memory_format=torch.channels_last),
        "every other column": wide[..., ::2],
        "part of the classes": more[:, : logits.shape[1]],
        "transposed": logits.transpose(2, 3).contiguous().transpose(2, 3),
        "expanded": logits[:1].expand(2, -1, -1, -1),
    }


@pytest.mark.parametrize(
    "name", ["channels_last", "every other column", "part of the classes", "transposed", "expanded"]
)
@pytest.mark.parametrize("size", [(3, 4), (2, 3)], ids=["resized", "same size"])
def test_strides(name, size):
    logits, target, grad_ce = make_inputs((2, 3, 2, 3), size)
    assert_equal_to_reference(triton_cross_entropy, strided(logits)[name], target, grad_ce)


def test_the_gradient_keeps_channels_last():
    logits, target, grad_ce = make_inputs((1, 3, 2, 2), (3, 3))
    logits = logits.contiguous(memory_format=torch.channels_last)
    *_, gradient = differentiate(triton_cross_entropy, logits, target, grad_ce)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_strides_of_labels_and_of_the_incoming_gradient():
    logits, target, grad_ce = make_inputs((1, 3, 2, 3), (4, 4))
    assert_equal_to_reference(triton_cross_entropy, logits, target.mT, grad_ce.mT)
    expanded = torch.ones((), device=DEVICE).expand(target.shape)
    assert_equal_to_reference(triton_cross_entropy, logits, target, expanded)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("size", [(4, 6), (2, 3)], ids=["resized", "same size"])
def test_bad_logits_of_ignored_pixels_change_nothing(bad, size):
    logits, target, grad_ce = make_inputs((1, 3, 2, 3), size, ignored=0.0)
    target[:, :, size[1] // 3 :] = 255
    expected = differentiate(triton_cross_entropy, logits, target, grad_ce)
    logits[..., 2] = bad  # read only by ignored pixels
    found = differentiate(triton_cross_entropy, logits, target, grad_ce)
    for value, other in zip(found, expected, strict=True):
        assert torch.equal(value, other)
    assert not found[2][..., 2].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("size", [(4, 6), (2, 3)], ids=["resized", "same size"])
def test_a_bad_logit_of_a_valid_pixel_is_seen(bad, size):
    logits, target, grad_ce = make_inputs((1, 3, 2, 3), size, ignored=0.2)
    logits[0, 1, 0, 0] = bad
    ce, wrong, gradient = differentiate(triton_cross_entropy, logits, target, grad_ce)
    expected_ce, _, expected = differentiate(reference, logits, target, grad_ce)
    assert torch.equal(ce.isnan(), expected_ce.isnan())
    assert ce.isnan().any()
    assert not wrong[ce.isnan()].any()
    assert gradient[expected.isnan()].isnan().all()


def test_a_pixel_that_was_not_selected_passes_nothing_on():
    """A NaN where the incoming gradient is 0 gives exactly 0: it is selected away, not multiplied."""
    logits, target, grad_ce = make_inputs(ignored=0.0)
    logits[..., 2] = float("nan")
    grad_ce[..., 3:] = 0.0  # the pixels that read the last column, and more
    *_, gradient = differentiate(triton_cross_entropy, logits, target, grad_ce)
    assert gradient.isfinite().all()
    assert gradient[..., 0].any()
    assert not gradient[..., 2].any()


def test_a_class_that_is_masked_by_minus_infinity():
    """At the logits' own size; a resize makes NaN of it in PyTorch too (0 x inf)."""
    logits, target, grad_ce = make_inputs((1, 11, 2, 3), (2, 3), ignored=0.0)
    target.fill_(9)
    logits[:, :9] = float("-inf")  # all of the first block of classes
    assert_equal_to_reference(triton_cross_entropy, logits, target, grad_ce)
    target.fill_(3)
    ce, wrong = triton_cross_entropy(logits, target, ignore_index=255)
    assert (ce == float("inf")).all()
    assert wrong.all()


@pytest.mark.parametrize("label", [3, -1, 254, 10**12])
def test_a_label_that_is_no_class_gives_nan(label):
    logits, target, grad_ce = make_inputs(ignored=0.0)
    target[0, 0, 0] = label
    ce, wrong, gradient = differentiate(triton_cross_entropy, logits, target, grad_ce)
    assert ce.isnan().nonzero().tolist() == [[0, 0, 0]]
    assert not wrong[0, 0, 0]
    assert gradient.isnan().any()


def test_large_logits_and_ties():
    logits, target, grad_ce = make_inputs()
    assert_equal_to_reference(triton_cross_entropy, 1000 * logits.round(), target, grad_ce)
    ce, wrong = triton_cross_entropy(torch.ones_like(logits), target, ignore_index=255)
    assert not wrong.any(), "another class is not more probable where all are equal"
    torch.testing.assert_close(ce[target != 255].exp(), torch.full_like(ce[target != 255], 3.0))


def test_two_runs_are_bitwise_equal():
    inputs = make_inputs((1, 9, 2, 3), (5, 7), dtype=torch.bfloat16)
    first = differentiate(triton_cross_entropy, *inputs)
    second = differentiate(triton_cross_entropy, *inputs)
    for value, other in zip(first, second, strict=True):
        assert torch.equal(value, other)


@pytest.mark.parametrize("size", [(8, 6), (2, 3)], ids=["resized", "same size"])
def test_pixels_without_gradient(size):
    """Rows of pixels without gradient are skipped; what remains is the same as without skipping."""
    logits, target, grad_ce = make_inputs((2, 3, 2, 3), size)
    grad_ce[0] = 0.0
    grad_ce[1, 1:] = 0.0
    assert_equal_to_reference(triton_cross_entropy, logits, target, grad_ce)
    *_, gradient = differentiate(triton_cross_entropy, logits, target, torch.zeros_like(grad_ce))
    assert not gradient.any()


def test_one_pixel_at_a_time():
    """The gradient of each pixel alone reaches its cells and no other."""
    logits, target, _ = make_inputs((1, 2, 2, 2), (3, 5), ignored=0.0)
    for pixel in range(0, target.numel(), 4):
        grad_ce = torch.zeros(target.numel(), device=DEVICE)
        grad_ce[pixel] = 1.0
        assert_equal_to_reference(triton_cross_entropy, logits, target, grad_ce.view(target.shape))


def test_without_gradient():
    logits, target, _ = make_inputs()
    ce, wrong = triton_cross_entropy(logits, target, ignore_index=255)
    assert not ce.requires_grad
    assert not wrong.requires_grad
    assert wrong.dtype == torch.bool


# ------------------------------------------------------------------------------------------ what cannot be computed


def test_is_available(monkeypatch):
    assert is_available(torch.device(DEVICE)) is None
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert is_available(torch.device("cuda")) is None
    assert is_available(torch.device("cpu")) == "Triton needs a CUDA device, these logits are on cpu"
    monkeypatch.setattr(module, "INSTALLED", False)
    assert is_available(torch.device("cuda")) == "Triton is not installed (pip install triton)"


def test_errors_say_what_to_do(monkeypatch):
    logits, target, _ = make_inputs()

    def refuse(logits, target, text):
        with pytest.raises(ValueError) as error:
            triton_cross_entropy(logits, target, ignore_index=255)
        assert text in str(error.value)

    refuse(
        logits.double(), target, "take fp32, bf16 or fp16 logits (N, C, h, w), got torch.float64 (1, 3, 2, 3)"
    )
    refuse(logits[0], target, "-> backend: reference")
    refuse(logits, target.float(), "take class ids (N, H, W), got torch.float32 (1, 4, 6)")
    refuse(logits, target[0], "got torch.int64 (4, 6) for logits (1, 3, 2, 3) -> backend: reference")
    refuse(logits, target[:0], "take class ids (N, H, W)")
    refuse(logits[:, :0], target, "there is nothing to compute: logits (1, 0, 2, 3), target (1, 4, 6)")
    refuse(logits, target.to("meta"), f"the target is on meta but the logits on {logits.device}")
    tall = torch.empty(1, 1, 1, device=DEVICE, dtype=torch.uint8).expand(1, 2**28, 1)
    refuse(logits, tall, "it takes images up to 23170 x 23170")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    if DEVICE == "cpu":
        refuse(logits, target, "Triton needs a CUDA device, these logits are on cpu -> backend: auto")
