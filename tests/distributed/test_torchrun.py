"""`torchrun --nproc-per-node 2 train.py`: a process that dies, and the run that goes on afterwards."""

import csv
import json
import os
import signal

import pytest
import torch
from PIL import Image

from segkit.runs.checkpoint import load_checkpoint
from tests.distributed.launch import Launched, train
from tests.paths import ROOT
from tests.processes import run_python


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Launched:
    """A run of two processes from its beginning to its end."""
    launched = train(tmp_path_factory.mktemp("undisturbed"))
    assert launched.process.returncode == 0, launched.err
    return launched


def differences(one, other, key="") -> list[str]:
    """The keys under which two states are not the same, tensors to the bit."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [key]
    if isinstance(one, dict):
        assert one.keys() == other.keys(), key
        return [found for name in one for found in differences(one[name], other[name], f"{key}.{name}")]
    if isinstance(one, list | tuple):
        return [
            found
            for n, pair in enumerate(zip(one, other, strict=True))
            for found in differences(*pair, f"{key}.{n}")
        ]
    return [] if one == other else [key]


def scalars(launched: Launched) -> list[dict[str, str]]:
    with open(launched.run / "results.csv") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if not key.startswith("perf")} for row in rows]


def test_a_run_folder_is_that_of_one_process(tmp_path):
    """One of each file, written once; what is scored and logged is of all processes."""
    launched = train(tmp_path, iterations=4)
    assert launched.process.returncode == 0 and launched.err == ""
    assert launched.out.count("config ") == 1 and launched.out.count("done ") == 1
    assert launched.status["state"] == "done" and launched.status["iteration"] == 4
    summary = json.loads((launched.run / "summary.json").read_text())
    assert summary["last"]["images"] == 8 and summary["iterations"] == 4
    assert [row["iteration"] for row in scalars(launched)] == ["1", "2", "3", "4"]
    assert len((launched.run / "train.log").read_text().split("config ")) == 2
    assert json.loads((launched.run / "env.json").read_text())["processes"] == 2


@pytest.mark.faults
def test_killed_and_resumed_it_is_the_same_to_the_bit(undisturbed, tmp_path):
    killed = train(tmp_path, act=lambda launched: os.kill(launched.ranks[1], signal.SIGKILL), fault="hangs")
    assert killed.process.returncode == 1
    lines = killed.err.splitlines()
    assert lines[0].endswith(
        "lost rank 1 of 2 without a word: killed, out of memory, or the machine is out of reach"
    ) and lines[0].startswith("rank 0 on ")
    assert len([line for line in lines if "lost rank" in line]) == 1
    status = killed.status
    assert status["state"] == "failed" and status["exit_code"] == 9 and status["error"].startswith(lines[0])
    assert status["iteration"] == 15 and status["checkpoint"].endswith("000015.pt")
    assert "saved     iteration 15; continue with: torchrun --nproc-per-node 2 train.py" in killed.out

    resumed = train(tmp_path, "--resume", "auto")
    assert resumed.process.returncode == 0, resumed.err
    assert "resumed from" in resumed.out and scalars(resumed) == scalars(undisturbed)
    states = [load_checkpoint(each.run / "checkpoints/000040.pt") for each in (resumed, undisturbed)]
    assert differences(*states) == []


@pytest.mark.faults
def test_scores_and_predictions_are_those_of_one_process(undisturbed, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for n in range(3):
        Image.new("RGB", (40, 30), (80 * n, 40, 200)).save(images / f"{n}.png")
    user_code = ("--import", str(ROOT / "tests/distributed/faulty.py"))

    def launch(*words, processes):
        several = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = run_python(
            *(several if processes > 1 else ()), *words, *user_code, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for processes in (1, 2):
        options = (
            "--weights",
            undisturbed.run,
            "--boundary",
            "2",
            "--objects",
            "circle",
            "eval.batch_size=3",
        )
        launch(ROOT / "scripts/evaluate.py", *options, "--output", f"{processes}.json", processes=processes)
        options = ("--weights", undisturbed.run, "--source", images, "--output", f"predicted{processes}")
        printed = launch(ROOT / "scripts/predict.py", *options, processes=processes)
        assert printed.startswith(f"3 images -> predicted{processes} ") and printed.count("\n") == 1
    assert (tmp_path / "1.json").read_text() == (tmp_path / "2.json").read_text()
    names = {path.name for path in (tmp_path / "predicted1").iterdir()}
    assert len(names) == 6 and names == {path.name for path in (tmp_path / "predicted2").iterdir()}
    for name in names:
        assert (tmp_path / "predicted1" / name).read_bytes() == (tmp_path / "predicted2" / name).read_bytes()


def test_what_is_for_one_process_says_so_once(tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    command = (ROOT / "train.py", "--config", "debug.yaml", "--check")
    done = run_python(*launcher, *command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1 and done.stderr.count("is for one process -> start it without torchrun") == 1


@pytest.mark.parametrize(
    "arguments",
    [("--check", "--config", "debug.yaml"), ("--config", "debug.yaml", "--nonsense")],
    ids=["for one process", "a wrong option"],
)
def test_of_several_processes_the_first_alone_fails_of_a_wrong_command(arguments, tmp_path):
    """torchrun kills all as soon as one fails, and the first would be gone before it has said why."""
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    first, second = (
        run_python(
            ROOT / "train.py",
            *arguments,
            cwd=tmp_path,
            env={**os.environ, **place, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in "01"
    )
    assert first.returncode == 2 and first.stderr != ""
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
