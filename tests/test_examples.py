"""The examples do what their first lines say."""

import csv
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.commands.check_loss import find_loss, make_subject, run_checks
from segkit.losses import poly_cross_entropy
from segkit.losses.pixel import pixel
from segkit.registry import AUGMENTS, CRITERIA, DATASETS, LOSSES
from tests.paths import ROOT
from tests.test_docs import snippets

EXAMPLE = ROOT / "examples" / "numpy_cross_entropy.py"


@pytest.fixture
def forgotten(monkeypatch):
    """What an example registers and imports is gone after the test."""
    registries = (LOSSES, CRITERIA, DATASETS, AUGMENTS)
    for registry in registries:  # all of segkit's own are loaded, so that none is forgotten with the example
        registry.names()
    before = [(registry, dict(registry._constructors)) for registry in registries]
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for registry, constructors in before:
        registry._constructors.clear()
        registry._constructors.update(constructors)
    for name in (EXAMPLE.stem, "my_criteria", "my_data", "my_augments"):
        sys.modules.pop(name, None)


@pytest.fixture
def example(forgotten):
    spec = importlib.util.spec_from_file_location(EXAMPLE.stem, EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def curve(folder: Path, loss: str, *arguments: str) -> dict[str, list[float]]:
    """The logged values of a dozen iterations with that loss, by column."""
    status = run_command(
        train.main,
        [
            "--config",
            "debug.yaml",
            *arguments,
            f"loss.name={loss}",
            f"name={loss}",
            f"log.dir={folder}",
            "log.every=1",
            "log.tensorboard=false",
            "train.iterations=12",
            "eval.images=0",
        ],
    )
    assert status == 0
    (path,) = folder.glob(f"{loss}/*/results.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    columns = ("train/loss", "train/ce", "train/grad_norm", "val/ce", "val/mIoU")
    return {name: [float(row[name]) for row in rows if row.get(name)] for name in columns}


def test_numpy_ce_trains_to_the_curve_of_ce(forgotten, tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(ROOT)
    expected = curve(tmp_path, "ce")
    found = curve(tmp_path, "numpy_ce", "--import", "examples/numpy_cross_entropy.py")
    assert len(expected["train/loss"]) == 12 and len(expected["val/ce"]) == 2
    assert expected["train/loss"][-1] < expected["train/loss"][0]
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name


def test_numpy_ce_is_green(example):
    outcomes = list(run_checks(make_subject(find_loss(["numpy_ce"]), torch.device("cpu"))))
    assert {o.check: o.text for o in outcomes if o.holds is False} == {}
    assert {o.check for o in outcomes if o.holds is None} == {
        *("ones", "zeros", "zero_is_out", "ignored_weight"),
        "pixel_report",
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_numpy_ce_is_cross_entropy(example, dtype):
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 3, 5).to(dtype).requires_grad_()
    target = torch.randint(0, 4, (2, 6, 9), dtype=torch.uint8)
    target[0, :4] = 255
    ours, metrics = example.NumpyCE(4)(logits, target, iteration=0)
    plain = logits.double() if dtype == torch.float64 else logits.float()
    plain = F.interpolate(plain, (6, 9), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(plain, target.long(), ignore_index=255)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(metrics["ce"], expected.detach())
    found, wanted = (torch.autograd.grad(5 * value, logits)[0] for value in (ours, expected))
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted)


def test_numpy_part_gives_the_published_number(example):
    logits = np.array(
        [[0.2870, 0.2232, 0.6423, 0.6035], [0.4180, 0.9434, 0.6034, 0.5521], [0.0026, 0.4993, 0.7166, 0.2258]]
    )
    value, gradient = example.cross_entropy(logits, np.array([0, 2, 1]))
    assert value == pytest.approx(1.4238, abs=5e-5)
    assert gradient.sum(axis=1) == pytest.approx([0, 0, 0], abs=1e-12)


def test_numpy_ce_refuses_a_weight_map(example):
    with pytest.raises(ValueError, match=re.escape("numpy_ce takes no weight map -> data.weight_map=null")):
        example.NumpyCE(2)(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), iteration=0)


def test_the_data_set_and_the_augmentation_of_the_page_train(forgotten, tmp_path, monkeypatch, quick_plots):
    """The snippets of docs/extending.md, with their own command."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for code in snippets(page, "python"):
        if code.startswith(("# my_data.py", "# my_augments.py")):
            (tmp_path / code.split()[1]).write_text(code)
    (line,) = (line for line in page.splitlines() if line.startswith("python train.py") and "my_data" in line)
    words = [str(tmp_path / word) if word.startswith("my_") else word for word in shlex.split(line)[2:]]
    monkeypatch.chdir(ROOT)
    short = ["train.iterations=2", f"log.dir={tmp_path}", "log.tensorboard=false", "eval.images=0"]
    assert run_command(train.main, [*words, *short]) == 0
    assert "name: upside_down" in next(tmp_path.glob("*/*/config.yaml")).read_text()


def test_the_loss_from_a_paper_is_poly_ce_and_trains(forgotten, tmp_path, monkeypatch, quick_plots):
    """The snippet of docs/extending.md, with its own command."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (code,) = (code for code in snippets(page, "python") if code.startswith("# my_criteria.py"))
    (path := tmp_path / "my_criteria.py").write_text(code)
    (line,) = (line for line in page.splitlines() if line.startswith("python train.py") and path.name in line)
    words = [str(path) if word == path.name else word for word in shlex.split(line)[2:]]
    monkeypatch.chdir(ROOT)
    short = ["train.iterations=2", f"log.dir={tmp_path}", "log.tensorboard=false", "eval.images=0"]
    assert run_command(train.main, [*words, *short]) == 0
    criterion = {"name": "my_poly", "epsilon": 2.0, "class_weights": [1.0, 2.0, 0.5]}
    loss = pixel(3, criterion=criterion, reduction="weights")
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    target = torch.tensor([0, 1, 2, 255]).repeat(2, 5, 1).mT
    found, _ = loss(logits, target, iteration=0)
    wanted = poly_cross_entropy(logits, target, epsilon=2.0, class_weights=torch.tensor([1.0, 2.0, 0.5]))
    assert found.item() == wanted.item()
    assert torch.equal(*(torch.autograd.grad(value, logits)[0] for value in (found, wanted)))
