"""One module as it is written: its names, and what they stand for, without running it."""

import ast
import builtins
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import segkit

#: Packages that are never imported for a name; a type of theirs is one that no file can hold.
HEAVY = ("torch", "torchvision")
#: What of segkit is imported rather than read, since its very objects are looked for in annotations.
IMPORTED = ("segkit.types", "segkit.schedule", "segkit.registry", "segkit.errors")


class Unreadable(Exception):
    """Only importing the file would tell."""


def find_file(name: str) -> Path:
    """The file of a module. Raises Unreadable if it has none."""
    top, *rest = name.split(".")
    if top == "segkit":
        root = Path(segkit.__file__).parent
    else:
        spec = importlib.util.find_spec(top)  # which imports nothing of a package at the top
        if spec is None or not spec.submodule_search_locations:
            raise Unreadable(name)
        root = Path(spec.submodule_search_locations[0])
    place = root.joinpath(*rest)
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file():
            return path
    raise Unreadable(name)


class WrittenModule:
    """The names that a file binds at its top level.

    `read_other(name)` reads another module, `stand_in(module, node)` makes an object that stands for what a class or a
    function would be.
    """

    def __init__(self, name: str, read_other: "Callable[[str], WrittenModule]", stand_in: Callable[..., Any]):
        self.name, self.path = name, find_file(name)
        self.read_other, self.stand_in = read_other, stand_in
        self.tree = ast.parse(self.path.read_bytes())
        self._bound = dict(reversed(list(_find_bindings(self.tree.body))))  # of several the first
        self._scope = _Scope(self)

    def modules(self) -> list[str]:
        """Dotted names of the modules in it, if it is a package."""
        if self.path.name != "__init__.py":
            return []
        files = [path for path in self.path.parent.iterdir() if path.suffix == ".py" and path != self.path]
        packages = [path.parent for path in self.path.parent.glob("*/__init__.py")]
        return sorted(f"{self.name}.{path.stem}" for path in [*files, *packages])

    def node(self, name: str) -> ast.stmt | None:
        """The statement that binds a name, or None."""
        return self._bound.get(name)

    def value(self, name: str) -> Any:
        """The object of a name; of a class or a function that is only read, what stands for it. Raises Unreadable."""
        node = self._bound.get(name)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return self._follow(node, name)
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            return self.stand_in(self, node)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            return self.evaluate(node.value)
        raise Unreadable(f"{self.name}.{name}")

    def evaluate(self, expression: ast.expr) -> Any:
        """The value of an expression in this file. Raises Unreadable."""
        code = compile(ast.Expression(expression), str(self.path), "eval")
        try:
            return eval(code, {"__builtins__": {}}, self._scope)
        except (NameError, TypeError, AttributeError) as error:
            raise Unreadable(f"{self.name}: {ast.unparse(expression)}") from error

    def _follow(self, node: ast.Import | ast.ImportFrom, name: str) -> Any:
        """What an import binds to the name."""
        alias = next(each for each in node.names if (each.asname or each.name.partition(".")[0]) == name)
        source = alias.name if isinstance(node, ast.Import) else node.module or ""
        relative = isinstance(node, ast.ImportFrom) and node.level > 0
        top = (self.name if relative else source).partition(".")[0]
        if top in HEAVY:
            return Heavy(name, (), {})
        if relative:
            raise Unreadable(f"{self.name}: {ast.unparse(node)}")
        if isinstance(node, ast.Import):
            return importlib.import_module(source if alias.asname else top)
        if top == "segkit" and source not in IMPORTED:
            return self.read_other(source).value(alias.name)
        return getattr(importlib.import_module(source), alias.name)


class _Scope(dict):
    """The names of a module, each looked up when it is used first."""

    def __init__(self, module: WrittenModule):
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        known = self.module.node(name) is not None
        value = self[name] = self.module.value(name) if known else getattr(builtins, name)
        return value


class Heavy(type):
    """A name of a heavy package. All that it has is of the same kind: types that no file can hold."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Heavy(name, (), {})


def _find_bindings(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names and the statements that bind them, in the order of the file, what stands in `if` and `try` included."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], node
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.If | ast.Try):
            yield from _find_bindings([*node.body, *node.orelse])
