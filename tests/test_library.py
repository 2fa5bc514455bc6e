"""`import segkit`: what it offers, that it loads nothing before it is needed, and that docs/api.md tells the truth."""

import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.distributed.ranks import Ranks
from segkit.runs import train as library
from segkit.runs.run import Ended
from tests.empty_plots import empty_plots
from tests.paths import ROOT

TINY = ("train.iterations=2", "log.tensorboard=false", "eval.every=2", "log.images_every=2")


@pytest.fixture(autouse=True)
def _quickly(quick_plots):
    """No run here is made for its plots."""


@pytest.fixture(scope="module")
def run(built_once):
    def train(folder: Path) -> None:
        with empty_plots():
            segkit.train("debug.yaml", *TINY, f"log.dir={folder}")

    (found,) = built_once("library-run", train).glob("debug/*")
    return segkit.Run(found)


def test_import_is_instant_and_leaks_nothing():
    code = (
        "import sys; before = set(sys.modules); import segkit, json\n"
        "loaded = sorted(name for name in set(sys.modules) - before)\n"
        "public = sorted(name for name in vars(segkit) if not name.startswith('_'))\n"
        "print(json.dumps([loaded, public, dir(segkit)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded, public, shown = json.loads(done.stdout)
    heavy = ("torch", "numpy", "torchvision", "pydantic", "yaml", "segkit.")
    assert [name for name in loaded if name.startswith(heavy)] == []
    assert set(public) <= {"importlib", "Any", "TYPE_CHECKING"}, (
        "what the file itself imports, and nothing else"
    )
    assert shown == sorted(segkit.__all__, key=shown.index) and set(shown) == set(segkit.__all__)


def test_every_public_name_is_there_and_documented():
    page = (ROOT / "docs" / "api.md").read_text()
    for name in segkit.__all__:
        assert getattr(segkit, name).__doc__, name
        if name != "__version__":
            assert name in page, f"docs/api.md does not mention segkit.{name}"
    for name in segkit.models.__all__:
        assert callable(getattr(segkit.models, name))
    for name in segkit.losses.__all__:
        assert hasattr(segkit.losses, name)
    for module in (segkit, segkit.models):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018


def test_the_version_is_told_once():
    assert f"version: {segkit.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {segkit.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert segkit.__version__ not in (ROOT / "pyproject.toml").read_text()


def test_train_gives_the_run(run):
    assert run.summary["iterations"] == 2 and run.summary["finished"]
    assert run.scores == run.summary["last"] and set(run.scores["iou"]) > {"background", "line"}
    assert run.best_weights.is_file()
    assert run.config.loss.name == "ohem_ce" and run.config.train.iterations == 2
    assert repr(run) == f"Run('{run.folder}')"
    assert segkit.Run(str(run.folder)).summary == run.summary


def test_train_takes_a_config_too(tmp_path):
    config = segkit.load_config("debug.yaml", [*TINY, f"log.dir={tmp_path}"])
    run = segkit.train(config, "seed=3")
    assert run.config.seed == 3 and run.config.loss == config.loss


def test_random_numbers_go_on_after_a_run(tmp_path):
    """A random search around it drew the same settings again and again."""
    torch.manual_seed(5)
    expected = torch.rand(6)
    torch.manual_seed(5)
    drawn = []
    for number in range(3):
        drawn.append(torch.rand(2))
        segkit.train("debug.yaml", *TINY, f"log.dir={tmp_path / str(number)}")
    assert torch.equal(torch.cat(drawn), expected)


def test_train_raises_instead_of_exiting(tmp_path):
    with pytest.raises(segkit.ConfigError, match="did you mean 'thresh'"):
        segkit.train("debug.yaml", "loss.treshold=0.6")
    with pytest.raises(segkit.ConfigError, match="which configuration"):
        segkit.train()
    with pytest.raises(segkit.DataError, match="dataset folder not found"):
        data = f"data={{name: folder, root: {tmp_path}/no, classes: [a, b]}}"
        segkit.train("debug.yaml", data, f"log.dir={tmp_path}")


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=str
)
def test_a_stopped_run_is_not_taken_for_a_finished_one(run, monkeypatch, number, error):
    monkeypatch.setattr(library, "train_run", lambda *_, **__: Ended(run.folder, 128 + number))
    with pytest.raises(error) as raised:
        segkit.train("debug.yaml", *TINY)
    if error is SystemExit:
        assert raised.value.code == 143
    else:
        assert str(run.folder) in str(raised.value)


def test_a_stopped_run_is_no_failure_that_other_processes_are_told_of(run, monkeypatch):
    """They have stopped with it, and each is told by the same exception."""
    left = []

    @contextmanager
    def joined():
        yield Ranks(1, 2)
        left.append("in peace")

    monkeypatch.setattr(library, "joined_ranks", joined)
    monkeypatch.setattr(library, "train_run", lambda *_, **__: Ended(run.folder, 128 + signal.SIGTERM))
    with pytest.raises(SystemExit):
        segkit.train("debug.yaml", *TINY)
    assert left == ["in peace"]


def test_resuming_continues_the_run(run, tmp_path):
    short = segkit.Run(shutil.copytree(run.folder, tmp_path / "debug" / "short"))
    longer = segkit.train("debug.yaml", *TINY, f"log.dir={tmp_path}", "train.iterations=4", resume=short)
    assert longer.folder == short.folder and longer.summary["iterations"] == 4


def test_what_is_no_run_folder(tmp_path, run):
    with pytest.raises(segkit.SegkitError, match="is not a run folder"):
        segkit.Run(tmp_path)
    (tmp_path / "config.yaml").write_text((run.folder / "config.yaml").read_text())
    begun = segkit.Run(tmp_path)
    for ask in (lambda: begun.summary, lambda: begun.scores):
        with pytest.raises(segkit.SegkitError, match=re.escape("has no summary.json")):
            ask()
    with pytest.raises(segkit.SegkitError, match=re.escape("has no best.pt")):
        begun.best_weights  # noqa: B018
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(segkit.SegkitError, match="nothing was evaluated"):
        begun.scores  # noqa: B018
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(segkit.SegkitError, match="cannot be read"):
        begun.summary  # noqa: B018


def test_every_form_of_an_image_gives_the_same_prediction(run, tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = Image.fromarray(array)
    picture.save(tmp_path / "image.png")
    predictor = segkit.load_predictor(run, device="cpu")
    expected = predictor.predict(torch.from_numpy(array).movedim(-1, 0))
    assert expected.shape == (30, 40)
    read_only = array.copy()
    read_only.setflags(write=False)
    for image in (
        array,
        read_only,
        array[::-1][::-1],
        picture,
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
    ):
        assert torch.equal(predictor.predict(image), expected)
    grey = Image.fromarray(array[..., 0])
    assert torch.equal(predictor.predict(grey), predictor.predict(np.stack([array[..., 0]] * 3, axis=-1)))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((30, 40), np.uint8), "with 3 channels"),
        (np.zeros((3, 30, 40), np.uint8), "with 3 channels"),
        (np.zeros((30, 40, 3), np.float32), "got torch.float32"),
        (torch.zeros(1, 3, 30, 40, dtype=torch.uint8), "got torch.uint8 of shape"),
        (Image.new("I;16", (4, 4)), "mode I;16 is not of 8 bits"),
    ],
)
def test_what_is_no_image_is_refused(run, image, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        segkit.load_predictor(run, device="cpu").predict(image)


def test_compare_runs_writes_only_what_is_asked(run, tmp_path):
    other = segkit.train("debug.yaml", *TINY, "loss.name=ce", "name=ce", f"log.dir={tmp_path / 'runs'}")
    before = sorted(tmp_path.rglob("*"))
    findings = segkit.compare_runs([run, other], baseline="ce", names=["mined", "ce"])
    assert sorted(tmp_path.rglob("*")) == before
    assert list(findings.differences) == ["mined"]
    with pytest.raises(segkit.ConfigError, match="no such variant"):
        segkit.compare_runs([run, other], baseline="no")


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "api.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(code) >= 8
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, block in enumerate(code):
        exec(compile(block, f"docs/api.md, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "did you mean 'thresh'?" in printed and "torch.Size([1, 5, 64, 64])" in printed
    assert Path("comparison/report.html").is_file()
    assert names["hard"].requires_grad and logits_have_gradient(names["logits"])


def logits_have_gradient(logits: torch.Tensor) -> bool:
    return logits.grad is not None and bool(logits.grad.abs().sum() > 0)
