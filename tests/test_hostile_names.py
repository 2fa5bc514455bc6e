"""Names of classes and files that are HTML, Markdown, LaTeX, escape sequences or too long, in all that is left of them.

One small ablation on a data set of such names, and what predict, visualise and check_data make of it. The runs are
trained in the process of the test, as `ablate` does in processes of their own.
"""

import csv
import io
import json
import re
import shutil
import subprocess
from contextlib import chdir, redirect_stderr, redirect_stdout
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkit.ablation.plan.plan import load_plan
from segkit.runs.run import train_run
from tests.ablation.report_tables import markdown_tables
from tests.scripts import run_script

pytestmark = pytest.mark.heavy

FILES = (
    *(
        'a<b onload="x">',
        "_p|q*`[r](s)<t>",
        "line\nbreak\r",
        "\x1b[31mred\x1b]0;t\x07",
        "%$#&_{}~^\\",
        "x" * 240,
    ),
    *("=1+2,\"q'", "turned\u202e\x85\u2028\x7f", "sub\nfolder/é"),
)
CLASSES = (
    *("<script>alert(1)</script>", "_p|q*`[r](s)<t>", "%$#&_{}~^\\ $\\frac{", "n" * 300, "=1+2,\"q'", "*[x]"),
)
BROKEN = "line\nbreak\r"  # whose mask does not fit it, in the second data set
BASE = {
    "name": "base",
    "device": "cpu",
    "model": {"name": "unet", "width": 4, "depth": 2},
    "data": {"name": "folder", "root": "data", "classes": list(CLASSES)},
    "loss": {"name": "ce"},
    "augment": {"name": "none"},
    "train": {"iterations": 2, "batch_size": 4, "workers": 0},
    "eval": {"every": 2},
    "log": {"every": 1, "images_every": 2},
}
ABLATION = """\
name: ab
base: base.yaml
seeds: [0]
baseline: ce
variants:
  ce: {loss: {name: ce}}
  ohem: {loss: {name: ohem_ce}}
"""
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
TAGS = (
    "html head meta title style body h1 h2 h3 h4 p ul li b span pre code details summary div figure figcaption img "
    "table thead tbody tr th td strong wbr i small section footer dl dt dd"
)
ATTRIBUTES = "lang charset name content class style src alt width height loading"


def write_data(root: Path) -> None:
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in FILES:
            image, mask = (root / kind / part / f"{name}.png" for kind in ("images", "masks"))
            for path, highest, size in ((image, 256, (32, 32, 3)), (mask, len(CLASSES), (32, 32))):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(random.integers(0, highest, size, dtype=np.uint8)).save(path)


def make_everything() -> None:
    """Train, report, predict, look and check in the working directory."""
    write_data(Path("data"))
    Path("base.yaml").write_text(yaml.safe_dump(BASE))
    Path("ab.yaml").write_text(ABLATION)
    for run in load_plan("ab.yaml", []).runs:
        assert train_run(run.config, source="test").exit_code == 0
    assert run_script("ablate", "--config", "ab.yaml", "--report") == 0
    (run,) = Path("runs/ab/ce-seed0").iterdir()
    options = ("--weights", run, "--source", "data/images", "--output", "predicted", "--device", "cpu")
    assert run_script("predict", *options, "--save", "ids", "palette", "overlay") == 0
    assert run_script("evaluate", "--weights", run, "--device", "cpu") == 0
    assert run_script("visualise", "--config", "base.yaml", "--count", "9", "--output", "seen") == 0
    assert run_script("check_data", "--config", "base.yaml", "--output", "checked") == 0
    assert run_script("check_data", "data", "--output", "proposed") == 0
    shutil.copytree("data", "broken")
    Image.new("L", (5, 5)).save(Path("broken/masks/val") / f"{BROKEN}.png")
    broken = ("--config", "base.yaml", "data.root=broken")
    assert run_script("check_data", *broken, "--output", "found") == 3
    assert run_script("train", *broken) == 3
    assert run_script("train", *broken, "data.on_bad_sample=skip", "log.dir=skipped") == 0


@pytest.fixture(scope="module")
def left(built_once) -> Path:
    """The folder with all that was left; what was printed is in `printed`."""

    def build(folder: Path) -> None:
        printed = io.StringIO()
        with chdir(folder), redirect_stdout(printed), redirect_stderr(printed):
            make_everything()
        (folder / "printed").write_bytes(printed.getvalue().encode())

    return built_once("hostile-names", build)


class Page(HTMLParser):
    """Tags, names of their attributes, and the text between them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.text += data


def test_console_and_logs(left):
    logs = list(left.rglob("train.log"))
    assert len(logs) == 3
    printed = (left / "printed").read_bytes().decode()
    for text in (printed, *(log.read_bytes().decode() for log in logs)):
        assert not CONTROLS.search(text)
        assert "n" * 41 not in text
    # Refused by two commands; skipped by one, which tells of it before the training and in it.
    assert printed.count(r"val/line\nbreak\r.png 32x32") == 4
    assert not any(b"\r" in log.read_bytes() for log in logs)


@pytest.mark.parametrize("place", ["runs/ab/report.html", "seen/index.html"])
def test_pages(left, place):
    page = Page((left / place).read_text())
    assert page.tags <= {*TAGS.split()} and page.attributes <= {*ATTRIBUTES.split()}
    assert not CONTROLS.search(page.text)
    assert [name for name in CLASSES if name not in page.text] == []
    if place == "seen/index.html":
        names = ('a<b onload="x">', r"line\nbreak\r", r"\x1b[31mred\x1b]0;t\x07", r"sub\nfolder/é")
        assert [name for name in names if name not in page.text] == []


def test_tables(left):
    found = list(left.rglob("*.csv"))
    assert {path.name for path in found} == {
        *("results.csv", "confusion_matrix.csv", "bad_samples.csv", "report.csv", "differences.csv"),
    }
    for path in found:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        assert len({len(row) for row in rows}) == 1 < len(rows), path
        if path.name == "confusion_matrix.csv":
            assert rows[0][1:] == [row[0] for row in rows[1:]] == list(CLASSES)
        if path.name in ("results.csv", "report.csv"):
            before = "val/iou/" if path.name == "results.csv" else "iou/"
            assert {f"{before}{name}" for name in CLASSES} <= set(rows[0])
        if path.name == "bad_samples.csv":
            assert [row[1] for row in rows[1:]] == [f"broken/images/val/{BROKEN}.png"]


def test_json(left):
    for path in left.rglob("*.json"):
        json.loads(path.read_text())
    findings = json.loads((left / "found/check.json").read_text())["findings"]
    assert findings and not any(CONTROLS.search(finding["text"]) for finding in findings)


def test_markdown(left):
    files = [left / "runs/ab/report.md", *left.rglob("README.md")]
    assert len(files) == 4
    for path in files:
        text = path.read_bytes().decode()
        assert not CONTROLS.search(text)
        bare = re.sub(r"`[^`\n]+`|</?(details|summary)>", "", text.replace(r"\`", ""))
        assert not re.search(r"<[A-Za-z/!?]", bare) and "](s)" not in bare.replace(r"\](s)", "")
        tables = markdown_tables(text)
        assert all(len({len(row) for row in table}) == 1 for table in tables)
        (classes,) = (table[1:] for table in tables if table[0][0] == "class")
        assert [unescape(row[0]) for row in classes[: len(CLASSES)]] == list(CLASSES)


def test_latex(left, tmp_path):
    text = (left / "runs/ab/report.tex").read_text()
    assert not CONTROLS.search(text)
    bare = re.sub(r"\\[\\%$#&_{}]", "", "\n".join(text.splitlines()[1:]))  # the first line is a comment
    assert bare.count("{") == bare.count("}")
    bare = re.sub(r"\\ensuremath{[<>|]}", "", bare)
    assert not re.search(r"[%$#~^|<>\"]", bare)
    for columns, body in re.findall(r"\\begin{tabular}{([lr]*)}(.*?)\\end{tabular}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
    if shutil.which("pdflatex") is None:
        pytest.skip("its form holds; pdflatex, which would compile it, is not installed")
    head, end = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n", "\\end{document}\n"
    (tmp_path / "report.tex").write_text(head + text + end)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_predictions(left):
    output = left / "predicted"
    found = {path.relative_to(output).as_posix() for path in output.rglob("*.*")}
    files = [f"{part}/{name}" for part in ("train", "val") for name in FILES]
    assert found == {f"{file}{end}" for file in files for end in ("_ids.png", ".png", "_overlay.jpg")}


def test_tags_of_tensorboard(left):
    (run,) = (left / "runs/ab/ce-seed0").iterdir()
    events = EventAccumulator(str(run / "tb"))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert {f"val/iou/{name}" for name in CLASSES} <= set(tags)
    assert not any(CONTROLS.search(tag) for tag in tags)
