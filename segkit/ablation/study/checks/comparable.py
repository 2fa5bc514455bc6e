"""Whether runs may be compared: what must be the same is the same, and what differs is said.

A difference that the configuration explains (another model starts from other weights) is a fact; one that it does not
explain is a warning; one that leaves nothing sound to compare is an error.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from segkit.ablation.study.checks.same_surroundings import check_surroundings
from segkit.ablation.study.checks.same_training import check_training
from segkit.ablation.study.config_diff import ConfigDiff, diff_configs, show_value
from segkit.ablation.study.phrases import group_runs, name_runs, name_seeds
from segkit.ablation.study.study import Comparability, Run, Study
from segkit.errors import DataError
from segkit.system.typed import typed

LEVELS = ("error", "warning", "ok")


def check_comparable(study: Study) -> list[Comparability]:
    """Everything that speaks for or against comparing the runs of a study: errors first, then warnings."""
    missing = [Comparability("warning", f"missing: {line}") for line in study.missing]
    if not study.runs:
        return [Comparability("error", "there is no finished run to compare", refuses=True), *missing]
    diff = diff_configs(study)
    found = chain(
        _check_variants(study, diff),
        _check_classes(study),
        _check_images(study),
        _check_labels(study),
        _check_definition(study),
        _check_seeds(study),
        check_training(study, diff),
        check_surroundings(study, diff),
    )
    return sorted([*missing, *found], key=lambda finding: LEVELS.index(finding.level))


def _check_variants(study: Study, diff: ConfigDiff) -> Iterator[Comparability]:
    for variant, keys in diff.inconsistent.items():
        for key, values in keys.items():
            shown = ", ".join(f"{show_value(value)} (seed {seed})" for seed, value in values.items())
            yield Comparability(
                "error",
                f"the runs of {variant} differ in more than the seed: {key} is {shown}"
                " -> train them with one configuration",
            )
    for variant in study.variants:
        if variant != study.baseline and not study.of(variant):
            yield Comparability(
                "warning", f"{variant} has no finished run, so nothing is said of it -> train it"
            )


def _check_classes(study: Study) -> Iterator[Comparability]:
    groups = group_runs(study.runs, lambda run: run.class_names)
    reference, *others = groups
    for names in others:
        yield Comparability(
            "error",
            f"classes: {', '.join(names)} in {name_runs(groups[names])}; {', '.join(reference)} in "
            f"{name_runs(groups[reference])} -> compare runs with one list of classes",
            refuses=True,
        )
    if not others:
        yield Comparability("ok", f"classes: the same {len(reference)} in all runs")


def _check_images(study: Study) -> Iterator[Comparability]:
    groups = group_runs(study.runs, lambda run: run.image_names)
    reference, *others = groups
    for names in others:
        yield Comparability(
            "error",
            f"validation images: {compare_names(names, reference)} in {name_runs(groups[names])} than in "
            f"{name_runs(groups[reference])}, so they cannot be paired -> score all on the same images",
            refuses=True,
        )
    if not others:
        yield Comparability(
            "ok", f"validation images: the same {len(reference)}, in the same order, in all runs"
        )


def compare_names(names: tuple[str, ...], reference: tuple[str, ...]) -> str:
    """How the names differ, as a comparative."""
    if sorted(names) == sorted(reference):
        return "another order"
    count = "" if len(names) == len(reference) else f"{len(names)} instead of {len(reference)}, "
    new = [name for name in names if name not in set(reference)]
    gone = [name for name in reference if name not in set(names)]
    which = f"with {new[0]}" if new else f"without {gone[0]}"
    return f"others ({count}{which})"


def _check_labels(study: Study) -> Iterator[Comparability]:
    """A pixel has one label whoever predicts it, so the sum of an image's row depends on the labels only."""
    first = study.runs[0]
    alike = [run for run in study.runs if _scored_alike(run, first)]
    labels = first.counts.counts[:, 1]  # (N, C): pixels of each class in each image
    differing = {id(run): (run.counts.counts[:, 1] != labels).any(axis=1) for run in alike}  # (N,) each
    other = [run for run in alike if differing[id(run)].any()]
    if other:
        images = differing[id(other[0])]
        yield Comparability(
            "error",
            f"validation labels: others in {name_runs(other)} than in {name_runs([first])}, for {int(images.sum())} of "
            f"{len(images)} images, first {first.image_names[int(np.argmax(images))]}"
            f"{_label_settings(other[0], first)} -> score all against the same labels, at the same size",
            refuses=True,
        )
    elif len(alike) == len(study.runs):
        yield Comparability("ok", "validation labels: the same pixels of each class in every image")


def _scored_alike(run: Run, first: Run) -> bool:
    """Whether its labels can be compared; otherwise its images or classes were reported already."""
    return (run.image_names, run.class_names) == (first.image_names, first.class_names)


def _label_settings(run: Run, first: Run) -> str:
    """The settings that make labels from files and differ, as ` (data.resize is null and [90, 120])`, or the sizes."""
    for key in ("resize", "label_map", "ignore_index"):
        values = [other.config["data"].get(key) for other in (run, first)]
        if values[0] != values[1]:
            return f" (data.{key} is {show_value(values[0])} and {show_value(values[1])})"
    sizes = run.scored_size, first.scored_size
    return "" if sizes[0] == sizes[1] else f" ({sizes[0]} and {sizes[1]})"


def _check_definition(study: Study) -> Iterator[Comparability]:
    groups = group_runs(study.runs, lambda run: run.definition)
    reference, *others = groups
    for text in others:
        yield Comparability(
            "error",
            f"mIoU: defined otherwise in {name_runs(groups[text])} than in {name_runs(groups[reference])}\n"
            f"   {text}\n"
            f"   {reference}\n"
            f"   -> score them again with one segkit: {typed('evaluate')} --weights RUN --per-image",
            refuses=True,
        )
    if not others:
        yield Comparability("ok", "mIoU: the same definition in all runs")


def _check_seeds(study: Study) -> Iterator[Comparability]:
    seeds = {variant: {run.seed for run in study.of(variant)} for variant in study.variants}
    baseline = seeds.get(study.baseline)
    if not baseline:
        text = f"the baseline {study.baseline} has no finished run -> train it, or choose another baseline"
        yield Comparability("error", text, refuses=True)
        return
    for variant, found in seeds.items():
        if found and found != baseline:
            yield _compare_seeds(variant, found, study.baseline, baseline)
    if len(baseline) == 1:
        text = "one seed: the spread between seeds is unknown -> train with two more seeds"
        yield Comparability("warning", text)
    elif all(found == baseline for found in seeds.values() if found):
        yield Comparability("ok", f"{name_seeds(baseline)}: in all variants")


def _compare_seeds(variant: str, found: set[int], baseline: str, expected: set[int]) -> Comparability:
    shared = found & expected
    has = f"{variant} has {name_seeds(found)}, the baseline {baseline} {name_seeds(expected)}"
    if not shared:
        return Comparability(
            "error", f"{has}; none is shared -> train both with the same seeds", refuses=True
        )
    return Comparability(
        "warning", f"{has}; the difference is of {name_seeds(shared)} only -> train the missing seeds"
    )


def refuse_incomparable(checks: Sequence[Comparability]) -> None:
    """Raises DataError with all that makes any number computed from the runs meaningless."""
    refusals = [check.text for check in checks if check.refuses]
    if refusals:
        raise DataError("\n   ".join(["these runs cannot be compared:", *refusals]))
