"""torch.compile of the losses: one graph, the same values, and none compiled anew as the iteration and schedules move.

Here with a compiler that only counts and runs the graph, and for schedules also traces the gradients: what is taken for
a constant there is one for every compiler that makes code, and one that only runs the graph does not see it.
"""

from functools import partial

import pytest
import torch

from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.losses.sum import SumLoss, Term
from segkit.registry import LOSSES, SCHEDULES
from tests.losses.cases import NAMES, build, make_batch, make_batch_for

LINEAR = SCHEDULES.get("linear")
#: Iterations in which the schedules below move, before that stand still, and after it.
MOVING, STILL = (12, 13, 20, 31, 50, 109), (0, 1, 2, 110, 111, 5000)


class Counting:
    """A backend of torch.compile that runs a graph as it is, and counts how often it is asked to compile. With
    `gradients` it also traces these, as all do that make code: what they take for a constant is compiled anew too."""

    def __init__(self, *, gradients=False):
        self.graphs, self.gradients = 0, gradients

    def __call__(self, graph, example_inputs):
        self.graphs += 1
        return torch._dynamo.lookup_backend("aot_eager")(graph, example_inputs) if self.gradients else graph


@pytest.fixture
def backend():
    torch.compiler.reset()
    yield Counting()
    torch.compiler.reset()


def move(before, after, **options):
    return Schedule("linear", LINEAR, before, after, 10, 110, **options)


def differentiate(loss, batch, iteration):
    """The value, the gradient to the logits, and what is logged."""
    logits = batch.logits.detach().requires_grad_()
    value, report = loss(logits, batch.target, batch.weight, iteration=iteration)
    value.backward()
    return [value.detach(), logits.grad, *map(torch.as_tensor, report.values())]


def assert_the_same(compiled, plain, batch, iteration):
    for found, expected in zip(
        differentiate(compiled, batch, iteration), differentiate(plain, batch, iteration), strict=True
    ):
        torch.testing.assert_close(found, expected)


def assert_nothing_compiles(loss, batch, iterations):
    with torch._dynamo.config.patch(error_on_recompile=True):
        for iteration in iterations:
            loss(batch.logits, batch.target, batch.weight, iteration=iteration)


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_every_loss_is_one_graph_for_every_iteration(name, backend):
    """The first iteration is taken for a constant, the second for a number: two graphs, and then no other."""
    plain, batch = build(name), make_batch_for(name, size=(6, 9), ignored=True)
    compiled = build(name)
    compiled.compile(backend=backend, fullgraph=True)
    for iteration in (7, 8):
        assert_the_same(compiled, plain, batch, iteration)
    graphs = backend.graphs
    assert graphs <= (4 if name == "sum" else 2)
    assert_nothing_compiles(compiled, batch, (9, 10, 100, 5000))
    assert backend.graphs == graphs
    assert_the_same(compiled, plain, batch, 9)


PIXEL = {"criterion": {"name": "ce"}, "scope": "image", "reduction": "weights"}
#: name: a loss with parts that the losses by default do not have
COMPOSED = {
    "n_min as a count": lambda: build("ohem_ce", n_min=5),
    "ohem per image": lambda: build("ohem_ce", scope="image"),
    "top share": lambda: build("pixel", selection={"name": "top_share", "share": 0.3}, **PIXEL),
    "top k": lambda: build("pixel", selection={"name": "top_k", "k": 7}, **PIXEL),
    "class weights": lambda: build("ohem_ce", class_weights=[1.0, 2.0, 3.0]),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", COMPOSED)
def test_compositions_are_one_graph(name, backend):
    plain, compiled, batch = COMPOSED[name](), COMPOSED[name](), make_batch(size=(6, 9), ignored=True)
    compiled.compile(backend=backend, fullgraph=True)
    for iteration in (7, 8):
        assert_the_same(compiled, plain, batch, iteration)
    assert_nothing_compiles(compiled, batch, (9, 100))


def test_the_warm_up_moves_without_compiling(backend):
    """It has three phases, before, during and after, and each has its graph."""
    options = {"top_p": 0.2, "start_warm": 10, "end_warm": 110}
    plain, batch = build("bootstrapped_ce", **options), make_batch(size=(6, 9), ignored=True)
    compiled = build("bootstrapped_ce", **options)
    compiled.compile(backend=backend, fullgraph=True)
    for iteration in (0, 1, 11, 12, 110):
        assert_the_same(compiled, plain, batch, iteration)
    assert backend.graphs == 4  # and the one of the very first iteration
    assert_nothing_compiles(compiled, batch, STILL + MOVING)
    assert_the_same(compiled, plain, batch, 57)


#: option: the loss, and how the option moves
SCHEDULED = {
    "thresh": ("ohem_ce", {"thresh": move(0.9, 0.5)}),
    "n_min": ("ohem_ce", {"n_min": move(60, 5, whole=True)}),
    "n_min as a share": ("ohem_ce", {"n_min": move(0.5, 0.1)}),
    "top_p": ("bootstrapped_ce", {"top_p": move(0.9, 0.1)}),
    "gamma": ("focal", {"gamma": move(2.0, 0.5)}),
    "label_smoothing": ("ce", {"label_smoothing": move(0.2, 0.05)}),
    "p": ("loss_max_pooling", {"p": move(1.4, 1.9)}),
    "gamma of focal_tversky": ("focal_tversky", {"gamma": move(1.2, 1.6)}),
    "gamma of unified_focal": ("unified_focal", {"gamma": move(0.3, 0.6)}),
}


def build_scheduled(option):
    name, schedules = SCHEDULED[option]
    more = {"start_warm": 0, "end_warm": 1} if option == "top_p" else {}
    more |= {"background": [0]} if name == "unified_focal" else {}
    return Scheduled(partial(LOSSES.get(name), num_classes=3, **more), schedules)


#: One that a selection reads, and one that a criterion does; the others are the same to the compiler.
EVERYDAY = ("thresh", "gamma")


@pytest.mark.parametrize(
    "option", [pytest.param(o, marks=() if o in EVERYDAY else pytest.mark.heavy) for o in SCHEDULED]
)
def test_a_schedule_moves_without_compiling(option, backend):
    backend.gradients = True
    plain, compiled = build_scheduled(option), build_scheduled(option)
    batch = make_batch(size=(6, 9), ignored=True)
    compiled.compile(backend=backend, fullgraph=True)
    for iteration in (8, 9, 11, 12):
        assert_the_same(compiled, plain, batch, iteration)
    assert backend.graphs <= 3  # a first one, one for another iteration, one for another value
    assert_nothing_compiles(compiled, batch, MOVING + STILL[1:])
    assert_the_same(compiled, plain, batch, 60)


@pytest.mark.heavy
def test_a_sum_compiles_its_terms(backend):
    def make():
        parts = {"thresh": build_scheduled("thresh"), "dice": build("dice")}
        return SumLoss([Term(name, loss, 0.5) for name, loss in parts.items()], 3)

    plain, compiled, batch = make(), make(), make_batch(size=(6, 9), ignored=True)
    compiled.compile(backend=backend, fullgraph=True)
    for iteration in (8, 9, 11, 12):
        assert_the_same(compiled, plain, batch, iteration)
    assert backend.graphs >= 2
    assert_nothing_compiles(compiled, batch, MOVING)
