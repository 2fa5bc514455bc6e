"""The components of a registry: themselves if they are imported already, else what their files say of them."""

import ast
import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from segkit.config.written.module import HEAVY, Unreadable, WrittenModule
from segkit.config.written.signatures import Written, read_module
from segkit.registry import Registry
from segkit.system.environment import require_torch_pair

#: The name of a table in a module that registers in a loop: component -> where its constructor is written.
WRITTEN_IN = "WRITTEN_IN"


class Entry(NamedTuple):
    """A component by its name as it is registered, and where its constructor is written."""

    name: str
    module: str
    constructor: str


def find_constructor(registry: Registry, name: str) -> tuple[str, Callable[..., Any]]:
    """The name as it is registered, and something with the signature and the docstring of its constructor.

    That is the constructor itself where it can be had without loading torch. Raises UnknownName.
    """
    found = None if _is_loaded(registry, name) else _find_written(registry, name)
    if found is not None:
        return found
    if not _is_loaded(registry, name):
        require_torch_pair()
    constructor = registry.get(name)
    return registry.spell(name), constructor


def list_constructors(registry: Registry) -> list[tuple[str, Callable[..., Any]]]:
    """The same for all that are registered, in the order of `Registry.names`."""
    entries = None if _is_loaded(registry) else _find_all(registry)
    if entries is None:
        if not _is_loaded(registry):
            require_torch_pair()
        names = registry.names()
    else:
        names = registry.in_order([*(entry.name for entry in entries.values()), *registry.imported()])
    return [find_constructor(registry, name) for name in names]


def _is_loaded(registry: Registry, name: str = "") -> bool:
    """Whether asking the component itself costs nothing."""
    return any(package in sys.modules for package in HEAVY) or name.lower() in map(
        str.lower, registry.imported()
    )


def _find_written(registry: Registry, name: str) -> tuple[str, Written] | None:
    """None if its file does not say all, or there is no such component."""
    try:
        entry = _read_own_file(registry, name.lower()) or (_find_all(registry) or {}).get(name.lower())
        return None if entry is None else (entry.name, _read(entry))
    except Unreadable:
        return None


def _read(entry: Entry) -> Written:
    found = read_module(entry.module).value(entry.constructor)
    if not hasattr(found, "__signature__"):
        raise Unreadable(entry.name)
    return found


def _read_own_file(registry: Registry, key: str) -> Entry | None:
    """The component in the file that is called like it: then the others need not be read."""
    for package in _packages_of(registry):
        name = f"{package.name}.{key}"
        if name in package.modules():
            return _find_entries(read_module(name)).get(key)
    return None


@functools.cache
def _find_all(registry: Registry) -> dict[str, Entry] | None:
    """All components by their names in small letters, or None if only importing the files would tell."""
    try:
        packages = _packages_of(registry)
        modules = [*packages, *(read_module(name) for package in packages for name in package.modules())]
        return {key: entry for module in modules for key, entry in _find_entries(module).items()}
    except Unreadable:
        return None


def _packages_of(registry: Registry) -> list[WrittenModule]:
    if registry.package.partition(".")[0] != "segkit":
        raise Unreadable(registry.package)
    return [read_module(name) for name in registry.packages]


def _find_entries(module: WrittenModule) -> dict[str, Entry]:
    """What a file registers. Raises Unreadable if it does so in a loop, and has no table that says what."""
    entries, seen = [], 0
    for node in module.tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and _registers(decorator):
                seen += 1
                name = module.evaluate(decorator.args[0])
                entries.append(Entry(name, module.name, node.name))
    calls = sum(_registers(node) for node in ast.walk(module.tree))
    if calls > seen:
        if module.node(WRITTEN_IN) is None:
            raise Unreadable(f"{module.name} registers in a loop")
        for name, place in module.value(WRITTEN_IN).items():
            home, _, constructor = place.rpartition(".")
            entries.append(Entry(name, home, constructor))
    return {entry.name.lower(): entry for entry in entries}


def _registers(node: ast.AST) -> bool:
    """Whether this is `SOME_REGISTRY.register(...)` or `.refuse(...)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return node.func.attr in ("register", "refuse") and ast.unparse(node.func.value).isupper()
