"""The process beside a run that draws: order, what is handed over, errors, signals, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.compat.proto import summary_pb2

from segkit.errors import CannotWrite
from segkit.runs.recording import drawing
from segkit.runs.recording.drawing import DrawAtOnce, DrawBeside
from tests.paths import ROOT
from tests.processes import HANG_LIMIT, wait_until

WAYS = {"beside": DrawBeside, "at once": DrawAtOnce}


@pytest.fixture
def start(request):
    """A function giving something that draws, whose process is gone after the test."""
    started = []

    def make(way="beside", **options):
        started.append(WAYS[way](**options))
        return started[-1]

    yield make
    for each in started:
        each.end(at_once=True)


def append(sketches, path: Path, *parts: object) -> None:
    with path.open("a") as file:
        file.write(" ".join(str(part) for part in parts) + "\n")


def append_pid(sketches, path: Path) -> None:
    append(sketches, path, os.getpid())


def wait_for(sketches, path: Path) -> None:
    wait_until(path.exists)


def cannot_write(sketches, name: str) -> None:
    sketches.image("seen", torch.zeros(3, 4, 4, dtype=torch.uint8), 3)
    raise CannotWrite(f"cannot write {name}: the disk is full\n   disk at /")


def bug(sketches) -> None:
    raise ZeroDivisionError("a bug\nin a picture")


def die(sketches) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def numbers_drawn_from_torch(sketches, path: Path) -> None:
    torch.rand(3)
    append(sketches, path, torch.get_num_threads())


@pytest.mark.parametrize("way", WAYS)
def test_everything_is_drawn_in_its_order_as_it_was_when_it_was_given(start, tmp_path, way):
    drawing, path, rows = start(way), tmp_path / "drawn", []
    for n in range(20):
        rows.append(n)
        drawing.give(f"drawing {n}", append, path, rows)
    drawn = drawing.take(all_of_them=True)
    assert [each.what for each in drawn] == [f"drawing {n}" for n in range(20)]
    assert path.read_text().splitlines() == [str(list(range(n + 1))) for n in range(20)]
    assert drawing.take(all_of_them=True) == []


def test_one_other_process_draws_and_ends_when_told(start, tmp_path):
    drawing, path = start(), tmp_path / "pids"
    for _ in range(2):
        drawing.give("pictures", append_pid, path)
    drawing.take(all_of_them=True)
    first, second = map(int, path.read_text().split())
    assert first == second != os.getpid()
    drawing.end()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_whoever_gives_more_than_may_wait_waits_for_the_first(start, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "MOST_WAITING", 2)
    beside = start()
    for n in range(3):
        beside.give(f"drawing {n}", append, tmp_path / "drawn", n)
    assert beside._drawn[0].what == "drawing 0"
    for n in range(3, 9):
        beside.give(f"drawing {n}", append, tmp_path / "drawn", n)
        assert len(beside._waiting) <= 2


def test_training_does_not_wait_for_a_drawing(start, tmp_path):
    drawing, go = start(), tmp_path / "go"
    drawing.give("plots", wait_for, go)
    drawing.give("pictures", append, tmp_path / "drawn", "x" * 1_000_000)  # more than a pipe holds
    assert drawing.take() == []  # would hang if it waited
    go.touch()
    assert [each.what for each in drawing.take(until="pictures")] == ["plots", "pictures"]


def test_pictures_can_be_waited_for_without_what_comes_after(start, tmp_path):
    drawing, go = start(), tmp_path / "go"
    drawing.give("pictures", append, tmp_path / "drawn", 1)
    drawing.give("plots", wait_for, go)
    assert [each.what for each in drawing.take(until="pictures")] == ["pictures"]
    go.touch()


@pytest.mark.parametrize("way", WAYS)
def test_errors_are_told_and_what_comes_after_is_drawn(start, tmp_path, way):
    drawing = start(way, tensorboard=True)
    drawing.give("pictures", cannot_write, "a.jpg")
    drawing.give("plots", bug)
    drawing.give("pictures", append, tmp_path / "drawn", 1)
    full, broken, fine = drawing.take(all_of_them=True)
    assert (full.problem, full.details) == ("cannot write a.jpg: the disk is full", "")
    [(event, iteration)] = full.sketches  # what TensorBoard shows does not hang on a file beside it
    assert iteration == 3 and summary_pb2.Summary.FromString(event).value[0].tag == "seen"
    assert broken.problem == "ZeroDivisionError: a bug"
    assert broken.details.startswith("Traceback") and "in bug" in broken.details
    assert (fine.what, fine.problem) == ("pictures", "") and (tmp_path / "drawn").exists()


def test_nothing_is_encoded_for_tensorboard_where_it_is_off(start):
    drawing = start()
    drawing.give("pictures", cannot_write, "a.jpg")
    assert drawing.take(all_of_them=True)[0].sketches == []


def test_of_a_process_that_is_killed_one_drawing_is_lost_and_said(start, tmp_path):
    drawing, path = start(), tmp_path / "drawn"
    drawing.give("plots", append, path, 0)
    drawing.give("pictures", die)
    for n in (1, 2):
        drawing.give("pictures", append, path, n)
    drawn = drawing.take(all_of_them=True)
    assert [each.problem for each in drawn] == [
        "", "the process that draws is killed by signal: Killed", "", "",
    ]  # fmt: skip
    assert path.read_text() == "0\n1\n2\n"


def test_where_no_process_can_be_started_this_one_draws(start, tmp_path, monkeypatch):
    def refuse(process):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.Process.start", refuse)
    drawing = start()
    drawing.give("pictures", append_pid, tmp_path / "pids")
    assert [each.problem for each in drawing.take(all_of_them=True)] == [""]
    assert (tmp_path / "pids").read_text() == f"{os.getpid()}\n"


def test_random_numbers_of_the_run_are_its_own(start, tmp_path):
    state = torch.get_rng_state()
    drawing = start()
    drawing.give("pictures", numbers_drawn_from_torch, tmp_path / "threads")
    drawing.take(all_of_them=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert (tmp_path / "threads").read_text() == "1\n"


def test_signals_to_all_processes_of_a_job_do_not_end_it(start, tmp_path):
    drawing, go, pids = start(), tmp_path / "go", tmp_path / "pids"
    drawing.give("pictures", append_pid, pids)
    drawing.take(all_of_them=True)
    [pid] = map(int, pids.read_text().split())
    drawing.give("pictures", wait_for, go)
    for name in ("INT", "HUP", "TERM"):
        subprocess.run(["kill", f"-{name}", str(pid)], check=True)  # a process that is not its parent
    drawing.give("pictures", append_pid, pids)
    go.touch()
    drawing.take(all_of_them=True)
    assert pids.read_text() == f"{pid}\n{pid}\n"


def test_what_is_left_can_be_given_up(start, tmp_path):
    drawing = start()
    drawing.give("pictures", wait_for, tmp_path / "never")
    drawing.end(at_once=True)  # would hang if it waited
    assert drawing.take(all_of_them=True) == []


PARENT = """
import sys, time
from pathlib import Path
from segkit.runs.recording.drawing import DrawBeside
from tests.runs.recording.test_drawing import append_pid, wait_for
drawing = DrawBeside()
drawing.give("pictures", append_pid, Path(sys.argv[1]))
drawing.take(all_of_them=True)
drawing.give("pictures", wait_for, Path(sys.argv[1]).with_name("never"))
if sys.argv[2] == "kill":
    time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_it_ends_with_its_parent(tmp_path, end):
    """Killed, the parent can tell nobody; at the end of the interpreter it waits for no drawing."""
    pids = tmp_path / "pids"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(pids), end], cwd=ROOT)
    wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), lambda: parent.poll() is not None)
    pid = int(pids.read_text())
    if end == "kill":
        parent.kill()
    parent.wait(HANG_LIMIT)
    wait_until(lambda: not _is_alive(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return (
            not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
        )
    except (ProcessLookupError, FileNotFoundError):
        return False
