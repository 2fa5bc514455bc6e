"""Draws the figures of a report, and says what each shows, or why there is none."""

import os
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.ablation.report.document import Block, Heading, Paragraph, Picture
from segkit.ablation.report.figures.classes import MOST_CLASSES, ClassMap, choose_classes, draw_classes
from segkit.ablation.report.figures.cost import cost_points, draw_cost
from segkit.ablation.report.figures.curves import Panel, average_curve, draw_curves
from segkit.ablation.report.figures.examples import Examples, choose_examples, draw_example
from segkit.ablation.report.figures.forest import ForestRow, draw_forest, forest_rows
from segkit.ablation.report.figures.paired import draw_paired, seed_lines
from segkit.ablation.report.figures.reliability import draw_reliability, find_reliability
from segkit.ablation.report.figures.style import Look, choose_looks
from segkit.ablation.report.findings import Findings
from segkit.ablation.report.tables import main_column, say_interval
from segkit.ablation.study.phrases import join
from segkit.ablation.study.study import Run
from segkit.evaluation.fonts import drawable, find_fonts
from segkit.system.files import cannot_write
from segkit.system.printable import show_path
from segkit.system.run_files import RunFiles

#: The files that a report may leave in the folder of its figures; whatever else is there is somebody else's.
_FIGURE = re.compile(r"(forest|paired|classes|learning|kept|cost|calibration|example_\d+)\.(png|pdf)")


@dataclass(frozen=True)
class Sheet:
    """What all figures of a report share: their folder, the looks of the variants, and whether a PDF is wanted too."""

    folder: Path
    looks: Mapping[str, Look]
    pdf: bool = False

    def picture(self, stem: str, caption: str, alt: str) -> Picture:
        """The figure that was written under that name."""
        return Picture(stem, caption, alt, pdf=self.pdf)


def draw_all(findings: Findings, folder: Path, *, pdf: bool = False) -> list[Block]:
    """Write every figure into `folder`, as PNG and with `pdf` as PDF too, and return what the report shows of them.

    What an earlier report left there and this one does not write is removed. Raises CannotWrite.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    find_fonts([findings.comparison.metric.title, *findings.study.variants, *findings.class_names])
    sheet = Sheet(folder, choose_looks(findings.study.variants, findings.study.baseline), pdf)
    parts = (_differences, _classes, _learning, _kept, _calibration, _cost, _examples)
    blocks = [block for part in parts for block in part(findings, sheet)]
    _remove_stale(sheet, {block.stem for block in blocks if isinstance(block, Picture)})
    return blocks


def _remove_stale(sheet: Sheet, written: Set[str]) -> None:
    """Remove the figures of an earlier report that are none of this one's: they would show other numbers."""
    for path in sorted(sheet.folder.iterdir()):
        stays = path.stem in written and (sheet.pdf or path.suffix == ".png")
        if not stays and _FIGURE.fullmatch(path.name):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from error


def _differences(findings: Findings, sheet: Sheet) -> list[Block]:
    rows = forest_rows(findings.comparison.differences)
    if not rows:
        return [Paragraph("No forest plot: there is no variant to compare with the baseline.")]
    title = findings.comparison.metric.title
    draw_forest(
        rows,
        findings.study.baseline,
        findings.comparison.level,
        sheet.looks,
        sheet.folder / "forest",
        metric=title,
        unit=findings.comparison.metric.unit,
        pdf=sheet.pdf,
    )
    seeds = "the one seed" if findings.seeds_per_variant == (1,) else "a seed, paired with the baseline's"
    caption = (
        f"Difference in {title} to {findings.study.baseline}. Thin bar: {say_interval(findings)}; thick bar: the "
        f"part of it from images; large marker: mean over seeds; small dot: {seeds}.{_say_shares(rows)}"
    )
    return [
        Heading("Differences to the baseline", 3),
        sheet.picture("forest", caption, f"Forest plot of differences in {title}"),
        *_paired(findings, sheet),
    ]


def _say_shares(rows: Sequence[ForestRow]) -> str:
    """What the bars beside the forest plot are; nothing if there are none."""
    if all(row.from_seeds is None for row in rows):
        return ""
    alone = " (with one seed: images only)" if any(row.verdict == "one seed" for row in rows) else ""
    return (
        " Bars on the right: how much of the square of the interval's half-width on the side of 0 is from seeds and "
        f"how much from images{alone}."
    )


def _paired(findings: Findings, sheet: Sheet) -> list[Block]:
    known = [
        dict(zip(scores.seeds, scores.main.values if scores.main else (), strict=False))
        for scores in findings.scores
    ]
    metric = findings.comparison.metric
    lines = seed_lines(known, metric.unit)
    if len(lines) < 2:
        return [Paragraph("No lines from variant to variant for each seed: there is one seed.")]
    title, baseline = metric.title, findings.study.baseline
    score = main_column(findings)
    draw_paired(lines, findings.variants, baseline, sheet.folder / "paired", score=score, pdf=sheet.pdf)
    caption = (
        f"{title} of every run, the runs of a seed joined by a line: where the lines run side by side, the seeds agree "
        f"on the difference. Bar: mean of a variant over its seeds; bold: the baseline."
    )
    if any(len(scores) < len(lines) for scores in known):
        caption += " A line is interrupted where a seed has no run."
    return [sheet.picture("paired", caption, f"{title} of each variant, joined seed by seed")]


def class_map(findings: Findings) -> ClassMap:
    """The IoU of every class, and the differences to the baseline, as arrays."""
    compared = tuple(variant for variant in findings.variants if variant in findings.classes)
    count = len(findings.class_names)
    found = [findings.classes[variant] for variant in compared]
    return ClassMap(
        findings.variants,
        compared,
        tuple(drawable(findings.class_names)),
        np.stack([scores.class_iou for scores in findings.scores]),
        np.stack([one.value for one in found]) if found else np.zeros((0, count)),
        np.stack([one.excludes_zero for one in found]) if found else np.zeros((0, count), dtype=bool),
    )


def _classes(findings: Findings, sheet: Sheet) -> list[Block]:
    everything = class_map(findings)
    chosen = choose_classes(everything)
    draw_classes(chosen, sheet.folder / "classes", pdf=sheet.pdf)
    level = f"{100 * findings.comparison.level:g} %"
    caption = "IoU of each class, mean over seeds"
    all_shown = len(everything.class_names) == len(chosen.class_names)
    # Of all classes: those that differ most are the ones that chance colours. A class without labels has no colour.
    cells = int(np.isfinite(everything.difference).sum())
    of_all, among = ("", "") if all_shown else (" of all classes", ", most of them among the classes shown")
    if chosen.compared:
        caption += (
            f", and its difference Δ to {findings.study.baseline}. A cell is coloured where its {level} interval for "
            "other images and other seeds (with one seed for other images alone) excludes 0 and grey where it does "
            f"not; the intervals are not corrected for the number of cells, so of {cells}{of_all} about "
            f"{max(1, round((1 - findings.comparison.level) * cells))} would be coloured by chance alone{among}"
        )
    if not all_shown:
        caption += (
            f". Shown are the {MOST_CLASSES} of {len(everything.class_names)} classes whose IoU differs most"
        )
    return [
        Heading("Classes", 3),
        sheet.picture("classes", f"{caption}.", "Heat maps of IoU per class and variant"),
    ]


def _panel(findings: Findings, title: str, column: str, **options: bool) -> Panel:
    curves = [average_curve(variant, findings.study.of(variant), column) for variant in findings.variants]
    return Panel(title, tuple(curve for curve in curves if curve is not None), **options)


def _learning(findings: Findings, sheet: Sheet) -> list[Block]:
    panels = [
        _panel(findings, "validation mIoU, %", "val/mIoU", percent=True),
        _panel(findings, "validation cross-entropy", "val/ce"),
    ]
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        return [Paragraph("No learning curves: no run logged val/mIoU or val/ce.")]
    draw_curves(panels, sheet.looks, sheet.folder / "learning", pdf=sheet.pdf)
    caption = f"Learning curves on the validation images, as scored during training. {_say_band(panels)}"
    return [
        Heading("Learning curves", 3),
        sheet.picture("learning", caption, "Validation mIoU and cross-entropy"),
    ]


def _kept(findings: Findings, sheet: Sheet) -> list[Block]:
    panel = _panel(findings, "pixels kept by the loss, %", "loss/kept_fraction", percent=True, from_zero=True)
    shown = [curve.variant for curve in panel.curves]
    if not shown:
        return [Paragraph("No curves of the kept fraction: no run logged loss/kept_fraction.")]
    draw_curves([panel], sheet.looks, sheet.folder / "kept", pdf=sheet.pdf)
    without = [variant for variant in findings.variants if variant not in shown]
    logs = "does not log" if len(without) == 1 else "do not log"
    left_out = (
        f" {join(without)} {logs} it and {'is' if len(without) == 1 else 'are'} left out." if without else ""
    )
    caption = f"Share of the valid pixels that the loss keeps. {_say_band([panel])}{left_out}"
    return [Heading("What the loss keeps", 3), sheet.picture("kept", caption, "Kept fraction over the run")]


def _calibration(findings: Findings, sheet: Sheet) -> list[Block]:
    """Nothing unless confidences were counted, which nobody needs to be told: most studies ask for none."""
    found = [find_reliability(variant, findings.study.of(variant)) for variant in findings.variants]
    panels = [one for one in found if one is not None]
    if not panels:
        return []
    baseline = findings.study.baseline
    draw_reliability(panels, baseline, sheet.looks, sheet.folder / "calibration", pdf=sheet.pdf)
    without = [variant for variant in findings.variants if variant not in {one.variant for one in panels}]
    left_out = f" Without confidences: {join(without)}." if without else ""
    caption = (
        "Accuracy against mean confidence in 15 equal bins of confidence, over the pixels of all seeds; below the "
        f"dotted line a variant is surer than it is right. Thin dark line: {baseline}; grey: the share of the pixels "
        f"in each bin; bins with less than 0.01 % of them have no point. ECE: mean over seeds.{left_out}"
    )
    return [
        Heading("Confidence", 3),
        sheet.picture("calibration", caption, "Accuracy against confidence of every variant"),
    ]


def _say_band(panels: Sequence[Panel]) -> str:
    seeds = {curve.seeds for panel in panels for curve in panel.curves}
    if seeds == {1}:
        return "One seed."
    return "Line: mean over seeds; band: from the lowest to the highest seed."


def _cost(findings: Findings, sheet: Sheet) -> list[Block]:
    points = cost_points([(scores.variant, scores.minutes, scores.miou) for scores in findings.scores])
    if not points:
        return [Paragraph("No plot of cost against mIoU: no run has a summary with images per second.")]
    draw_cost(points, sheet.looks, sheet.folder / "cost", pdf=sheet.pdf)
    bars = (
        "One seed." if findings.seeds_per_variant == (1,) else "Bars: ± sample standard deviation over seeds."
    )
    caption = f"Training time, without validation (images seen / images per second), against mIoU. {bars}"
    return [Heading("Cost", 3), sheet.picture("cost", caption, "Training time against mIoU")]


def shared_seed_runs(findings: Findings) -> list[Run]:
    """A run per variant: those of the first seed that all variants have, else of each variant's first."""
    seeds = [seed for seed in findings.study.seeds if all(seed in scores.seeds for scores in findings.scores)]
    runs = [findings.study.of(variant) for variant in findings.variants]
    return [next((run for run in found if seeds and run.seed == seeds[0]), found[0]) for found in runs]


def _examples(findings: Findings, sheet: Sheet) -> list[Block]:
    runs = shared_seed_runs(findings)
    chosen = choose_examples(runs)
    if not chosen.examples:
        packed = any(run.is_packed for run in runs)
        why = f"no image is in the {RunFiles.examples.name} of all variants"
        return [Paragraph(f"No example images: {'a packed study has none' if packed else why}.")]
    blocks: list[Block] = [
        Heading("The same images under all variants", 3),
        Paragraph(_say_examples(runs, chosen)),
    ]
    for number, example in enumerate(chosen.examples, 1):
        stem = f"example_{number}"
        draw_example(example, chosen, findings.class_names, sheet.folder / stem, pdf=sheet.pdf)
        share = 100 * example.disagreement(chosen.ignore_index)
        name = show_path(os.path.basename(example.name))
        caption = f"{name}: not all variants agree in {share:.0f} % of the labelled pixels."
        blocks.append(
            sheet.picture(
                stem, caption, f"{show_path(example.name)} with its label and the predictions of all variants"
            )
        )
    return blocks


def _say_examples(runs: Sequence[Run], chosen: Examples) -> str:
    seeds = sorted({run.seed for run in runs})
    iterations = " and ".join(f"{iteration:,}" for iteration in chosen.iterations)
    text = (
        "Of the example images, those on which the variants disagree most, so not typical ones. "
        f"Runs of seed {', '.join(map(str, seeds))}, after {iterations} iterations. Yellow: pixels that the variant's "
        "own loss would keep of this image at that moment."
    )
    return text + (f" Without pictures: {join(chosen.without)}." if chosen.without else "")
