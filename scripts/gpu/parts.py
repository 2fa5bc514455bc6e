"""What is run on a machine with a GPU: the parts, their order, and their time limits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.gpu.commands import (
    Place,
    bench,
    camvid,
    install,
    nccl,
    refuse_camvid,
    refuse_fp16,
    resume,
    task,
    tests,
    torchrun,
    training,
)

#: Seconds of each group, together the quarter of an hour that such a machine may be lent for, less its start.
GROUPS = {"correctness": 470.0, "numbers": 180.0, "camvid": 115.0}
#: What must run alone, since it is timed.
ALONE = ("numbers",)
INSTALL = "install"


@dataclass(frozen=True)
class Part:
    """One row of the table. `words` are the command after the interpreter; `limit` in seconds.

    Where `refuse` finds a reason the part is skipped. Whatever its exit status, a part has failed if its log lacks
    `wants`, or, on a GPU, has `never` (both regular expressions): tests that were all skipped have shown nothing.
    """

    name: str
    group: str
    limit: float
    what: str
    words: Callable[[Place], Sequence[str]]
    refuse: Callable[[Place], str | None] = lambda place: None
    wants: str = ""
    never: str = ""
    good: str = "passed"


RAN = r"\b[1-9]\d* passed"
FOUND = r"(?m)^found: "

#: In the order in which they are started, the longest of a group first. `install` comes before all of them.
PARTS = (
    Part(INSTALL, "", 90, "the wheels that were carried along, and this checkout", install, wants=FOUND),
    Part(
        "tests-triton",
        "correctness",
        280,
        "the Triton kernels against the reference",
        tests(
            *(
                f"tests/losses/test_triton{name}.py"
                for name in ("", "_build", "_operator", "_select", "_sums")
            ),
            dry=("tests/losses/test_triton.py", "-k", "test_class_counts"),
        ),
        wants=RAN,
        never="this Triton's interpreter|Triton is not installed",
    ),
    Part(
        "promises",
        "correctness",
        240,
        "no waiting, CUDA graphs, torch.compile of the losses",
        task("promises"),
        wants=FOUND,
    ),
    Part("check-losses", "correctness", 240, "check_loss of every loss", task("check_losses"), wants=FOUND),
    Part("resume", "correctness", 150, "killed, resumed, equal to the bit", resume, wants=FOUND),
    Part(
        "train-bf16",
        "correctness",
        120,
        "ohem.yaml as it is",
        training(
            "bf16",
            options=("--expect", "amp bf16", "--least", "50"),
            dry=("--expect", "amp bf16", "train.amp=bf16"),
        ),
        wants=FOUND,
    ),
    Part(
        "train-fp16",
        "correctness",
        90,
        "fp16 with its scaler",
        training("fp16", "train.amp=fp16", "train.iterations=300", options=("--expect", "amp fp16")),
        refuse_fp16,
        wants=FOUND,
    ),
    Part(
        "train-compile",
        "correctness",
        150,
        "torch.compile of model and loss",
        training(
            "compile",
            *("train.compile=true", "train.iterations=300"),
            options=("--expect", "amp bf16"),
            dry=("--expect", "amp off", "train.compile=true", "train.iterations=4"),
        ),
        wants=FOUND,
    ),
    Part("nccl", "correctness", 90, "gradients and sums by NCCL", nccl, wants=FOUND),
    Part("torchrun", "correctness", 100, "torchrun train.py with sync_batchnorm", torchrun, wants=FOUND),
    Part(
        "tests-device",
        "correctness",
        150,
        "copies to the host, evaluation, and updates that loss scaling skips",
        tests(
            *("tests/system/test_host_copy.py", "tests/evaluation", "tests/system/test_device.py"),
            "tests/training/test_trainer.py",
            dry=("tests/system/test_host_copy.py", "tests/evaluation/test_metrics.py"),
        ),
        wants=RAN,
        never="needs CUDA",
    ),
    Part(
        "losses",
        "numbers",
        110,
        "Triton beside direct and plain PyTorch",
        bench("gpu_losses", "losses", "overhead"),
        wants=FOUND,
        good="measured",
    ),
    Part(
        "step",
        "numbers",
        45,
        "a step beside a plain loop",
        bench("gpu_step", "step"),
        wants=FOUND,
        good="measured",
    ),
    Part(
        "loader",
        "numbers",
        45,
        "files to batches, scoring",
        bench("gpu_loader", "data", "scoring"),
        wants=FOUND,
        good="measured",
    ),
    Part(
        "models",
        "numbers",
        35,
        "networks beside each other",
        bench("gpu_models", "models"),
        wants=FOUND,
        good="measured",
    ),
    Part(
        "camvid-ohem",
        "camvid",
        115,
        "a short CamVid run",
        camvid("ohem"),
        refuse_camvid,
        wants=FOUND,
        good="measured",
    ),
    Part(
        "camvid-ce",
        "camvid",
        115,
        "the same with ce",
        camvid("ce"),
        refuse_camvid,
        wants=FOUND,
        good="measured",
    ),
)


def choose_parts(names: Sequence[str]) -> list[Part]:
    """`install`, then the parts of these names and groups in the order of PARTS; all without names.

    Raises ValueError for a name that is neither.
    """
    known = {part.name for part in PARTS} | GROUPS.keys()
    wrong = [name for name in names if name not in known]
    if wrong:
        parts = ", ".join(part.name for part in PARTS[1:])
        raise ValueError(
            f"{', '.join(wrong)}: no part and no group\n   groups: {', '.join(GROUPS)}\n   parts: {parts}"
        )
    wanted = {INSTALL, *(names or GROUPS)}
    return [part for part in PARTS if part.name in wanted or part.group in wanted]


def seconds_of(parts: Sequence[Part]) -> float:
    """How long these may take in all: what their groups have."""
    return sum(GROUPS[group] for group in dict.fromkeys(part.group for part in parts) if group)
