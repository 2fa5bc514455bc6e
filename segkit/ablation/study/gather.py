"""Any finished runs as a study: found, read, and sorted into variants by what they were configured to be."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from segkit.ablation.study.config_diff import relevant_settings
from segkit.ablation.study.configs import read_configs
from segkit.ablation.study.phrases import group_runs, plural
from segkit.ablation.study.read import read_run
from segkit.ablation.study.study import Run
from segkit.ablation.study.variant_names import name_variants
from segkit.errors import CheckpointError, ConfigError
from segkit.runs.folder import read_status
from segkit.system.run_files import RunFiles, list_runs_below


@dataclass
class Gathered:
    """Runs with their variants, in the order given; what was not usable; what a person should know of the choice."""

    runs: list[Run] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def variants(self) -> tuple[str, ...]:
        """In order of first appearance."""
        return tuple(dict.fromkeys(run.variant for run in self.runs))


def gather_runs(paths: Sequence[str | os.PathLike[str]], *, names: Sequence[str] = ()) -> Gathered:
    """Read the runs at `paths`: run folders, or folders above run folders, of which the finished ones are taken.

    Runs are of one variant if they differ in nothing but the seed and what no result depends on. A variant is called as
    its runs are, or by the next of `names`. Raises CheckpointError for a given run that cannot be used, ConfigError for
    a run given twice and for `names` that do not fit.
    """
    gathered = Gathered()
    unused: dict[Path, str] = {}
    folders = _find_folders(paths)
    configs = read_configs(folders)
    for folder, explicit in folders.items():
        try:
            run = read_run(folder, variant="", config=configs[folder])
        except CheckpointError as error:
            if explicit:
                raise
            unused[folder] = _on_one_line(error)
            continue
        if _is_overfit(run.config):
            gathered.notes.append(
                f"left out: {folder}, a run of --overfit, scored on the images that it learnt"
            )
        else:
            gathered.runs.append(run)
    unused_configs = {folder: configs[folder].to_mapping() for folder in unused}
    gathered.missing = _still_missing(unused, unused_configs, gathered.runs)
    if not gathered.runs:
        given = ", ".join(map(str, paths))
        raise CheckpointError(
            "\n   ".join([f"no finished run in {given}", *gathered.missing, *gathered.notes])
        )
    _keep_newest(gathered)
    _name(gathered, names)
    return gathered


def _find_folders(paths: Sequence[str | os.PathLike[str]]) -> dict[Path, bool]:
    """Run folders, each with whether it was given itself, in the order given."""
    found: dict[Path, bool] = {}
    origins: dict[Path, Path] = {}
    for path in map(Path, paths):
        inside = [path] if RunFiles(path).is_run or not path.is_dir() else _list_run_folders(path)
        for folder in inside:
            other = origins.setdefault(folder.resolve(), path)
            if folder in found or other is not path:
                both = f"{path}" if str(other) == str(path) else f"{other} and {path}"
                raise ConfigError(f"the run {folder} is given twice, by {both} -> give each run once")
            found[folder] = folder == path
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


def _is_overfit(config: Mapping[str, Any]) -> bool:
    """Its name is all that tells such a run from one of the same configuration."""
    return config["name"].endswith("-overfit")


def _identity(config: Mapping[str, Any]) -> str:
    """A text that is equal for configurations of the same variant and seed."""
    return json.dumps([config["seed"], relevant_settings(config)], sort_keys=True)


def _variant_identity(config: Mapping[str, Any]) -> str:
    return json.dumps(relevant_settings(config), sort_keys=True)


def _still_missing(
    unused: Mapping[Path, str], configs: Mapping[Path, Mapping[str, Any]], runs: Sequence[Run]
) -> list[str]:
    """The lines of those folders whose run was not trained again to its end, and was meant to be."""
    done = {_identity(run.config) for run in runs}
    return [
        unused[folder]
        for folder, config in configs.items()
        if not _is_overfit(config) and _identity(config) not in done
    ]


def _keep_newest(gathered: Gathered) -> None:
    """Of several runs of one variant and seed, the one that ended last; a note says which."""
    kept = []
    for runs in group_runs(gathered.runs, lambda run: _identity(run.config)).values():
        newest = max(runs, key=_ended)
        kept.append(newest)
        if len(runs) > 1:
            others = ", ".join(str(run.folder) for run in runs if run is not newest)
            gathered.notes.append(
                f"{plural(len(runs), 'run')} of one configuration and seed {newest.seed}: taken is the newest, "
                f"{newest.folder}, not {others}"
            )
    gathered.runs = kept


def _ended(run: Run) -> tuple[datetime, str]:
    """When its training ended."""
    status = read_status(run.folder)
    assert status is not None  # or it would not have been read as finished
    return datetime.fromisoformat(status["updated"]), run.folder.name


def _name(gathered: Gathered, names: Sequence[str]) -> None:
    """Give every run its variant, and put the runs of a variant together."""
    groups = list(group_runs(gathered.runs, lambda run: _variant_identity(run.config)).values())
    if names and len(names) != len(groups):
        have = plural(len(groups), "variant")
        raise ConfigError(
            f"--names has {plural(len(names), 'name')} for {have}: {', '.join(name_variants(groups))} -> one for each"
        )
    if len(set(names)) < len(names):
        raise ConfigError(f"--names has a name twice: {', '.join(names)} -> one for each variant")
    chosen = list(names) or name_variants(groups)
    gathered.runs = [
        replace(run, variant=name) for name, runs in zip(chosen, groups, strict=True) for run in runs
    ]
