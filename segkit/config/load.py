"""Configuration: YAML files and overrides to one validated, frozen Config; every mistake in one message.

A file is read in layers, each over the one before: the built-in defaults, what it `extends`, the file, the command
line. Mappings merge; lists, and any block whose `name` changes, are replaced whole, so that no option of
one loss survives into another. An override that changes a name comes before all other overrides. A component's
keys are checked against its constructor's signature, strictly: "3" is not 3, and an unknown key is an error.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from segkit.config.carried.packed import describe_missing, read_packed_config
from segkit.config.checks import check_config
from segkit.config.messages import list_problems
from segkit.config.problem import Mark, Problem
from segkit.config.schema import COMPONENTS, Config
from segkit.config.sources import apply_overrides, find_config, read_layers
from segkit.config.yaml_source import to_node
from segkit.errors import ConfigError
from segkit.system.packed.members import is_packed

#: The blocks that reading data takes.
_DATA_BLOCKS = ("data", "data.weight_map")


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in `source` with `overrides` such as "loss.thresh=0.6" on top.

    `source` is a path, a name looked up in configs/ (ohem, ohem.yaml, camvid/ohem.yaml), a run folder, or a packed run.
    An override is parsed as YAML and checked like the file. Raises ConfigError listing every mistake, and
    CheckpointError for a packed run that cannot be used.
    """
    return _load(source, overrides, COMPONENTS)


def load_data_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The same for reading data alone: of the components, only those of `data` are asked what they take, which needs no
    torch. The options of the others are as they stand there, and nothing can be built from them."""
    return _load(source, overrides, _DATA_BLOCKS)


def load_saved_config(folder: str | Path) -> Config:
    """The configuration that a run saved in its folder, for reading: no component is asked, and torch not loaded.

    The run had its options checked and every default filled in when it was made. What a later segkit has besides is
    not there, and nothing can be built from it; for either there is `load_config`. Raises ConfigError.
    """
    return _load(folder, (), ())


def _load(source: str | Path, overrides: Sequence[str], checked: Collection[str]) -> Config:
    layers = read_layers(source, overrides)
    if layers.root is None:
        raise ConfigError(list_problems(layers.problems))
    try:
        return check_config(layers.root, layers.name, layers.problems, checked=checked)
    except ConfigError as error:
        path = find_config(source)
        hints = describe_missing(read_packed_config(path, shown=str(path)).imports) if is_packed(path) else []
        if hints:
            raise ConfigError([*error.problems, *hints]) from error
        raise


def config_from_mapping(mapping: dict[str, Any], *, origin: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration in plain values, such as a checkpoint's, with `overrides` on top; `origin` names the
    values in messages. Raises ConfigError listing every mistake.
    """
    if not isinstance(mapping, dict):
        raise ConfigError(f"{origin}: expected a mapping of settings, got {type(mapping).__name__}")
    problems: list[Problem] = []
    root = apply_overrides(to_node(mapping, Mark(origin)), overrides, problems)
    return check_config(root, "unnamed", problems)
