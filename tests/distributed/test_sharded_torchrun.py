"""`torchrun --nproc-per-node 2 train.py train.shard=true`: stopped and killed runs, and how they go on."""

import os
import shutil
import signal

import pytest

from segkit.runs.checkpoint import load_checkpoint
from tests.distributed.launch import Launched, train
from tests.distributed.test_torchrun import differences, scalars
from tests.paths import ROOT
from tests.processes import run_python

pytestmark = pytest.mark.faults

WORDS = ("train.shard=true", "train.ema=null", "train.clip_norm=1", "eval.images=2", "log.images_every=10")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Launched:
    launched = train(tmp_path_factory.mktemp("undisturbed"), *WORDS)
    assert launched.process.returncode == 0, launched.err
    return launched


def require_same(one: Launched, other: Launched) -> None:
    """The tables and the last checkpoints, to the bit."""
    assert scalars(one) == scalars(other)
    states = [load_checkpoint(each.run / "checkpoints/000040.pt") for each in (one, other)]
    assert differences(*states) == []


def test_a_run_folder_is_that_of_one_process(undisturbed):
    assert undisturbed.err == "" and undisturbed.status["state"] == "done"
    for name in ("best.pt", "best8.jpg", "worst8.jpg", "val_batch0_pred.jpg", "README.md"):
        assert (undisturbed.run / name).is_file(), name


def test_stopped_and_resumed_it_is_the_same_to_the_bit(undisturbed, tmp_path):
    stopped = train(tmp_path, *WORDS, act=lambda launched: os.kill(launched.process.pid, signal.SIGTERM))
    assert stopped.status["state"] == "stopped" and stopped.status["exit_code"] == 143
    assert 15 <= stopped.status["iteration"] < 40
    resumed = train(tmp_path, *WORDS, "--resume", "auto")
    assert resumed.process.returncode == 0, resumed.err
    require_same(resumed, undisturbed)


def test_killed_it_goes_on_from_the_last_checkpoint(undisturbed, tmp_path):
    """What a process has of the model is lost with it, so nothing newer can be saved."""
    killed = train(
        tmp_path, *WORDS, act=lambda launched: os.kill(launched.ranks[1], signal.SIGKILL), fault="hangs"
    )
    assert killed.process.returncode == 1 and killed.status["exit_code"] == 9
    assert "not saved: iteration 15: a sharded model is put together by all its processes, and" in killed.out
    assert killed.status["checkpoint"].endswith("000010.pt")
    resumed = train(tmp_path, *WORDS, "--resume", "auto")
    assert resumed.process.returncode == 0, resumed.err
    require_same(resumed, undisturbed)


def test_its_weights_are_scored_and_trained_on_by_one_process(undisturbed, tmp_path):
    user_code = ("--import", str(ROOT / "tests/distributed/faulty.py"))
    options = ("--weights", undisturbed.run, *user_code, "--output", "scores.json")
    done = run_python(ROOT / "scripts/evaluate.py", *options, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "scores.json").is_file(), done.stderr
    copied = shutil.copytree(undisturbed.run, tmp_path / "runs/debug" / undisturbed.run.name)
    longer = ("train.iterations=44", "train.shard=false")
    done = run_python(ROOT / "train.py", "--resume", copied, *user_code, *longer, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "resumed from 000040.pt" in done.stdout and "resumed in 1 process instead of 2" in done.stdout
    assert "train.shard" not in done.stdout.partition("device ")[2]  # what changed is not worth a warning
    assert (copied / "checkpoints/000044.pt").is_file()
