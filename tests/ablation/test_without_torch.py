"""Reports of finished runs load neither torch nor torchvision, which take most of the time and of the memory."""

from pathlib import Path

import numpy as np
import pytest

from segkit.ablation.collect import keep_resolved
from tests.ablation.run_folders import make_run
from tests.processes import run_python

PROGRAM = """
import sys
from segkit.cli.run_command import run_named
status = run_named(sys.argv[1], sys.argv[2:])
print("loaded", sorted({"torch", "torchvision"} & set(sys.modules)))
sys.exit(status)
"""


@pytest.fixture
def planned(small):
    """The small ablation with a finished run, which has pictures, in the place of each that is planned."""
    plan = small()
    for place, run in enumerate(plan.runs):
        folder = make_run(plan.folder / run.name / "20260101-000000", errors=place + 1)
        (folder / "config.yaml").write_text(run.config.to_yaml())
        save_examples(folder / "examples.npz", predicted=place % 2)
    return plan


def save_examples(path, *, predicted):
    target = np.zeros((20, 30), dtype=np.uint8)
    target[:4], target[4:9] = 255, 1
    parts = {"image": np.full((20, 30, 3), 90, np.uint8), "target": target, "kept": target}
    parts["prediction"] = np.full((20, 30), predicted, np.uint8)
    shared = {"palette": np.arange(9, dtype=np.uint8).reshape(3, 3), "ignore_index": 255, "iteration": 20}
    np.savez(path, names=np.array(["a"]), **shared, **{f"{part}_0": array for part, array in parts.items()})


def run(*arguments):
    """The lines that a command prints, and what it has loaded at its end."""
    done = run_python("-c", PROGRAM, *arguments)
    assert done.returncode == 0, done.stderr
    *lines, loaded = done.stdout.splitlines()
    return lines, loaded


def test_a_comparison(planned):
    lines, loaded = run("compare", "runs/ab", "--baseline", "ce", "--output", "out", "--pack", "study.zip")
    assert lines[-2] == f"report    {Path('out/report.html')}" and lines[-1].startswith(
        "packed    study.zip "
    )
    assert Path("out/figures/example_1.png").is_file()
    assert loaded == "loaded []"
    lines, loaded = run("compare", "study.zip", "--output", "again")
    assert lines[-1] == f"report    {Path('again/report.html')}"
    assert loaded == "loaded []"


def test_the_report_of_an_ablation(planned):
    keep_resolved(planned)
    lines, loaded = run("ablate", "--config", "ab.yaml", "--report")
    assert lines[-1] == "report    runs/ab/report.html"
    assert not any(line.startswith("missing") for line in lines)
    assert loaded == "loaded []"
