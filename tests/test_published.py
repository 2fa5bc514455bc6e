"""The tables of finished ablations, in the README and the docs, are what the published numbers say today.

docs/ablation/numbers/ holds those numbers as packed studies, so that a table is read anew by every rule that statistics
get: a changed verdict is a changed page, and never one that nobody has looked at.
"""

import re
from functools import cache

import pytest

from segkit.ablation.compare import make_study
from segkit.ablation.report.findings import find_all
from segkit.ablation.report.number_text import difference_text
from segkit.ablation.report.tables import class_table, main_table
from segkit.ablation.study.gather import gather_runs
from tests.ablation.many_metrics import markdown_rows
from tests.ablation.report_tables import markdown_tables
from tests.paths import ROOT

NUMBERS = ROOT / "docs" / "ablation" / "numbers"
#: Packed studies, and where each has a table.
PUBLISHED = {
    "shapes.zip": ["README.md", "docs/ablation.md"],
    "camvid.zip": ["docs/ablation.md"],
    "camvid_fast.zip": ["README.md", "docs/ablation/camvid_fast.md"],
}
#: Those of many variants, with the page that has a table of all metrics.
MANY = dict.fromkeys(["losses.zip", "membrane_losses.zip"], "docs/ablation/losses.md")
#: Columns of the pages by those of the report.
COLUMNS = {
    "mIoU": "mIoU, %",
    "95 % interval": "interval",
    "accuracy": "accuracy, %",
    "cross-entropy": "ce",
}
#: Those with a table that has a row for each metric, and two columns for each variant.
BY_METRIC = {"membrane.zip": "docs/ablation.md"}
#: Those of which a page has some metrics, and others in words.
IN_PART = {"membrane_cells.zip": "docs/ablation.md"}


@cache
def findings_of(name):
    return find_all(make_study(gather_runs([NUMBERS / name]), baseline=None, group_by=None))


@cache
def published(name):
    """(variant, column) -> what today's report says, with the IoU of each class as a column."""
    findings = findings_of(name)
    table, classes = main_table(findings), class_table(findings)
    cells = {}
    for row in table.rows:
        texts = [cell.text for cell in row]
        cells |= {(texts[0], column): text for column, text in zip(table.columns, texts, strict=True)}
    for row in classes.rows:
        label, *scores = (cell.text for cell in row)
        cells |= {(variant, label): text for variant, text in zip(classes.columns[1:], scores, strict=True)}
    return cells


def as_on_a_page(text, column):
    """The text of a cell of the report as the pages have it: of scores but the first the mean alone."""
    if column == "interval":
        return re.sub(r"^\[(.*), (.*)\]$", r"\1 to \2", text)
    return text if column == "mIoU, %" else text.partition(" ± ")[0]


def tables_of(page, variants):
    """The tables of a page that have a row for each of the variants."""
    tables = markdown_tables((ROOT / page).read_text())
    return [table for table in tables if {row[0].strip("`") for row in table[1:]} == variants]


@pytest.mark.parametrize(
    ("name", "page"), [(name, page) for name, pages in PUBLISHED.items() for page in pages]
)
def test_a_published_table_is_what_its_numbers_say_today(name, page):
    cells = published(name)
    variants = {variant for variant, _ in cells}
    compared = 0
    matching = []
    for header, *rows in tables_of(page, variants):
        differing = []
        for variant, *texts in ([cell.strip("`* ") for cell in row] for row in rows):
            for title, text in zip(header[1:], texts, strict=True):
                column = COLUMNS.get(title, title)
                found = cells.get((variant, column), f"no {column}")  # of the table of another study
                expected = as_on_a_page(found, column).replace("baseline", "")
                compared += 1
                if text != expected:
                    differing.append((variant, title, text, expected))
        matching.append(differing)
    assert [] in matching and compared >= 20, matching


@pytest.mark.parametrize(("name", "page"), MANY.items())
def test_a_published_table_of_many_metrics_is_what_its_numbers_say_today(name, page):
    lines = (ROOT / page).read_text().splitlines()
    rows = markdown_rows(findings_of(name))
    assert rows[0] in lines
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows


@pytest.mark.parametrize(("name", "page"), BY_METRIC.items())
def test_a_published_table_by_metric_is_what_its_numbers_say_today(name, page):
    findings = findings_of(name)
    expected = []
    for comparison in (findings.comparison, *findings.others):
        cells = []
        for found in comparison.differences:
            text = difference_text(found)
            p = f", p {text.p_holm}" if found.verdict in ("better", "worse") else ""
            cells += [f"{text.value} ({as_on_a_page(text.interval, 'interval')})", f"{found.verdict}{p}"]
        expected.append(cells)
    tables = markdown_tables((ROOT / page).read_text())
    assert expected in [[row[1:] for row in rows] for _, *rows in tables]


@pytest.mark.parametrize(("name", "page"), IN_PART.items())
def test_the_differences_of_a_page_are_what_its_numbers_say_today(name, page):
    """Each row of its table has those of one metric; those that have no row are few."""
    findings = findings_of(name)
    expected = []
    for comparison in (findings.comparison, *findings.others):
        texts = [difference_text(found) for found in comparison.differences]
        cells = [f"{text.value} ({as_on_a_page(text.interval, 'interval')})" for text in texts]
        expected.append((cells, [found.verdict for found in comparison.differences]))
    tables = markdown_tables((ROOT / page).read_text())
    (rows,) = [rows for header, *rows in tables if header[1:] == ["`ce`", *_two_each(findings)]]
    found = [
        ([row[2].strip("*"), row[4].strip("*")], [row[3].partition(",")[0], row[5].partition(",")[0]])
        for row in rows
    ]
    assert [row for row in found if row not in expected] == []
    assert len(found) >= len(expected) - 3


def _two_each(findings):
    names = [found.variant for found in findings.comparison.differences]
    return [title for name in names for title in (f"`{name}`", "verdict")]


def test_every_packed_study_here_is_on_a_page():
    assert {path.name for path in NUMBERS.iterdir()} == {*PUBLISHED, *MANY, *BY_METRIC, *IN_PART}
    pages = [(name, page) for name, pages in PUBLISHED.items() for page in pages[1:]]
    for others in (MANY, BY_METRIC, IN_PART):
        pages += others.items()
    assert all(name in (ROOT / page).read_text() for name, page in pages)
