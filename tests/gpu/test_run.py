"""The command around the parts: without the environment nothing is tried, without a GPU nothing is said of one."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from scripts.gpu import run
from scripts.gpu.clock import Clock
from scripts.gpu.table import FAILED


@pytest.fixture
def machine(monkeypatch):
    """What is found of the machine, and which parts are run, all of which pass, without any process."""
    found = SimpleNamespace(installs=True, gpus=1, status=0, silent=False, parts=[])

    def run_parts(self, parts):
        for part in parts:
            bad = part.name == "install" and not found.installs
            self.table.set(part.name, FAILED if bad else part.good, found="x")
        found.parts += [part.name for part in parts]

    def look(command, **options):
        if found.silent:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        line = json.dumps({"gpus": found.gpus, "head": {"GPU": "a GPU"}})
        return subprocess.CompletedProcess(
            command, found.status, f"a warning\n{line}\n", "no module named torch"
        )

    monkeypatch.setattr(Clock, "run", run_parts)
    monkeypatch.setattr(
        run, "subprocess", SimpleNamespace(run=look, TimeoutExpired=subprocess.TimeoutExpired)
    )
    monkeypatch.setattr(run.signal, "signal", lambda *words: None)
    monkeypatch.delenv("DRY", raising=False)
    monkeypatch.delenv("OUT", raising=False)
    return found


def table(folder) -> str:
    return (folder / "table.md").read_text()


def test_all_that_was_asked_for_is_run_and_said(machine, tmp_path, capsys):
    assert run.main(["camvid", "--output", str(tmp_path)]) == 0
    assert machine.parts == ["install", "camvid-ohem", "camvid-ce"]
    text = table(tmp_path)
    assert "- GPU: a GPU\n" in text and "- command: bash scripts/gpu/run.sh camvid --output" in text
    assert "- commit: " in text and text.endswith("3 of 3 parts held.\n") and text in capsys.readouterr().out


def test_without_what_it_needs_nothing_else_is_run(machine, tmp_path):
    machine.installs = False
    assert run.main(["numbers", "--output", str(tmp_path)]) == 1
    assert machine.parts == ["install"]
    assert table(tmp_path).endswith(
        "0 of 5 parts held; not so: install (failed), losses (not run), step (not run), loader (not run), "
        "models (not run).\n"
    )
    assert "the call ended before" in table(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"), [({"gpus": 0}, "torch finds no GPU"), ({"status": 1}, "no module")]
)
def test_without_a_gpu_it_ends(changes, reason, machine, tmp_path, capsys):
    vars(machine).update(changes)
    with pytest.raises(SystemExit) as ended:
        run.main(["step", "--output", str(tmp_path)])
    assert ended.value.code == 2 and reason in capsys.readouterr().err
    assert "| step | a step beside a plain loop | not run |" in table(tmp_path)


def test_a_rehearsal_needs_none_and_the_environment_can_ask_for_it(machine, tmp_path, monkeypatch):
    machine.gpus = 0
    monkeypatch.setenv("DRY", "1")
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    assert run.main(["step"]) == 0
    assert "a rehearsal in small on a CPU" in table(tmp_path / "out")


def test_a_table_is_not_replaced(machine, tmp_path, capsys):
    assert run.main(["step", "--output", str(tmp_path)]) == 0
    before = table(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run.main(["camvid", "--output", str(tmp_path)])
    assert ended.value.code == 2 and "has a table already" in capsys.readouterr().err
    assert table(tmp_path) == before


@pytest.mark.parametrize("jobs", ["0", "9"])
def test_no_more_than_eight_side_by_side(jobs, capsys):
    with pytest.raises(SystemExit) as ended:
        run.main(["--jobs", jobs])
    assert ended.value.code == 2 and f"--jobs {jobs}: 1 to 8" in capsys.readouterr().err


def test_the_commit_is_that_of_git_or_what_was_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "read_commit", lambda root: None)
    assert run.find_commit() == "unknown"
    (tmp_path / ".gpu").mkdir()
    (tmp_path / ".gpu/commit").write_text("abc\n")
    assert run.find_commit() == "abc"
    monkeypatch.setattr(run, "read_commit", lambda root: "def")
    assert run.find_commit() == "def"
