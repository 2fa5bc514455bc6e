"""The Lovasz extension by compiled loops: equal to that from torch's sort of maps of classes x pixels."""

import pytest
import torch

from segkit.losses import lovasz_loss
from segkit.losses.kernels import choice, lovasz_by_numba
from segkit.losses.kernels.cpu import call
from segkit.losses.kernels.labels import LabelError
from segkit.registry import LOSSES
from tests.losses import region_reference
from tests.losses.cases import make_batch


@pytest.fixture(autouse=True)
def needs_numba():
    pytest.importorskip("numba", reason="numba is not installed: pip install 'segkit[cpu]'")


def compute(monkeypatch, logits, target, weight=None, *, compiled=True, **options):
    """The loss and its gradient, by the loops, or without in fp64."""
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0 if compiled else 2**62)
    assert lovasz_by_numba(logits.detach(), target) == compiled
    logits = (logits.detach() if compiled else logits.detach().double()).requires_grad_()
    weight = weight if compiled or weight is None else weight.double()
    loss = lovasz_loss(logits, target, weight, **options)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def assert_equal(monkeypatch, logits, target, weight=None, **options):
    """The gradient, which equals that from the maps in fp64."""
    loss, gradient = compute(monkeypatch, logits, target, weight, **options)
    expected, expected_gradient = compute(monkeypatch, logits, target, weight, compiled=False, **options)
    assert loss.dtype == torch.float32 and gradient.dtype == logits.dtype
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    digits = {torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[logits.dtype]
    largest = expected_gradient.abs().max()
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=digits, atol=digits * largest)
    return gradient


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("with_map", [False, True], ids=["alone", "weight map"])
@pytest.mark.parametrize("scale", [0.5, 2.0], ids=["unsure", "sure"])
@pytest.mark.parametrize(
    "shape", [(3, 4, 9, 13), (2, 2, 1, 1), (2, 19, 33, 47), (7, 3), (1, 3, 2, 3, 4)], ids=str
)
def test_loss_and_gradient(monkeypatch, shape, scale, with_map, classes):
    batch = make_batch(shape, shape[2:], ignored=True, scale=scale)
    assert_equal(monkeypatch, batch.logits, batch.target, batch.weight if with_map else None, classes=classes)


@pytest.mark.parametrize("with_map", [False, True], ids=["alone", "weight map"])
@pytest.mark.parametrize("kinds", [1, 5, 40])
def test_pixels_that_tie(monkeypatch, kinds, with_map):
    """Of a few kinds of pixels each is there many times, with one label or another."""
    batch = make_batch((2, 5, 23, 31), (23, 31), ignored=True)
    generator = torch.Generator().manual_seed(1)
    of_kind = torch.randn(5, kinds, generator=generator)
    logits = of_kind[:, torch.randint(0, kinds, (2, 23, 31), generator=generator)].transpose(0, 1)
    gradient = assert_equal(monkeypatch, logits, batch.target, batch.weight if with_map else None)
    assert gradient.any()


def test_absent_classes(monkeypatch):
    """`all` asks for them too, where only the largest error has a slope; with a weight map, of what weighs anything."""
    batch = make_batch((2, 6, 9, 13), (9, 13), ignored=True)
    batch.target[(batch.target == 1) | (batch.target == 4)] = 2
    for weight in (None, batch.weight):
        for classes in ("present", "all"):
            assert_equal(monkeypatch, batch.logits, batch.target, weight, classes=classes)
    heaviest = batch.logits[:, 1].detach().flatten().argsort(descending=True)[:40]
    batch.weight.view(-1)[heaviest] = 0.0
    assert_equal(monkeypatch, batch.logits, batch.target, batch.weight, classes="all")
    nowhere = torch.where(batch.target == 3, 0.0, batch.weight)  # a class that is there, and weighs nothing
    for classes in ("present", "all"):
        assert_equal(monkeypatch, batch.logits, batch.target, nowhere, classes=classes)


def test_it_is_the_area_under_1_minus_iou_counted_from_sets(monkeypatch):
    batch = make_batch((1, 3, 4, 6), (4, 6))
    found, _ = compute(monkeypatch, batch.logits, batch.target, batch.weight)
    p = batch.logits.detach().double().softmax(dim=1)[0].flatten(1)
    of_class = [
        region_reference.lovasz(
            p[c].tolist(), (batch.target.flatten() == c).tolist(), batch.weight.flatten().tolist()
        )
        for c in range(3)
    ]
    assert found.item() == pytest.approx(sum(of_class) / 3, rel=1e-6)


@pytest.mark.parametrize("wrong", [0.0, 0.02], ids=["all right", "few wrong"])
def test_many_sure_pixels(monkeypatch, wrong):
    """As late in training: nearly all errors are small, and pixels whose error is none have no slope."""
    batch = make_batch((1, 4, 101, 103), (101, 103), ignored=True)
    there = torch.where(batch.target == 255, 0, batch.target)
    logits = batch.logits.detach() + 14 * torch.nn.functional.one_hot(there, 4).movedim(-1, 1)
    flipped = torch.rand(batch.target.shape, generator=torch.Generator().manual_seed(2)) < wrong
    logits = torch.where(flipped.unsqueeze(1), logits.flip(1), logits)
    assert_equal(monkeypatch, logits, batch.target)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("target_dtype", [torch.uint8, torch.int64], ids=str)
def test_any_layout_and_dtype(monkeypatch, dtype, memory_format, target_dtype):
    for classes, size in ((2, (3, 5)), (5, (9, 13)), (21, (33, 47))):
        batch = make_batch((2, classes, *size), size, dtype=dtype, ignored=True)
        logits = batch.logits.detach().to(memory_format=memory_format)
        gradient = assert_equal(monkeypatch, logits, batch.target.to(target_dtype), batch.weight)
        assert gradient.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("large", [False, True], ids=["in the cache", "past the caches"])
def test_logits_of_another_size_and_large_gradients(large, monkeypatch):
    if large:
        monkeypatch.setattr("segkit.losses.kernels.cpu.lovasz.CACHES", 0)
    for size in ((5, 7), (20, 33)):
        batch = make_batch((2, 3, 5, 7), size, ignored=True)
        assert_equal(monkeypatch, batch.logits, batch.target, batch.weight)


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6], ids=str)
def test_lists_are_sorted_whatever_their_keys_have_in_common(spread):
    """Numbers near each other differ in their lowest bits, which are sorted in another way; so do all but one."""
    from segkit.losses.kernels.cpu.loops.lovasz.sort import BINS, sort_list

    generator = torch.Generator().manual_seed(0)
    for count in (0, 1, 2, 50, 5000):
        errors = 0.3 + spread * torch.rand(count, generator=generator)
        errors[:1] = 1e-7
        keys = 2 * errors.view(torch.int32).long() + torch.randint(0, 2, (count,), generator=generator)
        listed = (keys << 32) | torch.arange(count)
        lists, scratch = torch.stack([listed, torch.zeros_like(listed)]), torch.empty(BINS, dtype=torch.int32)
        largest = int(keys.max()) if count else 0
        in_first = sort_list(
            lists[0].data_ptr(), lists[1].data_ptr(), count, 100, largest, scratch.data_ptr()
        )
        found = lists[0 if in_first else 1]
        assert torch.equal(found >> 32, keys.sort(descending=True).values)
        assert torch.equal((found & (2**32 - 1)).sort().values, torch.arange(count))


def test_nothing_valid_and_nothing_wrong(monkeypatch):
    batch = make_batch((2, 3, 4, 5), (4, 5))
    for classes in ("present", "all"):
        nothing = torch.full_like(batch.target, 255)
        loss, gradient = compute(monkeypatch, batch.logits, nothing, classes=classes)
        assert loss == 0 and not gradient.any()
    right = 200 * torch.nn.functional.one_hot(batch.target, 3).movedim(-1, 1).float()
    loss, gradient = compute(monkeypatch, right, batch.target)
    assert loss == 0 and not gradient.any()


def test_nan_at_a_valid_pixel_reaches_the_loss_and_at_an_ignored_one_does_not(monkeypatch):
    batch = make_batch((1, 3, 4, 5), (4, 5))
    logits = batch.logits.detach().clone()
    logits[0, :, 1, 2] = torch.nan
    loss, gradient = compute(monkeypatch, logits, batch.target)
    assert loss.isnan() and gradient[0, :, 1, 2].isnan().all()
    batch.target[0, 1, 2] = 255
    loss, gradient = compute(monkeypatch, logits, batch.target)
    assert loss.isfinite() and gradient.isfinite().all() and not gradient[0, :, 1, 2].any()


def test_the_same_bits_whatever_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(call, "choose_threads", lambda work: torch.get_num_threads())
    batch = make_batch((2, 7, 40, 41), (40, 41), ignored=True)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(compute(monkeypatch, batch.logits, batch.target, batch.weight))
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0]) and torch.equal(gradient, found[0][1])


def test_a_graph_is_gone_back_twice(monkeypatch):
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)
    batch = make_batch((1, 3, 4, 5), (4, 5))
    loss = lovasz_loss(batch.logits, batch.target)
    first, second = (torch.autograd.grad(loss, batch.logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second) and first.any()


def test_a_second_derivative_is_refused(monkeypatch):
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)
    batch = make_batch((1, 3, 4, 5), (4, 5))
    loss = lovasz_loss(batch.logits, batch.target)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, batch.logits, create_graph=True)


def test_a_label_that_is_no_class_is_an_error(monkeypatch):
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)
    batch = make_batch((1, 3, 4, 5), (4, 5))
    batch.target[0, 2, 3] = 7
    with pytest.raises(LabelError, match=r"the target has ids .*7.* but the logits have 3 classes \(0-2\)"):
        lovasz_loss(batch.logits, batch.target)


def test_soft_labels_and_a_weight_map_that_is_learned_go_another_way(monkeypatch):
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)
    batch = make_batch((1, 3, 4, 5), (4, 5))
    labels = torch.nn.functional.one_hot(batch.target, 3).movedim(-1, 1).float()
    assert not lovasz_by_numba(batch.logits, labels)
    by_ids, by_labels = (lovasz_loss(batch.logits, target) for target in (batch.target, labels))
    torch.testing.assert_close(by_ids, by_labels)
    weight = batch.weight.requires_grad_()
    assert lovasz_loss(batch.logits, batch.target, weight).isfinite()


@pytest.mark.parametrize("with_map", [False, True], ids=["alone", "weight map"])
def test_the_report_is_that_of_the_maps(monkeypatch, with_map):
    batch = make_batch((2, 5, 16, 17), (16, 17), ignored=True)
    loss, weight = LOSSES.get("lovasz")(num_classes=5, ignore_index=255), batch.weight if with_map else None
    monkeypatch.setattr(choice, "WORTH_COMPILING", 0)
    value, report = loss(batch.logits, batch.target, weight, iteration=0)
    monkeypatch.setattr(choice, "WORTH_COMPILING", 2**62)
    expected, expected_report = loss(batch.logits, batch.target, weight, iteration=0)
    torch.testing.assert_close(value, expected)
    assert report.keys() == expected_report.keys()
    for key, each in expected_report.items():
        torch.testing.assert_close(report[key], each, msg=lambda text, key=key: f"{key}: {text}")
