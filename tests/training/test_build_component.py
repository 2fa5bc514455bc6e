"""Components in components: what each constructor gets, schedules in iterations, and errors that name the block."""

from dataclasses import replace
from typing import Annotated, Any

import pytest
import torch
from torch import nn
from torchvision import tv_tensors

from segkit.config.load import config_from_mapping
from segkit.config.schema import Component
from segkit.errors import ConfigError
from segkit.losses.common.scheduled import Scheduled
from segkit.losses.sum import SumLoss
from segkit.registry import CRITERIA, DATASETS, LOSSES, SCHEDULES, SELECTIONS
from segkit.training.build import build, build_component
from segkit.training.build_component import number_names
from segkit.types import ComponentOf, ComponentsOf, Duration, PositiveInt, Probability
from tests.losses.cases import make_batch

KNOWN = {"num_classes": 3, "ignore_index": 255, "in_channels": 3}


def component(block):
    """The checked loss block."""
    return config_from_mapping({"loss": block, "train": {"iterations": 9}}, origin="test").loss


def build_loss(block, *, total=100, **known):
    return build_component(LOSSES, component(block), "loss", total=total, **{**KNOWN, **known})


def refusal(block, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        build_loss(block, **options)
    return str(caught.value)


@pytest.fixture
def register(monkeypatch):
    """Register a component for one test."""

    def add(registry, name, constructor):
        registry.names()  # loads what is there
        monkeypatch.setitem(registry._constructors, name, constructor)

    return add


class Kept(nn.Module):
    """A loss that remembers what it was made of."""

    def __init__(self, **arguments):
        super().__init__()
        self.arguments = arguments

    def forward(self, logits, target, weight=None, *, iteration):
        return logits.mean(), {}


@pytest.fixture
def kept(register):
    """A loss with parts, a criterion and a selection of which nothing but their arguments is known."""

    def loss(
        num_classes: int,
        *,
        part: Annotated[Any, ComponentOf("selection")] = None,
        parts: Annotated[list[Any], ComponentsOf("criterion")] = [{"name": "points"}],  # noqa: B006
        k: PositiveInt = 3,
    ):
        return Kept(num_classes=num_classes, part=part, parts=parts, k=k)

    def points(num_classes: int, ignore_index: int = 255, *, gamma: float = 2.0):
        return ("points", num_classes, ignore_index, gamma)

    def some(*, share: Probability = 0.5, since: Duration = "10%"):
        return ("some", share, since)

    register(LOSSES, "kept", loss)
    register(CRITERIA, "points", points)
    register(SELECTIONS, "some", some)


# --- components in components


def test_each_constructor_gets_its_own_and_what_it_accepts_of_the_given(kept):
    loss = build_loss(
        {
            "name": "kept",
            "part": {"name": "some"},
            "parts": [{"name": "points", "gamma": 1}, {"name": "points"}],
        }
    )
    assert loss.arguments == {
        "num_classes": 3,
        "part": ("some", 0.5, 10),
        "parts": [("points", 3, 255, 1.0), ("points", 3, 255, 2.0)],
        "k": 3,
    }


def test_blocks_that_are_left_out(kept):
    arguments = build_loss({"name": "kept"}).arguments
    assert arguments["part"] is None and arguments["parts"] == [("points", 3, 255, 2.0)]


def test_schedules_inside_parts_are_followed_by_the_loss(kept):
    loss = build_loss(
        {
            "name": "kept",
            "part": {"name": "some", "share": {"name": "linear", "from": 1.0, "to": 0.5}, "since": 7},
            "parts": [
                {"name": "points"},
                {"name": "points", "gamma": {"name": "step", "from": 4, "to": 0, "at": [0.5], "gamma": 0.5}},
            ],
            "k": {"name": "linear", "from": 9, "to": 1, "end": "50%"},
        }
    )
    assert isinstance(loss, Scheduled)
    assert list(loss.schedules) == ["part.share", "points_2.gamma", "k"]
    assert loss.at(0).arguments["part"] == ("some", 1.0, 7)
    assert loss.at(50).arguments == {
        "num_classes": 3,
        "part": ("some", 0.75, 7),
        "parts": [("points", 3, 255, 2.0), ("points", 3, 255, 2.0)],
        "k": 1,
    }
    assert loss.at(49).arguments["parts"][1] == ("points", 3, 255, 4.0)
    batch = make_batch()
    _, metrics = loss(batch.logits, batch.target, iteration=25)
    assert metrics == {"schedule_part.share": 0.875, "schedule_points_2.gamma": 4.0, "schedule_k": 5.0}


def test_the_real_pixel_loss_follows_schedules_in_its_parts():
    block = {
        "name": "pixel",
        "criterion": {"name": "focal", "gamma": {"name": "linear", "from": 4, "to": 0}},
        "selection": {"name": "top_k", "k": {"name": "linear", "from": 60, "to": 1}},
    }
    loss, batch = build_loss(block), make_batch()
    for iteration in (0, 30, 100):
        by_hand = {
            "name": "pixel",
            "criterion": {"name": "focal", "gamma": 4 - 4 * iteration / 100},
            "selection": {"name": "top_k", "k": round(60 - 59 * iteration / 100)},
        }
        value, metrics = loss(batch.logits, batch.target, iteration=iteration)
        torch.testing.assert_close(
            value, build_loss(by_hand)(batch.logits, batch.target, iteration=iteration)[0]
        )
        assert metrics["schedule_selection.k"] == by_hand["selection"]["k"]


def test_terms_of_a_sum_follow_their_own_schedules_and_the_sum_their_weights():
    loss = build_loss(
        {
            "name": "sum",
            "terms": [
                {"name": "ohem_ce", "thresh": {"name": "linear", "from": 0.9, "to": 0.5}},
                {"name": "dice", "weight": {"name": "linear", "from": 0, "to": 2, "start": "50%"}},
                {"name": "dice", "weight": 3},
            ],
        }
    )
    assert isinstance(loss, Scheduled) and list(loss.schedules) == ["dice.weight"]
    assert (loss.schedules["dice.weight"].start, loss.schedules["dice.weight"].end) == (50, 100)
    inner = loss.at(75)
    assert isinstance(inner, SumLoss) and inner.names == ["ohem_ce", "dice", "dice_2"]
    assert inner.weights == [1.0, 1.0, 3.0]
    assert inner.losses[0] is loss.at(0).losses[0], "terms are built once"
    batch = make_batch()
    value, metrics = loss(batch.logits, batch.target, iteration=75)
    assert metrics["schedule_dice.weight"] == 1.0
    assert metrics["ohem_ce/schedule_thresh"] == pytest.approx(0.6)
    ohem = LOSSES.get("ohem_ce")(3, thresh=metrics["ohem_ce/schedule_thresh"])
    dice = LOSSES.get("dice")(3)
    args = (batch.logits, batch.target)
    torch.testing.assert_close(value, ohem(*args, iteration=75)[0] + 4 * dice(*args, iteration=75)[0])


def test_names_of_terms():
    names = [Component(name=name, params={}) for name in ("ce", "dice", "ce", "ce")]
    assert number_names(names) == ["ce", "dice", "ce_2", "ce_3"]


# --- schedules


@pytest.mark.parametrize(
    ("way", "total", "expected"),
    [
        ({"name": "linear", "from": 0.9, "to": 0.6}, 300, {0: 0.9, 100: 0.8, 299: 0.601}),
        ({"name": "linear", "from": 0.9, "to": 0.6, "start": 10, "end": "50%"}, 60, {10: 0.9, 20: 0.75, 30: 0.6}),
        ({"name": "poly", "from": 1, "to": 0.5, "power": 2}, 10, {5: 0.625}),
        ({"name": "poly", "from": 1, "to": 0.5, "power": 2, "final": 0.5, "end": 5}, 10, {9: 0.75}),
        ({"name": "cosine", "from": 0.5, "to": 1}, 10, {0: 0.5, 5: 0.75}),
        ({"name": "step", "from": 0.9, "to": 0.1, "at": [0.5], "gamma": 0.5}, 10, {4: 0.9, 5: 0.5}),
        ({"name": "constant", "from": 0.4}, 10, {0: 0.4, 9: 0.4}),
        ({"name": "linear", "from": 0.9, "to": 0.6, "start": 5, "end": 5}, 10, {4: 0.9, 5: 0.6}),
    ],
)  # fmt: skip
def test_every_shape_in_iterations(way, total, expected):
    loss = build_loss({"name": "ohem_ce", "thresh": way}, total=total)
    values = {iteration: loss.values_at(iteration)["thresh"] for iteration in expected}
    assert values == pytest.approx(expected)


@pytest.mark.parametrize(
    ("before", "after", "middle", "kind"),
    [(100, 51, 76, int), ("1/4", "5%", 0.15, float), (0.5, "1/4", 0.375, float), (1, 4, 2, int)],
)
def test_counts_stay_whole_and_shares_are_numbers(before, after, middle, kind):
    loss = build_loss({"name": "ohem_ce", "n_min": {"name": "linear", "from": before, "to": after}})
    value = loss.values_at(50)["n_min"]
    assert value == pytest.approx(middle) and type(value) is kind
    loss.check_run(iterations=100, pixels_per_batch=10_000)


def test_a_users_schedule(register):
    register(SCHEDULES, "half", lambda progress: 0.5 if progress < 1 else 0.0)
    loss = build_loss({"name": "ohem_ce", "thresh": {"name": "half", "from": 0.9, "to": 0.5, "end": "50%"}})
    assert [loss.values_at(i)["thresh"] for i in (0, 49, 50)] == pytest.approx([0.7, 0.7, 0.5])


def test_a_users_schedule_that_leaves_the_range_of_the_option(register):
    register(SCHEDULES, "dive", lambda progress: 1 - 3 * progress)
    loss = build_loss(
        {"name": "sum", "terms": [{"name": "ohem_ce", "thresh": {"name": "dive", "from": 0.9, "to": 0.5}}]}
    )
    with pytest.raises(ConfigError) as caught:
        loss.check_run(iterations=100, pixels_per_batch=10_000)
    assert str(caught.value) == (
        "loss.terms[0].thresh: expected a number in (0, 1], but its schedule gives 0 at iteration 75"
    )


def test_start_after_end_once_the_length_is_known():
    way = {"name": "linear", "from": 0.9, "to": 0.5, "start": 30, "end": "10%"}
    assert refusal({"name": "sum", "terms": [{"name": "ohem_ce", "thresh": way}]}) == (
        "loss.terms[0].thresh: start=30 (iteration 30) is after end=10% (iteration 10); it must not be larger"
    )
    build_loss({"name": "ohem_ce", "thresh": way}, total=300)


def test_a_schedule_that_begins_after_the_run():
    way = {"name": "linear", "from": 0.9, "to": 0.5, "start": 20_000}
    text = (
        "loss.selection.thresh: its schedule would never start: start=20000 but the run has 4000 iterations "
        "-> start: 10%, end: 50%"
    )
    block = {"name": "pixel", "selection": {"name": "ohem", "thresh": way}}
    loss = build_loss(block, total=4000)
    with pytest.raises(ConfigError) as caught:
        loss.check_run(iterations=4000, pixels_per_batch=10_000)
    assert str(caught.value) == text
    build_loss({**block, "allow_inactive": True}, total=4000).check_run(
        iterations=4000, pixels_per_batch=10_000
    )


# --- errors


def test_constructors_that_refuse_their_values_are_named(register):
    def fussy(*, k: int = 1):
        raise ValueError(f"k is {k}")

    register(LOSSES, "fussy", fussy)
    register(SELECTIONS, "fussy", fussy)
    assert refusal({"name": "fussy"}) == "loss: fussy: k is 1"
    assert refusal({"name": "sum", "terms": [{"name": "ce"}, {"name": "fussy", "k": 2}]}) == (
        "loss.terms[1]: fussy: k is 2"
    )
    assert refusal({"name": "pixel", "selection": {"name": "fussy"}}) == "loss.selection: fussy: k is 1"
    assert refusal({"name": "pixel", "criterion": {"name": "bce"}}).startswith(
        "loss.criterion: bce: one logit"
    )


# --- whole experiments


def experiment(loss, **data):
    return build(
        config_from_mapping(
            {
                "device": "cpu",
                "data": {"name": "shapes", "size": 32, "train_size": 4, "val_size": 2, **data},
                "model": {"name": "unet", "width": 4, "depth": 2},
                "loss": loss,
                "train": {"iterations": 20, "batch_size": 4, "workers": 0},
            },
            origin="test",
        )
    )


def test_a_schedule_trains_with_the_values_of_the_iteration():
    built = experiment(
        {"name": "ohem_ce", "thresh": {"name": "linear", "from": 0.9, "to": 0.6, "end": "50%"}}
    )
    batch = next(iter(built.train_batches(0)))
    logits = built.model(built.preprocess(batch["image"]))
    at = [built.loss(logits, batch["target"], iteration=i)[1]["schedule_thresh"] for i in (0, 5, 10, 19)]
    assert at == pytest.approx([0.9, 0.75, 0.6, 0.6])


def test_a_schedule_beyond_the_run_is_refused_at_start_up():
    with pytest.raises(
        ConfigError, match=r"^loss.thresh: its schedule would never start: start=20 but the run has 20"
    ):
        experiment({"name": "ohem_ce", "thresh": {"name": "linear", "from": 0.9, "to": 0.6, "start": "100%"}})


def test_a_weight_map_needed_by_one_term():
    with pytest.raises(ConfigError, match=r"^sum needs a weight map, and data\.weight_map is not set"):
        experiment({"name": "sum", "terms": [{"name": "ce"}, {"name": "weighted_mask_ce"}]})


def test_a_loss_of_one_logit_makes_a_model_of_one_channel(register):
    class Two(DATASETS.get("shapes")):
        num_classes, class_names = 2, ("background", "shape")

        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return replace(sample, target=tv_tensors.wrap(sample.target.clamp_max(1), like=sample.target))

    register(DATASETS, "two", Two)
    for loss in (
        {"name": "bce"},
        {"name": "sum", "terms": [{"name": "bce"}]},
        {"name": "pixel", "criterion": {"name": "bce"}},
    ):
        built = experiment(loss, name="two")
        assert (built.model.classifier.out_channels, built.plan.num_classes) == (1, 2)
    assert experiment({"name": "ce"}, name="two").model.classifier.out_channels == 2


def test_a_loss_whose_logits_do_not_fit_the_data(register):
    class OneLogit(Kept):
        logits_channels = 1

    register(LOSSES, "one_logit", lambda: OneLogit())
    with pytest.raises(
        ConfigError, match=r"^one_logit takes 1 logits per pixel, but the data have 5 classes$"
    ):
        experiment({"name": "one_logit"})


def test_the_contract_of_before_still_runs(register):
    """A loss whose check_run and describe know nothing of images_per_batch."""
    asked = []

    class Old(Kept):
        def check_run(self, *, iterations, pixels_per_batch):
            asked.append((iterations, pixels_per_batch))

        def describe(self, *, iterations, pixels_per_batch):
            return "old"

    register(LOSSES, "old", lambda *, gamma=1.0: Old())
    for block in (
        {"name": "old"},
        {"name": "old", "gamma": {"name": "linear", "from": 1, "to": 0}},
        {"name": "sum", "terms": [{"name": "old"}]},
    ):
        loss = experiment(block).loss
        assert asked.pop() == (20, 4 * 32 * 32)
        assert (
            "old" in loss.describe(iterations=20, pixels_per_batch=9) if hasattr(loss, "describe") else True
        )
