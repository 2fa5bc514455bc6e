"""One writer per run folder, unique names, a status that is never half-written."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from segkit.errors import CannotWrite, CheckpointError, ConfigError, RunFolderInUse
from segkit.runs import folder as run_folder
from segkit.runs.folder import RunFolder, read_status
from segkit.system import locks
from tests.paths import ROOT


def hold_in_another_process(path, *, with_child=False):
    """A process that holds the run folder, and perhaps a forked worker of it; returns it and the worker's pid."""
    code = f"""
        import os, sys
        from segkit.runs.folder import RunFolder
        run = RunFolder.reopen({str(path)!r})
        child = os.fork() if {with_child} else None
        if not child:  # the worker itself, if there is one: then the fork is complete on both sides
            print(os.getpid(), flush=True)
        sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,  # open as long as the test goes on
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return process, int(process.stdout.readline())


def test_a_new_folder_is_named_by_run_and_time(tmp_path):
    with RunFolder.create(tmp_path / "runs", "ohem") as run:
        assert run.path.parent == tmp_path / "runs" / "ohem"
        assert re.fullmatch(r"\d{8}-\d{6}", run.path.name)
        assert run.checkpoints.is_dir()
        assert os.fspath(run) == str(run) == str(run.path)


def test_runs_of_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.time, "strftime", lambda _: "20261121-035100")
    runs = [RunFolder.create(tmp_path, "ohem") for _ in range(3)]
    assert [run.path.name for run in runs] == ["20261121-035100", "20261121-035100-2", "20261121-035100-3"]
    for run in runs:
        run.close()


def test_a_name_may_have_parts_but_not_leave_the_runs(tmp_path):
    with RunFolder.create(tmp_path / "runs", "camvid/ohem") as run:
        assert run.path.parent == tmp_path / "runs" / "camvid" / "ohem"
    for name in ("../ohem", "/ohem", "", "a/../../b"):
        with pytest.raises(ConfigError, match=r"name must be a folder name below .*runs, got "):
            RunFolder.create(tmp_path / "runs", name)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_the_files_have_the_documented_names(tmp_path):
    with RunFolder.create(tmp_path, "ohem") as run:
        names = {getattr(run, attribute).name for attribute in RunFolder.entries()}
    documented = """config.yaml env.json train.log results.csv results.png confusion_matrix.png confusion_matrix.csv
        check.json labels.png bad_samples.csv train_batch0.jpg loss_pixels.jpg val_batch0_labels.jpg
        val_batch0_pred.jpg best8.jpg worst8.jpg calibration.png temperature.json
        per_image.npz examples.npz examples checkpoints best.pt summary.json status.json README.md tb tracking
         predictions model.onnx model.pt2 model.json run.zip .lock"""
    assert names == set(documented.split())


def test_two_processes_cannot_write_one_folder(tmp_path):
    with RunFolder.create(tmp_path, "ohem") as run:
        path = run.path
    holder, _ = hold_in_another_process(path)
    try:
        with pytest.raises(RunFolderInUse) as caught:
            RunFolder.reopen(path)
        assert caught.value.exit_code == 6
        assert str(caught.value).startswith(f"run folder {path} is in use by process {holder.pid} on ")
    finally:
        holder.kill()
        holder.communicate()
    assert holder.returncode == -signal.SIGKILL
    RunFolder.reopen(path).close()  # the lock died with its process


def test_one_process_cannot_open_a_folder_twice_until_it_closes_it(tmp_path):
    run = RunFolder.create(tmp_path, "ohem")
    with pytest.raises(RunFolderInUse, match=f"in use by process {os.getpid()} on "):
        RunFolder.reopen(run.path)
    run.close()
    run.close()
    RunFolder.reopen(run.path).close()


def test_a_worker_that_outlives_a_killed_run_does_not_hold_the_folder(tmp_path):
    with RunFolder.create(tmp_path, "ohem") as run:
        path = run.path
    holder, worker = hold_in_another_process(path, with_child=True)
    holder.kill()
    holder.wait()
    try:
        os.kill(worker, 0)  # the worker is alive
        RunFolder.reopen(path).close()
    finally:
        os.kill(worker, signal.SIGKILL)
        holder.stdin.close()
        holder.stdout.close()


def test_reopening_sweeps_what_a_killed_writer_left(tmp_path):
    with RunFolder.create(tmp_path, "ohem") as run:
        left = [run.path / ".best.pt.77.tmp", run.checkpoints / ".000400.pt.77.tmp"]
        run.moments.mkdir(parents=True)
        left += [run.example_pictures / ".000400.jpg.77.tmp", run.moments / ".000400.jpg.77.tmp"]
        kept = run.checkpoints / "000200.pt"
        for file in (*left, kept):
            file.touch()
    with RunFolder.reopen(run.path):
        assert not any(file.exists() for file in left)
        assert kept.exists()


def test_reopening_what_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=f"^no run folder at {tmp_path}/x -> "):
        RunFolder.reopen(tmp_path / "x")


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(CannotWrite) as caught:
        RunFolder.create(tmp_path / "runs", "ohem")
    first = str(caught.value).splitlines()[0]
    assert re.fullmatch(
        f"cannot write {tmp_path}/runs/ohem/[0-9-]+: a file is where a folder should be", first
    )
    assert caught.value.exit_code == 7


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder that even root cannot write")
def test_a_folder_that_even_root_cannot_write():
    with pytest.raises(CannotWrite, match=r"^cannot write /proc/runs/ohem/"):
        RunFolder.create("/proc/runs", "ohem")


def test_a_disk_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(CannotWrite, match="its disk cannot lock files, so two runs could write one folder"):
        RunFolder.create(tmp_path, "ohem")


def test_status_tells_how_the_run_stands(tmp_path):
    with RunFolder.create(tmp_path, "ohem") as run:
        assert read_status(run) is None
        run.write_status("running", iteration=0)
        started = read_status(run)["started"]
        run.write_status(
            "failed", iteration=7, exit_code=5, error="loss is nan", checkpoint=run.checkpoints / "000005.pt"
        )
        status = json.loads(run.status.read_text())
    assert status.pop("updated") >= started
    assert status == {
        "state": "failed",
        "iteration": 7,
        "exit_code": 5,
        "error": "loss is nan",
        "checkpoint": str(run.checkpoints / "000005.pt"),
        "pid": os.getpid(),
        "started": started,
    }
    assert time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S")


def test_an_unknown_state_is_a_bug(tmp_path):
    with (
        RunFolder.create(tmp_path, "ohem") as run,
        pytest.raises(ValueError, match="must be one of running, done"),
    ):
        run.write_status("finished", iteration=1)
