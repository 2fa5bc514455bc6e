"""A packed run as what a checkpoint holds of its weights. Nothing in it is executed."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from segkit.config.carried.packed import PackedConfig, describe_missing, parse_packed_config
from segkit.config.messages import list_problems
from segkit.config.yaml_source import to_plain
from segkit.errors import CheckpointError
from segkit.runs.packed.about import About, read_about
from segkit.runs.packed.tensors import from_bytes, require_safetensors
from segkit.system.packed.members import PackedFiles
from segkit.system.packed.read import read_packed
from segkit.system.printable import show_name


class PackedRun(NamedTuple):
    """The weights by the names of the model's parameters, what they need, and the settings as plain values. `missing`
    has a line for each `--import` that the settings need and that was not given."""

    tensors: dict[str, Tensor]
    about: About
    settings: dict[str, Any]
    missing: list[str]

    @property
    def which(self) -> str:
        """Which weights of the run these are, as a part of a template for `str.format`."""
        return show_name(self.about.weights).replace("{", "{{").replace("}", "}}")


def open_packed(path: Path) -> PackedRun:
    """What is in a packed run. Raises CheckpointError for one that cannot be used, ConfigError where safetensors is
    missing."""
    require_safetensors(f"packed run {path}")
    about, weights, config = (getattr(PackedFiles, name).name for name in ("about", "weights", "config"))
    contents = read_packed(path, [about, weights, config])
    found = contents.members
    text = found[config].decode(errors="replace")
    node, problems = parse_packed_config(PackedConfig(text, f"{path}/{config}", contents.manifest.imports))
    if node is None or problems:
        raise CheckpointError(
            "\n".join([f"packed run {path}: its configuration cannot be used", *list_problems(problems)])
        )
    return PackedRun(
        from_bytes(found[weights], origin=path),
        read_about(found[about], origin=path),
        to_plain(node),
        describe_missing(contents.manifest.imports),
    )


def as_state(packed: PackedRun) -> dict[str, Any]:
    """The same with the keys of a checkpoint that holds weights alone."""
    about = packed.about
    return {
        "config": packed.settings,
        "model": packed.tensors,
        "iteration": about.iteration,
        "class_names": about.class_names,
        "palette": about.palette,
        "ignore_index": about.ignore_index,
        "channels": about.channels,
        "logits_channels": about.logits_channels,
        "resize": about.resize,
    }
