"""--list-commands: a line for each run, which another program starts, from another folder."""

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest

from segkit.ablation import launch
from segkit.ablation.plan.plan import load_plan
from segkit.ablation.running.execute import Launcher
from segkit.ablation.running.state import inspect_plan
from segkit.system.locks import take_lock
from tests.ablation.running.test_ablate import FAKE_TRAIN, TINY
from tests.paths import ROOT
from tests.processes import HANG_LIMIT
from tests.scripts import run_script


@pytest.fixture
def listed(small, monkeypatch, capsys):
    """`listed(*arguments)`: the lines that are printed for the small ablation, whose runs a fake train.py trains."""
    small()
    text = "loss: {name: ce}\ntrain: {iterations: 20, batch_size: 4}\naugment: {crop_size: 32}\n"
    Path("base.yaml").write_text(
        text + "data: {size: 32, train_size: 4, val_size: 2}\nmodel: {width: 2, depth: 1}\n"
    )
    fake = partial(Launcher, train=[sys.executable, str(FAKE_TRAIN)], poll=0.02)
    monkeypatch.setattr(launch, "Launcher", fake)

    def run(*arguments: str) -> list[str]:
        assert run_script("ablate", "--config", "ab.yaml", *arguments, "--list-commands") == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_each_line_trains_its_run_from_any_folder(listed, capsys):
    lines = listed("optimizer.lr=0.05", "--seeds", "0", "1", "--devices", "cpu")
    here = Path.cwd()
    assert lines[2] == (
        f"cd {here} && {sys.executable} {ROOT}/scripts/ablate.py --config ab.yaml optimizer.lr=0.05 --seeds 0 1 "
        "--run ce-seed1 --devices cpu"
    )
    plan = load_plan("ab.yaml", ["optimizer.lr=0.05"])
    for number, line in enumerate(lines):
        assert [state.kind for state in inspect_plan(plan)] == ["finished"] * number + ["new"] * (4 - number)
        cd, folder, and_then, python, script, *words = shlex.split(line)
        assert (cd, and_then, python) == ("cd", "&&", sys.executable) and Path(script).is_file()
        with chdir("/"), chdir(folder):
            assert run_script("ablate", *words) == 0
    capsys.readouterr()
    assert listed("optimizer.lr=0.05", "--seeds", "0", "1") == []


def test_what_is_finished_or_in_use_is_left_out(listed, capsys):
    assert run_script("ablate", "--config", "ab.yaml", "--run", "ohem-seed0") == 0
    lock = take_lock(load_plan("ab.yaml").files.run_lock("ce-seed1"), "", "")
    capsys.readouterr()
    assert run_script("ablate", "--config", "ab.yaml", "--list-commands") == 0
    captured = capsys.readouterr()
    os.close(lock)
    assert [line.rpartition(" ")[2] for line in captured.out.splitlines()] == ["ce-seed0", "ohem-seed1"]
    assert "note      ce-seed1: left alone, in use by process" in captured.err


def test_nothing_left_is_said_beside_the_commands(listed, monkeypatch, capsys):
    monkeypatch.setattr(launch, "inspect_plan", lambda plan: [])
    assert run_script("ablate", "--config", "ab.yaml", "--list-commands") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "nothing to train: all 4 runs are finished or in use\n"


def test_a_group_of_a_machine_that_is_elsewhere(listed, capsys):
    """Nobody asks whether the devices are here, only whether they can share the batch."""
    assert all(line.endswith(" --devices cuda:0,1") for line in listed("--devices", "cuda:0,1"))
    arguments = ("--config", "ab.yaml", "--list-commands", "--devices")
    assert run_script("ablate", *arguments, "cuda:0,1,2") == 2
    assert "cannot be shared equally by 3" in capsys.readouterr().err
    assert run_script("ablate", *arguments, "cuda:0,0") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "ce-seed0"], "--list-commands only prints commands: leave out --run"),
        (["--launcher", "slurm"], "leave out --launcher slurm"),
        (["--report"], "leave out --report"),
        (["--dry-run"], "leave out --dry-run"),
        (
            ["--devices", "cuda:0", "cuda:1"],
            "every command gets the same device, or group of devices, so give one",
        ),
    ],
)
def test_usage(arguments, message, capsys):
    assert run_script("ablate", "--config", "ab.yaml", "--list-commands", *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.heavy
@pytest.mark.skipif(shutil.which("xargs") is None, reason="there is no xargs")
def test_xargs_trains_them_all(tmp_path, capsys, quick_plots):
    """For real, in a folder whose name a shell takes apart, two at a time; one that was left out is the report's."""
    folder = tmp_path / "it's $here (1)"
    folder.mkdir()
    (folder / "base.yaml").write_text("loss: {name: ce}\ndevice: cpu\n")
    (folder / "ab.yaml").write_text(TINY)
    with chdir(folder):
        assert run_script("ablate", "--config", "ab.yaml", "train.iterations=10", "--list-commands") == 0
        lines = capsys.readouterr().out
        assert lines.count("\n") == 2
        command = "tr '\\n' '\\0' | xargs -0 -P 2 -n 1 sh -c"
        done = subprocess.run(
            ["sh", "-c", command], input=lines, text=True, capture_output=True, cwd="/", timeout=HANG_LIMIT
        )
        assert done.returncode == 0, done.stderr
        assert {state.kind for state in inspect_plan(load_plan("ab.yaml", ["train.iterations=10"]))} == {
            "finished"
        }
        assert run_script("ablate", "--config", "ab.yaml", "train.iterations=10", "--report") == 0
        assert Path("runs/ab/report.html").is_file()
