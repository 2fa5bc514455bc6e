"""Draws the figures of a report, and says what each shows, or why there is none."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segkit.ablation.report.document import Block, Heading, Paragraph, Picture
from segkit.ablation.report.figures.classes import MOST_CLASSES, ClassMap, choose_classes, draw_classes
from segkit.ablation.report.figures.cost import cost_points, draw_cost
from segkit.ablation.report.figures.curves import Panel, average_curve, draw_curves
from segkit.ablation.report.figures.examples import Examples, choose_examples, draw_example
from segkit.ablation.report.figures.forest import draw_forest, forest_rows
from segkit.ablation.report.figures.style import Look, choose_looks
from segkit.ablation.report.findings import Findings
from segkit.ablation.report.tables import say_interval
from segkit.ablation.study.phrases import join
from segkit.ablation.study.study import Run
from segkit.system.files import cannot_write
from segkit.system.run_files import RunFiles

Looks = dict[str, Look]


def draw_all(findings: Findings, folder: Path) -> list[Block]:
    """Write every figure into `folder` and return what the report shows of them. Raises CannotWrite."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    looks = choose_looks(findings.study.variants, findings.study.baseline)
    parts = (_differences, _classes, _learning, _kept, _cost, _examples)
    return [block for part in parts for block in part(findings, looks, folder)]


def _differences(findings: Findings, looks: Looks, folder: Path) -> list[Block]:
    rows = forest_rows(findings.comparison.differences)
    if not rows:
        return [Paragraph("No forest plot: there is no variant to compare with the baseline.")]
    title = findings.comparison.metric.title
    draw_forest(
        rows,
        findings.study.baseline,
        findings.comparison.level,
        looks,
        folder / "forest",
        metric=title,
    )
    seeds = "the one seed" if findings.seeds_per_variant == (1,) else "a seed, paired with the baseline's"
    caption = (
        f"Difference in {title} to {findings.study.baseline}. Thin bar: {say_interval(findings)}; thick bar: the "
        f"part of it from images; large marker: mean over seeds; small dot: {seeds}."
    )
    return [
        Heading("Differences to the baseline", 3),
        Picture("forest", caption, f"Forest plot of differences in {title}"),
    ]


def class_map(findings: Findings) -> ClassMap:
    """The IoU of every class, and the differences to the baseline, as arrays."""
    compared = tuple(variant for variant in findings.variants if variant in findings.classes)
    count = len(findings.class_names)
    found = [findings.classes[variant] for variant in compared]
    return ClassMap(
        findings.variants,
        compared,
        findings.class_names,
        np.stack([scores.class_iou for scores in findings.scores]),
        np.stack([one.value for one in found]) if found else np.zeros((0, count)),
        np.stack([one.excludes_zero for one in found]) if found else np.zeros((0, count), dtype=bool),
    )


def _classes(findings: Findings, looks: Looks, folder: Path) -> list[Block]:
    everything = class_map(findings)
    chosen = choose_classes(everything)
    draw_classes(chosen, folder / "classes")
    level = f"{100 * findings.comparison.level:.0f} %"
    caption = "IoU of each class, mean over seeds"
    cells = chosen.difference.size
    if chosen.compared:
        caption += (
            f", and its difference Δ to {findings.study.baseline}. A cell is coloured where its {level} interval for "
            "other images and other seeds (with one seed for other images alone) excludes 0 and grey where it does "
            f"not; the intervals are not corrected for the number of cells, so of {cells} about "
            f"{max(1, round((1 - findings.comparison.level) * cells))} would be coloured by chance alone"
        )
    if len(everything.class_names) > len(chosen.class_names):
        caption += (
            f". Shown are the {MOST_CLASSES} of {len(everything.class_names)} classes whose IoU differs most"
        )
    return [
        Heading("Classes", 3),
        Picture("classes", f"{caption}.", "Heat maps of IoU per class and variant"),
    ]


def _panel(findings: Findings, title: str, column: str, **options: bool) -> Panel:
    curves = [average_curve(variant, findings.study.of(variant), column) for variant in findings.variants]
    return Panel(title, tuple(curve for curve in curves if curve is not None), **options)


def _learning(findings: Findings, looks: Looks, folder: Path) -> list[Block]:
    panels = [
        _panel(findings, "validation mIoU, %", "val/mIoU", percent=True),
        _panel(findings, "validation cross-entropy", "val/ce"),
    ]
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        return [Paragraph("No learning curves: no run logged val/mIoU or val/ce.")]
    draw_curves(panels, looks, folder / "learning")
    caption = f"Learning curves on the validation images. {_say_band(panels)}"
    return [Heading("Learning curves", 3), Picture("learning", caption, "Validation mIoU and cross-entropy")]


def _kept(findings: Findings, looks: Looks, folder: Path) -> list[Block]:
    panel = _panel(findings, "pixels kept by the loss, %", "loss/kept_fraction", percent=True, from_zero=True)
    shown = [curve.variant for curve in panel.curves]
    if not shown:
        return [Paragraph("No curves of the kept fraction: no run logged loss/kept_fraction.")]
    draw_curves([panel], looks, folder / "kept")
    without = [variant for variant in findings.variants if variant not in shown]
    logs = "does not log" if len(without) == 1 else "do not log"
    left_out = (
        f" {join(without)} {logs} it and {'is' if len(without) == 1 else 'are'} left out." if without else ""
    )
    caption = f"Share of the valid pixels that the loss keeps. {_say_band([panel])}{left_out}"
    return [Heading("What the loss keeps", 3), Picture("kept", caption, "Kept fraction over the run")]


def _say_band(panels: Sequence[Panel]) -> str:
    seeds = {curve.seeds for panel in panels for curve in panel.curves}
    if seeds == {1}:
        return "One seed."
    return "Line: mean over seeds; band: from the lowest to the highest seed."


def _cost(findings: Findings, looks: Looks, folder: Path) -> list[Block]:
    points = cost_points([(scores.variant, scores.minutes, scores.miou) for scores in findings.scores])
    if not points:
        return [Paragraph("No plot of cost against mIoU: no run has a summary with images per second.")]
    draw_cost(points, looks, folder / "cost")
    bars = (
        "One seed." if findings.seeds_per_variant == (1,) else "Bars: ± sample standard deviation over seeds."
    )
    caption = f"Training time, without validation (images seen / images per second), against mIoU. {bars}"
    return [Heading("Cost", 3), Picture("cost", caption, "Training time against mIoU")]


def shared_seed_runs(findings: Findings) -> list[Run]:
    """A run per variant: those of the first seed that all variants have, else of each variant's first."""
    seeds = [seed for seed in findings.study.seeds if all(seed in scores.seeds for scores in findings.scores)]
    runs = [findings.study.of(variant) for variant in findings.variants]
    return [next((run for run in found if seeds and run.seed == seeds[0]), found[0]) for found in runs]


def _examples(findings: Findings, looks: Looks, folder: Path) -> list[Block]:
    runs = shared_seed_runs(findings)
    chosen = choose_examples(runs)
    if not chosen.examples:
        return [Paragraph(f"No example images: no image is in the {RunFiles.examples.name} of all variants.")]
    blocks: list[Block] = [
        Heading("The same images under all variants", 3),
        Paragraph(_say_examples(runs, chosen)),
    ]
    for number, example in enumerate(chosen.examples, 1):
        stem = f"example_{number}"
        draw_example(example, chosen, findings.class_names, folder / stem)
        share = 100 * example.disagreement(chosen.ignore_index)
        caption = f"{os.path.basename(example.name)}: not all variants agree in {share:.0f} % of the labelled pixels."
        blocks.append(
            Picture(stem, caption, f"{example.name} with its label and the predictions of all variants")
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
