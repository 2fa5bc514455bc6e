"""Whether runs were trained and scored by the same code, on the same kind of machine, and all in one go."""

from collections.abc import Iterator, Mapping
from typing import Any

from segkit.ablation.study.config_diff import ConfigDiff, is_ignored, show_value
from segkit.ablation.study.lacking import advise_scoring
from segkit.ablation.study.phrases import group_runs, join, name_runs, say_groups
from segkit.ablation.study.study import Comparability, Run, Study
from segkit.runs.history.entries import ENTRY, read_changes, read_own_code

#: Entries of env.json that can change a result, by what they are called.
CODE = {"segkit version": "segkit", "git commit": "git_commit"}
MACHINE = {
    "torch": "torch",
    "torchvision": "torchvision",
    "CUDA": "cuda",
    "cuDNN": "cudnn",
    "GPU": "gpus",
    "CPU": "cpu",
    "number of threads": "threads",
}
#: Entries of env.json that say how a run computed, by what they are called, with what to do if they differ.
COMPUTED = {
    "kind of device": ("device", "train all on one kind"),
    "precision": ("amp", "train.amp=off, or bf16, for all: auto is what each device computes in"),
    "processes": (
        "processes",
        "train all in as many: batch normalisation sees a process's part of the batch",
    ),
}


def check_surroundings(study: Study, diff: ConfigDiff) -> Iterator[Comparability]:
    """By what and on what the runs of a study were trained and scored."""
    yield from _check_scored_in(study)
    yield from _check_parts(study)
    yield from _check_code(study)
    yield from _check_own_code(study)
    yield from _check_computing(study, diff)
    yield from _check_machine(study)


def _check_scored_in(study: Study) -> Iterator[Comparability]:
    """Whether the scores of runs that were trained in one precision were computed in one. Older files do not say."""
    known = [run for run in study.runs if run.scored_in is not None]
    for runs in group_runs(known, lambda run: run.env.get("amp")).values():
        scored = group_runs(runs, lambda run: run.scored_in)
        if len(scored) > 1:
            yield Comparability(
                "warning",
                f"precision of the scores: {say_groups(scored)}, which may move them by tenths of a point -> "
                f"all on one machine, {advise_scoring(runs)}",
            )


def _check_parts(study: Study) -> Iterator[Comparability]:
    """Whether what a run says of its configuration and its code is true of all of its training."""
    for changes, runs in group_runs(study.runs, _describe_changes).items():
        if changes:
            yield Comparability(
                "warning",
                f"resumed as another: {name_runs(runs)} trained with {changes}; what else is said of it is of its last"
                " part -> train it anew in one go",
            )


def _describe_changes(run: Run) -> str:
    """`optimizer.lr 0.1 until iteration 200, then 0.5`; empty of a run that was one thing from beginning to end."""
    return " and ".join(
        f"{change['key'].removeprefix(ENTRY)} {show_value(change['before'])} until iteration "
        f"{change['iteration']:,}, then {show_value(change['after'])}"
        for change in read_changes(run.env)
        if not is_ignored(change["key"])
        and change["iteration"] < run.updates  # else nothing was trained with it
    )


def _check_own_code(study: Study) -> Iterator[Comparability]:
    """Whether the files that register components of a user's own were the same in all runs that have them."""
    files = dict.fromkeys(name for run in study.runs for name in read_own_code(run.env))
    for name in files:
        having = [run for run in study.runs if name in read_own_code(run.env)]
        groups = group_runs(having, lambda run, name=name: read_own_code(run.env)[name])
        if len(groups) > 1:
            reference, *others = groups.values()
            found = join([name_runs(runs) for runs in others])
            yield Comparability(
                "warning",
                f"own code: {name} was changed between {name_runs(reference)} and {found} -> train all with one"
                " version, or be sure that what changed in between does not matter",
            )


def _check_code(study: Study) -> Iterator[Comparability]:
    advice = "train all with one version, or be sure that what changed in between does not matter"
    differing = list(_differences(study, CODE, advice))
    yield from differing
    changed = [run for run in study.runs if run.env.get("git_dirty")]
    if changed:
        yield Comparability(
            "warning",
            f"code: changes that were not committed in {name_runs(changed)}, so the commit does not say what ran"
            " -> commit before training",
        )
    elif not differing:
        env = study.runs[0].env
        commit = f", commit {env['git_commit'][:12]}" if "git_commit" in env else ""
        yield Comparability(
            "ok", f"code: segkit {env.get('segkit', 'of unknown version')}{commit} in all runs"
        )


def _check_computing(study: Study, diff: ConfigDiff) -> Iterator[Comparability]:
    """Whether all runs computed alike, as far as they say so: an older segkit noted none of it."""
    for words, (entry, advice) in COMPUTED.items():
        groups = group_runs(
            [run for run in study.runs if run.env.get(entry) is not None],
            lambda run, entry=entry: _show_entry(run.env[entry]),
        )
        if len(groups) > 1:
            shown = say_groups(groups)
            if entry == "amp" and "train.amp" in diff.differing:
                yield Comparability("ok", f"{words}: {shown}, as train.amp differs")
            else:
                yield Comparability("warning", f"{words}: {shown} -> {advice}")


def _check_machine(study: Study) -> Iterator[Comparability]:
    advice = "compare no speed between them; scores can differ in the last digits"
    differing = list(_differences(study, MACHINE, advice))
    yield from differing
    if not differing:
        env = study.runs[0].env
        processor = join(_unique(env.get("gpus"))) or env.get("cpu") or "processor unknown"
        yield Comparability("ok", f"machine: torch {env.get('torch', 'unknown')} on {processor} in all runs")


def _differences(study: Study, entries: Mapping[str, str], advice: str) -> Iterator[Comparability]:
    """A warning for each of the entries of env.json that is not the same in all runs."""
    for words, entry in entries.items():
        groups = group_runs(study.runs, lambda run, entry=entry: _show_entry(run.env.get(entry)))
        if len(groups) > 1:
            yield Comparability("warning", f"{words}: {say_groups(groups)} -> {advice}")


def _show_entry(value: Any) -> str:
    if isinstance(value, list):
        return join(_unique(value)) or "none"
    return "none" if value is None else str(value)


def _unique(value: list[str] | None) -> list[str]:
    return list(dict.fromkeys(value or []))
