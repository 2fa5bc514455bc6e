"""Whether runs were trained alike: data, start, order, length, code and machine."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from segkit.ablation.study.config_diff import ConfigDiff, is_ignored, show_value
from segkit.ablation.study.lacking import advise_scoring
from segkit.ablation.study.phrases import group_runs, join, name_runs, name_seeds, plural
from segkit.ablation.study.study import Comparability, Run, Study
from segkit.config.keys import covers
from segkit.runs.history.entries import ENTRY, read_changes, read_own_code
from segkit.system.run_files import RunFiles

#: Settings below `data` that leave images and labels as they are.
NOT_IMAGES = ("data.weight_map", "data.mean", "data.std")


@dataclass(frozen=True)
class Beginning:
    """Something that the seed and `settings` decide; `advice` is for a difference that neither explains."""

    fingerprint: str
    words: str
    settings: tuple[str, ...]
    advice: str = "train them again with one version of segkit and torch"


BEGINNINGS = (
    Beginning(
        "initial_weights",
        "initial weights",
        ("model", "data.channels", "data.classes"),
        "expected only of a loss for one channel (bce); otherwise train them again with one version of torch",
    ),
    Beginning(
        "training_order",
        "order of training images",
        ("data", "train.iterations", "train.epochs", "train.batch_size", "train.accumulate"),
    ),
    Beginning("first_batch", "first batch after augmentation", ("data", "augment", "train.batch_size")),
)

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
    "processes": ("processes", "train all in as many: batch normalisation sees the part of one"),
}


def check_training(study: Study, diff: ConfigDiff) -> Iterator[Comparability]:
    """What was the same and what was not while the runs of a study were trained."""
    yield from _check_data(study, diff)
    for beginning in BEGINNINGS:
        yield from _check_beginning(study, diff, beginning)
    yield from _check_weights(study)
    yield from _check_bad_samples(study)
    yield from _check_length(study)
    yield from _check_last_evaluation(study)
    yield from _check_scored_in(study)
    yield from _check_parts(study)
    yield from _check_code(study)
    yield from _check_own_code(study)
    yield from _check_computing(study, diff)
    yield from _check_machine(study)


def _check_data(study: Study, diff: ConfigDiff) -> Iterator[Comparability]:
    groups = group_runs(study.runs, lambda run: run.fingerprints.get("data"))
    if None in groups:
        yield _unknown("data", groups[None])
        return
    reference, *others = groups
    keys = _explaining(diff, ("data",))
    for value in others:
        text = f"data: not the same in {name_runs(groups[value])} as in {name_runs(groups[reference])}"
        if keys:
            yield Comparability("warning", f"{text}, as {keys} -> see that this is meant")
        else:
            yield Comparability(
                "error",
                f"{text} (fingerprint {value}, not {reference}) although the configuration is the same: files were "
                "added, removed or changed -> train all on the same files",
            )
    if not others:
        yield Comparability("ok", f"data: the same fingerprint, {reference}, in all runs")


def _check_beginning(study: Study, diff: ConfigDiff, beginning: Beginning) -> Iterator[Comparability]:
    """Whether the runs of each seed began alike, in the variants that have it."""
    groups = group_runs(study.runs, lambda run: run.fingerprints.get(beginning.fingerprint))
    if None in groups:
        yield _unknown(beginning.words, groups[None])
        return
    by_seed = {seed: runs for seed, runs in _by_seed(study).items() if len(runs) > 1}
    odd = {seed: _unlike_first(runs, beginning.fingerprint) for seed, runs in by_seed.items()}
    alike = [seed for seed, runs in odd.items() if not runs]
    unlike = [seed for seed, runs in odd.items() if runs]
    if alike:
        yield Comparability("ok", f"{name_seeds(alike)}: identical {beginning.words} in all variants")
    if not unlike:
        return
    runs, first = chain.from_iterable(odd.values()), [by_seed[seed][0] for seed in unlike]
    text = f"{beginning.words}: not the same in {name_runs(list(runs))} as in {name_runs(first)}"
    keys = _explaining(diff, beginning.settings)
    if keys:
        yield Comparability("ok", f"{text}, as {keys}")
    else:
        yield Comparability("warning", f"{text}, and no setting explains it -> {beginning.advice}")


def _by_seed(study: Study) -> dict[int, list[Run]]:
    """The runs of each seed, the baseline's first."""
    runs = sorted(study.runs, key=lambda run: (run.seed, run.variant != study.baseline))
    return group_runs(runs, lambda run: run.seed)


def _unlike_first(runs: list[Run], fingerprint: str) -> list[Run]:
    return [run for run in runs if run.fingerprints[fingerprint] != runs[0].fingerprints[fingerprint]]


def _explaining(diff: ConfigDiff, settings: Iterable[str]) -> str:
    """`model.width and model.depth differ`: the differing settings among those given; empty if there is none."""
    keys = [
        key
        for key in diff.differing
        if any(covers(rule, key) for rule in settings) and not any(covers(rule, key) for rule in NOT_IMAGES)
    ]
    shown = [*keys[:3], f"{len(keys) - 3} more"] if len(keys) > 3 else keys
    return f"{join(shown)} {'differ' if len(keys) > 1 else 'differs'}" if keys else ""


def _check_weights(study: Study) -> Iterator[Comparability]:
    """Whether runs whose weights come from files, or from the data set, had the same ones. Where the settings of a
    weight map differ, so may the weights."""
    having = [run for run in study.runs if "weights" in run.fingerprints]
    for runs in group_runs(having, lambda run: repr(run.config["data"].get("weight_map"))).values():
        reference, *others = group_runs(runs, lambda run: run.fingerprints["weights"]).values()
        if others:
            found = join([name_runs(group) for group in others])
            yield Comparability(
                "warning",
                f"weights: others in {found} than in {name_runs(reference)}, though data.weight_map is the same: files "
                "were made anew -> train all with the same weights",
            )


def _check_bad_samples(study: Study) -> Iterator[Comparability]:
    """Whether all had the same number of training samples that could not be used, in whose place others were seen."""
    groups = group_runs(study.runs, _count_bad)
    if not set(groups) - {"none", "unknown"}:
        return
    text = f"training samples that could not be used: {_say_groups(groups)}"
    if len(groups) > 1:
        yield Comparability(
            "warning", f"{text}: others took their place -> see {RunFiles.bad_samples.name} in their folders"
        )
    else:
        yield Comparability("ok", text)


def _count_bad(run: Run) -> str:
    counts = run.summary.get("bad_samples")
    if not isinstance(counts, Mapping):
        return "unknown"  # of an older segkit
    return str(counts.get("train") or "none")


def _check_length(study: Study) -> Iterator[Comparability]:
    groups = group_runs(study.runs, _length)
    reference, *others = groups
    for length in others:
        yield Comparability(
            "warning",
            f"length: {_show_length(length)} in {name_runs(groups[length])}; {_show_length(reference)} in "
            f"{name_runs(groups[reference])} -> train all equally long",
        )
    if not others:
        yield Comparability("ok", f"length: {_show_length(reference)} in all runs")


def _length(run: Run) -> tuple[int, int]:
    """(updates, images seen) of a run."""
    train, iterations = run.config["train"], run.summary.get("iterations", run.iteration)
    return iterations, iterations * train["batch_size"] * train["accumulate"]


def _show_length(length: tuple[int, int]) -> str:
    return f"{plural(length[0], 'iteration')} = {plural(length[1], 'image')}"


def _check_last_evaluation(study: Study) -> Iterator[Comparability]:
    early = [run for run in study.runs if run.iteration != run.summary.get("iterations", run.iteration)]
    for run in early:
        yield Comparability(
            "warning",
            f"last evaluation: that of {name_runs([run])} is of iteration {run.iteration:,} of "
            f"{run.summary['iterations']:,} -> {advise_scoring([run])}",
        )
    if not early:
        yield Comparability("ok", "last evaluation: at the end of training in all runs")


def _check_scored_in(study: Study) -> Iterator[Comparability]:
    """Whether the scores of runs that were trained in one precision were computed in one. Older files do not say."""
    known = [run for run in study.runs if run.scored_in is not None]
    for runs in group_runs(known, lambda run: run.env.get("amp")).values():
        scored = group_runs(runs, lambda run: run.scored_in)
        if len(scored) > 1:
            yield Comparability(
                "warning",
                f"precision of the scores: {_say_groups(scored)}, which moves them by some tenths of a point -> "
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
        and change["iteration"] < _length(run)[0]  # else nothing was trained with it
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
            shown = _say_groups(groups)
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
            yield Comparability("warning", f"{words}: {_say_groups(groups)} -> {advice}")


def _say_groups(groups: Mapping[str, list[Run]]) -> str:
    return "; ".join(f"{value} in {name_runs(runs)}" for value, runs in groups.items())


def _show_entry(value: Any) -> str:
    if isinstance(value, list):
        return join(_unique(value)) or "none"
    return "none" if value is None else str(value)


def _unique(value: list[str] | None) -> list[str]:
    return list(dict.fromkeys(value or []))


def _unknown(words: str, runs: list[Run]) -> Comparability:
    return Comparability(
        "warning",
        f"{words}: not known of {name_runs(runs)}: an older segkit noted none -> train again to be sure",
    )
