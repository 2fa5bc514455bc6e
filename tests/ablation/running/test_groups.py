"""Runs of several processes: how they ended is read from their folders, since torchrun does not tell.

A fake train.py trains, under a fake torchrun except where it says so.
"""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from segkit.ablation.running import slots
from segkit.ablation.running.execute import Launcher
from segkit.ablation.running.slots import Slot
from segkit.ablation.running.state import inspect_plan
from segkit.ablation.running.torchrun_log import without_torchrun
from tests.ablation.running.test_execute import Session
from tests.processes import wait_until

FAKE_TORCHRUN = Path(__file__).with_name("fake_torchrun.py")
GROUP = [Slot("cpu,cpu", 3, processes=2)]
LOG = Path("runs/ab/logs/ce-seed0.log")


@pytest.fixture
def fake(small, monkeypatch):
    monkeypatch.setattr(slots, "TORCHRUN", (sys.executable, str(FAKE_TORCHRUN)))
    return small


def test_every_process_is_started_and_the_run_is_done(fake, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    session = Session(fake(seeds=[0]), slots=[*GROUP, Slot("cuda:0,2", 1, processes=2)])
    assert sorted(session.lines) == [
        "done      ce-seed0  mIoU 60.4",
        "done      ohem-seed0  mIoU 60.4",
        "start     ce-seed0  1 of 2  cpu,cpu   runs/ab/logs/ce-seed0.log",
        "start     ohem-seed0  2 of 2  cuda:0,2   runs/ab/logs/ohem-seed0.log",
    ]
    assert "rank 1 of 2: cpu, GPUs 5,6,7, 3 threads" in LOG.read_text()
    assert "rank 1 of 2: cuda, GPUs 5,7, 1 threads" in Path("runs/ab/logs/ohem-seed0.log").read_text()


def test_failure_is_told_as_the_run_tells_it_and_leaves_the_others(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "fail")
    session = Session(fake(seeds=[0]), slots=GROUP)
    failed, done = session.outcomes
    assert (failed.kind, failed.code, done.kind) == ("failed", 5, "done")
    assert failed.note == "the loss is nan in the update after iteration 3; nothing of it was saved"
    assert session.code == 5 and "ChildFailedError" in LOG.read_text()


def test_failure_before_there_is_a_run_folder(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "refuse")
    failed = Session(fake(seeds=[0]), slots=GROUP).outcomes[0]
    assert (failed.kind, failed.code) == ("failed", 1)
    assert "first words\nno images in nowhere\n   -> look elsewhere" in failed.note
    assert "torch" not in failed.note and "===" not in failed.note


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_reaches_the_run_which_saves_and_goes_on_next_time(fake, monkeypatch, number, code):
    def interrupt(session):
        session.wait_for(str(LOG), "waiting")
        os.kill(os.getpid(), number)

    monkeypatch.setenv("FAKE_CE", "wait")
    session = Session(fake(seeds=[0]), slots=GROUP, meanwhile=interrupt)
    [outcome] = session.outcomes
    assert (outcome.kind, outcome.code, outcome.note) == ("stopped", code, "saved at 7")
    assert session.code == code
    monkeypatch.delenv("FAKE_CE")
    assert [outcome.kind for outcome in Session(fake(seeds=[0]), slots=GROUP).outcomes] == ["done", "done"]


def test_what_an_earlier_part_of_the_run_wrote_is_not_its_end(fake, monkeypatch):
    def interrupt(session):
        session.wait_for(str(LOG), "waiting")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setenv("FAKE_CE", "wait")
    Session(fake(seeds=[0]), slots=GROUP, meanwhile=interrupt)
    monkeypatch.setenv("FAKE_CE", "refuse")
    failed = Session(fake(seeds=[0]), slots=GROUP).outcomes[0]
    assert (failed.kind, failed.code) == ("failed", 1)
    assert "look elsewhere" in failed.note


def test_signal_before_there_is_a_run_folder(fake, monkeypatch):
    def interrupt(session):
        session.wait_for(str(LOG), "waiting")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setenv("FAKE_CE", "early")
    [outcome] = Session(fake(seeds=[0]), slots=GROUP, meanwhile=interrupt).outcomes
    assert (outcome.kind, outcome.code, outcome.note) == ("stopped", 143, "before its first checkpoint")


def test_processes_whose_torchrun_was_killed_are_waited_for(fake, monkeypatch):
    looks = []
    look = Launcher._look
    monkeypatch.setattr(Launcher, "_look", lambda launcher: (look(launcher), looks.append(1)))

    def kill(session):
        session.wait_for(str(LOG), "waiting")
        os.kill(int(re.search(r"torchrun as (\d+)\.", LOG.read_text())[1]), signal.SIGKILL)
        session.wait_for(str(LOG), "alone")
        before = len(looks)
        wait_until(lambda: len(looks) > before + 2, session.ended.is_set)
        Path("go").touch()

    monkeypatch.setenv("FAKE_CE", "orphan")
    session = Session(fake(seeds=[0]), slots=GROUP, meanwhile=kill)
    first, second = session.outcomes
    assert (first.kind, first.code, first.note) == ("stopped", 143, "saved at 7")
    assert second.kind == "done" and session.code == 143


def test_torchrun_itself(small, monkeypatch):
    """The real one: one run fails, the other is asked to stop."""

    def interrupt(session):
        session.wait_for(str(LOG), "waiting")
        session.wait_for(str(LOG), "rank 1 of 2")  # which may come later
        wait_until(lambda: "ohem-seed0" in session.launcher.outcomes, session.ended.is_set)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setenv("FAKE_CE", "wait")
    monkeypatch.setenv("FAKE_OHEM", "refuse")
    session = Session(small(seeds=[0]), slots=GROUP * 2, meanwhile=interrupt)
    stopped, failed = session.outcomes
    assert (stopped.kind, stopped.code, stopped.note) == ("stopped", 143, "saved at 7")
    assert "rank 1 of 2: cpu, GPUs" in LOG.read_text()
    assert (failed.kind, failed.code) == ("failed", 1)
    assert "first words\nno images in nowhere\n   -> look elsewhere" in failed.note
    assert "torch" not in failed.note and "===" not in failed.note


def test_lock_is_held_while_torchrun_lives(fake, monkeypatch):
    """Another ablation leaves the run alone: torchrun has inherited the lock."""
    monkeypatch.setenv("FAKE_CE", "wait")
    states = []

    def look(session):
        session.wait_for(str(LOG), "waiting")
        for lock in session.launcher.locks.values():
            os.dup2(os.open(os.devnull, os.O_RDONLY), lock)  # as if this process had died
        states.append(inspect_plan(fake(seeds=[0]))[0].words)
        os.kill(os.getpid(), signal.SIGTERM)

    Session(fake(seeds=[0]), slots=GROUP, meanwhile=look)
    assert states[0].startswith("in use by process ")
    assert inspect_plan(fake(seeds=[0]))[0].words == "resumes at 7 of 20"


def test_what_torchrun_says_is_left_out():
    own = [
        "iter  5/600",
        "Traceback (most recent call last):",
        '  File "loss.py"',
        "ValueError: no",
        "after it",
    ]
    log = "E1128 10:00:00.1 12 /usr/lib/python3/site-packages/torch/distributed/elastic/api.py:9] failed"
    end = [
        own[1],
        '  File "run.py"',
        "torch.distributed.elastic.multiprocessing.api.SignalException: got 15",
        "====",
    ]
    assert without_torchrun([log, *own, log, *end]) == own
    assert without_torchrun(own) == own
    assert without_torchrun([own[1]]) == [own[1]]
