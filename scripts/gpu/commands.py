"""The commands of the parts: what is typed after the interpreter, on a GPU and, in small, in a rehearsal on a CPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: The folder of the environment below that of the work.
ENVIRONMENT = "python"


@dataclass(frozen=True)
class Place:
    """Where the parts run: `device` is cpu in a rehearsal, whose sizes are small. `work` is a folder for what they
    write, `base` the interpreter that has torch, `carried` what prepare.py collected."""

    work: Path
    base: Path
    carried: Path
    dry: bool = False
    gpus: int = 1

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def environment(self) -> Path:
        """The folder of the environment that the part `install` makes, with segkit's dependencies."""
        return self.work / ENVIRONMENT

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.environment / "bin" / "python"

    @property
    def camvid(self) -> Path:
        return self.carried / "camvid"


def tests(*names: str, dry: Sequence[str]) -> Callable[[Place], list[str]]:
    """These tests, the heavy ones too, in four processes; in a rehearsal `dry` instead, in one.

    run.py turns off the plugins that the machine's environment may have, so the one that is needed is named.
    """
    options = ("-p", "xdist", "-p", "no:cacheprovider", "-m", "", "-rs", "--color=no")

    def words(place: Place) -> list[str]:
        return ["-m", "pytest", *options, *(("-n", "1", *dry) if place.dry else ("-n", "4", *names))]

    return words


def task(name: str, *words: str, dry: Sequence[str] = ()) -> Callable[[Place], list[str]]:
    """A file of scripts/gpu/tasks/, told the device; in a rehearsal with `dry` after these words."""

    def all_words(place: Place) -> list[str]:
        more = dry if place.dry else ()
        return ["-m", f"scripts.gpu.tasks.{name}", "--device", place.device, *words, *more]

    return all_words


def training(
    name: str, *words: str, options: Sequence[str] = (), dry: Sequence[str] = ()
) -> Callable[[Place], list[str]]:
    """A run of ohem.yaml with these overrides; `options` are the task's. In a rehearsal debug.yaml with `dry`, which
    has options and overrides."""

    def all_words(place: Place) -> list[str]:
        folder = ("--folder", str(place.work / "runs" / name))
        chosen = ("debug.yaml", *dry) if place.dry else ("ohem.yaml", *options, "train.workers=3", *words)
        return [*task("training", *folder)(place), "--config", *chosen]

    return all_words


def refuse_fp16(place: Place) -> str | None:
    """Why fp16 cannot be rehearsed."""
    return "no CPU trains in fp16" if place.dry else None


def resume(place: Place) -> list[str]:
    """Two runs in a folder of their own."""
    return task("resume", "--folder", str(place.work / "runs" / "resume"))(place)


def torchrun(place: Place) -> list[str]:
    """One process for each GPU, two at most; two on the CPU in a rehearsal."""
    processes = ("--processes", str(2 if place.dry else min(2, place.gpus)))
    synchronised = ("train.sync_batchnorm=true", "train.iterations=300")
    return training("torchrun", *synchronised, options=processes, dry=processes)(place)


def nccl(place: Place) -> list[str]:
    """As `torchrun`, for a process group that there is even with one GPU."""
    processes = str(2 if place.dry else min(2, place.gpus))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes)
    return [*launcher, "-m", "scripts.gpu.tasks.collectives", "--device", place.device]


def bench(name: str, *benches: str) -> Callable[[Place], list[str]]:
    """Benchmarks of scripts/bench/ in one process each, whose Markdown and JSON stay in the work folder."""

    def words(place: Place) -> list[str]:
        sizes = (
            ("--small", "--processes", "0", "--rounds", "1")
            if place.dry
            else ("--processes", "1", "--rounds", "10")
        )
        output = ("--output", str(place.work / "bench"))
        return [
            "-m",
            "scripts.gpu.tasks.benches",
            name,
            *benches,
            "--",
            "--device",
            place.device,
            *sizes,
            *output,
        ]

    return words


def camvid(loss: str) -> Callable[[Place], list[str]]:
    """800 iterations at full size from scratch, scored four times; four small ones in a rehearsal."""

    def words(place: Place) -> list[str]:
        folder = ("--folder", str(place.work / "runs" / f"camvid-{loss}"))
        data = ("--config", f"camvid/{loss}.yaml", f"data.root={place.camvid}")
        full = ("data.cache=ram", "train.workers=7", "train.iterations=800", "eval.every=25%")
        sizes = ("data.resize=[48, 64]", "augment.crop_size=32", "model.width=4", "model.depth=2")
        small = (*sizes, "train.batch_size=2", "train.workers=0", "train.iterations=4", "eval.every=100%")
        return [*task("training", *folder)(place), *data, *(small if place.dry else full)]

    return words


def refuse_camvid(place: Place) -> str | None:
    """Why there is no CamVid to train on, or None."""
    folders = [f"{kind}/{split}" for kind in ("images", "labels") for split in ("train", "val")]
    absent = [name for name in folders if not (place.camvid / name).is_dir()]
    return f"{place.camvid} has no {', '.join(absent)} -> scripts/gpu/prepare.py --camvid" if absent else None


def install(place: Place) -> list[str]:
    """An environment that sees this interpreter's packages, and what was carried along."""
    return ["-m", "scripts.gpu.tasks.install", str(place.environment), str(place.carried / "wheels")]
