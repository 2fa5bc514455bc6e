"""The configuration in a packed run, and which `--import` it needs: what registers its components is not packed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from segkit.config.carried.places import LOG_DIR
from segkit.config.problem import Problem
from segkit.config.schema import COMPONENTS, NESTED, OPTION_SCHEDULE, Component, Config, OptionSchedule
from segkit.config.signature import component_parameters
from segkit.config.yaml_source import Node, parse_yaml
from segkit.errors import CheckpointError
from segkit.registry import Registry
from segkit.system.packed.members import NeededImport, PackedFiles
from segkit.system.packed.read import read_packed
from segkit.system.printable import show_name


class PackedConfig(NamedTuple):
    """The YAML text, where messages say that it stands, and what it needs."""

    text: str
    source: str
    imports: Sequence[NeededImport]


def read_packed_config(path: Path, *, shown: str) -> PackedConfig:
    """The configuration in the packed run at `path`, which messages call `shown`. Raises CheckpointError."""
    name = PackedFiles.config.name
    contents = read_packed(path, [name])
    try:
        text = contents.members[name].decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"packed run {path}: its {name} is not UTF-8 text") from error
    return PackedConfig(text, f"{shown}/{name}", contents.manifest.imports)


def parse_packed_config(found: PackedConfig) -> tuple[Node | None, list[Problem]]:
    """The mapping, and every mistake found; None where it cannot be read. It is whole: what it would extend is not
    looked for on this machine; and it does not choose where on this machine is written."""
    node, problems = parse_yaml(found.text, found.source)
    if node is None:
        return None, problems
    if not isinstance(node.value, dict):
        return None, [*problems, Problem(node.mark, "expected blocks such as `train:`, one below the other")]
    if "extends" in node.value:
        problems.append(
            Problem(node.value["extends"].mark, "a packed configuration is whole and extends nothing")
        )
        return None, problems
    log = node.value.get("log")
    place = log.value.get("dir") if log is not None and isinstance(log.value, dict) else None
    if place is not None and place.value != LOG_DIR:
        text = (
            "a packed configuration does not say where runs are written -> log.dir=PATH on the command line"
        )
        return None, [*problems, Problem(place.mark, text)]
    return node, problems


def describe_missing(imports: Sequence[NeededImport]) -> list[str]:
    """A line for each component of a packed run that is not registered yet: with which `--import` it would be. Nothing
    is imported for it."""
    registries = {block.registry.kind: block.registry for block in (*COMPONENTS.values(), *NESTED.values())}
    registries[OPTION_SCHEDULE.registry.kind] = OPTION_SCHEDULE.registry
    lines = []
    for needed in imports:
        registry = registries.get(needed.kind)
        known = [] if registry is None else [name.lower() for name in registry.imported()]
        if needed.name.lower() not in known:
            lines.append(
                f"   -> --import {show_name(needed.file)}, which registers the {show_name(needed.kind)} "
                f"{show_name(needed.name)}: code of its user's own, which is not in the packed run"
            )
    return lines


def find_imports(config: Config) -> list[NeededImport]:
    """The components of a configuration that code outside of segkit has registered, each once, in its order."""
    found = []
    for registry, component in _walk(config):
        module = registry.get(component.name).__module__
        if module.split(".")[0] == "segkit":
            continue
        file = module if "." in module else f"{module}.py"
        needed = NeededImport(kind=registry.kind, name=component.name, file=file)
        if needed not in found:
            found.append(needed)
    return found


def _walk(config: Config) -> Iterator[tuple[Registry, Component]]:
    blocks = {key: block for key, block in COMPONENTS.items() if "." not in key}
    for key, block in blocks.items():
        yield from _walk_component(block.registry, getattr(config, key))
    if config.data.weight_map is not None:
        yield from _walk_component(COMPONENTS["data.weight_map"].registry, config.data.weight_map)


def _walk_component(registry: Registry, component: Component) -> Iterator[tuple[Registry, Component]]:
    yield registry, component
    marks = component_parameters(registry.get(component.name))
    for name, value in component.params.items():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, OptionSchedule):
                yield OPTION_SCHEDULE.registry, part
            elif isinstance(part, Component) and name in marks:
                yield from _walk_component(NESTED[marks[name].kind].registry, part)
