"""A short part of the state machine of tests/faults/machine.py, which can be run for hours."""

import os

import pytest
import torch

from tests.faults import machine

EPISODES = 25
SEED = int(os.environ.get("SEGKIT_FAULT_SEED", "0"))


@pytest.mark.faults
def test_what_is_promised_holds_whatever_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and back
    monkeypatch.setenv("SEGKIT_CACHE", "")  # set by each episode, and restored
    torch.set_num_threads(1)
    reference = machine.make_reference(tmp_path / "reference")
    assert len(set(map(str, reference.values()))) == len(reference) == machine.LONGEST
    steps = sum(machine.play(tmp_path, reference, SEED, number).total() for number in range(EPISODES))
    assert steps == EPISODES * machine.STEPS


@pytest.mark.faults
def test_the_machine_notices_weights_that_are_not_those_of_an_undisturbed_run(tmp_path, monkeypatch):
    """Negative control."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGKIT_CACHE", "")
    reference = machine.make_reference(tmp_path / "reference")
    shifted = {iteration: reference[min(iteration + 1, machine.LONGEST)] for iteration in reference}
    with pytest.raises(machine.Broken, match="not those of iteration"):
        for number in range(EPISODES):
            machine.play(tmp_path, shifted, SEED, number)
