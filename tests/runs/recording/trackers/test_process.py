"""The run's end of a tracker: nothing that happens in the other process reaches the run but its reports."""

import os
import random
import select
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from segkit.runs.recording.trackers import process as process_module
from segkit.runs.recording.trackers.process import TrackerProcess
from segkit.runs.recording.trackers.protocol import Report
from tests.processes import HANG_LIMIT, wait_until
from tests.runs.recording.trackers.tracked import RUN

FAKES = "tests.runs.recording.trackers.fakes"


@pytest.fixture
def start(tmp_path):
    """`start(name)`: the process of a fake of that name."""
    started = []

    def begin(name: str, **options) -> TrackerProcess:
        started.append(TrackerProcess(f"{FAKES}:{name}", tmp_path / "tracking", **options))
        started[-1].begin({**RUN, "settings": {}})
        return started[-1]

    yield begin
    for process in started:
        process.patience = 0.0
        process.end("failed", 1)


def problems(process: TrackerProcess) -> list[str]:
    return [report.text for report in process.reports if report.what == "problem"]


def test_tasks_are_done_in_their_order_and_the_end_waits_for_them(start):
    process = start("Good")
    process.give("scalars", 5, {"a": 1.0})
    process.give("picture", 5, "b", b"png")
    process.give("summary", {"c": 2})
    process.end("done", 0)
    said = [report.text.partition(" ")[0] for report in process.reports]
    assert said == ["begin", "scalars", "picture", "summary", "end"]
    assert process.reports[1] == Report("place", "scalars (5, {'a': 1.0})")
    assert process.reports[-1] == Report("place", "end ('done', 0, '')")
    assert process._process.returncode == 0
    process.give("scalars", 6, {"a": 1.0})  # too late, and no error
    process.end("failed", 1)
    assert len(process.reports) == 5


def test_what_raises_in_every_method_ends_nothing(start):
    process = start("Raises")
    process.give("scalars", 5, {"a": 1.0})
    process.give("picture", 5, "b", b"png")
    process.give("summary", {"c": 2})
    process.end("done", 0)
    assert problems(process) == [
        "SystemExit: begin no. 1",
        "ValueError: scalars no. 2",
        "SystemExit: picture no. 3",
        "ValueError: summary no. 4",
        "SystemExit: end no. 5",
    ]
    assert "Traceback" in process.log.read_text()


def test_what_cannot_begin_is_off(start):
    process = start("NeverBegins")
    wait_until(lambda: process.look() or process._channel is None)
    process.give("scalars", 5, {"a": 1.0})
    process.end("done", 0)
    assert problems(process) == ["SystemExit: begin no. 1"]
    assert process._process.returncode == 0


def test_a_process_that_dies_is_a_problem_and_no_error(start):
    process = start("Dies")
    process.give("scalars", 5, {"a": 1.0})
    process.end("done", 0)
    assert problems(process) == [f"its process has ended, exit status 5, see {process.log}"]


def test_the_end_does_not_wait_for_ever(start):
    process = start("Hangs", patience=0.0)
    process.give("scalars", 5, {"a": 1.0})
    wait_until(lambda: process.look() or process._moved > 10)
    process.end("done", 0)
    assert problems(process)[0].startswith("it did not finish within 0 s; what it has is in ")
    assert process._process.returncode == -signal.SIGKILL


def test_what_a_tracker_does_not_take_waits_up_to_a_limit_and_is_dropped_then(start, monkeypatch):
    process = start("Hangs", patience=0.0)
    process.give("scalars", 5, {"a": 1.0})
    os.kill(process._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(process_module, "MOST_WAITING", 2**20)
    for _ in range(100):
        process.give("picture", 5, "b", bytes(2**17))
    assert process._waiting <= 2**20 and process.lost > 80
    assert problems(process) == ["it does not keep up: it lacks what is logged until it does"]


def test_a_process_that_cannot_be_started_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "tracking").write_text("in the way")
    process = TrackerProcess(f"{FAKES}:Good", tmp_path / "tracking")
    process.begin({**RUN, "settings": {}})
    process.give("scalars", 5, {"a": 1.0})
    process.end("done", 0)
    assert len(process.reports) == 1 and "cannot be started" in process.reports[0].text


def test_the_run_keeps_its_own_state(start, capfd):
    """Signals, environment, console, threads and random numbers of this process are nobody else's."""

    def state():
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        draws = (
            random.getstate(),
            np.random.get_state()[1].tobytes(),
            torch.get_rng_state().numpy().tobytes(),
        )
        return handlers, dict(os.environ), draws, sys.modules.keys() & {"wandb", "mlflow"}

    before = state()
    process = start("Noisy")
    process.give("scalars", 5, {"a": 1.0})
    process.end("done", 0)
    assert state() == before
    assert capfd.readouterr() == ("", "")
    assert "noise" in process.log.read_text()


def test_the_process_ends_with_the_run_and_calls_it_failed(tmp_path):
    """A run that is killed cannot say so. Processes that it has forked keep its end of the socket open."""
    program = f"""
import os, sys, time
from pathlib import Path
from segkit.runs.recording.trackers.process import TrackerProcess
process = TrackerProcess("{FAKES}:Good", Path({str(tmp_path)!r}))
process.begin({ {**RUN, "settings": {}}!r})
while not process.reports:
    process.look()
if os.fork() == 0:
    time.sleep(1000)
print(process._process.pid, flush=True)
time.sleep(1000)
"""
    run = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, process_group=0
    )
    child = int(run.stdout.readline())
    run.kill()
    run.wait(HANG_LIMIT)
    wait_until(lambda: _is_gone(child))
    os.killpg(run.pid, signal.SIGKILL)
    run.stdout.close()


def _is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_training_hardly_waits_for_a_process_that_does_not_read(start, monkeypatch):
    process = start("Good")
    os.kill(process._process.pid, signal.SIGSTOP)
    asked = []
    poll = select.poll

    def watched_poll():
        real = poll()
        wait = lambda milliseconds: asked.append(milliseconds) or real.poll(milliseconds)  # noqa: E731
        return SimpleNamespace(register=real.register, poll=wait)

    monkeypatch.setattr(select, "poll", watched_poll)
    process.give("picture", 5, "b", bytes(2**22))
    monkeypatch.undo()
    os.kill(process._process.pid, signal.SIGCONT)
    assert asked and sum(asked) <= 1000 * process_module.GLANCE
    process.end("done", 0)
    assert [report.text.partition(" ")[0] for report in process.reports] == ["begin", "picture", "end"]
