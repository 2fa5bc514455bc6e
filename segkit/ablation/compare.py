"""The report of an ablation for any finished runs, however they came about."""

import difflib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segkit.ablation.report.console_lines import problem_lines, result_lines
from segkit.ablation.report.findings import Findings, find_all
from segkit.ablation.report.report import write_findings
from segkit.ablation.study.claims import check_level, check_margin
from segkit.ablation.study.gather import Gathered, gather_runs
from segkit.ablation.study.pack import check_place, pack_study
from segkit.ablation.study.packed_about import StudyAbout
from segkit.ablation.study.phrases import name_seeds, plural
from segkit.ablation.study.study import Run, Study
from segkit.errors import ConfigError


def compare_runs(
    runs: Sequence[str | os.PathLike[str]],
    *,
    baseline: str | None = None,
    group_by: str | int | None = None,
    margin: float | None = None,
    level: float | None = None,
    metrics: Sequence[str] = (),
    names: Sequence[str] = (),
    report: str | os.PathLike[str] | None = None,
    pdf: bool = False,
    pack: str | os.PathLike[str] | None = None,
) -> Findings:
    """Compare finished runs: their scores by variant, and the differences to the baseline with what they are worth.

    `runs` are run folders, folders above them, or packed studies; runs whose configurations differ in the seed alone
    are one variant. `baseline` is a variant, by default that of the first run; `names` are for the variants, in the
    order given; `group_by` makes units of images that are not independent (a regular expression, or so many in a row);
    `margin` is how many points of mIoU do not matter, so that a variant can be found no different; `level` of the
    intervals (0.95); `metrics` are what they are compared by, the main one first (miou, mdice, macc, accuracy, ce, ece,
    brier, boundary_iou, objects_f1, iou/CLASS ...; miou alone). Where a packed study is given, its own choices stand
    for those that are left out; `group_by` 1 and `margin` 0 take back its own. With `report`, a
    folder, the report is written there too, with `pdf` with its figures as PDF beside the PNGs; with `pack`, a
    FILE.zip, the numbers of the runs as a packed study, and no place of this machine in the report either.

    `findings.differences["ohem"].words` is the sentence on one variant. Raises DataError if the runs have not the same
    classes, images and labels, ConfigError for a wrong choice, CheckpointError for runs that cannot be read.
    """
    if pack is not None:
        check_place(Path(pack))
    gathered = gather_runs(runs, names=names, to_pack=pack is not None)
    study = make_study(
        gathered, baseline=baseline, group_by=group_by, margin=margin, level=level, metrics=metrics
    )
    findings = find_all(study)
    if report is not None:
        write_findings(findings, Path(report), pdf=pdf)
    if pack is not None:
        pack_study(study, Path(pack))
    return findings


def show_comparison(
    paths: Sequence[str | Path],
    *,
    baseline: str | None = None,
    group_by: str | int | None = None,
    margin: float | None = None,
    level: float | None = None,
    metrics: Sequence[str] = (),
    names: Sequence[str] = (),
    output: Path | None = None,
    pdf: bool = False,
    pack: Path | None = None,
    command: str = "",
) -> int:
    """Compare finished runs as `compare_runs` does, print what was found and write the report; returns the exit status.

    `output` is the folder of the report, by default `compare/TIME` beside the runs; `pdf` and `pack` as in
    `compare_runs`.
    """
    if pack is not None:
        check_place(pack)
    gathered = gather_runs(paths, names=names, to_pack=pack is not None)
    study = make_study(
        gathered,
        baseline=baseline,
        group_by=group_by,
        margin=margin,
        level=level,
        metrics=metrics,
        command=command,
    )
    _print_study(study, gathered, chosen=baseline is not None)
    findings = find_all(study)
    print("\n".join([*problem_lines(findings.checks), "", *result_lines(findings)]))
    print(f"report    {write_findings(findings, output or default_output(study.runs), pdf=pdf)}")
    if pack is not None:
        print(pack_study(study, pack))
    return 0


def make_study(
    gathered: Gathered,
    *,
    baseline: str | None,
    group_by: str | int | None,
    margin: float | None = None,
    level: float | None = None,
    metrics: Sequence[str] = (),
    command: str = "",
) -> Study:
    """The runs as a study, `margin` in points; what is not chosen is as a packed study says, if there is one. Raises
    ConfigError for a baseline that is not there, for a single variant, and for a margin or a level that is none."""
    packed = gathered.packed
    # What leaves out a choice leaves it to the packed study, so that taking its own back needs a word.
    if packed is not None and group_by == 1:
        packed, group_by = packed.model_copy(update={"group_by": None}), None
    if packed is not None and margin == 0:
        packed, margin = packed.model_copy(update={"margin": None}), None
    _check_choices(gathered, baseline=baseline, margin=margin, level=level, metrics=metrics)
    chosen = Study(
        name="comparison of finished runs",
        baseline=gathered.variants[0],
        variants=gathered.variants,
        seeds=tuple(sorted({run.seed for run in gathered.runs})),
        runs=tuple(gathered.runs),
        missing=tuple(gathered.missing),
        command=command,
    )
    if packed is not None:
        chosen = _choose_as(packed, chosen, whole=gathered.whole)
    return replace(
        chosen,
        baseline=chosen.baseline if baseline is None else baseline,
        group_by=chosen.group_by if group_by is None else group_by,
        margin=chosen.margin if margin is None else margin / 100,
        level=chosen.level if level is None else level,
        metrics=tuple(metrics) or chosen.metrics,
    )


def _check_choices(
    gathered: Gathered,
    *,
    baseline: str | None,
    margin: float | None,
    level: float | None,
    metrics: Sequence[str],
) -> None:
    """Raises ConfigError as `make_study` does."""
    for name, reason in (
        ("margin", None if margin is None else check_margin(margin)),
        ("level", None if level is None else check_level(level)),
        ("metrics", next((f"'{name}' is there twice" for name in metrics if metrics.count(name) > 1), None)),
    ):
        if reason is not None:
            raise ConfigError(f"{name}: {reason}")
    variants = gathered.variants
    if baseline is not None and baseline not in variants:
        close = difflib.get_close_matches(baseline, variants, n=1)
        hint = f", did you mean '{close[0]}'?" if close else ""
        raise ConfigError(
            f"--baseline {baseline}: no such variant{hint}\n   there are: {', '.join(variants)}"
        )
    if len({run.variant for run in gathered.runs}) == 1:
        count = plural(len(gathered.runs), "run")
        raise ConfigError(
            f"nothing to compare: there is one variant only, {gathered.runs[0].variant}, with {count}"
            f" ({_seeds(gathered.runs)}) -> give runs of another configuration too"
        )


def _choose_as(packed: StudyAbout, study: Study, *, whole: bool) -> Study:
    """The study with the choices of a packed one; if that is the `whole` of it, also under its name."""
    study = replace(
        study,
        baseline=packed.baseline,
        group_by=packed.group_by,
        margin=packed.margin,
        level=packed.level,
        metrics=tuple(packed.metrics),
    )
    if not whole:
        return study
    commands = dict.fromkeys(filter(None, (packed.command, study.command)))
    return replace(study, name=packed.name, command="\n".join(commands))


def default_output(runs: Sequence[Run]) -> Path:
    """`compare/TIME` in the folder that all runs have in common, which for `runs/ohem/TIME` is `runs`."""
    parents = [run.folder.absolute().parent.parent for run in runs]
    common = Path(os.path.commonpath(parents))
    here = Path.cwd()
    shown = common.relative_to(here) if common.is_relative_to(here) else common
    return shown / "compare" / time.strftime("%Y%m%d-%H%M%S")


def _print_study(study: Study, gathered: Gathered, *, chosen: bool) -> None:
    variants = [variant for variant in study.variants if study.of(variant)]
    print(f"compare   {plural(len(study.runs), 'run')} of {plural(len(variants), 'variant')}")
    why = "as the first given" if gathered.packed is None else "as the packed study says"
    for variant in variants:
        mark = "" if variant != study.baseline else "   baseline"
        mark += "" if chosen or not mark else f", {why} (--baseline NAME chooses another)"
        print(f"          {variant}: {_seeds(study.of(variant))}{mark}")
    for note in gathered.notes:
        print(f"note      {note}")


def _seeds(runs: Sequence[Run]) -> str:
    return name_seeds(run.seed for run in runs)
