"""From the finished runs of a plan to the report."""

import os
from collections.abc import Sequence
from pathlib import Path

from segkit.ablation.plan.plan import AblationPlan, plan_run
from segkit.ablation.plan.resolved import write_resolved
from segkit.ablation.publish import publish_report
from segkit.ablation.running.state import FINISHED, NEW, RESUMES, RunState, inspect_plan, inspect_run
from segkit.ablation.study.pack import check_place, pack_study
from segkit.ablation.study.phrases import FAILED, name_seeds
from segkit.ablation.study.study import Run, Study
from segkit.errors import SegkitError


def collect_study(plan: AblationPlan, states: Sequence[RunState] | None = None) -> Study:
    """The finished runs of the plan; what is not there, or cannot be read, is in `missing` with the reason."""
    from segkit.ablation.study.read import read_run

    runs: list[Run] = []
    missing: list[str] = []
    for state in inspect_plan(plan) if states is None else states:
        name, variant, seed = state.run.name, state.run.variant, state.run.seed
        if state.kind != FINISHED:
            missing.append(f"{name}: {_why_missing(state)}")
            continue
        try:
            runs.append(read_run(state.run_folder, variant=variant, seed=seed, config=state.config))
        except SegkitError as error:
            said = " ".join(line.strip() for line in str(error).splitlines())
            missing.append(f"{name}: {said}; the run is trained again once {state.run_folder} is deleted")
    return Study(
        name=plan.name,
        baseline=plan.baseline,
        variants=plan.variants,
        seeds=plan.seeds,
        runs=tuple(runs),
        missing=tuple(missing),
        group_by=plan.group_by,
        margin=plan.margin,
        level=plan.level,
        metrics=plan.metrics,
        command=plan.command,
    )


def make_report(plan: AblationPlan, *, pdf: bool = False, pack: Path | None = None) -> list[str]:
    """Write the report into the plan's folder, and log it where the runs are; returns the lines to print. Without a
    finished run of the baseline and of one more variant there is nothing to compare, and the lines say so. With `pdf`,
    figures as PDF too; with `pack`, the numbers as one file there."""
    study = collect_study(plan)
    lines = [f"missing   {text}" for text in study.missing]
    left_out = _describe_left_out(plan)
    others = [variant for variant in plan.variants if variant != plan.baseline and study.of(variant)]
    if not study.of(plan.baseline) or not others:
        lacking = f"the baseline {plan.baseline}" if not study.of(plan.baseline) else "another variant"
        lines.append(f"report    none yet: there is no finished run of {lacking}")
        lines += [] if pack is None else ["packed    nothing, since there is no report"]
        return lines + left_out
    # Late, because the figures' library takes a second to load and a plan alone needs none.
    from segkit.ablation.report.console_lines import problem_lines, result_lines
    from segkit.ablation.report.findings import find_all
    from segkit.ablation.report.report import write_findings

    findings = find_all(study)
    path = write_findings(findings, plan.folder, pdf=pdf)
    lines += [*problem_lines(findings.checks), "", *result_lines(findings), f"report    {path}"]
    if pack is not None:
        lines.append(pack_study(study, pack))
    return lines + publish_report(plan) + left_out


def write_report_only(plan: AblationPlan, *, pdf: bool = False, pack: Path | None = None) -> int:
    """Write the report of the runs that are finished, see `make_report`."""
    if pack is not None:
        check_place(pack)
    keep_resolved(plan)
    for line in make_report(plan, pdf=pdf, pack=pack):
        print(line)
    return 0


def keep_resolved(plan: AblationPlan) -> None:
    """So that the next report need not ask the components. Not with code of a user's own, which no key covers."""
    if not plan.imports and plan.folder.is_dir():
        write_resolved(plan.folder, plan.resolved)


def _describe_left_out(plan: AblationPlan) -> list[str]:
    """A line on the seeds that the plan leaves out although there are finished runs of its variants with them."""
    found: set[int] = set()
    for variant in plan.variants:
        start, config = f"{variant}-seed", plan.run_of(variant).config
        names = os.listdir(plan.folder) if plan.folder.is_dir() else []
        written = {name.removeprefix(start) for name in names if name.startswith(start)}
        for seed in {int(text) for text in written if text.isdecimal()} - {*plan.seeds}:
            run = plan_run(variant, seed, config, plan.folder, ablation=plan.name)
            if inspect_run(plan.folder, run).kind == FINISHED:
                found.add(seed)
    if not found:
        return []
    every = " ".join(map(str, sorted({*found, *plan.seeds})))
    told = f"{name_seeds(found)}: finished with this configuration, and not in this plan"
    return [f"left out  {told} -> --seeds {every} for a report of all"]


def _why_missing(state: RunState) -> str:
    if state.error:
        return f"{FAILED}: {state.error}"
    if state.kind == RESUMES:
        return f"not finished, {state.iteration:,} iterations so far"
    if state.kind == NEW:
        return f"not trained yet: {state.note}" if state.note else "not trained yet"
    return state.words
