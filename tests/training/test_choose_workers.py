"""`train.workers: auto`: what is chosen from what was measured, and that nothing hangs on it but time."""

import pytest
import torch
from torch import nn

from segkit.runs.header import describe_workers
from segkit.training import choose_workers as module
from segkit.training.build import build
from segkit.training.choose_workers import choose_workers, time_forward, time_loading, with_chosen_workers
from tests.training.test_build import config


@pytest.mark.parametrize(
    ("share", "cores", "free", "workers"),
    [
        (0.01, 8, 8, 1),  # a GPU never loads by itself
        (1.0, 8, 8, 2),
        (9.0, 8, 8, 8),
        (9.0, 64, 64, 8),
        (0.01, 2, 1, 0),  # a core is free, and not worth a process
        (0.15, 2, 1, 1),
        (9.0, 2, 1, 1),
        (2.5, 8, 6, 3),
        (0.05, 2, 0, 0),  # all cores train
        (0.28, 2, 0, 2),
        (0.28, 8, 0, 3),
        (9.0, 64, 0, 8),
        (9.0, 1, 0, 0),
        (9.0, 2, -2, 2),  # more threads than cores
    ],
)
def test_the_number_follows_from_what_loading_takes_of_an_update(share, cores, free, workers):
    assert choose_workers(share, cores=cores, free=free) == workers


@pytest.fixture
def measured(monkeypatch):
    """Times as if measured, and how often each was."""
    asked = []
    for name, seconds in (("time_loading", 0.0081), ("time_forward", 0.01)):
        monkeypatch.setattr(module, name, lambda experiment, n=name, s=seconds: (asked.append(n), s)[1])
    monkeypatch.setattr(module, "usable_cpus", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    return asked


def test_the_header_says_what_was_chosen_and_why(measured):
    experiment = with_chosen_workers(build(config(train={"workers": "auto"})))
    assert describe_workers(experiment) == (
        "3 workers (auto: 8.1 ms an image in one process, 30 ms an update of it, 4 of 4 cores train)"
    )
    assert measured == ["time_loading", "time_forward"]


@pytest.mark.parametrize("workers", [0, 2, None])
def test_a_number_that_was_asked_for_is_not_measured(measured, workers):
    experiment = build(config(train={"workers": workers}))
    assert with_chosen_workers(experiment) is experiment and measured == []
    assert describe_workers(experiment) == f"{experiment.workers} workers"


def test_a_network_that_is_compiled_is_not_compiled_for_this(measured):
    experiment = with_chosen_workers(build(config(train={"workers": "auto", "compile": True})))
    assert measured == []
    assert describe_workers(experiment).endswith(" workers (auto: not measured with train.compile)")


def test_measuring_moves_no_weight_no_statistic_and_no_random_number():
    experiment = build(config(train={"workers": "auto"}))
    before = {name: value.clone() for name, value in experiment.model.state_dict().items()}
    random, training = torch.get_rng_state(), experiment.model.training
    assert time_loading(experiment) > 0 and time_forward(experiment) > 0
    after = experiment.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), random) and experiment.model.training == training


def test_the_mode_of_a_network_that_fails_is_put_back(monkeypatch):
    experiment = build(config())

    def fail(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(nn.Module, "__call__", fail)
    with pytest.raises(ZeroDivisionError):
        time_forward(experiment)
    assert experiment.model.training


def test_batches_are_the_same_bits_whatever_was_chosen():
    experiment = build(config(augment={"name": "standard", "crop_size": 16}))
    one, other = (list(experiment.train_batches(3, num_batches=4, workers=workers)) for workers in (0, 2))
    assert len(one) == len(other) == 4
    for mine, theirs in zip(one, other, strict=True):
        assert mine.keys() == theirs.keys() and mine["name"] == theirs["name"]
        assert all(torch.equal(mine[key], theirs[key]) for key in ("image", "target", "index"))
