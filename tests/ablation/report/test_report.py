"""A whole report: its numbers against a slow computation, the same in every format, and what it says of odd studies."""

import csv
import io
import json
import math
import re
import statistics

import numpy as np
import pytest
from PIL import Image

from segkit.ablation.report.findings import find_all
from segkit.ablation.report.markdown import MARKS, escape
from segkit.ablation.report.number_text import p_text
from segkit.ablation.report.report import write_report
from segkit.ablation.study.checks.comparable import check_comparable
from segkit.ablation.study.config_diff import diff_configs
from tests.ablation.report_tables import markdown_tables
from tests.ablation.studies import CLASSES, DEFINITION, VARIANTS, make_study

COMMAND = "python scripts/ablate.py --config 'my ablation.yaml'"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(study, folder of its report)."""
    folder = tmp_path_factory.mktemp("report")
    study = make_study(folder / "runs", command=COMMAND, missing=("focal, seed 0: failed",))
    page = write_report(study, folder / "out")
    assert page == folder / "out" / "report.html"
    return study, folder / "out"


def slow_iou(matrices) -> list[float]:
    """IoU of each class by loops; NaN where there is nothing to measure."""
    total = [
        [sum(int(m[i, j]) for m in matrices) for j in range(matrices.shape[2])]
        for i in range(matrices.shape[1])
    ]
    scores = []
    for c in range(len(total)):
        union = sum(total[c]) + sum(row[c] for row in total) - total[c][c]
        scores.append(total[c][c] / union if union else math.nan)
    return scores


def slow_miou(run) -> float:
    defined = [value for value in slow_iou(run.matrices) if not math.isnan(value)]
    return sum(defined) / len(defined)


def slow_accuracy(run) -> float:
    total = run.matrices.sum(axis=0)
    return np.trace(total) / total.sum()


def spread(values) -> str:
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


def speed(values) -> str:
    return f"{statistics.mean(values):.0f} ± {statistics.stdev(values):.0f}"


def signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def slow_rows(study) -> list[list[str]]:
    """What the main table must say, but for interval and p, which are not of this file."""
    rows = []
    baseline = [slow_miou(run) for run in study.of(study.baseline)]
    for variant in study.variants:
        runs = study.of(variant)
        miou = [slow_miou(run) for run in runs]
        per_seed = [a - b for a, b in zip(miou, baseline, strict=True)]
        classes = [
            statistics.mean(values) for values in zip(*(slow_iou(run.matrices) for run in runs), strict=True)
        ]
        worst = min(range(len(classes)), key=classes.__getitem__)
        difference = ["baseline"]
        if variant != study.baseline:
            difference = [signed(statistics.mean(per_seed))]
        rows.append([
            variant, spread(miou), *difference, f"{100 * classes[worst]:.1f} ({CLASSES[worst]})",
            spread([slow_accuracy(run) for run in runs]),
            "-", spread([run.summary["best"]["mIoU"] for run in runs]), speed([
                run.summary["images_per_second"] for run in runs
            ]), "2.08",
        ])  # fmt: skip
    return rows


def test_the_main_table_has_the_numbers_of_the_slow_computation(written):
    study, folder = written
    header, *rows = markdown_tables((folder / "report.md").read_text())[0]
    assert header == [
        "variant", "mIoU, %", "Δ, points", "verdict", "interval", "p (Holm)", "seeds", "from seeds", "from images",
        "worst class", "accuracy, %", "ce", "best mIoU", "img/s", "GB",
    ]  # fmt: skip
    assert [row[:3] + row[9:] for row in rows] == slow_rows(study)


def test_the_main_table_has_the_interval_and_p_of_the_comparison(written):
    study, folder = written
    rows = markdown_tables((folder / "report.md").read_text())[0][1:]
    found = find_all(study).comparison.differences
    assert [row[3:9] for row in rows[1:]] == [
        [
            one.verdict,
            f"[{signed(one.interval[0])}, {signed(one.interval[1])}]",
            p_text(one.p_holm),
            "3",
            f"±{100 * one.noise:.1f}",
            f"±{100 * one.from_images:.1f}",
        ]
        for one in found
    ]
    assert rows[0][3:9] == ["", "", "", "3", "", ""]


def test_the_files_of_differences_are_those_of_the_comparison(written):
    study, folder = written
    found = find_all(study).comparison.differences
    rows = list(csv.DictReader(io.StringIO((folder / "differences.csv").read_text())))
    listed = json.loads((folder / "differences.json").read_text())
    assert len(rows) == len(listed) == len(found) == 3
    for row, entry, one in zip(rows, listed, found, strict=True):
        assert (
            (row["variant"], row["verdict"])
            == (entry["variant"], entry["verdict"])
            == (one.variant, one.verdict)
        )
        expected = {
            "difference": one.value, "lower": one.interval[0], "upper": one.interval[1], "p": one.p,
            "p_holm": one.p_holm, "from_seeds": one.noise, "from_images_lower": one.images[0],
            "from_images_upper": one.images[1],
        }  # fmt: skip
        for name, value in expected.items():
            assert entry[name] == value == float(row[name]), name
        assert entry["per_seed"] == {str(s): value for s, value in zip(one.seeds, one.per_seed, strict=True)}
        assert (entry["words"], entry["level"], row["margin"]) == (one.words, 0.95, "")


def test_the_class_table_is_the_mean_over_seeds(written):
    study, folder = written
    header, *rows = markdown_tables((folder / "report.md").read_text())[1]
    assert header == ["class", *VARIANTS]
    for index, name in enumerate([*CLASSES, "mIoU"]):
        values = [
            statistics.mean([*slow_iou(run.matrices), slow_miou(run)][index] for run in study.of(variant))
            for variant in VARIANTS
        ]
        assert rows[index] == [name, *(f"{100 * value:.1f}" for value in values)]


def test_only_the_largest_mean_is_bold(written):
    study, folder = written
    best = max(VARIANTS, key=lambda variant: statistics.mean(slow_miou(run) for run in study.of(variant)))
    lines = (folder / "report.md").read_text().split("**Table 2.**")[0].splitlines()
    bold = [line for line in lines if "**" in line and line.startswith("|")]
    assert len(bold) == 1
    assert bold[0].startswith(f"| {best} | **")


def test_html_has_the_cells_of_markdown(written):
    _, folder = written
    page = (folder / "report.html").read_text()
    html_tables = [
        [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
         for row in re.findall(r"<tr>(.*?)</tr>", table)]
        for table in re.findall(r"<table>(.*?)</table>", page, re.DOTALL)
    ]  # fmt: skip
    assert html_tables == markdown_tables((folder / "report.md").read_text())


def test_html_is_one_file_and_holds_every_figure(written):
    _, folder = written
    page = (folder / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert len(sources) == len(list((folder / "figures").glob("*.png")))
    assert not re.search(r"<(link|script|iframe)|@import|url\(", page)


def test_latex_has_the_cells_of_the_main_table(written):
    study, folder = written
    text = (folder / "report.tex").read_text()
    rows = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r" \\")]
    plain = [[re.sub(r"\\textbf\{(.*)\}", r"\1", cell) for cell in row] for row in rows]
    for source, target in ((r"\ensuremath{\pm}", "±"), (r"\ensuremath{-}", "−"), (r"\_", "_"), (r"\%", "%"),
                           (r"\ensuremath{\Delta}", "Δ")):  # fmt: skip
        plain = [[cell.replace(source, target) for cell in row] for row in plain]
    # What is said below the table of a page stands above that of a paper.
    assert r"Bold marks the best mean and nothing more: what a difference is worth" in text
    main, classes = markdown_tables((folder / "report.md").read_text())[:2]
    kept = [0, 1, 2, 4, 5, 3, 6, 13, 14]
    seeds = [["variant", "seed 0", "seed 1", "seed 2"]]
    seeds += [[v, *(f"{100 * slow_miou(run):.1f}" for run in study.of(v))] for v in VARIANTS]
    plain = [[cell.replace(r"\ensuremath{<}", "<") for cell in row] for row in plain]
    assert plain == [[row[place] for place in kept] for row in main] + seeds + classes
    assert text.count(r"\begin{tabular}") == text.count(r"\end{table*}") == 3
    assert "3 seeds per variant." in text
    assert r"95 \% interval" in text


def test_csv_has_a_row_per_run_at_full_precision(written):
    study, folder = written
    rows = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text())))
    assert [(row["variant"], int(row["seed"])) for row in rows] == [
        (v, s) for v in VARIANTS for s in (0, 1, 2)
    ]
    for row, run in zip(rows, study.runs, strict=True):
        assert float(row["mIoU"]) == pytest.approx(slow_miou(run), rel=1e-14)
        assert float(row["accuracy"]) == pytest.approx(slow_accuracy(run), rel=1e-14)
        assert [float(row[f"iou/{name}"]) for name in CLASSES] == pytest.approx(
            slow_iou(run.matrices), rel=1e-14
        )
        assert float(row["images_per_second"]) == run.summary["images_per_second"]
        assert float(row["training_minutes"]) == pytest.approx(
            600 * 16 * 2 / run.summary["images_per_second"] / 60
        )
        assert (float(row["best_mIoU"]), row["best_iteration"]) == (run.summary["best"]["mIoU"], "540")
        assert (row["memory_gb"], row["seconds"], row["folder"]) == ("2.08", "101.5", str(run.folder))


def test_every_figure_is_there_and_not_empty(written):
    _, folder = written
    stems = {path.stem for path in (folder / "figures").glob("*.png")}
    assert stems == {
        "forest",
        "paired",
        "classes",
        "learning",
        "kept",
        "cost",
        *(f"example_{n}" for n in (1, 2, 3, 4)),
    }
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png"}
    for stem in stems:
        with Image.open(folder / "figures" / f"{stem}.png") as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
            assert picture.width >= 700
            assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    markdown = (folder / "report.md").read_text()
    assert set(re.findall(r"!\[[^]]*\]\(figures/(\w+)\.png\)", markdown)) == stems
    assert "PDF" not in markdown


def test_the_report_says_what_a_reader_asks_for(written):
    study, folder = written
    text = (folder / "report.md").read_text()
    for part in (
        "Better than ce: ohem_ce (+",
        "intervals, widened for 3 comparisons as p is, are for other images of the same kind and for other seeds.",
        "- ⚠ one planned run is missing: focal, seed 0: failed",
        "Bold marks the best mean and nothing more",
        "band: from the lowest to the highest seed",
        "ce does not log it and is left out.",
        "| loss.thresh | - | 0.7 | - | - |",
        "| torch | 2.11.0+cpu |",
        "| git commit | 45f802c1 |",
        "| data fingerprint | da7ada7ada7ada7a |",
        f"mIoU: {DEFINITION}",
        "Classes: background, circle, square, line, star.",
        "10,000 replicates over 40 images",
        f"```\n{COMMAND}\n```",
        f"| weighted_mask_ce | 2 | {study.runs[-1].folder} |",
    ):
        assert part in text


def test_the_report_has_what_differs_and_every_check(written):
    study, folder = written
    text = (folder / "report.md").read_text()
    assert diff_configs(study).sentence in text
    checks = check_comparable(study)
    assert {check.level for check in checks} == {"ok", "warning"}
    for check in checks:
        assert f"- {MARKS[check.level]} {escape(check.text)}\n" in text


def test_captions_are_numbered_in_order_of_appearance(written):
    _, folder = written
    text = (folder / "report.md").read_text()
    assert re.findall(r"\*\*Table (\d+)\.\*\*", text) == ["1", "2", "3", "4"]
    assert re.findall(r"\*\*Figure (\d+)\.\*\*", text) == [str(n) for n in range(1, 11)]
