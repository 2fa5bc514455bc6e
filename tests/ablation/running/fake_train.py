"""In the place of train.py: makes a run folder as it does, in milliseconds and without torch.

What it does depends on FAKE_<VARIANT>, whose words are: `fail` (exit status 5 after a line on stderr), `die` (killed),
`wait` (until a signal, then a checkpoint and 128 + signal), `deaf` (the first signal is ignored), `bare` (no
per_image.npz), `refuse` (exit status 3 before there is a run folder), `early` (as `wait`, before there is one),
`orphan` (holds its folder until its parent is gone and the file `go` is there, then a checkpoint and 143).

Of several processes the first does that, and the others say where they are and end.
"""

import argparse
import json
import os
import signal
import sys
import time
import zipfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from segkit.system.locks import take_lock
from tests.processes import wait_until

parser = argparse.ArgumentParser()
parser.add_argument("--config", type=Path)
parser.add_argument("--resume", type=Path)
parser.add_argument("--import", dest="imports", action="append")
parser.add_argument("overrides", nargs="*")
args = parser.parse_intermixed_args()

received = []
signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
signal.signal(signal.SIGHUP, lambda number, frame: received.append(number))
signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
config = yaml.safe_load(args.config.read_text())
config.update(override.split("=") for override in args.overrides)
variant = config["name"].rpartition("-seed")[0]
orders = os.environ.get(f"FAKE_{variant.upper()}", "").split()
threads = os.environ.get("OMP_NUM_THREADS")
rank, gpus = os.environ.get("RANK", "0"), os.environ.get("CUDA_VISIBLE_DEVICES")
parent = os.getppid()
if rank != "0":
    print(
        f"rank {rank} of {os.environ['WORLD_SIZE']}: {config['device']}, GPUs {gpus}, {threads} threads",
        flush=True,
    )
    sys.exit(0)
if "refuse" in orders:
    print("first words\nno images in nowhere\n   -> look elsewhere", file=sys.stderr)
    sys.exit(3)
if "early" in orders:
    print(f"waiting as {os.getpid()}", flush=True)
    wait_until(lambda: received)
    sys.exit(128 + received[0])
folder = args.resume or Path(config["log"]["dir"]) / config["name"] / f"t{time.time_ns()}"
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
(folder / "config.yaml").write_text(yaml.safe_dump(config))
(folder / "arguments.json").write_text(json.dumps(sys.argv[1:]))
if os.getsid(0) != os.getpid():
    sys.exit("Ctrl-C would reach this process twice")
print(f"training {config['name']} with {threads} threads, {'resumed' if args.resume else 'new'}", flush=True)


def write_status(state, iteration, error=None, exit_code=None):
    status = {
        "state": state,
        "iteration": iteration,
        "error": error,
        "exit_code": exit_code,
        "pid": os.getpid(),
    }
    (folder / "status.json").write_text(json.dumps(status))


def save(iteration):
    with zipfile.ZipFile(folder / "checkpoints" / f"{iteration:06d}.pt", "w") as archive:
        archive.writestr("data", "weights")
        archive.getinfo("data").external_attr = 0  # as torch writes it


if "fail" in orders:
    write_status("failed", 3, "the loss is nan in the update after iteration 3; nothing of it was saved", 5)
    print("first words\n\nthe loss is nan\n   -> a lower optimizer.lr", file=sys.stderr)
    sys.exit(5)
if "die" in orders:
    os.kill(os.getpid(), signal.SIGKILL)
if {"wait", "deaf"} & set(orders) and not args.resume:
    (folder / "results.csv").write_text("iteration,train/loss\n5,1.0\n7,0.9\n10,0")
    write_status("running", 0)
    print(f"waiting as {os.getpid()}", flush=True)
    wait_until(lambda: received)
    print(f"received {received[0]}", flush=True)
    wait_until(lambda: len(received) == (2 if "deaf" in orders else 1))
    save(7)
    write_status("stopped", 7, exit_code=128 + received[-1])
    sys.exit(128 + received[-1])
if "orphan" in orders:
    lock = take_lock(folder / ".lock", "", "")
    write_status("running", 0)
    print("waiting", flush=True)
    wait_until(lambda: os.getppid() != parent)
    print("alone", flush=True)
    wait_until(Path("go").exists)
    save(7)
    write_status("stopped", 7, exit_code=143)
    sys.exit(143)
write_status("done", 20, exit_code=0)
(folder / "summary.json").write_text(json.dumps({"last": {"mIoU": 0.604}, "seconds": 12.0}))
if "bare" not in orders:
    (folder / "per_image.npz").write_bytes(b"")
