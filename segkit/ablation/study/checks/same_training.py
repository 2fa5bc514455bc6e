"""Whether runs were trained alike: data, start, order, weights and length."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from segkit.ablation.study.config_diff import ConfigDiff
from segkit.ablation.study.lacking import advise_scoring
from segkit.ablation.study.phrases import group_runs, join, name_runs, name_seeds, plural, say_groups
from segkit.ablation.study.study import Comparability, Run, Study
from segkit.config.keys import covers
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


def check_training(study: Study, diff: ConfigDiff) -> Iterator[Comparability]:
    """What the runs of a study were trained on, how long, and what was scored in the end."""
    yield from _check_data(study, diff)
    for beginning in BEGINNINGS:
        yield from _check_beginning(study, diff, beginning)
    yield from _check_weights(study)
    yield from _check_bad_samples(study)
    yield from _check_length(study)
    yield from _check_last_evaluation(study)


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
    weight map differ, or the data, so may the weights."""
    having = [run for run in study.runs if "weights" in run.fingerprints]
    alike = group_runs(
        having, lambda run: (repr(run.config["data"].get("weight_map")), run.fingerprints.get("data"))
    )
    for runs in alike.values():
        reference, *others = group_runs(runs, lambda run: run.fingerprints["weights"]).values()
        if others:
            found = join([name_runs(group) for group in others])
            yield Comparability(
                "warning",
                f"weights: others in {found} than in {name_runs(reference)}, though data and data.weight_map are the "
                "same: files were made anew -> train all with the same weights",
            )


def _check_bad_samples(study: Study) -> Iterator[Comparability]:
    """Whether all had the same number of training samples that could not be used, in whose place others were seen."""
    groups = group_runs(study.runs, _count_bad)
    if not set(groups) - {"none", "unknown"}:
        return
    text = f"training samples that could not be used: {say_groups(groups)}"
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
    train, iterations = run.config["train"], run.updates
    return iterations, iterations * train["batch_size"] * train["accumulate"]


def _show_length(length: tuple[int, int]) -> str:
    return f"{plural(length[0], 'iteration')} = {plural(length[1], 'image')}"


def _check_last_evaluation(study: Study) -> Iterator[Comparability]:
    early = [run for run in study.runs if run.iteration != run.updates]
    for run in early:
        yield Comparability(
            "warning",
            f"last evaluation: that of {name_runs([run])} is of iteration {run.iteration:,} of "
            f"{run.updates:,} -> {advise_scoring([run])}",
        )
    if not early:
        yield Comparability("ok", "last evaluation: at the end of training in all runs")


def _unknown(words: str, runs: list[Run]) -> Comparability:
    return Comparability(
        "warning",
        f"{words}: not known of {name_runs(runs)}: an older segkit noted none -> train again to be sure",
    )
