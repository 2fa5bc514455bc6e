"""An ablation whose runs have two processes each, with real training."""

import csv
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from segkit.ablation import launch
from segkit.ablation.plan.plan import load_plan
from segkit.ablation.running.execute import Launcher
from segkit.ablation.running.state import inspect_plan
from tests.ablation.running.test_ablate import HALTING_TRAIN, TINY
from tests.processes import wait_until
from tests.scripts import run_script


@pytest.mark.heavy
def test_two_processes_a_run_give_the_scores_of_one(tmp_path, capsys, quick_plots, monkeypatch):
    """For real: two variants and two seeds, stopped in the middle, continued and reported; and as single processes."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("loss: {name: ce}\ndevice: cpu\n")
    Path("ab.yaml").write_text(TINY.replace("seeds: [0]", "seeds: [0, 1]"))
    shared = ("--config", "ab.yaml", "train.iterations=30", "model.norm=group", "train.batch_size=4")
    halting = [sys.executable, str(HALTING_TRAIN)]
    for name, value in {"AFTER": "12", "MARK": "halted", "ONLY": "ohem-seed0"}.items():
        monkeypatch.setenv(f"HALT_{name}", value)
    with monkeypatch.context() as patch:
        patch.setattr(launch, "Launcher", partial(Launcher, train=halting, poll=0.02))
        stop_when_halted = stopper()
        assert run_script("ablate", *shared, "log.dir=two", "--devices", "cpu,cpu") == 143
        stop_when_halted.join()
    plan = load_plan("ab.yaml", [*shared[2:], "log.dir=two"])
    assert [state.kind for state in inspect_plan(plan)] == ["finished", "resumes", "new", "new"]
    assert run_script("ablate", *shared, "log.dir=two", "--devices", "cpu,cpu") == 0
    assert run_script("ablate", *shared, "log.dir=one", "--devices", "cpu", "cpu") == 0
    two, one = (read_scores(Path(name, "ab/report.csv")) for name in ("two", "one"))
    assert len(two) == 4
    for run, scores in one.items():
        assert two[run] == pytest.approx(scores, abs=0.01), run


def stopper() -> threading.Thread:
    def stop() -> None:
        wait_until(Path("halted").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


def read_scores(path: Path) -> dict[tuple[str, str], list[float]]:
    """mIoU, accuracy and cross-entropy by variant and seed."""
    rows = csv.DictReader(path.read_text().splitlines())
    return {
        (row["variant"], row["seed"]): [float(row[key]) for key in ("mIoU", "accuracy", "ce")] for row in rows
    }
