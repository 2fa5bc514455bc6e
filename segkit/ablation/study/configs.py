"""The configurations of runs as they saved them, read without torch: their options were checked when they were made.

A run of an older segkit lacks the options that came later. Where another run has them, both are checked by the
components of this segkit, which fills in what is missing; else a default that nobody changed would look like a
difference. This loads torch.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from segkit.config.load import load_config, load_saved_config
from segkit.config.schema import COMPONENTS, Config
from segkit.errors import CheckpointError, ConfigError
from segkit.system.environment import require_torch_pair
from segkit.system.packed.members import describe_misnamed
from segkit.system.run_files import RunFiles


def read_configs(folders: Iterable[Path]) -> dict[Path, Config]:
    """The configurations of runs that are to be compared, each component with the same options in all of them.

    Raises as `read_config` does.
    """
    configs = {folder: read_config(folder) for folder in folders}
    if _same_options(configs.values()):
        return configs
    return {folder: _check_config(folder) for folder in configs}


def read_config(folder: Path) -> Config:
    """The configuration of a run, for reading. Raises CheckpointError if `folder` is no run folder, ConfigError."""
    if not folder.is_dir():
        why = describe_misnamed(folder) if folder.is_file() else None
        raise CheckpointError(f"no run folder at {folder}: {why or 'no such folder'}")
    if not RunFiles(folder).is_run:
        raise CheckpointError(
            f"{folder} is not a run folder: it has no {RunFiles.config.name} -> give a folder such as runs/ohem/TIME"
        )
    try:
        return load_saved_config(folder)
    except ConfigError:
        return _check_config(folder)  # which names every mistake


def read_beside(folder: Path, planned: Config) -> Config:
    """The configuration of a run, its components with the same options as where they are `planned`. Raises
    ConfigError."""
    try:
        config = load_saved_config(folder)
    except ConfigError:
        return load_checked(folder)  # which names every mistake
    return config if _same_options([config, planned]) else load_checked(folder)


def load_checked(folder: Path) -> Config:
    """The configuration of a run as the components of this segkit take it. Loads torch; raises ConfigError."""
    require_torch_pair()
    return load_config(folder)


def _check_config(folder: Path) -> Config:
    try:
        return load_checked(folder)
    except ConfigError as error:
        hint = "   -> if a name in it is registered in a file of yours, give that with --import FILE"
        raise ConfigError([*error.problems, hint]) from error


def _same_options(configs: Iterable[Config]) -> bool:
    """Whether each component has the same options wherever it stands in the same place."""
    options = defaultdict(set)
    for config in configs:
        mapping = config.to_mapping()
        for key in COMPONENTS:
            if "." not in key:
                for place, name, keys in _find_blocks(mapping[key], (key,)):
                    options[place, name].add(keys)
    return all(len(found) == 1 for found in options.values())


def _find_blocks(value: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, frozenset[str]]]:
    """(place, name, keys) of each block that names a component in `value`; those of one list have one place."""
    if isinstance(value, list):
        for item in value:
            yield from _find_blocks(item, place)
    elif isinstance(value, dict):
        if "name" in value:
            yield place, str(value["name"]), frozenset(value)
        for key, item in value.items():
            yield from _find_blocks(item, (*place, key))
