"""What a loss reports by Triton: the sums and the report of the plain way, whatever the pixels are."""

import math

import pytest
import torch

from segkit.losses import CrossEntropy, TopK
from segkit.losses.common.measure import UNIT, measure
from segkit.losses.scope import Batch
from tests.losses.cases import build, make_batch
from tests.losses.triton_cases import DEVICE, INTERPRET, import_kernels

import_kernels()

from segkit.losses.kernels import triton_sums  # noqa: E402
from segkit.losses.kernels.triton_sums import pixel_report, pixel_sums  # noqa: E402


@pytest.fixture(autouse=True)
def _interpret(monkeypatch):
    for name, value in INTERPRET.items():
        monkeypatch.setenv(name, value)


def draw(pixels, *, classes=5, label_dtype=torch.uint8, ignore_index=255, tied=(0.25,), seed=0):
    """ce, share, wrong and target of pixels of which some are ignored, some are kept and some tie."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (pixels,), generator=generator).to(label_dtype)
    target[torch.rand(pixels, generator=generator) < 0.2] = ignore_index
    valid = target != ignore_index
    ce = torch.rand(pixels, generator=generator) * valid
    part = torch.tensor(tied)[torch.randint(0, len(tied), (pixels,), generator=generator)]
    share = torch.where(ce > 0.6, 1.0, torch.where(ce > 0.4, part, 0.0)) * valid
    wrong = (torch.rand(pixels, generator=generator) < 0.5) & valid
    return ce, share, wrong, target


def plain_sums(ce, share, wrong, target, ignore_index, classes):
    """The same in fp64, class by class."""
    valid = target.long() != ignore_index
    units = (share * UNIT).round().double()
    per_class = [units[valid & (target.long() == c)].sum() for c in range(classes)]
    ce, share = ce.double(), share.double()
    sums = torch.stack(
        [torch.tensor(float(ce.numel())), valid.sum(), ce.sum(), share.sum(), share[wrong].sum()]
    )
    smallest = ce.masked_fill(share == 0, math.inf).amin().float()
    return torch.cat([sums.double(), torch.stack(per_class)]), smallest


def assert_equal_to_plain(ce, share, wrong, target, ignore_index=255, classes=5):
    given = (each.to(DEVICE) for each in (ce, share, wrong, target))
    sums, smallest = pixel_sums(*given, ignore_index, classes, UNIT)
    expected, expected_smallest = plain_sums(ce, share, wrong, target, ignore_index, classes)
    assert sums.dtype == torch.float64 and smallest.dtype == torch.float32 and smallest.shape == ()
    whole = [0, 1, *range(triton_sums.HEAD, len(expected))]  # what is counted is exact
    assert torch.equal(sums.cpu()[whole], expected[whole])
    torch.testing.assert_close(sums.cpu(), expected, rtol=1e-6, atol=0, equal_nan=True)
    torch.testing.assert_close(smallest.cpu(), expected_smallest, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("pixels", [1, 37, 1024, 1025, 2500])
def test_sums_of_any_number_of_pixels(pixels):
    assert_equal_to_plain(*draw(pixels))


@pytest.mark.parametrize("programs", [1, 2])
def test_more_pixels_than_programs_take_at_once(programs, monkeypatch):
    monkeypatch.setattr(triton_sums, "PROGRAMS", programs)
    assert_equal_to_plain(*draw(5000))


@pytest.mark.parametrize("tied", [(0.3,), (1 / 3, 0.7, 2**-21), (1e-9,)], ids=str)
def test_shares_of_ties(tied):
    """Equal ones are counted, others are added one by one; halves of a unit are rounded to even."""
    assert_equal_to_plain(*draw(1500, tied=tied))
    assert_equal_to_plain(*draw(300, tied=(0.5 / UNIT, 1.5 / UNIT, 2.5 / UNIT)))


@pytest.mark.parametrize("classes", [1, 2, 32, 33, 150])
def test_any_number_of_classes(classes):
    assert_equal_to_plain(*draw(1200, classes=classes), classes=classes)


@pytest.mark.parametrize(
    ("dtype", "ignore_index"), [(torch.int64, -100), (torch.int16, 255), (torch.int8, -1), (torch.int32, 7)]
)
def test_any_labels(dtype, ignore_index):
    assert_equal_to_plain(*draw(400, label_dtype=dtype, ignore_index=ignore_index), ignore_index=ignore_index)


def test_an_ignore_index_beyond_the_labels_ignores_nothing():
    ce, share, wrong, _ = draw(100)
    target = (torch.arange(100) % 5).to(torch.uint8)
    assert_equal_to_plain(ce, share, wrong, target, ignore_index=-1)


def test_nothing_kept_nothing_valid_and_nan():
    ce, share, wrong, target = draw(1100)
    assert_equal_to_plain(ce, torch.zeros_like(share), wrong, target)
    ignored = torch.full_like(target, 255)
    none = torch.zeros_like(ce)
    assert_equal_to_plain(none, none, torch.zeros_like(wrong), ignored)
    for place in (3, 1099):
        broken = torch.where(torch.arange(1100) == place, math.nan, ce)
        assert_equal_to_plain(broken, torch.ones_like(share), wrong, target)
        assert_equal_to_plain(broken, share.index_fill(0, torch.tensor([place]), 0.0), wrong, target)


def test_two_runs_are_bitwise_equal():
    given = [each.to(DEVICE) for each in draw(5000)]
    first, second = (pixel_sums(*given, 255, 5, UNIT) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_a_report_by_hand():
    sums = torch.tensor([10.0, 8.0, 4.0, 2.0, 0.5, 1.0 * UNIT, 0.0, 3.0 * UNIT], dtype=torch.float64)
    report = pixel_report(sums.to(DEVICE), torch.tensor(0.5).to(DEVICE), torch.tensor(2).to(DEVICE))
    expected = torch.tensor([0.5, 0.25, math.exp(-0.5), 0.25, 0.2, 0.25, 0.0, 0.75])
    torch.testing.assert_close(report.cpu(), expected, rtol=1e-6, atol=1e-7)


def test_a_report_of_nothing():
    sums = torch.tensor([10.0, 0, 0, 0, 0, 0, 0], dtype=torch.float64).to(DEVICE)
    report = pixel_report(sums, torch.tensor(math.inf).to(DEVICE), torch.tensor(0).to(DEVICE))
    assert report.tolist() == [0, 0, 0, 0, 1, 0, 0]


OPTIONS = {
    "ce": {},
    "bootstrapped_ce": {"top_p": 0.3, "start_warm": 0, "end_warm": 0},
    "ohem_ce": {"thresh": 0.4, "n_min": 11},
    "weighted_mask_ce": {"normalize": "weights"},
    "focal": {},
}


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5]], ids=["unweighted", "class weights"])
@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_loss_reports_what_the_reference_does(name, scope, class_weights):
    weights = {} if class_weights is None or name == "focal" else {"class_weights": class_weights}
    batch = make_batch(ignored=True, seed=3)
    reports, values, gradients = [], [], []
    for backend in ("reference", "triton"):
        loss = build(name, **OPTIONS[name], **weights, scope=scope, backend=backend).to(DEVICE)
        logits = batch.logits.detach().to(DEVICE).requires_grad_()
        weight = batch.weight.to(DEVICE) if loss.needs_weight else None
        value, report = loss(logits, batch.target.to(DEVICE), weight, iteration=10)
        value.backward()
        reports.append(report)
        values.append(value.detach())
        gradients.append(logits.grad)
    expected, found = reports
    assert expected.keys() == found.keys()
    for key in found:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(values[1], values[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


class WithAnother(Batch):
    """As if another process had half the pixels of this one, and an easier one among them."""

    def total(self, sums):
        return 1.5 * sums

    def smallest(self, value):
        return value / 2


def test_sums_of_several_processes():
    batch = make_batch(ignored=True, seed=5)
    scope, reports = WithAnother(), []
    for backend in ("reference", "triton"):
        criterion = CrossEntropy(3, backend=backend)
        values = criterion(batch.logits.detach().to(DEVICE), batch.target.to(DEVICE))
        selected = TopK(40)(values.ce, values.valid, scope=scope)
        reports.append(measure(values, selected, scope=scope))
    expected, found = reports
    for key in found:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-5, atol=1e-6)
    alone = measure(values, selected)
    assert found["kept_fraction"] < alone["kept_fraction"] and found["threshold"] > alone["threshold"]


def test_more_pixels_than_the_kernel_counts_are_summed_in_the_plain_way(monkeypatch):
    batch = make_batch(ignored=True, seed=5)
    values = CrossEntropy(3, backend="triton")(batch.logits.detach().to(DEVICE), batch.target.to(DEVICE))
    selected = TopK(40)(values.ce, values.valid)
    expected = measure(values, selected)
    monkeypatch.setattr("segkit.losses.common.measure.MOST_PIXELS", values.ce.numel())
    monkeypatch.setattr(triton_sums, "pixel_sums", None)
    for key, found in measure(values, selected).items():
        torch.testing.assert_close(found, expected[key], rtol=1e-5, atol=1e-6)


def test_a_label_that_is_no_class_is_refused_on_a_cpu():
    if DEVICE != "cpu":
        pytest.skip("looking would make the host wait")
    batch = make_batch(seed=3)
    target = batch.target.clone()
    target[0, 0, 0] = 9
    with pytest.raises(ValueError, match="label out of range: the target has ids 9"):
        build("ce", backend="triton")(batch.logits, target, iteration=0)


def test_a_device_whose_sums_are_wrong_is_not_taken(monkeypatch):
    triton_sums.try_known_case(torch.device(DEVICE))
    right = pixel_sums

    def wrong(*given):
        sums, smallest = right(*given)
        sums[6] += 2**20  # a pixel of the second class too many
        return sums, smallest

    monkeypatch.setattr(triton_sums, "pixel_sums", wrong)
    with pytest.raises(RuntimeError, match=r"sums of pixels are .* instead of"):
        triton_sums.try_known_case(torch.device(DEVICE))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.heavy
def test_the_operators_keep_the_promises_of_torch_library():
    given = [each.to(DEVICE) for each in draw(50)]
    torch.library.opcheck(torch.ops.segkit.pixel_sums.default, (*given, 255, 5, UNIT))
    sums, smallest = pixel_sums(*given, 255, 5, UNIT)
    torch.library.opcheck(
        torch.ops.segkit.pixel_report.default, (sums, smallest, torch.tensor(3, device=DEVICE))
    )
