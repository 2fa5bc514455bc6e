"""Scores of pixels from logits at the model's stride: against upsampled logits that are held in memory."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.evaluation import upsampled_scores
from segkit.evaluation.upsampled_scores import _Bands, predict_pixels, score_pixels

IGNORE = 255
#: (C, h, w) of the logits and (H, W) of the label: strides, none, odd ones, other aspects, smaller labels, one cell.
SHAPES = [
    *(((3, 4, 6), (16, 24)), ((5, 16, 8), (16, 8)), ((19, 7, 5), (23, 31)), ((2, 3, 4), (7, 4))),
    *(
        ((4, 9, 10), (6, 5)),
        ((3, 1, 1), (5, 6)),
        ((3, 6, 5), (1, 1)),
        ((1, 3, 4), (9, 12)),
        ((300, 3, 3), (8, 9)),
    ),
]


def upsample(logits, size):
    """The definition: (N, C, h, w) as (N, C, H, W) in fp32, a single channel z as [0, z]."""
    logits = logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def make(shape, size, *, images=2, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(images, *shape, generator=generator)
    target = torch.randint(0, max(2, shape[0]), (images, *size), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = IGNORE
    return logits, target


@pytest.fixture(params=[1, 2**12, 2**19], ids=["a row", "a few rows", "all rows"])
def _band(request, monkeypatch):
    monkeypatch.setattr(upsampled_scores, "CPU_BAND", request.param)


@pytest.mark.usefixtures("_band")
@pytest.mark.parametrize(("shape", "size"), SHAPES, ids=str)
def test_equal_to_argmax_and_cross_entropy_of_upsampled_logits(shape, size):
    logits, target = make(shape, size)
    full = upsample(logits, size)
    scores = score_pixels(logits, target, ignore_index=IGNORE)
    assert_predicts(scores.prediction, full)
    expected = F.cross_entropy(full.double(), target, ignore_index=IGNORE, reduction="none").float()
    torch.testing.assert_close(scores.ce, expected, rtol=1e-5, atol=3e-6)
    assert scores.ce.shape == target.shape and scores.ce.dtype == torch.float32
    assert (scores.ce[target == IGNORE] == 0).all()
    assert torch.equal(predict_pixels(logits, size), scores.prediction)


def assert_predicts(prediction, full):
    """The classes of largest logit, except where two are equal to within rounding."""
    chosen = full.gather(1, prediction.long()[:, None])[:, 0]
    assert prediction.shape == chosen.shape
    assert (full.amax(1) - chosen <= 4e-6 * full.abs().amax(1)).all()
    assert (prediction != full.argmax(1)).float().mean() < 0.001


@pytest.mark.usefixtures("_band")
def test_at_the_size_of_the_label_nothing_is_rounded():
    logits, target = make((5, 16, 8), (16, 8))
    logits = logits.round()  # many equal ones
    scores = score_pixels(logits, target, ignore_index=IGNORE)
    assert torch.equal(scores.prediction.long(), logits.max(dim=1).indices)
    equal = torch.zeros(1, 4, 2, 3)
    assert not predict_pixels(equal, (8, 9)).any(), "of equal logits the first class is taken"


@pytest.mark.parametrize("size", [(6, 7), (11, 15)])
def test_a_single_logit_is_one_of_two_classes(size):
    logits, target = make((1, 6, 7), size)
    pair = torch.cat([torch.zeros_like(logits), logits], dim=1)
    one, two = (score_pixels(each, target, ignore_index=IGNORE) for each in (logits, pair))
    assert torch.equal(one.prediction, two.prediction) and torch.equal(one.ce, two.ce)
    assert one.prediction.any() and not one.prediction.all()


@pytest.mark.parametrize("size", [(3, 4), (6, 8)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_computed_in_fp32(size, dtype):
    logits, target = make((3, 3, 4), size)
    logits = logits.to(dtype)
    scores, exact = (score_pixels(each, target, ignore_index=IGNORE) for each in (logits, logits.float()))
    assert torch.equal(scores.ce, exact.ce) and torch.equal(scores.prediction, exact.prediction)


def test_pixel_centres_are_at_one_half_and_borders_are_repeated():
    """The second of two pixels per cell lies a quarter of the way to the next cell, the first at the border."""
    logits = torch.tensor([[[[8.0, 4.0]], [[0.0, 0.0]]]])  # (1, 2, 1, 2)
    band = torch.cat([band.clone() for _, _, band in _Bands(logits, (2, 4))])  # (R, C, W)
    assert band[:, 0].tolist() == [[8.0, 7.0, 5.0, 4.0]] * 2


@pytest.mark.usefixtures("_band")
@pytest.mark.parametrize(("shape", "size"), SHAPES, ids=str)
def test_few_kernels_or_few_bytes_give_the_same_bands(shape, size):
    """What a GPU computes, where a kernel per run of rows would cost more than it saves."""
    logits, _ = make(shape, size)
    found = []
    for few_kernels in (False, True):
        bands = _Bands(logits, size)
        bands.few_kernels = few_kernels
        found.append([(image, rows, band.clone(), bands.find_largest(band)) for image, rows, band in bands])
    for (*place, band, largest), (*same_place, same_band, same_largest) in zip(*found, strict=True):
        assert place == same_place and torch.equal(band, same_band)
        assert all(map(torch.equal, largest, same_largest))


def test_logits_that_want_a_gradient_are_scored_without_one():
    logits, target = make((3, 4, 6), (16, 24))
    scores = score_pixels(logits.requires_grad_(), target, ignore_index=IGNORE)
    assert not scores.ce.requires_grad


def test_a_pixel_that_is_nan_has_a_class():
    logits = torch.full((1, 4, 2, 2), torch.nan)
    assert (predict_pixels(logits, (4, 4)) < 4).all()


def test_predictions_take_a_byte_where_they_fit():
    for classes, dtype in ((256, torch.uint8), (257, torch.int64)):
        logits = torch.zeros(1, classes, 2, 2)
        logits[0, -1] = 1.0
        prediction = predict_pixels(logits, (4, 4))
        assert prediction.dtype == dtype and (prediction == classes - 1).all()


@pytest.mark.parametrize("ignore_index", [255, -1, -100, 0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_any_ignore_index_in_any_integer_dtype(ignore_index, dtype):
    logits, target = make((3, 4, 4), (8, 8))
    target[target == IGNORE] = 1
    if ignore_index >= 0 or dtype == torch.int64:
        target[:, 2:4] = ignore_index
    expected = F.cross_entropy(upsample(logits, (8, 8)), target, ignore_index=ignore_index, reduction="none")
    ce = score_pixels(logits, target.to(dtype), ignore_index=ignore_index).ce
    torch.testing.assert_close(ce, expected)
    assert (ce[target == ignore_index] == 0).all()


@pytest.mark.parametrize("size", [(6, 8), (12, 16)])
def test_what_is_not_finite_shows_at_valid_pixels_and_never_at_ignored_ones(size):
    logits, target = make((3, 6, 8), size)
    logits[0, 1, 0, 0], logits[1, 0, 5, 7], logits[1, 2] = torch.nan, torch.inf, -torch.inf
    target[:, 0], target[:, -1] = 1, 1
    target[:, 0, 1] = IGNORE
    ce = score_pixels(logits, target, ignore_index=IGNORE).ce
    assert ce[0, 0, 0].isnan() and ce[0, 0, 1] == 0
    assert not ce[1, -1, -1].isfinite()
    assert (ce[target == IGNORE] == 0).all() and ce[0, -1].isfinite().all()
    assert (predict_pixels(logits, size)[1, 2:-2, 2:-2] != 2).all(), "a class at -inf is never predicted"


def test_very_different_logits_give_the_exact_difference():
    logits = torch.tensor([200.0, 0.0, -1e6]).reshape(1, 3, 1, 1)
    for label, expected in ((0, 0.0), (1, 200.0), (2, 1000200.0)):
        assert score_pixels(logits, torch.full((1, 2, 2), label), ignore_index=IGNORE).ce[0, 0, 0] == expected


def test_a_label_that_is_no_class_is_an_error():
    logits, target = make((3, 4, 4), (8, 8))
    target[0, 0, 0] = 3
    with pytest.raises(RuntimeError, match="out of bounds"):
        score_pixels(logits, target, ignore_index=IGNORE)


def test_inputs_are_left_alone():
    for size in ((4, 4), (8, 8)):
        logits, target = make((3, 4, 4), size)
        copies = logits.clone(), target.clone()
        score_pixels(logits, target, ignore_index=IGNORE)
        assert torch.equal(logits, copies[0]) and torch.equal(target, copies[1])


class LargestResult(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_tensor_is_as_large_as_the_upsampled_logits(monkeypatch):
    monkeypatch.setattr(upsampled_scores, "CPU_BAND", 2**12)
    logits, target = make((19, 8, 8), (64, 64))
    with LargestResult() as largest:
        score_pixels(logits, target, ignore_index=IGNORE)
    assert largest.elements == 19 * 8 * 64  # one image, its rows made wide
    with LargestResult() as largest:
        upsample(logits, (64, 64))
    assert largest.elements == 2 * 19 * 64 * 64, "or the count would show nothing"
