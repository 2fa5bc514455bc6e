"""What a report says of studies with one seed, missing runs, absent classes and other odd things."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from segkit.ablation.report.console_lines import result_lines
from segkit.ablation.report.difference_files import render_differences_csv
from segkit.ablation.report.document import Picture, Table
from segkit.ablation.report.drawings import Sheet, _differences, class_map, shared_seed_runs
from segkit.ablation.report.drawings import _classes as draw_classes_of
from segkit.ablation.report.figures.forest import _paint as paint_forest
from segkit.ablation.report.figures.forest import forest_rows
from segkit.ablation.report.figures.reliability import find_reliability
from segkit.ablation.report.figures.style import choose_looks
from segkit.ablation.report.findings import find_all, training_minutes
from segkit.ablation.report.markdown import render_markdown
from segkit.ablation.report.network_table import network_table
from segkit.ablation.report.number_text import points_text, spread_text
from segkit.ablation.report.report import compose, number_captions, paper_tables, write_report
from segkit.ablation.report.run_csv import render_csv
from segkit.ablation.report.tables import class_table, environment_table, main_table
from segkit.ablation.statistics.metrics import WHOLE
from segkit.ablation.study.phrases import join
from segkit.errors import CannotWrite, ConfigError, DataError
from segkit.evaluation.confidence_bins import BINS, UNIT
from segkit.evaluation.objects.counts import ObjectCounts
from tests.ablation.report_tables import markdown_tables
from tests.ablation.studies import make_study


def text_of(study, **changes) -> str:
    """The Markdown of a report without figures."""
    findings = find_all(replace(study, **changes))
    return render_markdown(number_captions(compose(findings, [])))


def test_one_seed_has_no_deviation_and_says_so(tmp_path):
    text = text_of(make_study(tmp_path, seeds=(4,), examples=False))
    tables = markdown_tables(text)
    assert all(
        "±" not in cell for row in tables[0] for cell in row[:8] + row[9:]
    )  # the part from images has one
    assert [(row[3], row[5]) for row in tables[0][2:]] == [("one seed", "-")] * 3
    assert (
        "Where there is one seed there is no verdict, because what other seeds would show is not known"
        in text
    )
    assert "95 % interval for other images alone, because they share one seed." in text
    assert "One seed, so nothing is known about the spread between seeds." in text


def test_a_class_that_occurs_nowhere_is_a_dash(tmp_path):
    study = make_study(tmp_path, absent="line", examples=False)
    findings = find_all(study)
    assert markdown_tables(text_of(study))[1][4] == ["line", "-", "-", "-", "-"]
    assert all(scores.worst_class != 3 for scores in findings.scores)
    assert np.isnan(class_map(findings).iou[:, 3]).all()
    assert [row["iou/line"] for row in csv.DictReader(io.StringIO(render_csv(study)))] == [""] * 12
    assert findings.scores[0].miou.mean == pytest.approx(np.nanmean(findings.scores[0].class_iou))


def test_a_class_that_no_image_has_is_left_out_of_the_mean_and_said(tmp_path):
    study = make_study(tmp_path, absent="line", examples=False)
    for run in study.of("ohem_ce"):
        run.matrices[:, 0, 3] += 1  # a pixel per image is predicted as it
        run.matrices[:, 0, 0] -= 1
        run.recount()
    findings = find_all(study)
    text = text_of(study)
    assert (
        "no image has a pixel of line, so this class has no IoU and is left out of every mean here, though up to 40 "
        "pixels of a run are predicted as it"
    ) in text
    assert markdown_tables(text)[1][4][1:] == ["-"] * 4
    assert not any("line" in row[9] for row in markdown_tables(text)[0])
    assert [row["iou/line"] for row in csv.DictReader(io.StringIO(render_csv(study)))] == [""] * 12
    assert findings.scores[1].miou.mean == pytest.approx(
        np.nanmean(np.delete(findings.scores[1].class_iou, 3))
    )
    # In its mean a run counts that class as 0, so that its best would be less than what the table says of its last.
    assert all(scores.best is None for scores in findings.scores)
    assert findings.differences["ohem_ce"].verdict == "better"


def test_further_metrics_have_a_table_and_the_first_is_the_main_one(tmp_path):
    study = replace(make_study(tmp_path, examples=False), metrics=("accuracy", "miou", "iou/line"))
    findings = find_all(study)
    text = text_of(study)
    main, further, *_ = markdown_tables(text)
    assert main[0][1] == "accuracy, %"
    assert [row[1].strip("*") for row in main[1:]] == [row[10] for row in main[1:]]
    assert further[0] == ["metric", "variant", "Δ", "verdict", "interval", "p (Holm)"]
    assert [row[0] for row in further[1:]] == ["mIoU"] * 3 + ["IoU of line"] * 3
    assert "3 metrics were looked at in all" in text
    assert "better than ce by" in text and "points of accuracy (95 % interval" in text
    rows = list(csv.DictReader(io.StringIO(render_differences_csv(findings))))
    assert [row["metric"] for row in rows] == ["accuracy"] * 3 + ["mIoU"] * 3 + ["IoU of line"] * 3


def test_sentences_on_many_variants_are_behind_a_line_to_click_on(tmp_path):
    few = make_study(tmp_path / "few", seeds=(0,), examples=False)
    assert "<summary>Each of the" not in text_of(few) and "\n- ohem_ce: " in text_of(few)
    variants = ("ce", *(f"v{number}" for number in range(9)))
    text = text_of(make_study(tmp_path / "many", seeds=(0,), variants=variants, examples=False))
    assert "<summary>Each of the 9 variants in words</summary>\n\n- v0: " in text


def test_the_terminal_names_those_of_whom_a_further_metric_shows_nothing_in_one_line(tmp_path):
    findings = find_all(replace(make_study(tmp_path, examples=False), metrics=("miou", "iou/line")))
    lines = result_lines(findings)
    [other] = findings.others
    silent = [found.variant for found in other.differences if found.verdict == "not shown"]
    shown = [found for found in other.differences if found.verdict != "not shown"]
    assert silent and shown
    assert f"by IoU of line no difference to ce shown: {join(silent)}" in lines
    assert all(f"{found.variant}: {found.words}" in lines for found in shown)
    assert all(f"{found.variant}: {found.words}" in lines for found in findings.comparison.differences)
    assert not [line for line in lines if "points of IoU of line, the 95 % interval" in line]


def with_networks(study, networks):
    """The study whose variants have these networks: their model block, parameters and operations."""
    runs = []
    for run in study.runs:
        model, parameters, flops = networks[run.variant]
        summary = {**run.summary, "parameters": parameters, "flops_per_image": flops}
        runs.append(replace(run, config={**run.config, "model": model}, summary=summary))
    return replace(study, runs=tuple(runs))


def test_different_networks_have_a_table_of_what_they_cost(tmp_path):
    study = make_study(tmp_path, examples=False, variants=("ce", "ohem_ce", "bootstrapped_ce"))
    same = with_networks(study, dict.fromkeys(study.variants, ({"name": "unet"}, 7_800_000, 21_300_000_000)))
    assert network_table(find_all(study)) is None and network_table(find_all(same)) is None
    networks = {
        "ce": ({"name": "unet", "width": 16}, 7_812_345, 21_300_000_000),
        "ohem_ce": ({"name": "smp", "architecture": "FPN", "encoder": "resnet18"}, 13_000_000, None),
        "bootstrapped_ce": ({"name": "unet", "width": 4}, 7_077, 3_244_032),
    }
    findings = find_all(with_networks(study, networks))
    table = network_table(findings)
    first, second, small = ([cell.text for cell in row] for row in table.rows)
    speed = spread_text(findings.scores[0].speed)
    assert first[:6] == ["ce", "unet", "7.81", "21.3", speed, "2.08"] and first[8] == "baseline"
    assert second[:4] == ["ohem_ce", "smp: FPN, resnet18", "13.0", "-"]
    assert second[8].startswith("better (+")
    assert small[:4] == ["bootstrapped_ce", "unet", "0.0071", "0.0032"]
    assert "trained parameters" in table.caption and "one image as large as in training" in table.caption
    assert "smp: FPN, resnet18" in text_of(with_networks(study, networks))


def count_further(study, *, tolerance=2.0, without=()):
    """The study whose runs also have sums of cross-entropy and counts of borders, but for those of some seeds."""
    runs = []
    for run in study.runs:
        random = np.random.default_rng([run.seed, *run.variant.encode()])
        hits = run.matrices.diagonal(axis1=1, axis2=2)
        labels = run.matrices.sum(axis=2)
        ce = (labels.sum(axis=1) - hits.sum(axis=1)) * 1.5 + random.normal(0, 5, len(labels))
        borders = np.stack([hits, labels, hits, labels, hits, labels], axis=1) // 10
        counts = replace(run.counts, ce=ce, borders=borders, tolerance=tolerance)
        runs.append(run if run.seed in without else replace(run, counts=counts))
    return replace(study, runs=tuple(runs))


def test_cross_entropy_as_the_main_metric(tmp_path):
    study = count_further(make_study(tmp_path, examples=False))
    findings = find_all(replace(study, metrics=("ce", "boundary_iou", "boundary_f1/line")))
    text = text_of(study, metrics=("ce", "boundary_iou", "boundary_f1/line"))
    main, further, *_ = markdown_tables(text)
    assert main[0][1:3] == ["cross-entropy, nats", "Δ, nats"]
    total = [run.counts.ce.sum() / run.matrices.sum() for run in study.of("ohem_ce")]
    shown = f"{np.mean(total):.3f} ± {np.std(total, ddof=1):.3f}"
    assert main[2][1] == shown and f"| **{shown}** |" in text  # the lowest is the best
    assert [row[3] for row in main[2:]] == ["better", "not shown", "worse"]
    assert main[2][2].startswith("−0.0") and main[4][2].startswith("+0.0")
    assert "Of cross-entropy less is better." in text
    assert "Better than ce: ohem_ce (−0.0" in text and " nats, [" in text
    assert "ohem_ce: better than ce by 0.0" in text and "nats of cross-entropy (95 % interval" in text
    assert [row[0] for row in further[1:]] == ["boundary IoU (2 px)"] * 3 + ["boundary F1 of line (2 px)"] * 3
    assert findings.best_variants == {"ohem_ce"}
    rows = list(csv.DictReader(io.StringIO(render_differences_csv(findings))))
    assert [row["unit"] for row in rows] == ["nats"] * 3 + ["share"] * 6


def test_a_further_metric_in_another_unit_says_so(tmp_path):
    further = markdown_tables(
        text_of(count_further(make_study(tmp_path, examples=False)), metrics=("miou", "ce"))
    )
    assert [row[0] for row in further[1][1:]] == ["cross-entropy, nats"] * 3


def count_confidences(study):
    """The study whose runs also have confidences counted: all pixels in one bin, surer than they are right."""
    runs = []
    for run in study.runs:
        counts = run.counts.counts
        random = np.random.default_rng([run.seed, *run.variant.encode()])
        pixels, hits = counts[:, 1].sum(axis=-1), counts[:, 0].sum(axis=-1)
        bins = np.zeros((len(counts), 3, BINS), dtype=np.int64)
        bins[:, :, -1] = np.stack([pixels, hits, hits * UNIT + random.integers(0, UNIT, len(pixels))], axis=1)
        found = replace(run.counts, bins=bins, brier=(pixels - hits) * 2 + random.normal(0, 5, len(pixels)))
        runs.append(replace(run, counts=found))
    return replace(study, runs=tuple(runs))


def test_a_report_on_calibration(tmp_path):
    study = count_confidences(make_study(tmp_path, examples=False))
    text = text_of(study, metrics=("ece", "brier"))
    main, further, *_ = markdown_tables(text)
    assert main[0][1:3] == ["calibration error, %", "Δ, points"]
    bins = [run.counts.bins.sum(axis=(0, 2)) for run in study.of("ohem_ce")]
    expected = [100 * (sure / UNIT - hits) / pixels for pixels, hits, sure in bins]
    assert main[2][1] == f"{np.mean(expected):.1f} ± {np.std(expected, ddof=1):.1f}"
    assert [row[0] for row in further[1:]] == ["Brier score, units"] * 3
    assert "Of calibration error and Brier score less is better." in text


def test_the_figure_of_confidence(tmp_path):
    study = count_confidences(make_study(tmp_path, examples=False))
    found = find_reliability("ohem_ce", study.of("ohem_ce"))
    pixels, right, sure = sum(run.counts.bins.sum(axis=0)[:, -1] for run in study.of("ohem_ce"))
    assert found.share.tolist() == [0.0] * 14 + [1.0]
    assert found.accuracy[-1] == right / pixels and found.confidence[-1] == pytest.approx(
        sure / UNIT / pixels
    )
    assert np.isnan(found.accuracy[:-1]).all() and np.isnan(found.confidence[:-1]).all()
    errors = [float(WHOLE["ece"].score(run.counts.bins.sum(axis=0))) for run in study.of("ohem_ce")]
    assert found.error == pytest.approx(np.mean(errors), rel=1e-12)
    runs = [run for run in study.runs if run.variant != "bootstrapped_ce"]
    without = make_study(tmp_path / "other", examples=False).of("bootstrapped_ce")
    page = (
        write_report(replace(study, runs=(*runs, *without)), tmp_path / "report")
        .with_suffix(".md")
        .read_text()
    )
    assert (tmp_path / "report/figures/calibration.png").is_file()
    assert "Without confidences: bootstrapped_ce." in page and "### Confidence" in page
    assert find_reliability("bootstrapped_ce", without) is None
    write_report(make_study(tmp_path / "another", examples=False), tmp_path / "report")
    assert not (tmp_path / "report/figures/calibration.png").exists(), "that would be of other runs"


def test_what_has_to_be_counted_is_all_in_one_command(tmp_path):
    """The file is written anew, so that what is counted already would be lost, and what comes next be missing again."""
    study = make_study(tmp_path, examples=False)
    for runs, metrics in (
        (study, ("miou", "boundary_iou/line", "ece", "brier")),
        (count_confidences(study), ("miou", "boundary_f1")),
        (count_further(study), ("miou", "ece")),
    ):
        first, *_ = find_all(replace(runs, metrics=metrics)).unmeasured
        assert "   -> python scripts/evaluate.py --per-image --boundary 2 --calibration --weights " in first
    all_three = count_objects(count_confidences(study)), ("miou", "boundary_iou")
    others = study.runs[0].class_names[1:]
    for runs, metrics, objects in (
        (*all_three, f"{others[1]} {others[0]} --min-size 20"),
        (count_further(study), ("miou", "vi", "ece"), " ".join(others)),
    ):
        first, *_ = find_all(replace(runs, metrics=metrics)).unmeasured
        assert f" --per-image --boundary 2 --calibration --objects {objects} --weights " in first
    lacking = find_all(replace(study, metrics=("miou", "brier"))).unmeasured
    assert len(lacking) == 1 and "of 12 runs has no confidences counted\n" in lacking[0]
    assert "evaluate.py --per-image --calibration --weights" in lacking[0]
    for runs in (study, count_confidences(study)):
        lacking = find_all(replace(runs, metrics=("miou", "classwise_ece/line"))).unmeasured
        assert len(lacking) == 1 and "has no probabilities of each class counted\n" in lacking[0]
        assert "evaluate.py --per-image --calibration classwise --weights" in lacking[0]


def test_runs_that_lack_borders_are_named_with_the_command_that_counts_them(tmp_path):
    study = count_further(make_study(tmp_path, examples=False), tolerance=3.0, without=(0, 1))
    folders = " ".join(str(run.folder) for run in study.runs if run.seed in (0, 1))
    message = (
        "metrics: boundary_iou: the per_image.npz of 8 runs has no borders counted within 3 pixels\n"
        f"   -> python scripts/evaluate.py --per-image --boundary 3 --weights {folders}"
    )
    with pytest.raises(ConfigError) as caught:
        find_all(replace(study, metrics=("boundary_iou", "miou")))
    assert str(caught.value) == message
    findings = find_all(replace(study, metrics=("miou", "boundary_iou", "ce")))
    assert findings.unmeasured[0] == message
    assert (
        "metrics: ce: the per_image.npz of 8 runs has no cross-entropy of each image"
        in findings.unmeasured[1]
    )
    with pytest.raises(ConfigError, match="within 2 pixels"):
        find_all(replace(make_study(tmp_path / "none", examples=False), metrics=("boundary_iou",)))


def test_a_margin_is_in_points(tmp_path):
    study = count_further(make_study(tmp_path, examples=False))
    with pytest.raises(
        ConfigError, match="margin: it is in points, and ce is not -> put another metric first"
    ):
        find_all(replace(study, metrics=("ce",), margin=0.005))


def test_a_report_is_written_whatever_the_numbers(tmp_path):
    """A collapsed run of two at a high level: no interval of a difference of shares is beyond 100 points."""
    study = make_study(tmp_path, variants=("ce", "ohem_ce"), seeds=(0, 1), level=0.99, examples=False)
    run = study.of("ohem_ce")[1]
    labels = run.matrices.sum(axis=2)
    run.matrices[:] = 0
    run.matrices[:, :, 4] = labels
    run.recount()
    findings = find_all(study)
    text = text_of(study)
    [found] = findings.comparison.differences
    assert -1 <= found.interval[0] <= found.interval[1] <= 1 and found.reach <= 1
    assert (findings.classes["ohem_ce"].lower >= -1).all()
    assert "ohem_ce, seed 1, predicts nearly nothing but star: that training has collapsed" in text
    assert points_text(-18.94) == "−1,894.0" and points_text(18.94) == "+1,894.0"


def test_a_further_metric_that_cannot_be_measured_costs_the_others_nothing(tmp_path):
    study = make_study(tmp_path, absent="star", examples=False)
    text = text_of(study, metrics=("miou", "iou/star", "accuracy", "iou/strar"))
    assert "metrics: iou/star: 0 independent image(s) or group(s) have what it takes" in text
    assert "metrics: iou/strar: there is no class 'strar', did you mean 'star'?" in text
    assert [row[0] for row in markdown_tables(text)[1][1:]] == ["accuracy"] * 3
    for run in study.runs:
        run.matrices[3:, 3] = 0
        run.recount()
    text = text_of(study, metrics=("miou", "iou/line"))
    assert "only 3 independent images or groups have what IoU of line is measured on" in text


def test_a_margin_is_of_the_main_metric(tmp_path):
    study = make_study(tmp_path, examples=False)
    findings = find_all(replace(study, metrics=("accuracy", "miou"), margin=0.9))
    assert findings.differences["bootstrapped_ce"].verdict == "within the margin"
    rows = csv.DictReader(io.StringIO(render_differences_csv(findings)))
    assert [row["margin"] for row in rows] == ["0.9"] * 3 + [""] * 3
    assert {one.verdict for one in findings.others[0].differences} <= {"better", "worse", "not shown"}


def test_where_all_variants_are_equal_none_is_bold(tmp_path):
    findings = find_all(make_study(tmp_path, seeds=(0,), variants=("ce", "ohem_ce"), examples=False))
    shares = np.array([0, 0.1, 0.2, 0.3, 0.4])
    scores = tuple(replace(one, class_iou=shares * (1 + n)) for n, one in enumerate(findings.scores))
    rows = class_table(replace(findings, scores=scores)).rows
    assert [[cell.strong for cell in row[1:]] for row in rows[:2]] == [[False, False], [False, True]]


def test_missing_runs_are_left_out_and_said(tmp_path):
    study = make_study(tmp_path, examples=False)
    runs = tuple(
        run for run in study.runs if run.variant != "ohem_ce" and (run.variant, run.seed) != ("ce", 0)
    )
    text = text_of(study, runs=runs, missing=("ohem_ce, seed 0: never started", "ce, seed 0: failed"))
    rows = markdown_tables(text)[0]
    assert [(row[0], row[6]) for row in rows[1:]] == [
        ("ce", "2"),
        ("bootstrapped_ce", "3"),
        ("weighted_mask_ce", "3"),
    ]
    assert "- ⚠ 2 planned runs are missing: ohem_ce, seed 0: never started; ce, seed 0: failed" in text
    assert "2 to 3 seeds per variant." in text
    findings = find_all(replace(study, runs=runs))
    assert [run.label for run in shared_seed_runs(findings)] == [
        "ce, seed 1", "bootstrapped_ce, seed 1", "weighted_mask_ce, seed 1",
    ]  # fmt: skip


def captions(study, folder) -> dict[str, str]:
    """What is written below each figure of differences, and the sentences instead of one."""
    blocks = _differences(find_all(study), Sheet(folder, choose_looks(study.variants, study.baseline)))
    return {
        getattr(block, "stem", "none"): getattr(block, "caption", None) or block.text for block in blocks[1:]
    }


def test_captions_say_what_the_figures_of_differences_show(tmp_path):
    study = make_study(tmp_path, variants=("ce", "ohem_ce"), seeds=(0, 1), examples=False)
    found = captions(study, tmp_path)
    assert list(found) == ["forest", "paired"]
    assert "half-width on the side of 0 is from seeds and how much from images." in found["forest"]
    assert found["paired"].startswith("mIoU of every run, the runs of a seed joined by a line")
    assert "interrupted" not in found["paired"]
    missing = replace(study, runs=study.runs[:-1])
    found = captions(missing, tmp_path)
    assert "Bars on the right" not in found["forest"]  # one shared seed is left
    assert found["paired"].endswith("A line is interrupted where a seed has no run.")


def test_one_seed_has_neither_shares_nor_lines_and_says_so(tmp_path):
    study = make_study(tmp_path, variants=("ce", "ohem_ce"), seeds=(0,), examples=False)
    found = captions(study, tmp_path)
    assert "for other images alone, because they share one seed" in found["forest"]
    assert "Bars on the right" not in found["forest"]
    assert found["none"] == "No lines from variant to variant for each seed: there is one seed."
    assert not (tmp_path / "paired.png").exists()


def test_the_baseline_alone_is_reported(tmp_path):
    study = make_study(tmp_path, variants=("ce",))
    text = write_report(study, tmp_path / "out").read_text()
    assert "Only ce has finished runs, so there is nothing to compare it with." in text
    assert "No forest plot: there is no variant to compare with the baseline." in text
    assert "No curves of the kept fraction: no run logged loss/kept_fraction." in text
    assert not (tmp_path / "out" / "figures" / "forest.png").exists()


def test_what_was_not_recorded_is_a_dash_and_a_sentence(tmp_path):
    study = make_study(tmp_path, seeds=(0,), variants=("ce", "ohem_ce"), examples=False)
    bare = {"iterations": 600, "images_per_second": None, "best": {"mIoU": None, "iteration": 0}}
    runs = tuple(replace(run, summary=bare, history={}, env={}) for run in study.runs)
    study = replace(study, runs=runs)
    text = write_report(study, tmp_path / "out").read_text()
    (rows,) = [
        table for table in markdown_tables(text_of(study)) if table[0][0] == "variant" and "GB" in table[0]
    ]
    assert rows[1][11:] == ["-", "-", "-", "-"]
    for sentence in (
        "No learning curves: no run logged val/mIoU or val/ce.",
        "No plot of cost against mIoU: no run has a summary with images per second.",
        "No example images: no image is in the examples.npz of all variants.",
    ):
        assert sentence in text
    assert [path.stem for path in sorted((tmp_path / "out" / "figures").glob("*.png"))] == [
        "classes",
        "forest",
    ]
    assert training_minutes(runs[0]) is None


def test_values_of_the_environment_that_differ_stand_side_by_side(tmp_path):
    study = make_study(tmp_path, examples=False)
    others = [replace(run, env=run.env | {"torch": "2.10.0", "gpus": ["A", "B"]}) for run in study.runs[:2]]
    rows = {row[0].text: row[1].text for row in environment_table([*others, *study.runs[2:]]).rows}
    assert rows["torch"] == "2.10.0 (2 runs, first ce, seed 0); 2.11.0+cpu (10 runs, first ce, seed 2)"
    assert rows["GPU"] == "A, B (2 runs, first ce, seed 0); - (10 runs, first ce, seed 2)"
    assert rows["uncommitted changes"] == "no"
    assert "CUDA" not in rows


def test_a_long_class_table_is_folded_away_and_not_in_latex(tmp_path):
    names = [f"class {n}" for n in range(40)]
    study = make_study(
        tmp_path, classes=names, seeds=(0,), variants=("ce", "ohem_ce"), images=5, examples=False
    )
    findings = find_all(study)
    document = compose(findings, [])
    assert not any(isinstance(block, Table) and "class" in block.columns for block in document.blocks)
    assert "<summary>IoU of all 40 classes</summary>" in render_markdown(document)
    assert [label for label, _ in paper_tables(findings)] == ["tab:ablation", "tab:ablation-seeds"]


def test_groups_are_the_units_of_the_statistics(tmp_path):
    text = text_of(make_study(tmp_path, examples=False), group_by=4)
    assert "10,000 replicates over 10 groups of images (group_by 4)" in text
    assert "- ⚠ only 10 independent images or groups" in text


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    study = make_study(tmp_path, examples=False)
    others = tuple(
        replace(run, definition="another") if run.variant == "ohem_ce" else run for run in study.runs
    )
    with pytest.raises(DataError, match=r"^these runs cannot be compared:\n   mIoU: "):
        write_report(replace(study, runs=others), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    study = make_study(tmp_path / "runs", seeds=(0,), variants=("ce",), examples=False)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CannotWrite, match=r"cannot write .*out/figures: a file is where a folder should be"):
        write_report(study, tmp_path / "out")


def test_figures_are_pdf_too_if_asked_for_and_old_ones_go(tmp_path):
    study = make_study(tmp_path, seeds=(0,), variants=("ce", "ohem_ce"), examples=False)
    figures = tmp_path / "out" / "figures"
    write_report(study, tmp_path / "out", pdf=True)
    stems = {path.stem for path in figures.glob("*.png")}
    assert {path.stem for path in figures.glob("*.pdf")} == stems
    assert all(path.read_bytes().startswith(b"%PDF") for path in figures.glob("*.pdf"))
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert set(re.findall(r"\[PDF\]\(figures/(\w+)\.pdf\)", markdown)) == stems
    for name in ("example_7.png", "example_7.pdf", "mine.pdf"):
        (figures / name).write_text("another's")
    bare = tuple(replace(run, summary={**run.summary, "images_per_second": None}) for run in study.runs)
    write_report(replace(study, runs=bare), tmp_path / "out")
    left = {path.name for path in figures.iterdir()}
    assert left == {f"{stem}.png" for stem in stems - {"cost"}} | {"mine.pdf"}
    assert "PDF" not in (tmp_path / "out" / "report.md").read_text()


def test_pictures_and_tables_without_caption_get_no_number(tmp_path):
    findings = find_all(make_study(tmp_path, seeds=(0,), variants=("ce",), examples=False))
    document = compose(findings, [Picture("a", "", "alt"), Picture("b", "B.", "alt")])
    labels = [block.label for block in number_captions(document).blocks if isinstance(block, Picture)]
    assert labels == ["", "Figure 1"]


def count_objects(study, *, min_size=20, without=()):
    """The runs with objects of two classes, some of them found, in all but those of the seeds `without`."""
    runs = []
    for run in study.runs:
        random = np.random.default_rng([run.seed, *run.variant.encode()])
        counts = np.full((len(run.image_names), 2, 15), 1000)
        counts[..., 2:13] = random.integers(300, 700, (*counts.shape[:2], 1))
        objects = ObjectCounts(counts, random.random((*counts.shape[:2], 2)), (2, 1), min_size)
        counted = replace(run, counts=replace(run.counts, objects=objects))
        runs.append(run if run.seed in without else counted)
    return replace(study, runs=tuple(runs))


def test_scores_of_objects(tmp_path):
    study = count_objects(make_study(tmp_path, examples=False))
    names = study.runs[0].class_names
    findings = find_all(replace(study, metrics=("vi", f"rand_error/{names[1]}")))
    assert findings.comparison.metric.title == "variation of information (≥ 20 px)"
    assert findings.others[0].metric.kind == "objects"
    text = text_of(study, metrics=("vi", f"rand_error/{names[1]}"))
    assert markdown_tables(text)[0][0][1:3] == ["variation of information (≥ 20 px), bits", "Δ, bits"]
    title = f"adapted Rand error of {names[1]} (≥ 20 px)"
    assert f"Of variation of information (≥ 20 px) and {title} less is better." in text
    means = [run.counts.objects.entropies.sum(axis=-1).mean() for run in study.of("ohem_ce")]
    (main,) = (one.main for one in findings.scores if one.variant == "ohem_ce")
    assert main.values == pytest.approx(means)


def test_the_rows_of_runs_have_their_scores_by_every_metric_that_is_compared(tmp_path):
    """Not only their differences, of which no mean could be told."""
    study = count_objects(make_study(tmp_path / "runs", examples=False))
    metrics = ("rand_error", "miou", "vi/circle", "iou/line", "recall/line", "ce")
    write_report(replace(study, metrics=metrics), tmp_path / "report")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report" / "report.csv").read_text())))
    assert list(rows[0])[-3:] == ["rand_error", "vi/circle", "recall/line"]
    for row, run in zip(rows, study.runs, strict=True):
        objects, matrix = run.counts.objects, run.matrices.sum(axis=0)
        both, true, predicted = (objects.counts[..., place] for place in (12, 13, 14))
        errors = 1 - 2 * both / (true + predicted)
        assert float(row["rand_error"]) == pytest.approx(errors.mean())
        assert float(row["vi/circle"]) == pytest.approx(objects.entropies[:, 1].sum(axis=1).mean())
        assert float(row["recall/line"]) == pytest.approx(matrix[3, 3] / matrix[3].sum())


def test_runs_that_lack_objects_are_named_with_the_command_that_keeps_the_rest(tmp_path):
    study = make_study(tmp_path, examples=False)
    names = study.runs[0].class_names
    folders = " ".join(str(run.folder) for run in study.runs if run.seed in (0, 1))

    def refusal(study, *metrics):
        with pytest.raises(ConfigError) as caught:
            find_all(replace(study, metrics=metrics))
        return str(caught.value)

    some = count_objects(count_further(study, tolerance=3.0), without=(0, 1))
    two, options = names[2:0:-1], f"--boundary 3 --objects {names[2]} {names[1]} --min-size 20"
    assert refusal(some, "objects_f1") == (
        "metrics: objects_f1: the per_image.npz of 8 runs has no objects, of 20 pixels or more, of "
        f"{' and '.join(two)} counted\n   -> python scripts/evaluate.py --per-image {options} --weights {folders}"
    )
    assert f" --per-image --objects {names[2]} --weights " in refusal(study, f"vi/{names[2]}")
    assert f" --per-image --boundary 2 --objects {' '.join(names[1:])} --weights " in refusal(
        study, "vi", "boundary_iou"
    )
    assert f" --boundary 2 --objects {names[2]} {names[1]} {names[0]} --min-size 20 --weights " in refusal(
        count_objects(study), "boundary_iou", f"vi/{names[0]}"
    )


def test_the_table_says_at_which_size_resized_images_were_scored(tmp_path):
    study = make_study(tmp_path, examples=False)
    for data, at, words in (
        ({}, "network", "validation images, mean"),
        ({"resize": [36, 48]}, "network", "validation images, resized to 36 x 48, mean"),
        ({"resize": [36, 48]}, "original", "validation images, at the size of their files, mean"),
    ):
        runs = tuple(
            replace(run, config={**run.config, "data": {**run.config["data"], **data}, "eval": {"at": at}})
            for run in study.runs
        )
        assert words in main_table(find_all(replace(study, runs=runs))).caption


def test_a_study_that_was_scored_again_at_another_size_says_so_and_mixes_nothing(tmp_path):
    """`evaluate --per-image eval.at=original`: mIoU was of the files, ce and the best mIoU of the network's size, and
    the caption said the latter."""
    study = make_study(tmp_path, examples=False)
    images = len(study.runs[0].image_names)

    def again(run, at):
        config = {**run.config, "data": {**run.config["data"], "resize": [36, 48]}, "eval": {"at": "network"}}
        counts = replace(run.counts, ce=np.full(images, 0.25 * run.counts.counts[:, 1].sum() / images))
        summary = {**run.summary, "last": {"ce": 9.0}}
        return replace(run, config=config, counts=counts, summary=summary, scored_at=at)

    for at, words, best in (("network", "resized to 36 x 48", True), ("original", "at the size of", False)):
        findings = find_all(replace(study, runs=tuple(again(run, at) for run in study.runs)))
        assert words in main_table(findings).caption
        assert all((scores.best is not None) == best for scores in findings.scores)
        assert all(scores.ce.mean == pytest.approx(0.25) for scores in findings.scores)
        rows = csv.DictReader(io.StringIO(render_csv(findings.study)))
        assert all(float(row["ce"]) == pytest.approx(0.25) for row in rows)


def test_a_seed_without_a_finite_cross_entropy_is_not_passed_over(tmp_path):
    """The mean over the other seeds stood for all."""
    study = make_study(tmp_path, examples=False)
    first, *others = (replace(run, summary={**run.summary, "last": {"ce": 0.5}}) for run in study.runs)
    broken = np.full(len(first.image_names), np.inf)
    first = replace(first, counts=replace(first.counts, ce=broken))
    scores, *rest = find_all(replace(study, runs=(first, *others))).scores
    assert scores.ce is None
    assert all(each.ce.mean == 0.5 for each in rest)


@pytest.mark.parametrize("level", [0.975, 0.999])
def test_figures_say_the_level_as_it_is(tmp_path, level):
    """A level of 99.9 % was called 100 %, in the plots and below them."""
    findings = find_all(replace(make_study(tmp_path, examples=False), level=level))
    sheet = Sheet(tmp_path, choose_looks(findings.study.variants, findings.study.baseline))
    words = f"{100 * level:g} % interval"
    captions = [block.caption for block in draw_classes_of(findings, sheet) if isinstance(block, Picture)]
    assert f"where its {words}" in captions[0]
    figure = Figure()
    paint_forest(figure, forest_rows(findings.comparison.differences), "difference", level, sheet.looks)
    assert f"difference  [{words}]" in [text.get_text() for axis in figure.axes for text in axis.texts]


@pytest.mark.parametrize(
    ("classes", "said"), [(5, "of 8 about 1 would"), (62, "of 122 of all classes about 6 would")]
)
def test_cells_that_chance_colours_are_counted_over_all_classes_with_a_label(tmp_path, classes, said):
    """The 30 of 62 that differ most are those that chance colours: 2 of 60 was said of what was 6 of 122."""
    names = [f"class {number}" for number in range(classes)]
    variants = ("ce", "ohem_ce", "bootstrapped_ce")
    study = make_study(tmp_path, variants=variants, classes=names, absent="class 2", images=4, examples=False)
    sheet = Sheet(tmp_path, choose_looks(study.variants, study.baseline))
    _, picture = draw_classes_of(find_all(study), sheet)
    assert f"{said} be coloured by chance alone" in picture.caption
    assert ("most of them among the classes shown" in picture.caption) == (classes > 30)
