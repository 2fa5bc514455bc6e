"""Forward and backward never make the host wait for the device, and a CUDA graph may capture them.

Tensors on the meta device have no values, so whatever asks for one raises: a number, a branch, an index by a mask, a
shape that depends on the data. What would pass there is looked for: copies between host and device.
"""

from functools import partial

import pytest
import torch

from segkit.losses import All, LinearWarmUp, LossMax, Ohem, TopK, TopShare
from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.losses.scope import count_processes
from segkit.registry import LOSSES, SCHEDULES
from tests.losses.cases import NAMES, build
from tests.on_the_device import OnTheDevice

WARM_UP = LinearWarmUp(0.3, 5, 15)
SELECTIONS = {
    "all": All(),
    "top_k": TopK(9),
    "top_share": TopShare(0.3),
    "top_share in its warm-up": TopShare(WARM_UP),
    "ohem": Ohem(0.7, "1/16"),
    "ohem with a count": Ohem(0.7, 9),
    "loss_max": LossMax(1.7, 0.3),
}


def make_inputs(channels=3, size=(4, 4), soft=False):
    """Logits, labels and a weight map without values."""
    logits = torch.empty(2, channels, *size, device="meta", requires_grad=True)
    target = torch.empty(2, 8, 8, dtype=torch.uint8, device="meta")
    if soft:
        target = torch.empty(2, channels, 8, 8, device="meta")
    return logits, target, torch.empty(2, 8, 8, device="meta")


#: Before, in and after what moves here; for what does not, one is as good as three.
MOVES = (0, 10, 100)


def assert_nothing_waits(loss, inputs, iterations=(10,)):
    logits, target, weight = inputs
    for iteration in iterations:
        for given in (weight, None):
            if given is None and loss.needs_weight:
                continue
            with OnTheDevice():
                value, report = loss(logits, target, given, iteration=iteration)
                value.backward()
                if hasattr(loss, "pixels"):
                    loss.pixels(logits, target, given, iteration=iteration)
            assert value.is_meta and value.shape == () and logits.grad.shape == logits.shape
            assert all(isinstance(entry, float) or entry.is_meta for entry in report.values())


@pytest.mark.parametrize("size", [(4, 4), (8, 8)], ids=["from a stride", "full resolution"])
@pytest.mark.parametrize("name", NAMES)
def test_registered_losses(name, size):
    loss = build(name).to("meta")
    loss.needs_weight = getattr(loss, "needs_weight", False)
    moves = name == "bootstrapped_ce"
    assert_nothing_waits(loss, make_inputs(1 if name == "bce" else 3, size), MOVES if moves else (10,))


@pytest.mark.parametrize(
    ("scope", "reduction"), [("batch", "valid"), ("image", "weights"), ("rank", "selected")]
)
@pytest.mark.parametrize("name", SELECTIONS)
def test_every_selection_in_every_scope(name, scope, reduction):
    criterion = {"name": "ce", "class_weights": [1.0, 2.0, 3.0]}
    loss = build(
        "pixel", criterion=criterion, selection=SELECTIONS[name], scope=scope, reduction=reduction
    ).to("meta")
    assert_nothing_waits(loss, make_inputs(), MOVES if "warm-up" in name else (10,))
    assert_nothing_waits(loss, make_inputs(soft=True))


@pytest.mark.parametrize(
    ("name", "option", "way"),
    [
        ("ohem_ce", "thresh", (0.9, 0.5)),
        ("ohem_ce", "n_min", (60, 5)),
        ("focal", "gamma", (2.0, 0.5)),
        ("ce", "label_smoothing", (0.2, 0.1)),
    ],
)
def test_schedules(name, option, way):
    schedule = Schedule("linear", SCHEDULES.get("linear"), *way, 5, 15, whole=option == "n_min")
    loss = Scheduled(partial(LOSSES.get(name), num_classes=3), {option: schedule}).to("meta")
    assert_nothing_waits(loss, make_inputs(), MOVES)


@pytest.mark.parametrize(
    ("wait", "error", "text"),
    [
        (lambda x: x.sum().item(), RuntimeError, "item"),
        (lambda x: x[x > 0], NotImplementedError, "nonzero"),
        (lambda x: x.nonzero(), NotImplementedError, "nonzero"),
        (lambda x: x.byte().flatten().bincount(), NotImplementedError, "bincount"),
        (lambda x: x.unique(), NotImplementedError, "unique"),
        (lambda x: x * torch.tensor([1.0, 2.0]).to("meta"), AssertionError, "a tensor on the host"),
        (lambda x: x + 1 if x.sum() > 0 else x, RuntimeError, "item"),
        (lambda x: x.cpu(), NotImplementedError, "no data"),
    ],
)
def test_the_test_sees_what_waits(wait, error, text):
    with pytest.raises(error, match=text), OnTheDevice():
        wait(torch.empty(2, 2, device="meta"))


@pytest.fixture
def two_processes():
    """As if there were another process: torch's own stand-in, whose collectives do nothing."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("lovasz", "sum")])
def test_registered_losses_among_several_processes(name, two_processes):
    """`lovasz`, which the sum has for a term, is left out: it gathers pixels, and asks how many the others have."""
    loss = build(name).to("meta")
    loss.needs_weight = getattr(loss, "needs_weight", False)
    assert_nothing_waits(loss, make_inputs(1 if name == "bce" else 3), iterations=MOVES)


def test_the_stand_in_for_other_processes_counts(two_processes):
    assert count_processes() == 2
