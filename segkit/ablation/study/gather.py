"""Any finished runs as a study: found, read, and sorted into variants by what they were configured to be."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from segkit.ablation.study.config_diff import settings_text
from segkit.ablation.study.configs import read_configs
from segkit.ablation.study.packed_about import StudyAbout
from segkit.ablation.study.phrases import group_runs, plural
from segkit.ablation.study.read import read_run
from segkit.ablation.study.study import Run
from segkit.ablation.study.unpack import unpack_study
from segkit.ablation.study.variant_names import name_variants, sort_variants
from segkit.config.carried.places import StandIns, clear_places
from segkit.errors import CheckpointError, ConfigError
from segkit.runs.folder import is_overfit, read_status
from segkit.system.packed.members import is_packed
from segkit.system.run_files import RunFiles, list_runs_below


@dataclass
class Gathered:
    """Runs with their variants, in the order given; what was not usable; what a person should know of the choice.

    `packed` is what the first packed study among what was given says of itself, its variants by the names that they
    have now; `whole` is whether that study is all.
    """

    runs: list[Run] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    packed: StudyAbout | None = None
    whole: bool = False

    @property
    def variants(self) -> tuple[str, ...]:
        """In order of first appearance; of a packed study that is all, as it has them, with those that have no run."""
        if self.packed is not None and self.whole:
            return tuple(self.packed.variants)
        return tuple(dict.fromkeys(run.variant for run in self.runs))


@dataclass
class _Found:
    """The folders of runs in the order given, each with whether it was given itself; of those of packed studies, what
    else is known."""

    explicit: dict[Path, bool] = field(default_factory=dict)
    shown: dict[Path, Path] = field(default_factory=dict)
    variants: dict[Path, str] = field(default_factory=dict)
    studies: dict[Path, StudyAbout] = field(default_factory=dict)


def gather_runs(
    paths: Sequence[str | os.PathLike[str]], *, names: Sequence[str] = (), to_pack: bool = False
) -> Gathered:
    """Read the runs at `paths`: run folders, folders above run folders, of which the finished ones are taken, and
    packed studies.

    Runs are of one variant if they differ in nothing but the seed and what no result depends on. A variant is called as
    its runs are, or as its packed study does, or by the next of `names`. With `to_pack`, or a packed study among them,
    no configuration says places of a machine, nor does what variants are called by what differs. Raises
    CheckpointError for a given run or packed study that cannot be used, ConfigError for a run given twice and for
    `names` that do not fit.
    """
    with ExitStack() as stack:
        return _gather(_find(paths, stack), paths, names, to_pack)


def _gather(
    found: _Found, paths: Sequence[str | os.PathLike[str]], names: Sequence[str], to_pack: bool
) -> Gathered:
    gathered = Gathered()
    unused: dict[Path, str] = {}
    ended: dict[Path, datetime] = {}
    configs = read_configs(found.explicit)
    # Those of packed studies say no places, so that the places of the others would look like differences.
    clear = partial(clear_places, stand_in=StandIns()) if found.studies or to_pack else dict
    for folder, explicit in found.explicit.items():
        try:
            run = read_run(folder, variant=found.variants.get(folder, ""), config=configs[folder])
        except CheckpointError as error:
            if explicit:
                raise
            unused[folder] = _on_one_line(error)
            continue
        run = replace(run, folder=found.shown.get(folder, folder), config=clear(run.config))
        if is_overfit(run.config["name"]):
            gathered.notes.append(
                f"left out: {run.folder}, a run of --overfit, scored on the images that it learnt"
            )
        else:
            gathered.runs.append(run)
            ended[run.folder] = _when_ended(folder)
    unused_configs = {folder: clear(configs[folder].to_mapping()) for folder in unused}
    gathered.missing = _still_missing(unused, unused_configs, gathered.runs)
    gathered.missing += [line for study in found.studies.values() for line in study.missing]
    if not gathered.runs:
        given = ", ".join(map(str, paths))
        raise CheckpointError(
            "\n   ".join([f"no finished run in {given}", *gathered.missing, *gathered.notes])
        )
    gathered.packed = next(iter(found.studies.values()), None)
    gathered.whole = gathered.packed is not None and len(paths) == 1
    groups = _sort(gathered)
    there = _no_longer_missing(found.studies, groups)
    gathered.missing = [line for line in gathered.missing if line not in there]
    chosen = _choose_names(groups, names)
    _rename_packed(gathered, groups, chosen)
    if not gathered.whole:
        groups = [_keep_newest(runs, ended, gathered.notes) for runs in groups]
    named = [replace(run, variant=name) for name, runs in zip(chosen, groups, strict=True) for run in runs]
    if gathered.whole:  # as they were when they were packed
        order = [run.folder for run in gathered.runs]
        named.sort(key=lambda run: order.index(run.folder))
    gathered.runs = named
    return gathered


def _find(paths: Sequence[str | os.PathLike[str]], stack: ExitStack) -> _Found:
    """The runs at `paths`, those of packed studies for as long as `stack` is open."""
    found = _Found()
    origins: dict[Path, Path] = {}
    for path in map(Path, paths):
        if is_packed(path) and not path.is_dir():
            about, shown = stack.enter_context(unpack_study(path))
            found.studies[path] = about
            found.shown |= shown
            found.variants |= {place: run.variant for place, run in zip(shown, about.runs, strict=True)}
        else:
            inside = [path] if RunFiles(path).is_run or not path.is_dir() else _list_run_folders(path)
            shown = {folder: folder for folder in inside}
        for folder, place in shown.items():
            other = origins.setdefault(place.resolve(), path)
            if folder in found.explicit or other is not path:
                both = f"{path}" if str(other) == str(path) else f"{other} and {path}"
                raise ConfigError(f"the run {place} is given twice, by {both} -> give each run once")
            found.explicit[folder] = folder == path or place != folder
    return found


def _list_run_folders(above: Path) -> list[Path]:
    """Those below that a run has written. Raises CheckpointError if there is none."""
    found = list_runs_below(above)
    if not found:
        raise CheckpointError(
            f"{above}: there is no run folder in it -> give a folder such as runs/ohem/TIME"
        )
    return found


def _on_one_line(error: CheckpointError) -> str:
    """The first line of the message and the advice, without the details between them."""
    first, *others = str(error).splitlines()
    advice = [line.strip() for line in others if line.strip().startswith("->")]
    return " ".join([first, *advice])


def _identity(config: Mapping[str, Any]) -> str:
    """A text that is equal for configurations of the same variant and seed."""
    return f"{config['seed']} {settings_text(config)}"


def _still_missing(
    unused: Mapping[Path, str], configs: Mapping[Path, Mapping[str, Any]], runs: Sequence[Run]
) -> list[str]:
    """The lines of those folders whose run was not trained again to its end, and was meant to be."""
    done = {_identity(run.config) for run in runs}
    return [
        unused[folder]
        for folder, config in configs.items()
        if not is_overfit(config["name"]) and _identity(config) not in done
    ]


def _no_longer_missing(studies: Mapping[Path, StudyAbout], groups: Sequence[Sequence[Run]]) -> set[str]:
    """The lines of packed studies on runs that they lack and that are here: seeds that another machine has trained."""
    there = set()
    for path, study in studies.items():
        told = {entry.variant for entry in study.runs}
        runs_here = set()
        for runs in groups:
            called = {run.variant for run in runs if run.folder.parent == path}
            # Of a variant without any run nothing but its name is known.
            called = called or {_called(run) for run in runs} & set(study.variants) - told
            runs_here |= {f"{name}-seed{run.seed}: " for name in called for run in runs}
        there |= {line for line in study.missing if line.startswith(tuple(runs_here))}
    return there


def _called(run: Run) -> str:
    """What its packed study, or else the run itself, calls its variant."""
    return run.variant or run.config["name"].removesuffix(f"-seed{run.seed}")


def _keep_newest(runs: Sequence[Run], ended: Mapping[Path, datetime], notes: list[str]) -> list[Run]:
    """Of several runs of one variant and seed, the one that ended last, and rather itself than as it was packed; a note
    says which."""
    kept = []
    for seed, same in group_runs(runs, lambda run: run.seed).items():
        newest = max(same, key=lambda run: (ended[run.folder], not run.is_packed, run.folder.name))
        kept.append(newest)
        if len(same) > 1:
            others = ", ".join(str(run.folder) for run in same if run is not newest)
            notes.append(
                f"{plural(len(same), 'run')} of one configuration and seed {seed}: taken is the newest, "
                f"{newest.folder}, not {others}"
            )
    return kept


def _when_ended(folder: Path) -> datetime:
    """When the training of a finished run ended."""
    status = read_status(folder)
    assert status is not None  # or it would not have been read as finished
    return datetime.fromisoformat(status["updated"])


def _sort(gathered: Gathered) -> list[list[Run]]:
    """The runs of each variant."""
    if gathered.packed is None or not gathered.whole:
        return sort_variants(gathered.runs)
    # A study knows its variants, even where they differ in nothing that a result should depend on.
    groups = group_runs(gathered.runs, lambda run: run.variant)
    return [groups[name] for name in gathered.packed.variants if name in groups]


def _choose_names(groups: Sequence[Sequence[Run]], names: Sequence[str]) -> list[str]:
    """What to call each variant. Raises ConfigError for `names` that do not fit."""
    if names and len(names) != len(groups):
        have = plural(len(groups), "variant")
        raise ConfigError(
            f"--names has {plural(len(names), 'name')} for {have}: {', '.join(name_variants(groups))} -> one for each"
        )
    if not all(names):
        raise ConfigError("--names has a name without a character -> a name for each variant")
    if len(set(names)) < len(names):
        raise ConfigError(f"--names has a name twice: {', '.join(names)} -> one for each variant")
    return list(names) or _packed_names(groups) or name_variants(groups)


def _packed_names(groups: Sequence[Sequence[Run]]) -> list[str]:
    """What packed studies call the variants, and the others as their runs are called; none if two would be alike."""
    packed = [next((run.variant for run in runs if run.variant), "") for runs in groups]
    names = [known or other for known, other in zip(packed, name_variants(groups), strict=True)]
    return names if any(packed) and len(set(names)) == len(names) else []


def _rename_packed(gathered: Gathered, groups: Sequence[Sequence[Run]], chosen: Sequence[str]) -> None:
    """Let the first packed study call its variants as they are called now."""
    if gathered.packed is None:
        return
    name_of = {run.folder: name for name, runs in zip(chosen, groups, strict=True) for run in runs}
    renamed: dict[str, str] = {}
    # Those of the first study come before those of others that have a variant of that name.
    for run in gathered.runs:
        if run.variant:
            renamed.setdefault(run.variant, name_of[run.folder])
    variants = [renamed.get(name, name) for name in gathered.packed.variants]
    gathered.packed = gathered.packed.model_copy(
        update={
            "baseline": renamed.get(gathered.packed.baseline, chosen[0]),
            "variants": list(dict.fromkeys(variants)),
        }
    )
