"""Networks in 8 bits: what is written and shown, and the interval of what they cost."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.commands.export.int8 import interval_of_difference, mean_ious
from segkit.errors import ConfigError
from segkit.evaluation.metrics import mean_iou
from segkit.runs.predictor import load_predictor
from tests.paths import ROOT
from tests.runs.test_predictor import make_run
from tests.scripts import run_script

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'segkit[export]'")


@pytest.mark.filterwarnings("ignore")  # what the quantiser's packages say of each other
def test_a_network_in_8_bits(tmp_path, capsys):
    run, path = make_run(tmp_path, saves="best", train={"amp": "off"}).path, tmp_path / "net.onnx"
    assert run_script("export", "--weights", run, "--int8", "--output", path) == 0
    shown = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"int8     \S+ MB instead of \S+, \S+ ms instead of \S+ in ONNX Runtime: \S+ times; it is what is kept",
        shown[6],
    )
    found = re.fullmatch(
        r"         mIoU (\S+) instead of (\S+): ([+-]\S+), 95 % interval ([+-]\S+) to ([+-]\S+), of 5 validation "
        "images",
        shown[7],
    )
    after, before, difference, low, high = map(float, found.groups())
    assert abs(after - before - difference) < 0.011 and low <= high
    assert json.loads(path.with_suffix(".json").read_text())["precision"] == "int8"
    content = path.read_bytes()
    assert not any(str(place).encode() in content for place in (Path.home(), ROOT, tempfile.gettempdir()))
    image = torch.randint(0, 256, (3, 33, 47), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    exact, rounded = (load_predictor(each, "cpu").predict(image) for each in (run, path))
    assert 0.5 < float((exact == rounded).double().mean()) < 1


def test_it_is_refused_where_it_cannot_be(tmp_path, capsys):
    for options in (("--to", "pt2"), ("--with-preprocessing",), ("--size", 8, 8)):
        assert run_script("export", "--weights", tmp_path, "--int8", *options) == ConfigError.exit_code
        assert capsys.readouterr().err == (
            "--int8 is for --to onnx without --with-preprocessing and --size -> leave it out\n"
        )


def test_mean_ious_are_those_of_the_metrics():
    random = np.random.default_rng(0)
    matrices = random.integers(0, 9, (20, 4, 4))
    matrices[:5, 2] = matrices[:5, :, 2] = 0  # a class that is not there
    expected = [mean_iou(torch.from_numpy(each)) for each in matrices]
    np.testing.assert_allclose(mean_ious(matrices.astype(float)), expected)
    assert np.isnan(mean_ious(np.zeros((1, 3, 3))))[0]


def test_the_interval_is_that_of_images_drawn_one_by_one():
    random = np.random.default_rng(1)
    before, after = (random.integers(0, 50, (12, 3, 3)).astype(float) for _ in range(2))
    draws = random.integers(0, 12, (4000, 12))
    slow = [
        mean_ious(after[each].sum(0)[None])[0] - mean_ious(before[each].sum(0)[None])[0] for each in draws
    ]
    np.testing.assert_allclose(
        interval_of_difference(before, after), np.percentile(slow, [2.5, 97.5]), atol=0.01
    )
    assert interval_of_difference(before, before) == (0, 0)
