"""In the place of train.py: makes a run folder as it does, in milliseconds and without torch.

What it does depends on FAKE_<VARIANT>, whose words are: `fail` (exit status 5 after a line on stderr), `die` (killed),
`wait` (until a signal, then a checkpoint and 128 + signal), `deaf` (the first signal is ignored), `bare` (no
per_image.npz).
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
folder = args.resume or Path(config["log"]["dir"]) / config["name"] / f"t{time.time_ns()}"
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
(folder / "config.yaml").write_text(yaml.safe_dump(config))
(folder / "arguments.json").write_text(json.dumps(sys.argv[1:]))
threads = os.environ.get("OMP_NUM_THREADS")
if os.getsid(0) != os.getpid():
    sys.exit("Ctrl-C would reach this process twice")
print(f"training {config['name']} with {threads} threads, {'resumed' if args.resume else 'new'}", flush=True)


def write_status(state, iteration, error=None):
    status = {"state": state, "iteration": iteration, "error": error, "exit_code": None}
    (folder / "status.json").write_text(json.dumps(status))


def save(iteration):
    with zipfile.ZipFile(folder / "checkpoints" / f"{iteration:06d}.pt", "w") as archive:
        archive.writestr("data", "weights")
        archive.getinfo("data").external_attr = 0  # as torch writes it


if "fail" in orders:
    write_status("failed", 3, "the loss is nan in the update after iteration 3; nothing of it was saved")
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
    write_status("stopped", 7)
    sys.exit(128 + received[-1])
write_status("done", 20)
(folder / "summary.json").write_text(json.dumps({"last": {"mIoU": 0.604}, "seconds": 12.0}))
if "bare" not in orders:
    (folder / "per_image.npz").write_bytes(b"")
