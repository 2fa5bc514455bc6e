"""Configuration to live objects: what is given to whom, durations, and the promise that only the loss differs."""

import pickle
import random
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

from segkit.config.load import config_from_mapping
from segkit.config.schema import Component, OptimizerBlock
from segkit.data.check import CheckReport
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.view import read_sample
from segkit.data.palette import palette
from segkit.errors import ConfigError, DataError
from segkit.registry import AUGMENTS, DATASETS, LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from segkit.runs import preflight
from segkit.runs.header import count_flops, header
from segkit.system import device as device_module
from segkit.training import build as build_module
from segkit.training.build import (
    build,
    build_component,
    build_data,
    build_learning_rate,
    build_normalize,
    build_plan,
    total_iterations,
)
from segkit.training.build_dataset import IMAGENET_MEAN, IMAGENET_STD
from segkit.training.build_optimizer import build_optimizer
from segkit.types import Duration

CPU = torch.device("cpu")
TINY = {
    "name": "tiny",
    "device": "cpu",
    "data": {"name": "shapes", "size": 32, "train_size": 10, "val_size": 4},
    "model": {"name": "unet", "width": 4, "depth": 2},
    "loss": {"name": "ce"},
    "train": {"iterations": 20, "batch_size": 4, "workers": 0, "amp": "off"},
}


def config(**blocks):
    """TINY with other blocks; a block with a `name` replaces its predecessor, others are merged into it."""
    merged = dict(TINY)
    for name, block in blocks.items():
        mix = isinstance(block, dict) and "name" not in block
        merged[name] = {**merged.get(name, {}), **block} if mix else block
    return config_from_mapping(merged, origin="test")


def message(action, *arguments, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        action(*arguments, **options)
    return str(caught.value)


@pytest.fixture
def register(monkeypatch):
    """Register a component for one test."""

    def add(registry, name, constructor):
        registry.names()  # loads what is there
        monkeypatch.setitem(registry._constructors, name, constructor)

    return add


def take(batches, count: int) -> list[dict]:
    iterator = iter(batches)
    return [next(iterator) for _ in range(count)]


def same(one: dict, other: dict, keys=("image", "target", "index")) -> bool:
    return one["name"] == other["name"] and all(torch.equal(one[key], other[key]) for key in keys)


# --- only the loss differs


class DrawingLoss(nn.Module):
    """A loss that draws random numbers when it is made, and has parameters of its own."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(num_classes))

    def forward(self, logits, target, weight=None, *, iteration):
        return logits.mean(), {}


LOSS_BLOCKS = {
    "ce": {"loss": {"name": "ce"}},
    "ohem": {"loss": {"name": "ohem_ce", "n_min": "1/16"}},
    "bootstrapped": {"loss": {"name": "bootstrapped_ce", "start_warm": "10%", "end_warm": "50%"}},
    "weighted": {"loss": {"name": "weighted_mask_ce"}, "data": {"weight_map": {"name": "boundary"}}},
    "drawing": {"loss": {"name": "drawing"}},
}


@pytest.mark.parametrize("other", [name for name in LOSS_BLOCKS if name != "ce"])
def test_same_seed_gives_every_loss_the_same_weights_and_batches(register, other):
    register(LOSSES, "drawing", DrawingLoss)
    torch.manual_seed(1)  # what happened in the process before must not matter
    first = build(config(seed=3, **LOSS_BLOCKS["ce"]))
    torch.manual_seed(2)
    second = build(config(seed=3, **LOSS_BLOCKS[other]))
    weights, others = first.model.state_dict(), second.model.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    pairs = zip(take(first.train_batches(0), 4), take(second.train_batches(0), 4), strict=True)
    assert all(same(batch, twin) for batch, twin in pairs)
    examples = zip(first.examples(), second.examples(), strict=True)
    assert all(same(batch, twin) for batch, twin in examples)


def test_weights_that_a_model_draws_from_numpy_or_python_are_of_the_seed_too(register):
    def drawn(num_classes: int):
        model = nn.Conv2d(3, num_classes, 1)
        model.weight.data += np.random.rand() + random.random()
        return model

    register(MODELS, "drawn", drawn)
    first, again, other = (
        build(config(seed=seed, model={"name": "drawn"})).model.weight for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_another_seed_gives_other_weights_and_batches():
    first, second = build(config(seed=3)), build(config(seed=4))
    assert not torch.equal(first.model.classifier.weight, second.model.classifier.weight)
    assert not same(take(first.train_batches(0), 1)[0], take(second.train_batches(0), 1)[0])


def test_batches_from_the_middle_are_those_of_the_whole_run():
    experiment = build(config(train={"iterations": 3, "accumulate": 2}))
    whole = list(experiment.train_batches(0))
    rest = list(experiment.train_batches(4))
    assert (len(whole), len(rest)) == (6, 2)  # micro-batches
    assert all(same(batch, twin) for batch, twin in zip(whole[4:], rest, strict=True))


def test_a_weight_map_comes_with_the_batches_of_training_but_not_of_validation():
    experiment = build(config(**LOSS_BLOCKS["weighted"]))
    assert take(experiment.train_batches(0), 1)[0]["weight"].shape == (4, 32, 32)
    assert "weight" not in take(experiment.val_batches(), 1)[0]
    assert "weight" in experiment.examples()[0]  # the pictures of kept pixels need it


# --- what is given to whom


def test_given_arguments_reach_only_those_that_accept_them(register):
    received = {}

    def plain_loss():
        received["loss"] = {}
        return DrawingLoss(2)

    def bare_model(num_classes: int):
        received["model"] = {"num_classes": num_classes}
        return nn.Conv2d(3, num_classes, 1)

    register(LOSSES, "plain", plain_loss)
    register(MODELS, "bare", bare_model)
    build(config(loss={"name": "plain"}, model={"name": "bare"}))
    assert received == {"loss": {}, "model": {"num_classes": 5}}


def test_given_arguments_come_from_the_data_set():
    experiment = build(config(data={"name": "shapes", "size": 32, "channels": 1}))
    assert experiment.model.stem[0].in_channels == 1
    assert experiment.model.classifier.out_channels == 5
    assert experiment.loss.criterion.ignore_index == 255
    assert (experiment.plan.num_classes, experiment.plan.ignore_index) == (5, 255)


def test_parameter_named_like_something_segkit_knows_stays_the_files(register):
    """`num_classes` is given to models and losses; an augmentation's own parameter of that name is not touched."""
    received = []
    register(AUGMENTS, "own", lambda *, num_classes: received.append(num_classes))
    build_component(
        AUGMENTS, Component(name="own", params={"num_classes": 7}), "augment", total=1, num_classes=5
    )
    assert received == [7]


def test_an_augmentation_of_the_user_gets_the_types_of_torchvision(register):
    received = []

    class Own:
        word = "kept"

        def __call__(self, sample):
            received.append([type(value).__name__ for value in (sample.image, sample.target, sample.weight)])
            return sample

    register(AUGMENTS, "own", Own)
    own = {"augment": {"name": "own"}, "data": {**TINY["data"], "weight_map": {"name": "boundary"}}}
    data = build_data(config_from_mapping({**TINY, **own}, origin="test"))
    augment = pickle.loads(pickle.dumps(build_data(config_from_mapping(TINY, origin="test")).augment))
    assert type(augment) is AUGMENTS.get("standard")
    sample = read_sample(data.train, 0, data.weight_map)
    assert {type(value) for value in (sample.image, sample.target, sample.weight)} == {torch.Tensor}
    assert data.augment(sample).name == sample.name and data.augment.word == "kept"
    assert received == [["Image", "Mask", "WeightsBesideMask"]]


def test_control_characters_in_the_classes_of_any_data_set_are_refused(monkeypatch):
    monkeypatch.setattr(
        DATASETS.get("shapes"), "class_names", ("background", "\x1b[2J", "square", "line", "star")
    )
    with pytest.raises(ConfigError) as raised:
        build_data(config_from_mapping(TINY, origin="test"))
    assert str(raised.value) == (
        "data: shapes: the name of a class holds a line break or a control character: \\x1b[2J "
        "-> rename it in the data set"
    )


def test_durations_reach_a_constructor_in_iterations(register):
    received = {}

    def timed(
        *,
        start: Duration = 5,
        end: Annotated[Duration, Field()] = "50%",
        last: Duration | None = None,
        note: str = "10%",
    ):
        received.update(start=start, end=end, last=last, note=note)
        return DrawingLoss(2)

    register(LOSSES, "timed", timed)
    build(config(loss={"name": "timed", "start": "10%"}, train={"iterations": 200}))
    assert received == {"start": 20, "end": 100, "last": None, "note": "10%"}
    build(config(loss={"name": "timed", "last": "99%"}, train={"iterations": 33}))
    assert received == {"start": 5, "end": 16, "last": 32, "note": "10%"}


def test_constructor_that_refuses_its_values_is_named():
    assert message(build_data, config(data={"size": 16})) == "data: shapes: size must be at least 32, got 16"
    inner = {
        "name": "RandomChoice",
        "p": [0.5],
        "transforms": [{"name": "Identity"}, {"name": "RandomInvert"}],
    }
    wrong = config(augment={"name": "compose", "transforms": [inner]})
    assert message(build, wrong) == (
        "augment.transforms[0]: RandomChoice: Length of p doesn't match the number of transforms: 1 != 2"
    )


def test_bug_in_a_constructor_keeps_its_traceback(register):
    def broken(num_classes: int):
        raise TypeError("a bug")

    register(MODELS, "broken", broken)
    with pytest.raises(TypeError, match="a bug"):
        build(config(model={"name": "broken"}))


# --- what only shows once the pieces meet


OHEM = {"name": "ohem_ce", "backend": "triton"}
THRESH = {"name": "linear", "from": 0.9, "to": 0.5, "start": 0, "end": 10}


@pytest.mark.parametrize(
    ("loss", "key"),
    [
        (OHEM, "loss.backend"),
        ({**OHEM, "thresh": THRESH}, "loss.backend"),
        ({"name": "pixel", "criterion": {"name": "ce", "backend": "triton"}}, "loss.criterion.backend"),
        ({"name": "sum", "terms": [{"name": "ce"}, OHEM]}, "loss.terms.1.backend"),
    ],
    ids=["plain", "scheduled", "criterion", "term"],
)
def test_backend_that_the_device_cannot_is_refused_before_anything_runs(loss, key, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    text = message(build, config(loss=loss))
    assert text.startswith(f"{key}: triton, but Triton ") and text.endswith(f" -> {key}: auto")


def test_a_loss_that_cannot_be_called_as_training_does_is_refused(register):
    class Plain(nn.Module):
        def forward(self, logits, target):
            return logits.sum(), {}

    class Mapped(nn.Module):
        label_maps: ClassVar = {"edges": lambda labels: labels}

        def forward(self, logits, target, weight=None, *, iteration):
            return logits.sum(), {}

    register(LOSSES, "plain", lambda num_classes: Plain())
    register(LOSSES, "mapped", lambda num_classes: Mapped())
    first = message(build, config(loss={"name": "plain"}))
    assert first.startswith("loss: plain: its forward: ")
    assert first.endswith("\n   -> def forward(self, logits, target, weight=None, *, iteration)")
    assert message(build, config(loss={"name": "mapped"})) == (
        "loss: mapped: its forward: got an unexpected keyword argument 'maps'\n"
        "   -> def forward(self, logits, target, weight=None, *, iteration, maps)"
    )


def test_schedules_of_ones_own_that_give_no_factor(register):
    register(SCHEDULES, "below", lambda progress: 0.5 - progress)
    register(SCHEDULES, "silent", lambda progress: None)
    register(SCHEDULES, "deaf", lambda: 1.0)
    register(SCHEDULES, "unbounded", lambda progress: 1 / (1 - progress))

    def found(name):
        return message(build, config(schedule={"name": name}))

    assert (
        found("below") == "schedule: below gives -0.499 at progress 0.999, and must give a number from 0 on"
    )
    assert found("silent") == "schedule: silent gives None at progress 0, and must give a number from 0 on"
    assert found("deaf").startswith(
        "schedule: deaf: too many positional arguments -> def deaf(progress: float, "
    )
    build(config(schedule={"name": "unbounded"}))  # an update never has the progress 1
    thresh = {"name": "silent", "from": 0.9, "to": 0.5}
    assert message(build, config(loss={"name": "ohem_ce", "thresh": thresh})) == (
        "loss.thresh: silent gives None at progress 0, and must give a number"
    )


def test_optimizers_of_ones_own_that_training_cannot_use(register):
    class Still(torch.optim.SGD):
        def __init__(self, params):
            super().__init__(params, lr=0.1)

    class Searching(torch.optim.SGD):
        def __init__(self, params, lr: float = 0.1):
            super().__init__(params, lr=lr)

        def step(self, closure): ...

    register(OPTIMIZERS, "still", Still)
    register(OPTIMIZERS, "searching", Searching)
    first, advice = message(build, config(optimizer={"name": "still"})).split("\n")
    assert first == "optimizer: still takes no lr, which `schedule` moves"
    assert advice == "   -> def __init__(self, params, lr: float = 0.1)"
    assert message(build, config(optimizer={"name": "searching"})) == (
        "optimizer: searching calls the model itself (`step(closure)`), which training does not offer"
    )


def test_a_model_of_which_nothing_is_trained(register):
    register(MODELS, "still", lambda num_classes: nn.Conv2d(3, num_classes, 1).requires_grad_(False))
    assert message(build, config(model={"name": "still"})).startswith("nothing of the model is trained: ")


class OwnData:
    """A data set of somebody's own, as it may be."""

    num_classes, class_names, ignore_index, channels = 2, ("a", "b"), 255, 3

    def __init__(self, split):
        self.shapes = Shapes(split, size=32, train_size=4, val_size=4)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        sample = self.shapes[index]
        return replace(sample, target=sample.target.clamp(max=1))


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"num_classes": None}, "data: own: its num_classes is None, and must be a whole number"),
        ({"ignore_index": None}, "data: own: its ignore_index is None, and must be a whole number"),
        ({"class_names": ["a"]}, "data: own: its num_classes is 2, and its class_names are ['a']"),
        ({"class_names": [0, 1]}, "data: own: its num_classes is 2, and its class_names are [0, 1]"),
    ],
)
def test_a_data_set_that_does_not_say_what_it_has(register, attributes, text):
    register(DATASETS, "own", type("Own", (OwnData,), attributes))
    assert message(build, config(data={"name": "own"}, augment={"name": "none"})) == text


def test_a_data_set_that_lacks_something_or_is_empty(register):
    class Bare:
        num_classes, class_names, ignore_index = 2, ("a", "b"), 255

        def __init__(self, split): ...

        def __getitem__(self, index): ...

    register(DATASETS, "bare", Bare)
    assert message(build, config(data={"name": "bare"})) == (
        "data: bare: the data set has no channels, __len__\n"
        "   -> a data set has num_classes, class_names, ignore_index, channels, __len__, __getitem__"
    )
    register(DATASETS, "empty", type("Empty", (OwnData,), {"__len__": lambda self: 0}))
    with pytest.raises(DataError, match=r"^data: empty: there are no samples in the part 'train'$"):
        build(config(data={"name": "empty"}))


def test_weighted_loss_without_a_map_is_refused_before_the_model_is_built(monkeypatch):
    monkeypatch.setattr(
        build_module, "place", lambda *arguments, **options: pytest.fail("the model was built")
    )
    assert message(build, config(loss={"name": "weighted_mask_ce"})) == (
        "weighted_mask_ce needs a weight map, and data.weight_map is not set\n"
        "   -> data.weight_map='{name: boundary}'   computed from the labels: heavier near borders of classes\n"
        "   -> data.weight_map='{name: unet_border}'   as for U-Net: heavy in the gaps between objects\n"
        "   -> data.weight_map='{name: file}'   read from a third folder, weights/{split}/{stem}.png or .npy"
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"mean": [0.5]}, "data.mean has 1 values but the images have 3 channels"),
        ({"std": [0.5, 0.5]}, "data.std has 2 values but the images have 3 channels"),
        ({"channels": 1, "mean": [0.1, 0.2, 0.3]}, "data.mean has 3 values but the images have 1 channels"),
    ],
)
def test_normalisation_must_fit_the_channels(data, text):
    assert message(build, config(data=data)) == text


def test_loss_is_checked_against_the_pixels_of_a_batch_after_cropping(register):
    asked = {}

    class Asking(DrawingLoss):
        def check_run(self, *, iterations, pixels_per_batch):
            asked.update(iterations=iterations, pixels=pixels_per_batch)

    register(LOSSES, "asking", Asking)
    experiment = build(config(loss={"name": "asking"}, augment={"name": "standard", "crop_size": [16, 24]}))
    assert asked == {"iterations": 20, "pixels": 4 * 16 * 24}
    assert (experiment.image_size, experiment.pixels_per_batch) == ((16, 24), 4 * 16 * 24)


@pytest.mark.parametrize("count", [0, -1, 11])
def test_overfit_needs_as_many_images(count):
    assert message(build, config(), overfit=count) == f"--overfit {count}: the training set has 10 images"


@pytest.mark.parametrize(("count", "batch_size"), [(1, 1), (3, 3), (10, 4)])
def test_overfit_trains_and_validates_on_the_same_unchanged_images(count, batch_size):
    experiment = build(config(), overfit=count)
    assert experiment.batch_size == batch_size
    assert len(experiment.data.train) == len(experiment.data.val) == count
    raw = {sample.name: sample for sample in map(experiment.data.train.__getitem__, range(count))}
    assert [name for batch in experiment.val_batches() for name in batch["name"]] == list(raw)
    seen = set()
    for batch in take(experiment.train_batches(0), 10):
        assert len(batch["name"]) == batch_size
        for name, image, target in zip(batch["name"], batch["image"], batch["target"], strict=True):
            assert torch.equal(image, raw[name].image) and torch.equal(target, raw[name].target)
            seen.add(name)
    assert seen == set(raw)


# --- the numbers of a run


@pytest.mark.parametrize(
    ("train", "images", "batch_size", "iterations"),
    [
        ({"iterations": 7}, 10, 4, 7),
        ({"iterations": None, "epochs": 2}, 10, 4, 5),
        ({"iterations": None, "epochs": 1}, 10, 4, 3),  # rounded up: the last images are seen too
        ({"iterations": None, "epochs": 2, "accumulate": 2}, 10, 4, 3),
        ({"iterations": None, "epochs": 0.01}, 10, 4, 1),
        ({"iterations": None, "epochs": 1.1}, 100, 10, 11),  # 1.1 * 100 is 110.00000000000001
    ],
)
def test_length_of_a_run(train, images, batch_size, iterations):
    assert total_iterations(config(train=train), images=images, batch_size=batch_size) == iterations


@pytest.mark.parametrize(
    ("written", "iterations"),
    [
        (5, 5),
        ("10%", 20),
        ("100%", 200),
        ("0.1%", 1),
        (1000, 1000),
        (0, 0),
        ("0%", 0),
        ("0 %", 0),
        ("0.0%", 0),
    ],
)
def test_intervals_are_iterations_and_0_means_never(written, iterations):
    plan_config = config(
        train={"iterations": 200, "checkpoint_every": written},
        eval={"every": written},
        log={"every": written, "images_every": written},
    )
    plan = build_plan(plan_config, build_data(plan_config), None, 200)
    assert {plan.evaluate_every, plan.checkpoint_every, plan.pictures_every, plan.log_every} == {iterations}


def test_plan_takes_over_what_the_file_says():
    values = {"accumulate": 3, "clip_norm": 0.5, "aux_weight": 0.2, "ema": 0.99}
    plan_config = config(train=values, seed=9)
    plan = build_plan(plan_config, build_data(plan_config), torch.bfloat16, 20)
    assert (plan.accumulate, plan.clip_norm, plan.aux_weight, plan.ema_decay) == (3, 0.5, 0.2, 0.99)
    assert (plan.amp_dtype, plan.seed, plan.iterations) == (torch.bfloat16, 9, 20)


# --- optimizer and learning rate


def optimizer(name: str, **params):
    return OptimizerBlock(name=name, params={"lr": 0.1, **params})


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_every_optimizer_makes_a_step(name):
    model = nn.Conv2d(3, 4, 3)
    before = model.weight.detach().clone()
    built = build_optimizer(config(optimizer={"name": name, "lr": 0.1}).optimizer, model, CPU)
    model(torch.ones(1, 3, 5, 5)).square().mean().backward()
    built.step()
    assert not torch.equal(model.weight, before)
    assert torch.isfinite(model.weight).all()


@pytest.mark.parametrize(
    ("params", "device", "fused"),
    [
        ({}, "cpu", True),
        ({"fused": None}, "cpu", True),
        ({"fused": False}, "cpu", False),
        ({"foreach": True}, "cpu", None),
        ({"foreach": False}, "cpu", True),
        ({"momentum": 0.9, "dampening": 0.1}, "cpu", None),
        ({"momentum": 0.9, "dampening": 0.1, "fused": True}, "cpu", True),
        ({}, "xla", False),
    ],
)
def test_fused_kernels_are_the_default_where_torch_has_them(params, device, fused):
    built = build_optimizer(optimizer("sgd", **params), nn.Conv2d(3, 4, 3), torch.device(device))
    assert built.defaults["fused"] is fused


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    model[0].requires_grad_(False)
    built = build_optimizer(optimizer("adamw"), model, CPU)
    assert [id(p) for group in built.param_groups for p in group["params"]] == [
        id(p) for p in model[1].parameters()
    ]


def test_parameters_of_the_file_reach_the_optimizer():
    block = {"name": "sgd", "lr": 0.3, "momentum": 0.7, "nesterov": True, "weight_decay": 0.01}
    group = build(config(optimizer=block)).optimizer.param_groups[0]
    assert {key: group[key] for key in block if key != "name"} == {
        key: block[key] for key in block if key != "name"
    }


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"differentiable": True}, r"^optimizer\.differentiable: true keeps .*\n.* -> leave it out$"),
        (
            {"fused": True, "foreach": True},
            r"^optimizer: sgd: `fused` and `foreach` cannot be `True` together",
        ),
    ],
)
def test_ways_to_compute_an_update_that_do_not_work_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        build_optimizer(optimizer("sgd", **params), nn.Conv2d(3, 4, 3), CPU)


def test_optimizer_that_refuses_its_values_is_named():
    text = message(build_optimizer, optimizer("sgd", nesterov=True), nn.Conv2d(3, 4, 3), CPU)
    assert text == "optimizer: sgd: Nesterov momentum requires a momentum and zero dampening"


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_learning_rate_without_warmup_starts_at_the_base_and_never_reaches_the_end(name):
    rate = build_learning_rate(config(schedule={"name": name}, optimizer={"name": "sgd", "lr": 0.2}), 20)
    assert rate(0) == 0.2
    assert all(rate(n) > 0 for n in range(20))


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        ({"name": "constant"}, 0.2, 0.2),
        ({"name": "poly"}, 0.2, 0.2 * 0.05**0.9),
        ({"name": "poly", "power": 2.0, "final": 0.5}, 0.2, 0.2 * (0.5 + 0.5 * 0.05**2)),
        ({"name": "linear"}, 0.2, 0.2 * 0.05),
        ({"name": "linear", "warmup": 4}, 0.2 / 5, 0.2 / 16),
        ({"name": "linear", "warmup": "20%", "warmup_factor": 0.5}, 0.2 * (0.5 + 0.5 / 5), 0.2 / 16),
    ],
)
def test_first_and_last_learning_rate(schedule, first, last):
    rate = build_learning_rate(config(schedule=schedule, optimizer={"name": "sgd", "lr": 0.2}), 20)
    assert (rate(0), rate(19)) == (pytest.approx(first), pytest.approx(last))


@pytest.mark.parametrize("warmup", [20, 500, "100%"])
def test_warmup_that_fills_the_run_is_refused(warmup):
    block = {"name": "poly", "warmup": warmup}
    iterations = 20 if warmup == "100%" else warmup
    text = message(build, config(schedule=block))
    assert text == f"schedule.warmup={iterations} but the run has 20 iterations -> schedule.warmup: 5%"


# --- data


@pytest.mark.parametrize(
    ("data", "channels", "mean", "std"),
    [
        ({}, 3, IMAGENET_MEAN, IMAGENET_STD),
        ({}, 1, [0.5], [0.25]),
        ({"mean": [0.1, 0.2, 0.3]}, 3, [0.1, 0.2, 0.3], IMAGENET_STD),
        ({"mean": [0.0], "std": [1.0]}, 1, [0.0], [1.0]),
    ],
)
def test_normalisation_is_the_files_or_a_default(data, channels, mean, std):
    built = build_normalize(config(data=data), channels)
    torch.testing.assert_close(built.mean.flatten(), 255 * torch.tensor(mean))
    torch.testing.assert_close(built.std.flatten(), 255 * torch.tensor(std))


@pytest.mark.parametrize(
    ("images", "expected"),
    [(0, []), (1, [0]), (2, [0, 3]), (3, [0, 2, 3]), (4, [0, 1, 2, 3]), (99, [0, 1, 2, 3])],
)
def test_examples_are_spread_over_the_validation_set(images, expected):
    experiment = build(config(eval={"images": images}))
    before = torch.get_rng_state()
    assert [int(batch["index"]) for batch in experiment.examples()] == expected
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("batch_size", "sizes"), [(None, [4]), (3, [3, 1]), (1, [1, 1, 1, 1])])
def test_validation_batches_have_a_size_of_their_own(batch_size, sizes):
    experiment = build(config(eval={"batch_size": batch_size}))
    assert [len(batch["name"]) for batch in experiment.val_batches()] == sizes


def test_palette_is_the_data_sets_own_or_a_default(register):
    assert build_data(config()).palette == palette(5)

    class Coloured(DATASETS.get("shapes")):
        palette = ((1, 2, 3),) * 5

    register(DATASETS, "coloured", Coloured)
    data = build_data(config(data={"name": "coloured", "size": 32}), overfit=1)
    assert data.palette == [(1, 2, 3)] * 5


def test_workers_are_the_files_or_the_machines(monkeypatch):
    monkeypatch.setattr(build_module, "default_workers", lambda device, share: 5)
    assert build(config(train={"workers": None})).workers == 5
    assert build(config(train={"workers": 0})).workers == 0


def test_parameters_counts_what_is_trained():
    experiment = build(config())
    everything = sum(p.numel() for p in experiment.model.parameters())
    assert experiment.parameters == everything
    experiment.model.stem.requires_grad_(False)
    assert experiment.parameters == everything - sum(p.numel() for p in experiment.model.stem.parameters())


# --- what is said before the first iteration


REPORT = CheckReport(
    summary="14/14 masks fine (0.1 s)", table=[], warnings=["class 'star' is rare"], train=None, val=None
)


def test_header_says_what_is_trained_on_what_and_how(monkeypatch):
    monkeypatch.setattr(device_module, "computes_bf16", lambda: True)
    experiment = build(
        config(
            loss={"name": "ohem_ce", "thresh": 0.6, "n_min": "1/16"},
            schedule={"name": "poly", "warmup": "10%"},
            train={"iterations": 2000, "accumulate": 2, "amp": "bf16"},
        )
    )
    lines = header(experiment, REPORT, "configs/ohem.yaml + loss.thresh=0.6")
    parameters = sum(p.numel() for p in experiment.model.parameters()) / 1e6
    assert lines[:3] == [
        "config    configs/ohem.yaml + loss.thresh=0.6",
        "data      shapes  10 train / 4 val  5 classes  ignore 255   check: 14/14 masks fine (0.1 s)",
        "          warning: class 'star' is rare",
    ]
    assert lines[3].startswith(f"model     unet  {parameters:.2f} M parameters  0.")
    assert lines[3].endswith(" GFLOPs at 32x32")
    assert lines[4:] == [
        "loss      ohem_ce  thresh 0.6  n_min 1/16 (= 256 of 4,096 pixels)",
        "schedule  2,000 iterations = 1600.0 epochs · batch 4 x 2 · sgd lr 0.05 poly, warm-up 10%",
        f"device    cpu ({torch.get_num_threads()} threads)  amp bf16  0 workers",
    ]


def test_header_of_a_loss_that_cannot_describe_itself(register):
    register(LOSSES, "drawing", DrawingLoss)
    lines = header(build(config(loss={"name": "drawing"})), REPORT, "x")
    assert lines[4:] == [
        "loss      drawing",
        "schedule  20 iterations = 8.0 epochs · batch 4 · sgd lr 0.05 poly",
        f"device    cpu ({torch.get_num_threads()} threads)  amp off  0 workers",
    ]


def test_flops_are_counted_without_touching_the_model(register):
    def build_net(num_classes: int):
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Conv2d(8, num_classes, 1)
        )

    register(MODELS, "net", build_net)
    experiment = build(config(model={"name": "net"}))
    state = {name: tensor.clone() for name, tensor in experiment.model.state_dict().items()}
    random = torch.get_rng_state()
    multiply_adds = 32 * 24 * (8 * 3 * 9 + 5 * 8)
    assert count_flops(experiment, 32, 24) == 2 * multiply_adds
    assert all(torch.equal(tensor, state[name]) for name, tensor in experiment.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


class Sure(nn.Conv2d):
    """Gives probabilities in evaluation, as many a network does that was published for its predictions."""

    def forward(self, image):
        logits = super().forward(image)
        return logits if self.training else logits.softmax(dim=1)


def test_probabilities_are_refused(register):
    register(MODELS, "sure", lambda num_classes: Sure(3, num_classes, 3))
    with pytest.raises(ConfigError) as caught:
        count_flops(build(config(model={"name": "sure"})), 32, 24)
    assert str(caught.value) == (
        "model: sure gives probabilities in evaluation mode (they add up to 1), and losses and scores take logits\n"
        "   -> leave out its softmax"
    )


class Drawn(nn.Conv2d):
    def __init__(self, num_classes: int):
        super().__init__(3, num_classes, 3)
        self.drawn = torch.randn(3)


def test_a_model_that_no_checkpoint_holds_is_refused(register):
    register(MODELS, "drawn", Drawn)
    with pytest.raises(
        ConfigError, match="model: no checkpoint would hold drawn, which are others each time"
    ):
        build(config(model={"name": "drawn"}))


class MadeLate(nn.Conv2d):
    """Makes its head when it is called: the optimizer is older, and would leave that as it is without a word."""

    def forward(self, image):
        features = super().forward(image)
        if not hasattr(self, "head"):
            self.head = nn.Conv2d(features.shape[1], 5, 1)
        return self.head(features)


def test_layers_that_nothing_would_train_are_refused(register):
    register(MODELS, "late", lambda num_classes: MadeLate(3, 8, 3))
    with pytest.raises(ConfigError) as caught:
        count_flops(build(config(model={"name": "late"})), 32, 24)
    assert str(caught.value) == (
        "model: late made parameters when it was called: head.weight, head.bias\n   the optimizer does not know them, "
        "and its checkpoints could not be loaded -> make them in its constructor"
    )


def test_check_trains_and_validates_but_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert preflight.check(config(train={"iterations": 1}), source="x", overfit=2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("batch     image (2, 3, 32, 32) -> logits (2, 5, 32, 32), loss ") for line in lines
    )
    assert lines[-1] == "check     everything fits; nothing was written"
    assert list(tmp_path.iterdir()) == []
