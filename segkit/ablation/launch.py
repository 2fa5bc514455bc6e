"""What `segkit ablate` does with a plan."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from segkit.ablation.collect import keep_resolved, make_report
from segkit.ablation.plan.plan import AblationPlan
from segkit.ablation.running.commands import refuse_unequal_runs, run_line
from segkit.ablation.running.estimate import count_iterations, estimate_costs
from segkit.ablation.running.execute import Launcher, Outcome, exit_code
from segkit.ablation.running.overview import changed_lines, headline, run_table, variant_lines
from segkit.ablation.running.slots import make_slots, split_group
from segkit.ablation.running.state import FINISHED, IN_USE, RunState, inspect_plan, inspect_run
from segkit.ablation.study.pack import check_place
from segkit.errors import RunFolderInUse
from segkit.runs.recording.trackers.kinds import require_trackers
from segkit.system.locks import take_lock
from segkit.system.typed import quote


def show_plan(plan: AblationPlan, *, devices: Sequence[str]) -> int:
    """Print the plan with an estimate of its time. Writes nothing."""
    require_packages(plan)
    slots = make_slots(devices, plan.runs[0].config.device)
    states = inspect_plan(plan)
    for line in [headline(plan, states), *variant_lines(plan), *changed_lines(states)]:
        print(line)
    iterations = count_iterations(plan, states, slots, warn=print)
    costs = estimate_costs(plan, states, slots[0], say=lambda text: print(text, flush=True))
    print()
    for line in run_table(states, slots, costs, iterations):
        print(line)
    print("dry run   nothing was written")
    return 0


def run_all(
    plan: AblationPlan,
    *,
    devices: Sequence[str],
    pdf: bool = False,
    pack: Path | None = None,
) -> int:
    """Train what is not finished, then write the report, see `make_report`. Returns the exit status."""
    require_packages(plan)
    if pack is not None:
        check_place(pack)
    slots = make_slots(devices, plan.runs[0].config.device)
    warnings: list[str] = []
    iterations = count_iterations(plan, inspect_plan(plan), slots, warn=warnings.append)
    advice = "wait for it or stop it; the same command then continues"
    lock = take_lock(plan.files.lock, f"the ablation {plan.folder}", advice)
    try:
        keep_resolved(plan)
        launcher = Launcher(plan, slots, iterations=iterations)
        return _train_and_report(plan, launcher, warnings, devices=devices, pdf=pdf, pack=pack)
    finally:
        os.close(lock)


def _train_and_report(
    plan: AblationPlan,
    launcher: Launcher,
    warnings: Sequence[str],
    *,
    devices: Sequence[str],
    pdf: bool,
    pack: Path | None,
) -> int:
    states = inspect_plan(plan)
    for line in [headline(plan, states), *variant_lines(plan), *changed_lines(states), *warnings]:
        print(line, flush=True)
    outcomes = _launch(launcher, states)
    if launcher.stopped_by is not None:
        print_failures(outcomes)
        rest = ["--devices", *devices] * bool(devices) + ["--pdf"] * pdf
        rest += [] if pack is None else ["--pack", str(pack)]
        again = " ".join([plan.command, *map(quote, rest)])
        print(f"\nstopped   continue with the same command: {again}", flush=True)
        return exit_code(outcomes, launcher.stopped_by)
    try:
        for line in make_report(plan, pdf=pdf, pack=pack):
            print(line, flush=True)
    finally:
        print_failures(outcomes)  # last, where it is seen
    left_alone = any(state.kind == IN_USE for state in states)
    return exit_code(outcomes, None) or (RunFolderInUse.exit_code if left_alone else 0)


def _launch(launcher: Launcher, states: Sequence[RunState]) -> list[Outcome]:
    """The outcomes of the runs; an error that ends them all, as a full disk, comes after what failed before it."""
    try:
        return launcher.launch(states)
    except BaseException:
        print_failures(list(launcher.outcomes.values()))
        raise


def require_packages(plan: AblationPlan) -> None:
    """Raises ConfigError for what the runs would be logged with and is not installed."""
    for variant in plan.variants:
        require_trackers(plan.run_of(variant).config.log)


def run_one(plan: AblationPlan, name: str, *, devices: Sequence[str]) -> int:
    """Train one run of the plan, as a job of a cluster does. Returns the exit status."""
    run = plan.find(name)
    slots = make_slots(devices[:1], run.config.device)
    state = inspect_run(plan.folder, run)
    if state.kind == FINISHED:
        print(f"{name} is {state.words}", flush=True)
        return 0
    if state.kind == IN_USE:
        raise RunFolderInUse(f"the run {name} is {state.words}\n   -> wait for it or stop it")
    launcher = Launcher(plan, slots, iterations=count_iterations(plan, [state], slots))
    outcomes = _launch(launcher, [state])
    print_failures(outcomes)
    return exit_code(outcomes, launcher.stopped_by)


def list_commands(plan: AblationPlan, *, devices: Sequence[str]) -> int:
    """Print a command for every run that is not finished, for another program to start; what else is to be said goes
    to stderr. Returns the exit status."""
    states = inspect_plan(plan)
    group = next(iter(devices), None)
    todo = [state.run for state in states if state.kind not in (FINISHED, IN_USE)]
    refuse_unequal_runs(todo, 1 if group is None else len(split_group(group)))
    for line in changed_lines(states):
        print(line, file=sys.stderr)
    for run in todo:
        print(run_line(plan, run.name, device=group))
    if not todo:
        print(f"nothing to train: all {len(plan.runs)} runs are finished or in use", file=sys.stderr)
    return 0


def print_failures(outcomes: Sequence[Outcome]) -> None:
    """What the runs that failed said last."""
    failed = [outcome for outcome in outcomes if outcome.kind == "failed"]
    if failed:
        print(f"\n{len(failed)} of {len(outcomes)} runs failed:", file=sys.stderr)
    for outcome in failed:
        print(f"  {outcome.name}  exit status {outcome.code}", file=sys.stderr)
        for line in outcome.note.splitlines():
            print(f"     {line}", file=sys.stderr, flush=True)
