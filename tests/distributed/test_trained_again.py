"""A script in several processes that trains more than once."""

import os
import socket

import pytest

from segkit.distributed import ranks
from tests.paths import ROOT
from tests.processes import run_python

# First and last as it should be; between them runs that fail in the second process, while the first trains.
SCRIPT = """
import os
import segkit
from tests.distributed import faulty

options = ["debug.yaml", "model.name=faulty_unet", "data.name=faulty_shapes", "data.size=32"]
options += ["data.train_size=8", "data.val_size=4", "train.iterations=4", "train.workers=0"]
options += ["eval.images=0", "log.images_every=0", "log.tensorboard=false"]
for fault in ("none", "bad file", "memory", "not a number", "none"):
    faulty.FAULT, faulty.passes = fault, 29
    try:
        run = segkit.train(*options)
        told = f"{run.scores['images']} images"
    except segkit.SegkitError as error:
        told = type(error).__name__
    with open(f"{os.environ['RANK']}.txt", "a") as file:
        file.write(f"{told}\\n")
"""


def test_processes_that_met_before_do_not_find_what_they_left_there(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(ranks, "_MET", {})
    first, second = ranks._meeting_place(), ranks._meeting_place()
    first.set("address", "here")
    assert first.check(["address"]) and not second.check(["address"])


@pytest.mark.faults
def test_one_script_trains_again_also_after_a_failure(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "FAULT_RANK": "1"}
    done = run_python(*launcher, "script.py", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    told = ["4 images", "DataError", "OutOfMemory", "NotFiniteError", "4 images"]
    for rank in (0, 1):
        assert (tmp_path / f"{rank}.txt").read_text().splitlines() == told
