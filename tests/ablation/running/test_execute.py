"""Runs as processes: slots, failures, signals, progress. A fake train.py takes the place of the real one."""

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from segkit.ablation.launch import run_all
from segkit.ablation.running.child import Child
from segkit.ablation.running.execute import Launcher, Outcome, exit_code
from segkit.ablation.running.progress import Progress, read_iteration
from segkit.ablation.running.slots import Slot, make_slots
from segkit.ablation.running.state import inspect_plan
from segkit.errors import ConfigError
from segkit.system.environment import usable_cpus
from segkit.system.locks import take_lock
from tests.paths import ROOT
from tests.processes import wait_until

FAKE_TRAIN = Path(__file__).with_name("fake_train.py")


def holds(path: str, text: str) -> bool:
    return Path(path).exists() and text in Path(path).read_text()


class Session:
    """One launch of a plan: its outcomes, and the lines it printed, without times."""

    def __init__(self, plan, *, slots=None, meanwhile=None, line_every=math.inf):
        self.stream = io.StringIO()
        self.launcher = Launcher(
            plan,
            slots or [Slot()],
            iterations={run.name: 20 for run in plan.runs},
            train=[sys.executable, str(FAKE_TRAIN)],
            poll=0.02,
            stream=self.stream,
            line_every=line_every,
        )
        self.ended = threading.Event()
        thread = threading.Thread(target=meanwhile, args=(self,)) if meanwhile else None
        if thread:
            thread.start()
        try:
            self.outcomes = self.launcher.launch(inspect_plan(plan))
        finally:
            self.ended.set()
            if thread:
                thread.join()
        self.lines = re.sub(r"  \d:\d\d:\d\d", "", self.stream.getvalue()).splitlines()
        self.code = exit_code(self.outcomes, self.launcher.stopped_by)

    def wait_for(self, path: str, text: str) -> None:
        """Until the file holds the text."""
        wait_until(lambda: holds(path, text), self.ended.is_set)


def arguments_of(name: str) -> list[str]:
    (path,) = Path("runs/ab", name).glob("*/arguments.json")
    return json.loads(path.read_text())


def test_all_runs_one_after_the_other(small):
    session = Session(small())
    assert session.lines == [
        "start     ce-seed0  1 of 4  auto   runs/ab/logs/ce-seed0.log",
        "done      ce-seed0  mIoU 60.4",
        "start     ohem-seed0  2 of 4  auto   runs/ab/logs/ohem-seed0.log",
        "done      ohem-seed0  mIoU 60.4",
        "start     ce-seed1  3 of 4  auto   runs/ab/logs/ce-seed1.log",
        "done      ce-seed1  mIoU 60.4",
        "start     ohem-seed1  4 of 4  auto   runs/ab/logs/ohem-seed1.log",
        "done      ohem-seed1  mIoU 60.4",
    ]
    assert session.code == 0 and {outcome.kind for outcome in session.outcomes} == {"done"}
    assert {state.kind for state in inspect_plan(small())} == {"finished"}
    assert arguments_of("ce-seed1") == ["--config", "runs/ab/configs/ce-seed1.yaml"]
    assert "training ce-seed1 with None threads, new" in Path("runs/ab/logs/ce-seed1.log").read_text()


def test_finished_runs_are_not_repeated(small):
    Session(small())
    times = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    session = Session(small())
    assert (session.lines, session.outcomes, session.code) == ([], [], 0)
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")} == times


def test_changed_runs_are_repeated_beside_the_old(small):
    Session(small(seeds=[0]))
    path = Path("ab.yaml")
    path.write_text(path.read_text().replace("{name: ohem_ce}", "{name: ohem_ce, thresh: 0.5}"))
    session = Session(small(seeds=[0]))
    assert [outcome.name for outcome in session.outcomes] == ["ohem-seed0"]
    assert len(list(Path("runs/ab/ohem-seed0").iterdir())) == 2


def test_every_slot_has_its_device_and_its_share_of_the_cpus(small, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    slots = make_slots(["cpu", "cpu"], "auto")
    assert slots == [Slot("cpu", 4), Slot("cpu", 4)]
    assert make_slots([], "cpu") == make_slots([], "auto") == [Slot(None, None)]
    assert make_slots(["cpu"], "auto") == [Slot("cpu", None)]
    session = Session(small(imports=["my_losses.py"]), slots=slots)
    assert session.lines[:2] == [
        "start     ce-seed0  1 of 4  cpu   runs/ab/logs/ce-seed0.log",
        "start     ohem-seed0  2 of 4  cpu   runs/ab/logs/ohem-seed0.log",
    ]
    assert arguments_of("ohem-seed1") == [
        *("--config", "runs/ab/configs/ohem-seed1.yaml", "--import", "my_losses.py", "device=cpu")
    ]
    assert "with 4 threads" in Path("runs/ab/logs/ohem-seed1.log").read_text()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    Session(small("train.iterations=9"), slots=slots)
    assert "with 3 threads" in Path("runs/ab/logs/ohem-seed1.log").read_text()


def test_device_that_is_not_there(small):
    small()
    with pytest.raises(ConfigError, match=r"CUDA was asked for \(device: cuda:0\) but"):
        make_slots(["cuda:0"], "cpu")
    assert usable_cpus() >= 1


def test_a_failing_run_whose_log_is_gone_does_not_stop_the_others(small, monkeypatch):
    """Somebody removed the logs, or the whole folder; it ended the ablation and its other runs in a traceback."""
    monkeypatch.setenv("FAKE_CE", "wait")

    def remove(session):
        session.wait_for("runs/ab/logs/ce-seed0.log", "waiting as ")
        shutil.rmtree("runs/ab")
        session.launcher.children[0].process.kill()

    session = Session(small(seeds=[0]), meanwhile=remove)
    assert [(outcome.name, outcome.kind) for outcome in session.outcomes] == [
        ("ce-seed0", "failed"),
        ("ohem-seed0", "done"),
    ]
    assert session.outcomes[0].note.splitlines() == [
        "runs/ab/logs/ce-seed0.log cannot be read: No such file or directory",
        "ended by SIGKILL (out of memory?)",
    ]


def test_a_failing_run_does_not_stop_the_others(small, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "fail")
    session = Session(small())
    assert [outcome.kind for outcome in session.outcomes] == ["failed", "done"] * 2
    assert session.outcomes[0].note == (
        "training ce-seed0 with None threads, new\nfirst words\nthe loss is nan\n   -> a lower optimizer.lr"
    )
    assert session.lines[1] == "failed    ce-seed0  exit status 5"
    assert session.code == 5
    again = Session(small())
    assert [outcome.name for outcome in again.outcomes] == ["ce-seed0", "ce-seed1"]
    assert again.outcomes[0].note == session.outcomes[0].note, "only what was written this time"
    assert Path("runs/ab/logs/ce-seed0.log").read_text().count("first words") == 2


def test_killed_run(small, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "die")
    session = Session(small(seeds=[0]))
    assert session.outcomes[0].code == session.code == 137
    assert session.outcomes[0].note.splitlines()[-1] == "ended by SIGKILL (out of memory?)"


def test_run_that_ends_without_its_scores(small, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "bare")
    session = Session(small(seeds=[0]))
    assert (session.outcomes[0].kind, session.code) == ("failed", 1)
    assert re.fullmatch(
        r"it ended, but is not finished: new \(t\d+ has no per_image.npz\)   runs/ab/logs/ce-seed0.log",
        session.outcomes[0].note,
    )


def test_exit_code():
    def code(*codes, stopped_by=None):
        return exit_code([Outcome("a", "done", code, "") for code in codes], stopped_by)

    assert code() == code(0, 0) == 0
    assert code(0, 5, 5) == 5
    assert code(3, 5) == 1
    assert code(0, None) == 6
    assert code(0, 143, stopped_by=signal.SIGTERM) == 143
    assert code(stopped_by=signal.SIGINT) == 130


def test_a_stopped_ablation_says_all_of_the_command_that_continues(small, monkeypatch, capsys):
    monkeypatch.setattr(Launcher, "launch", lambda self, states: self.signals.append(signal.SIGINT) or [])
    plan = small("train.iterations=9", seeds=[4])
    assert run_all(plan, devices=["cpu", "cpu"], pdf=True, pack=Path("my study.zip")) == 130
    assert capsys.readouterr().out.endswith(
        "stopped   continue with the same command: python scripts/ablate.py --config ab.yaml train.iterations=9 "
        "--seeds 4 --devices cpu cpu --pdf --pack 'my study.zip'\n"
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_signal_stops_the_runs_after_saving_and_the_next_launch_continues(small, monkeypatch, number, code):
    monkeypatch.setenv("FAKE_CE", "wait")
    monkeypatch.setenv("FAKE_OHEM", "wait")
    slots = [Slot("cpu"), Slot("cpu")]

    def interrupt(session):
        for name in ("ce-seed0", "ohem-seed0"):
            session.wait_for(f"runs/ab/logs/{name}.log", "waiting")
        os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    session = Session(small(), slots=slots, meanwhile=interrupt)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert sorted(session.lines[2:]) == [
        "stopped   ce-seed0  saved at 7",
        "stopped   ohem-seed0  saved at 7",
    ]
    assert session.code == code and [outcome.code for outcome in session.outcomes] == [code] * 2
    words = {state.run.name: state.words for state in inspect_plan(small())}
    assert words == {
        "ce-seed0": "resumes at 7 of 20",
        "ohem-seed0": "resumes at 7 of 20",
        "ce-seed1": "new",
        "ohem-seed1": "new",
    }
    monkeypatch.delenv("FAKE_CE")
    monkeypatch.delenv("FAKE_OHEM")
    again = Session(small(), slots=slots)
    assert again.code == 0
    start = "start     ce-seed0  1 of 4  cpu  resumes at 7 of 20   runs/ab/logs/ce-seed0.log"
    assert start in again.lines
    arguments = arguments_of("ce-seed0")
    assert arguments[2:4] == ["--resume", str(next(Path("runs/ab/ce-seed0").iterdir()))]
    assert {state.kind for state in inspect_plan(small())} == {"finished"}


def test_hangup_stays_ignored_under_nohup(small):
    seen = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        Session(small(seeds=[0]), meanwhile=lambda session: seen.append(signal.getsignal(signal.SIGHUP)))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]


def test_error_after_a_signal_lets_the_runs_save(small, monkeypatch):
    """Such as a pipe that was closed: a second signal would end them at once."""
    monkeypatch.setenv("FAKE_CE", "wait")
    sent = []
    monkeypatch.setattr("segkit.ablation.running.child.Child.send", lambda child, number: sent.append(number))
    launcher = Launcher(
        small(), [Slot()], iterations={}, train=[sys.executable, str(FAKE_TRAIN)], stream=io.StringIO()
    )
    process = subprocess.Popen(["true"])
    launcher.children = [Child(None, Slot(), process, Path(), 0, frozenset())]
    launcher.signals = [signal.SIGTERM]
    launcher._end_children()
    assert sent == []


def test_second_signal_is_passed_on_too(small, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "deaf")

    def interrupt(session):
        session.wait_for("runs/ab/logs/ce-seed0.log", "waiting")
        os.kill(os.getpid(), signal.SIGTERM)
        session.wait_for("runs/ab/logs/ce-seed0.log", f"received {int(signal.SIGTERM)}")
        os.kill(os.getpid(), signal.SIGINT)

    session = Session(small(), meanwhile=interrupt)
    assert session.launcher.signals == [signal.SIGTERM, signal.SIGINT]
    assert session.outcomes[0].code == 130 and session.code == 143


def test_error_of_our_own_ends_the_runs(small, monkeypatch):
    """A full disk, for instance: no run is left behind without anybody to look after it."""
    monkeypatch.setenv("FAKE_CE", "wait")
    plan = small()

    def fail(progress, iterations, runs_done):
        if any("waiting" in path.read_text() for path in Path().glob("runs/ab/logs/*.log")):
            raise OSError("planted")

    monkeypatch.setattr(Progress, "update", fail)
    with pytest.raises(OSError, match="planted"):
        Session(plan)
    assert inspect_plan(plan)[0].words == "resumes at 7 of 20"


def test_run_of_another_process_is_left_alone(small):
    plan = small(seeds=[0])
    states = inspect_plan(plan)
    stream = io.StringIO()
    lock = take_lock(plan.files.run_lock("ce-seed0"), "the run", "wait")
    launcher = Launcher(
        plan,
        [Slot()],
        iterations=dict.fromkeys(["ce-seed0", "ohem-seed0"], 20),
        train=[sys.executable, str(FAKE_TRAIN)],
        stream=stream,
    )
    outcomes = launcher.launch(states)  # its plan was made before the other process began
    os.close(lock)
    assert [(outcome.name, outcome.kind, outcome.code) for outcome in outcomes] == [
        ("ce-seed0", "skip", None),
        ("ohem-seed0", "done", 0),
    ]
    assert stream.getvalue().startswith("skip      ce-seed0  the run ce-seed0 is in use by process ")
    assert exit_code(outcomes, None) == 6


def test_run_that_another_process_finished_meanwhile(small):
    plan = small(seeds=[0])
    states = inspect_plan(plan)
    Session(plan)
    launcher = Launcher(
        plan,
        [Slot()],
        iterations=dict.fromkeys(["ce-seed0", "ohem-seed0"], 20),
        train=[sys.executable, str(FAKE_TRAIN)],
        stream=io.StringIO(),
    )
    outcomes = launcher.launch(states)
    assert [(outcome.kind, outcome.code) for outcome in outcomes] == [("skip", 0)] * 2
    assert len(list(Path("runs/ab/ce-seed0").iterdir())) == 1


def test_run_keeps_its_lock_when_the_launcher_is_killed(small, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "wait")
    plan = small(seeds=[0])
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from segkit.ablation.running.execute import Launcher\n"
        "from segkit.ablation.plan.plan import load_plan\n"
        "from segkit.ablation.running.slots import Slot\n"
        "from segkit.ablation.running.state import inspect_plan\n"
        "plan = load_plan('ab.yaml', seeds=[0])\n"
        "lengths = {run.name: 20 for run in plan.runs}\n"
        "Launcher(plan, [Slot()], iterations=lengths, train=[sys.executable, sys.argv[2]]).launch(inspect_plan(plan))\n"
    )
    root = ROOT
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root), str(FAKE_TRAIN)], stdout=subprocess.DEVNULL
    )
    wait_until(lambda: holds("runs/ab/logs/ce-seed0.log", "waiting"), lambda: process.poll() is not None)
    process.kill()
    process.wait()
    state = inspect_plan(plan)[0]
    assert state.words.startswith("in use by process ")
    pid = re.search(r"waiting as (\d+)", Path("runs/ab/logs/ce-seed0.log").read_text())[1]
    os.kill(int(pid), signal.SIGTERM)
    wait_until(lambda: inspect_plan(plan)[0].kind != "in use")
    assert inspect_plan(plan)[0].words == "resumes at 7 of 20"


def test_last_logged_iteration(tmp_path):
    assert read_iteration(tmp_path) == 0
    path = tmp_path / "results.csv"
    for text, iteration in {
        "": 0,
        "iteration,a\n": 0,
        "iteration,a\n5,1.0\n": 5,
        "iteration,a\n5,1.0\n1": 5,
        '"iteration","a,b"\n5,\n120,0.3\n': 120,
        "iteration,a\n" + "".join(f"{n},{'9' * 100}\n" for n in range(1, 1001)): 1000,
    }.items():
        path.write_text(text)
        assert read_iteration(tmp_path) == iteration


def test_progress_in_lines():
    now, stream = [0.0], io.StringIO()
    progress = Progress(stream, runs=12, total=4800, done=400, clock=lambda: now[0])
    for second, iterations in ((30, 500), (61, 1400), (90, 1500), (122, 2600)):
        now[0] = second
        progress.update(iterations, iterations // 1000)
    progress.close()
    assert stream.getvalue() == (
        "progress  1/12 runs  1,400/4,800 iterations  eta 0:03:27\n"
        "progress  2/12 runs  2,600/4,800 iterations  eta 0:02:02\n"
    )


def test_progress_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    progress = Progress(stream, runs=3, total=100)
    progress.update(50, 1)
    progress.line("done      ce-seed0")
    progress.close()
    assert " 50%|" in stream.getvalue() and "1/3 runs  50/100 iterations" in stream.getvalue()
    assert "done      ce-seed0\n" in stream.getvalue()


def test_progress_follows_the_running_runs(small, monkeypatch):
    monkeypatch.setenv("FAKE_CE", "wait")

    def interrupt(session):
        session.wait_for("runs/ab/logs/ce-seed0.log", "waiting")
        wait_until(lambda: "7/40" in session.stream.getvalue(), session.ended.is_set)
        os.kill(os.getpid(), signal.SIGTERM)

    session = Session(small(seeds=[0]), meanwhile=interrupt, line_every=0.0)
    assert any(
        line.startswith("progress  0/2 runs  7/40 iterations  eta")
        for line in session.stream.getvalue().splitlines()
    )
