"""The plan in words: the runs and how they stand, what each variant changes, how long it will take."""

from collections import Counter
from collections.abc import Mapping, Sequence

from segkit.ablation.plan.plan import AblationPlan
from segkit.ablation.running.estimate import Cost, assign, remaining
from segkit.ablation.running.slots import Slot
from segkit.ablation.running.state import FINISHED, IN_USE, NEW, RESUMES, RunState, join_changes, list_changes
from segkit.ablation.study.config_diff import ABSENT, differing_settings, relevant_settings, show_value
from segkit.system.console import duration, table


def headline(plan: AblationPlan, states: Sequence[RunState]) -> str:
    """`ablation  shapes-ablation  4 variants x 3 seeds = 12 runs: 3 finished, 9 new   runs/shapes-ablation`"""
    kinds = Counter(state.kind for state in states)
    names = {FINISHED: "finished", RESUMES: "to resume", IN_USE: "in use elsewhere", NEW: "new"}
    counts = ", ".join(f"{kinds[kind]} {word}" for kind, word in names.items() if kinds[kind])
    seeds = f"{len(plan.seeds)} seed" + "s" * (len(plan.seeds) > 1)
    sizes = f"{len(plan.variants)} variants x {seeds} = {len(plan.runs)} runs"
    return f"ablation  {plan.name}  {sizes}: {counts}   {plan.folder}"


def variant_lines(plan: AblationPlan) -> list[str]:
    """What each variant changes against the baseline, and those that would look alike against each other."""
    width = max(len(variant) for variant in plan.variants)
    configs = {variant: plan.run_of(variant).config.to_mapping() for variant in plan.variants}
    changes = {
        variant: tuple(list_changes(configs[plan.baseline], config)) for variant, config in configs.items()
    }
    lines = []
    for number, variant in enumerate(plan.variants):
        alike = {
            other: relevant_settings(configs[other])
            for other in plan.variants
            if changes[other] == changes[variant] and other != plan.baseline
        }
        differing = differing_settings(alike)
        # What a part is comes before its options.
        keys = sorted(differing, key=lambda key: not key.endswith(".name"))
        apart = [
            f"{key}: {show_value(differing[key][variant])}"
            for key in keys
            if differing[key][variant] is not ABSENT
        ]
        text = join_changes([*changes[variant], *apart], limit=4)
        text = "the baseline" if variant == plan.baseline else text
        lines.append(f"{'variants' if number == 0 else '':8}  {variant:{width}}  {text}")
    return lines


def changed_lines(states: Sequence[RunState]) -> list[str]:
    """The runs that are trained anew although there is one of that name, those that others hold, and those that are
    kept although the user's own code has changed."""
    lines = [
        f"note      {state.run.name}: {state.note}, running anew"
        for state in states
        if state.kind == NEW and state.note
    ]
    lines += [
        f"note      {state.run.name}: left alone, in use by {state.note}"
        for state in states
        if state.kind == IN_USE
    ]
    lines += [
        f"note      {state.run.name}: kept, {state.note}; delete {state.run_folder} to train it with the present one"
        for state in states
        if state.kind == FINISHED and state.note
    ]
    return lines


def run_table(
    states: Sequence[RunState],
    slots: Sequence[Slot],
    costs: Mapping[str, Cost],
    iterations: Mapping[str, int],
) -> list[str]:
    """The runs with state, device and estimate, and when all will be done."""
    todo = [state for state in states if state.kind not in (FINISHED, IN_USE)]
    left = {
        state.run.name: remaining(state, costs[state.run.variant].seconds, iterations[state.run.name])
        for state in todo
    }
    places, total = assign(left, len(slots))
    rows = [["run", "iterations", "state", "device", "estimate"]]
    for state in states:
        name = state.run.name
        device, took = "-", "-"
        if name in left:
            device = slots[places[name]].device or state.run.config.device
            took = ("" if costs[state.run.variant].measured else "~ ") + duration(left[name])
        words = state.words if state.kind != NEW else "new"
        rows.append([name, f"{iterations[name]:,}", words, device, took])
    devices = f"{len(slots)} run{'s' * (len(slots) > 1)} at a time"
    return [*table(rows).splitlines(), "", f"total     {duration(total)} for {len(todo)} runs, {devices}"]
