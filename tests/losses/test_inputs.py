"""What is accepted, and what is refused with which words."""

import pytest
import torch

from segkit.losses import CrossEntropy, cross_entropy, pixel_cross_entropy, weighted_mask_cross_entropy
from segkit.losses.weighted_mask_ce import choose_normalization
from segkit.registry import LOSSES
from tests.losses.cases import CASES, NAMES, accepts, make_batch


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_integer_dtype_of_the_target(case, dtype):
    batch = make_batch()
    batch.target[0, :2] = 100  # fits int8
    loss = LOSSES.get(case.name)(num_classes=3, ignore_index=100, **case.options)
    expected, _ = loss(batch.logits, batch.target, batch.weight, iteration=case.iteration)
    actual, _ = loss(batch.logits, batch.target.to(dtype), batch.weight, iteration=case.iteration)
    assert actual.item() == expected.item()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_any_memory_layout(case):
    batch = make_batch((2, 3, 6, 7), (6, 7), ignored=True)
    loss = case.loss(3)

    def run(logits, target, weight):
        logits = logits.detach().requires_grad_()
        value, _ = loss(logits, target, weight, iteration=case.iteration)
        return value, torch.autograd.grad(value, logits)[0]

    expected = run(batch.logits, batch.target, batch.weight)
    channels_last = batch.logits.contiguous(memory_format=torch.channels_last)
    padded = torch.full((2, 5, 9, 9), 7.0)
    padded[:, 1:4, 2:8, 1:8] = batch.logits.detach()
    view = padded[:, 1:4, 2:8, 1:8]
    transposed = batch.target.mT.contiguous().mT
    spread = batch.weight.repeat_interleave(2, dim=-1)[..., ::2]
    for logits in (channels_last, view):
        assert not logits.is_contiguous() and not transposed.is_contiguous()
        actual = run(logits, transposed, spread)
        for ours, reference in zip(actual, expected, strict=True):
            torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_any_dtype_of_the_weight_map(dtype):
    batch = make_batch(ignored=True)
    whole = batch.weight.gt(1).to(dtype)
    expected = weighted_mask_cross_entropy(batch.logits, batch.target, whole.float())
    actual = weighted_mask_cross_entropy(batch.logits, batch.target, whole)
    assert actual.dtype == torch.float32 and actual.item() == expected.item()


LOGITS, TARGET = torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 5, dtype=torch.int64)


@pytest.mark.parametrize(
    "logits, target, message",
    [
        (LOGITS.long(), TARGET, "logits must be floating point (N, C, ...), got torch.int64 (2, 3, 4, 5)"),
        (torch.zeros(3), TARGET, "logits must be floating point (N, C, ...), got torch.float32 (3,)"),
        (
            LOGITS,
            TARGET.float(),
            "a floating-point target means soft labels (N, C, ...), but it has shape (2, 4, 5) and the logits "
            "(2, 3, 4, 5); class ids must be integers: target.long()",
        ),
        (
            LOGITS,
            torch.zeros(2, 4, 4, 5),
            "a floating-point target means soft labels (N, C, ...), but it has shape (2, 4, 4, 5) and the logits "
            "(2, 3, 4, 5); class ids must be integers: target.long()",
        ),
        (
            LOGITS,
            TARGET.bool(),
            "target must be integer class ids or floating-point soft labels, got torch.bool",
        ),
        (
            LOGITS,
            TARGET.unsqueeze(1),
            "target has a channel dimension: (2, 1, 4, 5); class ids are (N, ...): target.squeeze(1)",
        ),
        (
            LOGITS,
            TARGET[0],
            "target has shape (4, 5) but logits (2, 3, 4, 5) need class ids of shape (2, ...) with 3 dimensions",
        ),
        (
            LOGITS,
            TARGET[:1],
            "target has shape (1, 4, 5) but logits (2, 3, 4, 5) need class ids of shape (2, ...) with 3 dimensions",
        ),
        (LOGITS, TARGET[:, :0], "nothing to compute: logits (2, 3, 4, 5), target (2, 0, 5)"),
        (
            torch.zeros(2, 3, 7),
            torch.zeros(2, 6, dtype=torch.int64),
            "logits (2, 3, 7) and a target of spatial size (6,) differ: only two spatial dimensions are resized",
        ),
    ],
)
def test_shapes_and_dtypes_that_do_not_fit(logits, target, message):
    with pytest.raises(ValueError) as error:
        pixel_cross_entropy(logits, target)
    assert str(error.value) == message


def test_labels_out_of_range_are_named():
    target = TARGET.clone()
    target[0, 0, 0], target[1, 2, 3], target[1, 0, 0], target[0, 1, 1] = 147, 3, -2, 255
    with pytest.raises(ValueError) as error:
        cross_entropy(LOGITS, target)
    assert str(error.value) == (
        "label out of range: the target has ids -2, 3, 147 but the logits have 3 classes (0-2), ignore_index 255"
    )


def test_a_negative_label_is_out_of_range():
    target = TARGET.clone()
    target[0, 0, 0] = -1
    with pytest.raises(ValueError, match=r"^label out of range: the target has ids -1 but"):
        cross_entropy(LOGITS, target)


def test_logits_of_another_number_of_classes():
    with pytest.raises(ValueError) as error:
        CrossEntropy(5)(LOGITS, TARGET)
    assert str(error.value) == "logits (2, 3, 4, 5) must have 5 classes in dimension 1"


@pytest.mark.parametrize("weight", [torch.ones(2, 1, 4, 5), torch.ones(4, 5), torch.ones(())])
def test_a_weight_map_of_another_shape(weight):
    with pytest.raises(ValueError) as error:
        weighted_mask_cross_entropy(LOGITS, TARGET, weight)
    assert str(error.value) == f"the weight map has shape {tuple(weight.shape)} but the target has (2, 4, 5)"


def test_a_negative_weight_map():
    weight = torch.ones(2, 4, 5)
    weight[0, 0, 0] = -0.5
    with pytest.raises(ValueError) as error:
        weighted_mask_cross_entropy(LOGITS, TARGET, weight)
    assert str(error.value) == "a weight map must be >= 0, got -0.5"


@pytest.mark.parametrize(
    "class_weights, message",
    [
        ("balanced", "class_weights must be a list of 3 numbers, one per class, got 'balanced'"),
        ([1.0, 2.0], "class_weights has 2 values but there are 3 classes"),
        ([1.0, 2.0, -1.0], "class_weights must be finite numbers >= 0, got [1.0, 2.0, -1.0]"),
        ([1.0, 2.0, float("nan")], "class_weights must be finite numbers >= 0, got [1.0, 2.0, nan]"),
    ],
)
@pytest.mark.parametrize("name", [name for name in NAMES if accepts(name, "class_weights") and name != "bce"])
def test_class_weights_that_do_not_fit(name, class_weights, message):
    with pytest.raises(ValueError) as error:
        LOSSES.get(name)(num_classes=3, ignore_index=255, class_weights=class_weights)
    assert str(error.value) == message


def test_class_weights_of_the_function_that_do_not_fit():
    with pytest.raises(ValueError) as error:
        cross_entropy(LOGITS, TARGET, class_weights=torch.ones(2))
    assert str(error.value) == "class_weights has shape (2,) but the logits have 3 classes"


def test_label_smoothing_out_of_range():
    with pytest.raises(ValueError, match=r"^label_smoothing must be in \[0, 1\), got 1.0$"):
        CrossEntropy(3, label_smoothing=1.0)


def test_an_unknown_normalization():
    with pytest.raises(ValueError, match=r"^normalize must be one of pixels, weights, got 'pixel'$"):
        choose_normalization("pixel")
