"""A state machine of faults: runs that are killed, stopped, resumed, edited and damaged, in an order drawn at random.

    python -m tests.faults.machine --seed 0 --seconds 3600

An *episode* is a folder in which one configuration is trained, by a dozen steps of what people and machines do. After
each step what docs/reliability.md promises must hold. Whatever happened to a run, its weights after an iteration are a
function of the configuration and of the iteration, so every checkpoint is compared, bit by bit, with those of a run
that nothing happened to; only episodes that change the experiment on purpose are not. A failure names the seed and the
number of the episode, which repeat it: `--seed 0 --episode 17`.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segkit.cli import compare, evaluate, predict, train
from segkit.errors import CheckpointError
from segkit.runs.checkpoint import load_checkpoint
from segkit.system.run_files import (
    RunFiles,
    iteration_of,
    list_checkpoints,
    list_set_aside,
    number_of_set_aside,
)
from tests.empty_plots import replace_plots
from tests.faults.drawn_data import draw_data
from tests.faults.forked import Ended, run_forked

CONFIG = """
name: tiny
device: cpu
data: {name: folder, root: drawn, classes: [ground, thing]}
model: {name: unet, width: 4, depth: 2}
loss: {name: ohem_ce, thresh: 0.7, n_min: 1/16}
optimizer: {name: sgd, lr: 0.3, momentum: 0.9}
schedule: {name: constant, warmup: 0}
train: {iterations: 8, batch_size: 2, checkpoint_every: 2, workers: 0, ema: 0.9}
eval: {every: 2, images: 2}
log: {every: 2, tensorboard: false, images_every: 4}
"""
LONGEST = 20
STEPS = 12
DOCUMENTED = {0, 2, 3, 4, 5, 6, 7, 8, 129, 130, 143}


class Broken(AssertionError):
    """A promise that was not kept."""


class Episode:
    """One folder and what happens in it. `reference` are the weights (name -> bytes) by iteration."""

    def __init__(
        self, folder: Path, random: np.random.Generator, reference: dict[int, dict[str, bytes]]
    ) -> None:
        self.folder, self.random, self.reference = folder, random, reference
        self.changed = False  # whether the experiment itself was changed, on purpose
        self.data_damaged = False
        self.moments = 150
        self.story: list[str] = []

    # What is done.

    def step(self) -> str:
        """Do one thing at random, and look at everything; returns what it was called."""
        acts = {
            self.resume: 6,
            self.go_back: 2,
            self.lengthen: 2,
            self.change: 1,
            self.damage: 4,
            self.check: 1,
            self.evaluate: 1,
            self.predict: 1,
            self.compare: 1,
        }
        shares = np.array(list(acts.values())) / sum(acts.values())
        act = list(acts)[self.random.choice(len(acts), p=shares)]
        before = self.latest()
        act()
        self.look(before if act != self.damage else 0)
        return act.__name__

    def resume(self, *overrides: str, source: str = "auto", may_refuse: bool = False) -> None:
        arguments = ["--config", "tiny.yaml", "--resume", source, *overrides]
        there = self.numbered()
        usable = self.loads(there)
        fault, options = self.draw_fault()
        ended = self.run(train.main, *arguments, **options)
        if ended.killed or may_refuse:
            return
        allowed = {0}
        if self.data_damaged:
            allowed |= {3, 4}
        if fault == "small files":
            allowed |= {4, 7}
        if fault in ("SIGTERM", "SIGINT"):
            allowed |= {143, 130}
        if there and not usable:
            allowed = {4} | (allowed - {0})
        if self.changed:
            allowed = allowed | {4}  # the checkpoints may be of the other experiment
        if ended.status == 2 and "nothing is left to do" in ended.output:
            return  # it was trained for longer once
        if ended.status not in allowed:
            raise Broken(f"ended with {ended.status}, not one of {sorted(allowed)}\n{ended.output}")
        if ended.status == 0 and not fault:
            self.moments = ended.moments

    def draw_fault(self) -> tuple[str, dict[str, Any]]:
        fault = str(
            self.random.choice(["kill", "", "SIGTERM", "SIGINT", "small files"], p=[0.5, 0.2, 0.1, 0.1, 0.1])
        )
        moment = int(self.random.integers(1, self.moments + 1))
        if fault == "kill":
            return fault, {"kill_at": moment}
        if fault.startswith("SIG"):
            return fault, {"kill_at": moment, "signal_number": signal.Signals[fault]}
        if fault == "small files":
            size = int(self.random.integers(1_000, 200_000))

            def limit() -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

            return fault, {"prepare": limit}
        return fault, {}

    def go_back(self) -> None:
        found = self.numbered()
        if not found:
            return self.resume()
        return self.resume(source=str(found[self.random.integers(len(found))]), may_refuse=True)

    def lengthen(self) -> None:
        self.resume(f"train.iterations={self.random.integers(2, LONGEST + 1)}", may_refuse=True)

    def change(self) -> None:
        """Another experiment, which has to be allowed."""
        self.changed = True
        allowed = ("loss.thresh=0.5", "--allow-change", "loss.thresh")
        self.run(train.main, "--config", "tiny.yaml", "--resume", "auto", *allowed)

    def check(self) -> None:
        before = self.listing()
        self.run(train.main, "--config", "tiny.yaml", "--resume", "auto", "--check")
        if self.listing() != before:
            raise Broken(f"--check wrote something: {self.listing() ^ before}")

    def evaluate(self) -> None:
        for run in self.runs()[-1:]:
            options = ["--per-image"] if self.random.random() < 0.5 else []
            self.run(evaluate.main, "--weights", str(run), *options)

    def predict(self) -> None:
        for run in self.runs()[-1:]:
            self.run(predict.main, "--weights", str(run), "--source", "drawn/images/val")
            shutil.rmtree(run / "predictions", ignore_errors=True)

    def compare(self) -> None:
        for run in self.runs()[-1:]:
            self.run(compare.main, str(run), "--output", "comparison")

    def damage(self) -> None:
        """Damage one file, any of a run or of the data."""
        files = [path for run in self.runs() for path in sorted(run.rglob("*")) if path.is_file()]
        files = [path for path in files if path.name != ".lock"]
        if self.random.random() < 0.05:
            files = sorted(path for path in Path("drawn").rglob("*.png"))
            self.data_damaged = self.changed = True
        if not files:
            return
        path = files[self.random.integers(len(files))]
        ways: dict[str, Callable[[Path], None]] = {
            "flipped": self.flip, "cut": self.cut, "gone": Path.unlink, "NULs": self.append_nulls,
            "folder": self.make_folder, "dangling": self.make_dangling, "empty": lambda path: path.write_bytes(b""),
            "another": lambda path: path.write_bytes(b'[1, "two"]\n'),
        }  # fmt: skip
        way = list(ways)[self.random.integers(len(ways))]
        self.story.append(f"damage {path}: {way}")
        ways[way](path)

    def flip(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        if content:
            content[self.random.integers(len(content))] ^= 1 << int(self.random.integers(8))
        path.write_bytes(content)

    def cut(self, path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: self.random.integers(len(content) + 1)])

    def append_nulls(self, path: Path) -> None:
        with path.open("ab") as file:
            file.write(bytes(100))

    def make_folder(self, path: Path) -> None:
        path.unlink()
        path.mkdir()

    def make_dangling(self, path: Path) -> None:
        path.unlink()
        path.symlink_to("nowhere")

    # What there is.

    def runs(self) -> list[Path]:
        return sorted(path for path in Path("runs/tiny").glob("*") if (path / "checkpoints").is_dir())

    def numbered(self) -> list[Path]:
        return [path for run in self.runs() for path in list_checkpoints(RunFiles(run).checkpoints)]

    def aside(self) -> list[Path]:
        found = [path for run in self.runs() for path in list_set_aside(RunFiles(run))]
        return [path for path in found if ".pt" in path.name and number_of_set_aside(path) is not None]

    def loads(self, paths: list[Path]) -> dict[Path, dict[str, Any]]:
        found = {}
        for path in paths:
            try:
                found[path] = load_checkpoint(path)
            except CheckpointError:
                continue
        return found

    def latest(self) -> int:
        """The iteration of the latest checkpoint that can be read, set aside or not."""
        iterations = [iteration_of(path) for path in self.loads(self.numbered())]
        aside = [number_of_set_aside(path) or 0 for path in self.loads(self.aside())]
        return max([*iterations, *aside], default=0)

    def listing(self) -> set[str]:
        return {str(path) for path in Path("runs").rglob("*")}

    # What must hold.

    def run(self, main: Callable, *arguments: str, **options: Any) -> Ended:
        limit = options.pop("prepare", lambda: None)

        def prepare() -> None:
            replace_plots(_set)
            limit()

        ended = run_forked(main, *arguments, prepare=prepare, **options)
        shown = {name: value for name, value in options.items() if value is not None}
        how = "killed" if ended.killed else f"-> {ended.status}"
        self.story.append(f"{main.__module__.rpartition('.')[2]} {' '.join(arguments)} {shown or ''} {how}")
        if "Traceback" in ended.output:
            raise Broken(f"a traceback\n{ended.output}")
        if not ended.killed and ended.status not in DOCUMENTED:
            raise Broken(f"exit status {ended.status}\n{ended.output}")
        if not ended.killed and ended.status and len(ended.output.strip()) < 10:
            raise Broken(f"exit status {ended.status} without a reason")
        return ended

    def look(self, before: int) -> None:
        if self.latest() < before:
            raise Broken(f"the latest intact checkpoint was of {before}, and is now of {self.latest()}")
        if not self.changed:
            for path, state in self.loads(self.numbered()).items():
                iteration = state["trainer"]["iteration"]
                if iteration == 0:  # stopped before the first update
                    continue
                if weights(state) != self.reference[iteration]:
                    raise Broken(
                        f"{path}: its weights are not those of iteration {iteration} of an undisturbed run"
                    )
        for run in self.runs()[-1:]:
            self.look_at_papers(RunFiles(run))

    def look_at_papers(self, files: RunFiles) -> None:
        """Of a run that says that it is done, once nothing in its folder is damaged: its files agree."""
        if self.story[-1].startswith("damage") or not self.story[-1].endswith("-> 0"):
            return
        if not self.story[-1].startswith("train") or "--check" in self.story[-1]:
            return
        status = json.loads(files.status.read_text())
        if status["state"] != "done":
            return
        iterations = [int(row["iteration"]) for row in csv.DictReader(files.results.read_text().splitlines())]
        if sorted(set(iterations)) != iterations or max(iterations, default=0) > status["iteration"]:
            raise Broken(f"{files.results} has the iterations {iterations}")
        summary = json.loads(files.summary.read_text())
        best = load_checkpoint(files.best)
        if best["iteration"] != summary["best_weights"]["iteration"]:
            raise Broken(f"best.pt is of {best['iteration']}, summary.json says {summary['best_weights']}")
        if not self.changed and weights({"trainer": best}, averaged=True) != average(
            self.reference, best["iteration"]
        ):
            raise Broken(f"best.pt has not the weights of iteration {best['iteration']}")
        with np.load(files.per_image) as arrays:
            if int(arrays["iteration"]) != status["iteration"]:
                raise Broken(f"per_image.npz is of {arrays['iteration']}")


def _set(name: str, stand_in: Callable[..., None]) -> None:
    import importlib

    module, _, attribute = name.rpartition(".")
    setattr(importlib.import_module(module), attribute, stand_in)


def weights(state: dict[str, Any], *, averaged: bool = False) -> dict[str, bytes]:
    """The weights of a checkpoint as bytes, with those of the optimizer and the average where it has them."""
    trainer = state["trainer"]
    found = {f"model {name}": _bytes(value) for name, value in trainer["model"].items()}
    if averaged:
        return found
    found |= {f"ema {name}": _bytes(value) for name, value in trainer["ema"].items()}
    for place, entry in trainer["optimizer"]["state"].items():
        found |= {f"optimizer {place} {name}": _bytes(value) for name, value in entry.items()}
    return found


def average(reference: dict[int, dict[str, bytes]], iteration: int) -> dict[str, bytes]:
    """The moving average of an iteration under the names of the model: what best.pt holds."""
    prefix = "ema module."
    return {
        f"model {name.removeprefix(prefix)}": value
        for name, value in reference[iteration].items()
        if name.startswith(prefix)
    }


def _bytes(value: Any) -> bytes:
    return value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()


def begin(folder: Path) -> None:
    """Make the folder of an episode, and go there."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    os.environ["SEGKIT_CACHE"] = str(folder / "caches")
    Path("tiny.yaml").write_text(CONFIG)
    draw_data(Path("drawn"))


def make_reference(folder: Path) -> dict[int, dict[str, bytes]]:
    """The weights of a run that nothing happens to, by iteration."""
    begin(folder)
    ended = run_forked(
        train.main,
        *("--config", "tiny.yaml", f"train.iterations={LONGEST}", "train.checkpoint_every=1"),
        "train.keep_checkpoints=99",
        prepare=lambda: replace_plots(_set),
    )
    assert ended.status == 0, ended.output
    (run,) = Path("runs/tiny").iterdir()
    states = map(load_checkpoint, list_checkpoints(RunFiles(run).checkpoints))
    return {state["trainer"]["iteration"]: weights(state) for state in states}


def play(above: Path, reference: dict[int, dict[str, bytes]], seed: int, number: int) -> Counter[str]:
    """Play one episode; how often each kind of step was done. Raises Broken, with the story of the episode."""
    begin(above / f"episode{number}")
    episode = Episode(Path.cwd(), np.random.default_rng([seed, number]), reference)
    done: Counter[str] = Counter()
    try:
        for _ in range(STEPS):
            done[episode.step()] += 1
    except Exception as error:
        story = "\n".join(episode.story)
        raise Broken(
            f"seed {seed}, episode {number}, in {Path.cwd()}\n{story}\n{error!r}\n{error}"
        ) from error
    shutil.rmtree(Path.cwd())
    return done


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--episode", type=int, help="only this one")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="the first episode")
    args = parser.parse_args()
    torch.set_num_threads(1)
    above = Path(tempfile.mkdtemp(prefix="segkit-faults-"))
    reference = make_reference(above / "reference")
    steps: Counter[str] = Counter()
    end, number, broken = time.monotonic() + args.seconds, args.first, 0
    while time.monotonic() < end:
        try:
            steps += play(above, reference, args.seed, number if args.episode is None else args.episode)
        except Broken as error:
            broken += 1
            print(f"\nBROKEN {error}\n", flush=True)
        number += 1
        if args.episode is not None:
            break
    print(
        f"{number - args.first} episodes of seed {args.seed}, {steps.total()} steps, {broken} broken: {dict(steps)}"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
