"""An update of several micro-batches: that it is the one on their whole batch, and what is logged of it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.losses.sum import SumLoss, Term
from segkit.registry import LOSSES
from segkit.training.micro_batches import join_values
from tests.training.test_trainer import PLAN, Loss, batch, make_trainer

LOSSES_OF = {
    "ce": lambda: build("ce"),
    "class weights": lambda: build("ce", class_weights=[0.2, 1.0, 5.0]),
    "each image": lambda: build("ce", scope="image"),
    "dice": lambda: build("dice"),
    "sum": lambda: SumLoss([Term("ce", build("ce")), Term("focal", build("focal"), 0.5)], 3),
    "sum with a schedule": lambda: Scheduled(
        lambda weight: SumLoss([Term("ce", build("ce")), Term("poly", build("poly_ce"), weight)], 3),
        {"weight": Schedule("linear", lambda p: 1 - p, before=0.0, after=1.0, start=0, end=4)},
    ),
}


def build(name, **options):
    return LOSSES.get(name)(num_classes=3, **options)


class Heads(nn.Module):
    """Two heads without anything between pixels or images, in float64."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head, self.aux = nn.Conv2d(3, 3, 1).double(), nn.Conv2d(3, 3, 1).double()

    def forward(self, image):
        return {"out": self.head(image), "aux": self.aux(image)}


def uneven() -> list[dict]:
    """Micro-batches with all but the first row valid, with three valid pixels, and with none."""
    parts = [batch(1), batch(2), batch(3)]
    parts[1]["target"][:] = 255
    parts[1]["target"][0, 1, :3] = torch.tensor([0, 1, 2], dtype=torch.uint8)
    parts[2]["target"][:] = 255
    return parts


def joined(parts: list[dict]) -> dict:
    return {key: torch.cat([part[key] for part in parts]) for key in ("image", "target")} | {"name": []}


def update(loss, parts: list[dict], iteration: int = 0):
    """The gradients of an update on these micro-batches, and what is logged of it."""
    model = Heads()
    trainer, _, _ = make_trainer(
        replace(PLAN, accumulate=len(parts)),
        model=model,
        loss=loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        learning_rate=lambda iteration: 1.0,
        preprocess=lambda image: image.double() / 255 - 0.5,
    )
    trainer.iteration = iteration
    before = [each.detach().clone() for each in model.parameters()]
    values = trainer.update(parts)
    return [old - new.detach() for old, new in zip(before, model.parameters(), strict=True)], values


@pytest.mark.parametrize("name", [name for name in LOSSES_OF if name != "dice"])
@pytest.mark.parametrize("iteration", [0, 3])
def test_an_update_in_parts_is_that_on_the_whole_batch(name, iteration):
    """In gradients, and in all that is logged but what is decided in each part: what is kept, and how many."""
    loss, parts = LOSSES_OF[name](), uneven()
    expected, values = update(loss, [joined(parts)], iteration)
    found, told = update(loss, parts, iteration)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert found[0].abs().max() > 1e-3
    assert told.keys() == values.keys()
    for key, value in values.items():
        if key.rpartition("/")[2] not in ("k", "threshold"):
            torch.testing.assert_close(
                torch.as_tensor(told[key]).double(), torch.as_tensor(value).double(), msg=key
            )


def test_the_mean_of_region_losses_and_their_ce_leave_out_what_has_no_valid_pixel():
    loss, parts = LOSSES_OF["dice"](), uneven()
    each = [update(loss, [part]) for part in parts[:2]]
    found, told = update(loss, parts)
    mean = [(one + other) / 2 for one, other in zip(each[0][0], each[1][0], strict=True)]
    torch.testing.assert_close(found, mean)
    whole = update(build("ce"), [joined(parts)])[1]
    for name in ("ce", "kept_wrong", "kept_class", "kept_fraction", "ignored_fraction"):
        torch.testing.assert_close(told[name].double(), whole[name].double(), msg=name)


def test_a_loss_of_ones_own_may_count_in_numbers():
    class Counting(Loss):
        def denominator(self, target, weight):
            return (target != 255).sum().item()

    class CountingInTensors(Loss):
        def denominator(self, target, weight):
            return (target != 255).sum()

    parts = uneven()
    torch.testing.assert_close(update(Counting(), parts[:2])[0], update(CountingInTensors(), parts[:2])[0])


def test_what_a_loss_tells_of_kept_pixels_is_a_mean_over_these():
    kept = [
        {"loss": 1.0, "k": torch.tensor(k), "kept_wrong": torch.tensor(w)} for k, w in ((30, 0.5), (10, 0.1))
    ]
    assert float(join_values(kept, [0.5, 0.5], [64, 64])["kept_wrong"]) == pytest.approx(0.4)


def test_what_a_loss_tells_without_counts_is_a_mean_by_shares():
    told = [{"loss": torch.tensor(v), "mine": torch.tensor(v), "fixed": 0.3} for v in (1.0, 5.0)]
    shares = [torch.tensor(0.25), torch.tensor(0.75)]
    found = join_values(told, shares, [64, 64])
    assert (float(found["loss"]), float(found["mine"]), found["fixed"]) == (6.0, 4.0, 0.3)
    equally = join_values(told, [(0.25,), (0.75,)], [64, 64])
    assert float(equally["mine"]) == 3.0


def test_numbers_stay_numbers_whatever_they_are():
    """Processes read their values together, and must have as many tensors each."""
    share = torch.tensor(0.5)
    for values in ((0.3, 0.3), (0.2, 0.4)):
        told = [{"loss": torch.tensor(1.0), "moves": value} for value in values]
        found = join_values(told, [share, share], [64, 64])["moves"]
        assert type(found) is float and found == pytest.approx(0.3)
