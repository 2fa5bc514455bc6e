"""`evaluate --report`: the page says what `evaluate` prints, shows the worst, and runs nobody else's code."""

import json
import math
import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segkit.commands import evaluate as command
from segkit.commands.error_report import page as page_module
from segkit.commands.error_report.options import ReportOptions
from segkit.commands.error_report.pictures import errors_in_colors
from segkit.commands.error_report.rows import (
    choose_classes,
    choose_examples,
    list_images,
    list_pairs,
    rank_worst,
)
from segkit.config.load import load_config
from segkit.data.palette import Legend, palette
from segkit.errors import ConfigError
from segkit.evaluation import metrics
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.image_matrices import ImageMatrices
from segkit.evaluation.views import WHOLE
from segkit.runs.predictor import Predictor
from tests.browser import Browser
from tests.scripts import run_script

CLASSES = ["<script>alert(1)</script>", "b & 'c\"", "n" * 60]
FILES = ['a<b onload="x">', "image10", "image2", "line\nbreak", "<!--<script>", "all ignored"]
IGNORE = 255
TAGS = (
    "html head meta title style body h1 h2 h3 dl div dt dd nav ul li a p table caption thead tbody tfoot tr th td i "
    "button span small section figure figcaption img details summary svg rect g line text input dialog footer code "
    "script"
)


class Net(nn.Module):
    """Logits by the colour of a pixel and of those beside it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, len(CLASSES), 3, padding=1)
        nn.init.normal_(self.conv.weight, std=3.0)

    def forward(self, image):
        return self.conv(image)


class Scale(nn.Module):
    def forward(self, image):
        return image.float() / 255


def make_predictor(root) -> Predictor:
    data = {"name": "folder", "root": str(root), "classes": CLASSES}
    overrides = [f"data={json.dumps(data)}", "train.workers=0", "train.batch_size=4", "device=cpu"]
    config = load_config("debug", overrides)
    return Predictor(
        path=root / "runs/<b>/best.pt",
        iteration=3,
        why="the best, of iteration 3",
        config=config,
        model=Net().eval(),
        preprocess=Scale(),
        labels=Legend(CLASSES, palette(len(CLASSES)), IGNORE),
        channels=3,
        resize=None,
        device=torch.device("cpu"),
        views=WHOLE,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of a model and of images whose names are markup: its text, its path, the predictor, what was printed."""
    root = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(0)
    for n, name in enumerate(FILES):
        mask = (
            random.integers(0, len(CLASSES), size=(3, 4), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        )
        image = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], dtype=np.uint8)[mask]
        image = np.where(random.random((*mask.shape, 1)) < 0.15 * (n + 1), 90, image).astype(np.uint8)
        mask[:3] = IGNORE
        if name == "all ignored":
            mask[:] = IGNORE
        for kind, pixels in (("images", image), ("masks", mask)):
            for split in ("train", "val"):
                path = root / kind / split / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    predictor = make_predictor(root)
    page = root / "pages/errors.html"
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setattr("builtins.print", lambda *texts, **_: printed.append(" ".join(map(str, texts))))
        patch.setattr(command, "load_predictor", lambda *_: predictor)
        options = ("--device", "cpu", "--calibration", "--report", page, "--worst", "2")
        assert run_script("evaluate", "--weights", "run", *options) == 0
    return SimpleNamespace(
        text=page.read_text(), path=page, predictor=predictor, printed="\n".join(printed), root=root
    )


class Page(HTMLParser):
    """The tables by their ids, as lists of rows of (text, data-v, title); dt -> dd; and which tags there are."""

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.facts, self.tags, self.attributes, self.ids, self.targets = (
            {},
            {},
            set(),
            set(),
            [],
            [],
        )
        self.data, self.words = "", ""
        self._table, self._cell, self._term, self._inside = None, None, "", ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        self.attributes |= set(found)
        self.ids += [found["id"]] if "id" in found else []
        self.targets += [found["href"]] if "href" in found else []
        self._inside = tag
        if tag == "table":
            self._table = self.tables.setdefault(found["id"], [])
        elif tag == "tr":
            self._table.append([])
        elif tag in ("td", "th"):
            self._cell = ["", found.get("data-v"), found.get("title")]
            self._table[-1].append(self._cell)
        elif tag in ("dt", "dd"):
            self._cell = None

    def handle_endtag(self, tag):
        if tag in ("td", "th", "table"):
            self._cell = None
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.data = self.data or data
        elif self._inside == "dt":
            self._term = data
        elif self._inside == "dd":
            self.facts[self._term] = data
        if self._cell is not None:
            self._cell[0] += data
        if self._inside not in ("script", "style"):
            self.words += data


@pytest.fixture(scope="module")
def page(made):
    return Page(made.text)


def texts(rows):
    return [[cell[0] for cell in row] for row in rows]


def test_the_numbers_are_those_that_are_printed(made, page):
    tables = made.printed.split("\n\n")
    classes = [re.split(r"\s{2,}", line.strip()) for line in tables[0].splitlines()]
    shown = texts(page.tables["classes"])
    assert shown[0][:4] == classes[0][:4]
    for row, printed in zip(shown[1:], classes[1:], strict=True):
        assert [row[0], *row[1:4]] == printed[:4]
    assert [row[5] for row in shown[1:-1]] == [row[4] for row in classes[1:-1]]
    (last,) = re.findall(r"mIoU (\S+)  acc (\S+)  ce (\S+)   weights (.*)", made.printed)
    facts = page.facts
    assert (facts["mIoU"], facts["accuracy"], facts["cross-entropy"], facts["weights"]) == last
    assert facts["ECE"] == re.search(r"ECE (\S+)", made.printed)[1] and facts["images"] == str(len(FILES))
    assert facts["scored at"] == "32x24 pixels, the size of the labels"
    bins = [re.split(r"\s{2,}", line.strip()) for line in tables[1].splitlines()[2:-2]]
    assert [[row[0], row[3], row[2], row[4]] for row in texts(page.tables["calibration"])[1:]] == bins


def slow_matrices(made):
    """Confusion matrices by name, one pixel after the other."""
    found = {}
    for path in sorted((made.root / "images/val").iterdir()):
        mask = np.array(Image.open(made.root / "masks/val" / path.name))
        matrix = [[0] * len(CLASSES) for _ in CLASSES]
        for label, answer in zip(
            mask.ravel().tolist(), made.predictor.predict(path).flatten().tolist(), strict=True
        ):
            if label != IGNORE:
                matrix[label][answer] += 1
        found[path.stem] = torch.tensor(matrix)
    return found


def test_matrix_and_images_are_those_of_slow_code(made, page):
    by_name = slow_matrices(made)
    total = sum(by_name.values())
    for label, row in enumerate(page.tables["matrix"][1:]):
        for answer, (text, _, title) in enumerate(row[1:]):
            pixels, whole = int(total[label, answer]), int(total[label].sum())
            expected = f": {pixels:,} of {whole:,} pixels" if pixels else ""
            assert text == (f"{100 * pixels / whole:.1f}" if pixels else "") and expected in (title or "")
    rows = page.tables["images"][1:]
    assert len(rows) == len(FILES) - 1  # one has no valid pixel
    values = [float(row[1][1]) for row in rows]
    assert values == sorted(values)
    for row in rows:
        matrix = by_name[row[0][0].replace("\\n", "\n")]
        wrong = int(matrix.sum() - matrix.trace()) / int(matrix.sum())
        assert (float(row[1][1]), float(row[2][1])) == (metrics.mean_iou(matrix), wrong)
        assert row[1][0] == f"{100 * metrics.mean_iou(matrix):.1f}" and row[4][0] == str(int(matrix.sum()))
        assert int(row[6][1]) == int((matrix - matrix.diag().diag()).max())
    by_size = [row[5][0] for row in page.tables["sizes"][1:]]
    assert sum(int(text.split(" of ")[0].replace(",", "")) for text in by_size) == int(total.trace())
    by_distance = [row[3][0] for row in page.tables["distances"][1:]]
    assert sum(int(text.split(" of ")[1].replace(",", "")) for text in by_distance) == int(total.sum())


def test_all_that_can_be_clicked_leads_somewhere(made, page):
    data = json.loads(page.data)
    asked = set(re.findall(r'data-pair="([\d-]+)"', made.text))
    assert asked == set(data["pairs"]) and len(asked) >= len(CLASSES)
    places = [place for _, place in data["images"].values()]
    assert {target[1:] for target in page.targets} | set(places) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    shown = [each for each in page.ids if each.startswith("image-")]
    assert 2 <= len(shown) <= 4 and made.text.count('class="zoom"') == 4 * len(shown)
    assert {f"row-{each[6:]}" for each in shown} <= set(page.ids)
    for key, pair in data["pairs"].items():
        label, answer = map(int, key.split("-"))
        most = max(int(matrix[label, answer]) for matrix in slow_matrices(made).values())
        assert pair["images"][0][1] == most


def test_names_are_text_and_nothing_is_asked_for(made, page):
    assert page.tags <= set(TAGS.split()) and not any(name.startswith("on") for name in page.attributes)
    assert "//" not in re.sub(r"base64,[\w+/=]+", "", made.text.split("<script>")[0])
    for name in (*CLASSES, r"line\nbreak", "<!--<script>", 'a<b onload="x">'):
        assert name in page.words
    sources = re.findall(r'(?:src|href)="([^"]{,11})', made.text)
    assert sources and all(source.startswith(("data:image/", "#")) for source in sources)
    assert made.text.count("<script>") == 1 and "script-src 'sha256-" in made.text


def test_made_again_it_is_the_same(made, tmp_path, capsys):
    again = tmp_path / "errors.html"
    options = ReportOptions(again, worst=2)
    command.score(made.predictor, [], split="val", output=None, report=options)
    capsys.readouterr()
    assert again.read_text().replace(str(again), str(made.path)) == made.text


def test_what_is_ignored_is_that_of_the_data_that_is_scored(made, tmp_path, capsys):
    """Ignored pixels of data with another id for them were drawn as errors."""
    shutil.copytree(made.root / "images/val", tmp_path / "images/val")
    (tmp_path / "masks/val").mkdir(parents=True)
    for mask in (made.root / "masks/val").iterdir():
        with Image.open(mask) as file:
            ids = np.array(file)
        Image.fromarray(np.where(ids == IGNORE, 9, ids).astype(np.uint8)).save(
            tmp_path / "masks/val" / mask.name
        )
    overrides = [f"data.root={tmp_path}", "data.ignore_index=9"]
    options = ReportOptions(tmp_path / "p.html", worst=2)
    command.score(made.predictor, overrides, split="val", output=None, report=options)
    capsys.readouterr()
    text = (tmp_path / "p.html").read_text()
    pictures = [re.findall(r'src="(data:image/[^"]*)"', each) for each in (text, made.text)]
    assert pictures[0] and pictures[0] == pictures[1]
    assert "ignored (9)" in text and f"ignored ({IGNORE})" in made.text


def evaluation(*matrices, names="dcba"):
    dense = torch.tensor(matrices, dtype=torch.int64)
    return Evaluation(
        dense.sum(dim=0),
        0.5,
        len(dense),
        ImageMatrices.from_dense(dense),
        tuple(names[: len(dense)]),
        tuple(range(10, 10 + len(dense))),
        torch.tensor([1.0, 2.0, 3.0, 4.0])[: len(dense)],
    )


def test_ranking_and_confusions():
    # Images of a rare class that is missed, of many wrong pixels, without errors, and without a valid pixel.
    result = evaluation([[97, 0], [3, 0]], [[60, 40], [0, 0]], [[50, 0], [0, 50]], [[0, 0], [0, 0]])
    rows, pairs = list_images(result), list_pairs(result.matrices)
    assert [row.name for row in rank_worst(rows, "miou")] == ["c", "d", "b"]
    assert [row.name for row in rank_worst(rows, "wrong")] == ["c", "d", "b"]
    assert [(row.place, row.taken) for row in rows] == [
        (10, (1, 0, 3)),
        (11, (0, 1, 40)),
        (12, None),
        (13, None),
    ]
    assert math.isnan(rows[3].mean_iou) and rows[1].ce == 2 / 100
    assert pairs == [(0, 1, 40, [(1, 40)]), (1, 0, 3, [(0, 3)])]
    assert [row.name for row in choose_examples(rows, pairs, worst=1, rank="miou")] == ["c"]
    assert [row.name for row in choose_examples(rows, pairs, worst=9, rank="miou")] == ["c", "d", "b"]
    assert choose_classes(pairs, 2, 1) == [0]
    other = list_images(evaluation([[90, 0, 0], [2, 0, 0], [0, 0, 9]], [[50, 30, 0], [0, 50, 0], [0, 0, 0]]))
    assert [[row.name for row in rank_worst(other, rank)] for rank in ("miou", "wrong")] == [
        ["c", "d"],
        ["c", "d"],
    ]
    rare = list_images(evaluation([[97, 0], [3, 0]], [[60, 20], [0, 20]]))
    assert [[row.name for row in rank_worst(rare, rank)] for rank in ("miou", "wrong")] == [
        ["d", "c"],
        ["c", "d"],
    ]


def test_colours_of_errors():
    labels = Legend(["a", "b"], [(0, 0, 0), (250, 10, 20)], IGNORE)
    image = torch.full((3, 1, 4), 100, dtype=torch.uint8)
    target, answer = torch.tensor([[0, 0, 1, IGNORE]]), torch.tensor([[0, 1, 0, 1]])
    right, taken_for_b, taken_for_a, ignored = errors_in_colors(image, target, answer, labels)[
        :, 0
    ].T.tolist()
    assert taken_for_b == [250, 10, 20] and taken_for_a == [0, 0, 0]
    assert right[0] > 200 and len(set(right)) == 1 and ignored[0] in (150, 220) and len(set(ignored)) == 1


def test_of_many_images_the_worst_are_listed(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page_module, "MOST_ROWS", 2)
    command.score(
        made.predictor, [], split="val", output=None, report=ReportOptions(tmp_path / "p.html", worst=1)
    )
    page = Page((tmp_path / "p.html").read_text())
    assert len(page.tables["images"]) == 3 and "The worst 2 of 6 images" in page.words
    places = [place for _, place in json.loads(page.data)["images"].values()]
    assert "" in places and {place for place in places if place} <= set(page.ids)


@pytest.mark.parametrize("options", [{"worst": 0}, {"worst": 1, "path": "."}])
def test_what_would_be_no_page_is_refused_at_once(options, tmp_path):
    path = tmp_path if "path" in options else tmp_path / "x.html"
    with pytest.raises(ConfigError, match="-> --"):
        command.evaluate_weights("nowhere", [], split="val", device="cpu", output=None,
                                 report=ReportOptions(path, worst=options["worst"]))  # fmt: skip


@pytest.mark.heavy
def test_in_a_browser(made, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(made.path)
        names = "Array.from(document.querySelectorAll('#images tbody th'), (cell) => cell.dataset.v)"
        shown = [name.replace("\n", "\\n") for name in FILES if name != "all ignored"]
        assert sorted(browser.run(names)) == sorted(shown)
        head = "document.querySelector('#images [data-sort=\"0\"]')"
        browser.run(f"{head}.click()")
        first = browser.run(names)
        assert first.index("image2") + 1 == first.index("image10")  # by their numbers
        assert browser.run(f"{head}.closest('th').getAttribute('aria-sort')") == "ascending"
        # By the keyboard: the other way round, as the screen reader is told.
        browser.run(f"{head}.focus()")
        browser.press("Enter", code=13, text="\r")
        assert browser.run(names) == first[::-1]
        assert browser.run(f"{head}.closest('th').getAttribute('aria-sort')") == "descending"
        scores = "Array.from(document.querySelectorAll('#images tbody tr'), (row) => Number(row.cells[1].dataset.v))"
        browser.run("document.querySelector('#images [data-sort=\"1\"]').click()")
        assert browser.run(scores) == sorted(browser.run(scores))
        assert browser.run("document.querySelectorAll('#images [aria-sort]').length") == 1
        # A cell of the matrix names the images, whose links lead to them.
        browser.run("document.querySelector('#matrix [data-pair]').click()")
        assert browser.run("!chosen.hidden && chosen.querySelectorAll('li a').length") > 0
        links = "Array.from(chosen.querySelectorAll('a'), (link) => link.getAttribute('href'))"
        assert all(browser.run(f"document.querySelector('{link}') !== null") for link in browser.run(links))
        assert "<script>alert(1)</script>" in browser.run("document.getElementById('matrix').innerText")
        browser.run("document.querySelector('.zoom').click()")
        assert browser.run("large.open && large.querySelector('img').naturalWidth") > 0
        browser.press("Escape", code=27)
        assert browser.run("large.open") is False
        browser.run("document.getElementById('find').focus()")
        browser.call("Input.insertText", text="IMAGE1")
        assert browser.run("document.querySelectorAll('#images tbody tr:not([hidden])').length") == 1
        # A script that a name would bring in does not run, and nothing is loaded but the page and what is in it.
        browser.run(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'window.x = 1'}))"
        )
        assert browser.run("window.x") is None
        (refused,) = browser.complaints
        assert "Content Security Policy" in refused
        assert {address.split(":")[0] for address in browser.asked} == {"file", "data"}
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.close()
