"""What a command loads before it does anything: torch takes a second, and what it can do without as long again."""

import pytest

from segkit.training.optimizers import WRITTEN_IN
from tests.paths import ROOT
from tests.processes import run_python

PROGRAM = """
import sys
from segkit.cli.run_command import run_named
status = run_named("train", sys.argv[1:])
print("loaded", sorted(sys.modules))
sys.exit(status)
"""
#: What takes longest to import beside torch, and who would: torch's compiler, its types of images, plots and curves.
COMPILER = {"torch._dynamo", "torch._inductor", "sympy", "triton"}
PICTURES = {"torchvision", "matplotlib", "tensorboard"}
#: What speaks to Weights & Biases and MLflow, in other processes, if it is asked for.
TRACKERS = {
    *("wandb", "mlflow"),
    *(f"segkit.runs.recording.trackers.{name}" for name in ("worker", "to_wandb", "to_mlflow")),
}


def loaded_by(*arguments, program=PROGRAM, **options):
    """The modules that a command has loaded at its end."""
    done = run_python("-c", program, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded ")[2].strip("[]\n").replace("'", "").split(", "))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--print-config", "--config", "debug.yaml"),
        (
            "--print-config",
            "--config",
            "camvid/ohem.yaml",
            "model.name=fcn_resnet50",
            "optimizer={name: adamw, lr: 1}",
        ),
        *(
            ("--list", kind)
            for kind in ("losses", "models", "datasets", "optimizers", "weight_maps", "schedules")
        ),
    ],
    ids=" ".join,
)
def test_what_shows_a_configuration_loads_no_torch(arguments):
    loaded = loaded_by(*arguments)
    assert "segkit.config.load" in loaded
    assert not loaded & {"torch", "numpy", "PIL", *PICTURES}


def test_a_check_loads_torch_and_little_else():
    loaded = loaded_by("--check", "--config", "debug.yaml")
    assert "torch" in loaded
    assert not loaded & (COMPILER | PICTURES)


def test_a_training_does_without_torchs_compiler(tmp_path):
    loaded = loaded_by(
        "--config", "debug.yaml", "train.iterations=2", "log.tensorboard=false", f"log.dir={tmp_path}"
    )
    assert list(tmp_path.glob("debug/*/checkpoints/*.pt"))
    assert not loaded & {*COMPILER, "torchvision"}
    assert not loaded & TRACKERS


def test_no_optimizer_loads_torchs_compiler():
    program = """
import sys, torch
from segkit.registry import OPTIMIZERS
for name in sys.argv[1:]:
    parameter = torch.nn.Parameter(torch.ones(3, 3))
    optimizer = OPTIMIZERS.get(name)([parameter], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("loaded", sorted(sys.modules))
"""
    assert not loaded_by(*WRITTEN_IN, program=program, cwd=ROOT) & COMPILER
