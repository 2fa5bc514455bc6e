"""The rules of who may import whom, and the checker that walks the imports for them.

Imports inside functions count like the others, unless the rule says otherwise.
"""

import ast
import fnmatch
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rule:
    """`files` (patterns below segkit/, without .py) never import `never` (patterns of dotted names)."""

    files: str
    never: str
    because: str
    lazily: bool = False  # True: allowed inside a function, and followed through what the file imports


#: The floors of the house, top to bottom: a file imports its own package and those on lower floors, never one above or
#: beside. Whatever lies at the root of segkit/ has a floor; the root's own __init__ imports nothing (a rule below).
FLOORS = [
    "__main__",
    "cli",
    "commands ablation",
    "runs",
    "training",
    "evaluation",
    "data",
    "losses models config",
    "distributed",
    "system types",
    "schedule registry errors",
]

RULES = [
    Rule("schedule registry", "torch torchvision numpy segkit", "tested in microseconds, used by all"),
    Rule(
        "__init__", "torch torchvision numpy pydantic yaml segkit", "importing segkit is instant", lazily=True
    ),
    Rule("config/*", "torch torchvision", "a typo is reported before CUDA starts", lazily=True),
    Rule("cli/* __main__", "torch torchvision matplotlib", "help and a typo wait for nothing", lazily=True),
    Rule(
        "ablation/collect ablation/compare ablation/plan/* ablation/study/* ablation/statistics/* ablation/report/*",
        "torch torchvision",
        "a report of finished runs loads no torch",
        lazily=True,
    ),
    Rule(
        "commands/check_folder",
        "torch torchvision matplotlib",
        "files are checked without torch",
        lazily=True,
    ),
    Rule(
        "commands/evaluate commands/evaluate_per_image",
        "torchvision matplotlib",
        "scoring waits for no torchvision, which loads torch's compiler",
        lazily=True,
    ),
    Rule(
        "losses/*",
        "segkit.training segkit.config segkit.data segkit.models",
        "usable in a notebook with two tensors",
    ),
    Rule(
        "models/*",
        "segkit.training segkit.config segkit.data segkit.losses",
        "usable in a notebook with two tensors",
    ),
    Rule(
        "data/transforms/* data/augments/* data/sample",
        "random numpy.random segkit.training segkit.config segkit.losses segkit.models",
        "usable in a notebook, and drawn from torch's generator alone",
    ),
    Rule(
        "training/trainer",
        "segkit.models segkit.losses segkit.data segkit.registry segkit.config segkit.training.build* yaml",
        "the loop knows no name",
    ),
    Rule(
        "evaluation/evaluate evaluation/metrics",
        "segkit.losses segkit.training",
        "validation cannot move a schedule",
    ),
    Rule(
        "training/trainer evaluation/evaluate evaluation/panels evaluation/metrics losses/* models/*",
        "segkit.runs segkit.ablation matplotlib tensorboard torch.utils.tensorboard",
        "only the recorder records",
    ),
    Rule(
        "commands/visualise/*",
        "segkit.training.trainer segkit.models segkit.ablation",
        "a preview trains nothing",
    ),
    Rule("*", "scripts tests train", "the package stands alone"),
    Rule(
        "*",
        "lightning pytorch_lightning hydra omegaconf mmengine mmcv mmseg albumentations rich",
        "not one of our libraries",
    ),
]


@dataclass(frozen=True)
class Import:
    """One imported dotted name; `lazy` if the import runs when a function is called, or never."""

    name: str
    line: int
    lazy: bool


class Source:
    """One parsed Python file of the package under `root`."""

    def __init__(self, path: Path, root: Path):
        self.path = path
        self.shown = path.relative_to(root).as_posix()
        self.key = path.relative_to(root / "segkit").with_suffix("").as_posix()  # losses/ohem_ce
        self.text = path.read_text()
        self.tree = ast.parse(self.text, str(path))
        parts = path.relative_to(root).with_suffix("").parts
        self.module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.package = ".".join(parts[:-1])
        self.imports = list(self._imports(self.tree, lazy=False))

    def matches(self, patterns: str) -> bool:
        """Whether a pattern names this file, or the package it has grown into."""
        return any(
            fnmatch.fnmatch(self.key, pattern) or fnmatch.fnmatch(self.key, f"{pattern}/*")
            for pattern in patterns.split()
        )

    def registers(self) -> bool:
        """Whether the file defines something under a name."""
        return any(
            isinstance(decorator, ast.Call)
            and isinstance(decorator.func, ast.Attribute)
            and decorator.func.attr == "register"
            for node in ast.walk(self.tree)
            for decorator in getattr(node, "decorator_list", [])
        )

    def _imports(self, node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            for name in self._names(child):
                yield Import(name, child.lineno, lazy)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from self._imports(child, lazy=lazy or inside or for_types)

    def _names(self, node: ast.AST) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = self.package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            return [f"{base}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rsplit(".", 1)[-1]
            if called in ("import_module", "__import__"):
                return [str(node.args[0].value)]
        return []


@functools.cache
def is_below(name: str, pattern: str) -> bool:
    """Whether a dotted name is what the pattern says, or lies in it."""
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")


def find_violations(root: Path) -> list[str]:
    """Every broken rule in `root`/segkit, as `file:line ...: because`."""
    sources = [Source(path, root) for path in sorted((root / "segkit").rglob("*.py"))]
    found = []
    for rule in RULES:
        for source in sources:
            if source.matches(rule.files):
                check = reached_when_imported if rule.lazily else forbidden_imports
                found += check(source, rule, sources)
    found += sibling_imports(sources)
    told = {text.split(" ")[0] for text in found}  # a rule that names the reason says more than a floor
    found += [text for text in climbing_imports(sources) if text.split(" ")[0] not in told]
    found += circles(sources)
    found += clock_violations(sources)
    found += trainer_violations(sources)
    return found


def forbidden_imports(source: Source, rule: Rule, sources: list[Source]) -> list[str]:
    return [
        f"{source.shown}:{imported.line} imports {imported.name}: {rule.because}"
        for imported in source.imports
        if any(is_below(imported.name, never) for never in rule.never.split())
    ]


def reached_when_imported(source: Source, rule: Rule, sources: list[Source]) -> list[str]:
    """Forbidden modules that importing `source` imports, through any chain of files of the package."""
    by_module = {other.module: other for other in sources}
    found, seen, waiting = [], {source.module}, [(source, source.shown)]
    while waiting:
        current, chain = waiting.pop()
        for imported in current.imports:
            if imported.lazy:
                continue
            if any(is_below(imported.name, never) for never in rule.never.split()):
                found.append(f"{chain}:{imported.line} imports {imported.name}: {rule.because}")
            parts = imported.name.split(".")
            for length in range(1, len(parts) + 1):
                # `from a.b import c` runs a, a.b and, if it is a file, a.b.c.
                module = ".".join(parts[:length])
                if module in by_module and module not in seen:
                    seen.add(module)
                    waiting.append((by_module[module], f"{chain} -> {by_module[module].shown}"))
    return found


def sibling_imports(sources: list[Source]) -> list[str]:
    """Registered losses, and registered models, that import one another instead of a part that both share."""
    found = []
    for folder in ("losses", "models"):
        registered = {s.module: s for s in sources if s.matches(f"{folder}/*") and s.registers()}
        for module, source in registered.items():
            found += [
                f"{source.shown}:{imported.line} imports {imported.name}: siblings do not know each other"
                for imported in source.imports
                if any(other != module and is_below(imported.name, other) for other in registered)
            ]
    return found


def climbing_imports(sources: list[Source]) -> list[str]:
    """Imports that lead up or sideways in FLOORS, and files that lie on no floor."""
    floor_of = {name: floor for floor, names in enumerate(FLOORS) for name in names.split()}
    found = []
    for source in sources:
        room = source.key.split("/")[0]
        if room == "__init__":
            continue
        if room not in floor_of:
            found.append(
                f"{source.shown} lies on no floor: FLOORS of tests/import_rules.py says who may import it"
            )
            continue
        for imported in source.imports:
            other = imported.name.split(".")[1] if is_below(imported.name, "segkit.*") else room
            if other != room and other in floor_of and floor_of[other] <= floor_of[room]:
                found.append(
                    f"{source.shown}:{imported.line} imports {imported.name}: {other} is not below {room}"
                )
    return found


def circles(sources: list[Source]) -> list[str]:
    """Files and packages that need each other: in no package do the parts that lie in it import in a circle.

    A part is a file or a package with all that it holds. Imports inside functions count.
    """
    modules = {source.module for source in sources}
    needs: dict[str, dict[str, dict[str, str]]] = {}  # package -> part -> part that it imports -> where
    for source in sources:
        for imported in source.imports:
            name = imported.name
            while name and name not in modules:
                name = name.rpartition(".")[0]
            ours, theirs = source.module.split("."), name.split(".")
            shared = 0
            while shared < min(len(ours), len(theirs)) and ours[shared] == theirs[shared]:
                shared += 1
            if 0 < shared < min(len(ours), len(theirs)):  # else one lies in the other, or outside the package
                package = ".".join(ours[:shared])
                parts = needs.setdefault(package, {})
                parts.setdefault(ours[shared], {})[theirs[shared]] = f"{source.shown}:{imported.line}"
    return [
        f"{place} closes a circle in {package}: {' -> '.join([*chain, chain[0]])}"
        for package, parts in needs.items()
        if package != "segkit"  # which the floors keep in order
        for chain, place in _find_circles(parts)
    ]


def _find_circles(parts: dict[str, dict[str, str]]) -> Iterator[tuple[list[str], str]]:
    """One chain through each circle, and the place of the import that closes it."""
    finished: set[str] = set()

    def walk(part: str, chain: list[str]) -> Iterator[tuple[list[str], str]]:
        for other, place in parts.get(part, {}).items():
            if other in chain:
                yield chain[chain.index(other) :], place
            elif other not in finished:
                yield from walk(other, [*chain, other])
        finished.add(part)

    for part in parts:
        if part not in finished:
            yield from walk(part, [part])


def clock_violations(sources: list[Source]) -> list[str]:
    """The iteration advances on one line, in the trainer, and no loss counts."""
    lines = [
        f"{source.shown}:{number}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), 1)
        if re.match(r"\s*self\.iteration \+= 1\b", line)
    ]
    found = []
    if [line.split(":")[0] for line in lines] != ["segkit/training/trainer.py"]:
        found.append(
            f"`self.iteration += 1` stands in {lines}: there is one clock, one line of segkit/training/trainer.py"
        )
    for source in sources:
        for node in ast.walk(source.tree):
            if not (isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute)):
                continue
            place = f"{source.shown}:{node.lineno}"
            if node.target.attr == "iteration" and place not in lines:
                found.append(
                    f"{place} moves the iteration: there is one clock, one line of segkit/training/trainer.py"
                )
            if source.matches("losses/*"):
                found.append(f"{place} changes {ast.unparse(node.target)}: no loss counts its own calls")
    return found


def trainer_violations(sources: list[Source]) -> list[str]:
    """The loop reads no value off the device, and asks no loss what it is."""
    found = []
    for source in sources:
        if not source.matches("training/trainer"):
            continue
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            place = f"{source.shown}:{node.lineno}"
            if isinstance(node.func, ast.Attribute) and node.func.attr == "item":
                found.append(f"{place} calls .item(): the loop does not wait for the device")
            name = ast.unparse(node.func)
            if name in ("isinstance", "type") and node.args and "loss" in ast.unparse(node.args[0]):
                found.append(f"{place} asks for the type of a loss: the loop knows no name")
    return found
