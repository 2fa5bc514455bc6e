"""Files, `extends` and overrides to one tree of values that know where they were written."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from segkit.config.messages import show_value
from segkit.config.problem import Mark, Problem
from segkit.config.read_file import display, read_file
from segkit.config.schema import COMPONENTS
from segkit.config.yaml_source import Node, parse_scalar, parse_yaml, to_node, to_plain
from segkit.errors import ConfigError
from segkit.system.run_files import RunFiles
from segkit.system.typed import CHECKOUT, typed

#: The configurations that come with segkit: inside an installed package, at the top of a checkout.
_PACKAGED = Path(__file__).resolve().parents[1] / "configs"
SHIPPED = _PACKAGED if _PACKAGED.is_dir() else CHECKOUT / "configs"

#: The key that tells an ablation (segkit/ablation/plan/plan.py) from the configuration of one run.
ABLATION_KEY = "variants"


@dataclass
class Layers:
    """The merged tree (None if it cannot be known), the run's default name, and the mistakes so far."""

    root: Node | None
    name: str
    problems: list[Problem] = field(default_factory=list)


def read_layers(source: str | Path, overrides: Sequence[str]) -> Layers:
    """A configuration file with what it extends, and the command line on top."""
    path = find_config(source)
    problems: list[Problem] = []
    root = read_file(path, problems)
    if root is not None and ABLATION_KEY in root.value:
        command = typed("ablate", "--config", Path(source))
        raise ConfigError(
            f"{display(path)} is an ablation, not the configuration of one run\n   -> {command}"
        )
    if root is not None:
        root = _apply_extends(root, [path], problems)
    return Layers(apply_overrides(root, overrides, problems), path.stem, problems)


@overload
def apply_overrides(root: Node, overrides: Sequence[str], problems: list[Problem]) -> Node: ...
@overload
def apply_overrides(root: None, overrides: Sequence[str], problems: list[Problem]) -> None: ...
def apply_overrides(root: Node | None, overrides: Sequence[str], problems: list[Problem]) -> Node | None:
    """The tree with overrides such as "loss.thresh=0.6" on top; what is wrong with them is added to `problems`."""
    read = [_read_override(number, text, problems) for number, text in enumerate(overrides, start=1)]
    if root is not None:
        parts = [part for tree in read if tree is not None for part in _separate_named(tree)]
        for tree in sorted(parts, key=_depth_of_replacement):
            root = merge(root, tree)
    return root


def find_config(source: str | Path, *, ablation: bool = False) -> Path:
    """The file meant by a path, a run folder, or a bare name in configs/. Raises ConfigError with the nearest name,
    among configurations of one run or among ablations."""
    text = str(source)
    for candidate in _candidates(Path(text), [Path()]):
        run = RunFiles(candidate)
        if run.is_run:
            return run.config
        if candidate.is_file() or candidate.is_fifo():
            return candidate
    for candidate in _candidates(Path(text), _config_folders()):
        if candidate.is_file():
            return candidate
    if Path(text).is_dir():
        raise ConfigError(f"{text} is a folder without a {RunFiles.config.name}, so it is not a run folder")
    known = shipped_names(ablations=ablation)
    close = _nearest_names(text, known)
    kind = "ablation" if ablation else "configuration"
    lines = [f"no {kind} '{text}'" + (f", did you mean '{close[0]}'?" if close else "")]
    if known:
        lines.append(f"   in configs/: {', '.join(known)}")
    raise ConfigError("\n".join(lines))


def shipped_names(*, ablations: bool = False) -> list[str]:
    """Names that `--config` of `segkit train` (with `ablations`, of `segkit ablate`) finds in configs/, those of
    the folder itself first."""
    names = {
        path.relative_to(folder).as_posix()
        for folder in _config_folders()
        if folder.is_dir()
        for path in folder.rglob("*.yaml")
        if _is_ablation(path) == ablations
    }
    return sorted(names, key=lambda name: (name.count("/"), name))


def _is_ablation(path: Path) -> bool:
    """Whether the file has the key of an ablation; it need not be readable otherwise."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return any(re.match(rf"{ABLATION_KEY}\s*:", line) for line in file)
    except OSError:
        return False  # reading it will say what is wrong


def merge(base: Node, child: Node, path: tuple = ()) -> Node:
    """`child` over `base`: mappings merge, everything else and any block whose `name` changes is replaced whole. Only
    an override reaches into a list."""
    if isinstance(base.value, list) and _names_items(child, len(base.value)):
        items = [
            merge(item, child.value[n], (*path, n)) if n in child.value else item
            for n, item in enumerate(base.value)
        ]
        return Node(items, child.mark, base.key_mark)
    if not (isinstance(base.value, dict) and isinstance(child.value, dict)):
        return child
    if path and _changes_name(base, child, path):
        return child
    entries = {**_unsaid_default(base, child, path), **base.value}
    for key, node in child.value.items():
        entries[key] = merge(base.value[key], node, (*path, key)) if key in base.value else node
    place = base if child.mark.argument else child  # a block stays where its file has it
    return Node(entries, place.mark, place.key_mark)


def _names_items(child: Node, count: int) -> bool:
    """Whether an override reaches into a list: `loss.terms.0.weight=2`."""
    return (
        bool(child.mark.argument)
        and isinstance(child.value, dict)
        and all(isinstance(key, int) and 0 <= key < count for key in child.value)
    )


def _changes_name(base: Node, child: Node, path: tuple) -> bool:
    block = COMPONENTS.get(".".join(map(str, path)))
    default = block.default["name"] if block and block.default else None
    old = base.value["name"].value if "name" in base.value else default
    new = child.value["name"].value if "name" in child.value else old
    return old is not None and str(old).lower() != str(new).lower()


def _unsaid_default(base: Node, child: Node, path: tuple) -> dict[str, Node]:
    """What a block without a name has of the default block, which `child` would end by saying the name that it has."""
    block = COMPONENTS.get(".".join(map(str, path)))
    if block is None or block.default is None or "name" in base.value or "name" not in child.value:
        return {}
    return {key: to_node(value, Mark("default")) for key, value in block.default.items()}


def _apply_extends(root: Node, chain: list[Path], problems: list[Problem]) -> Node | None:
    """The tree merged over the file that its `extends` names. `chain` holds the files that led here."""
    if "extends" not in root.value:
        return root
    rest = Node({key: node for key, node in root.value.items() if key != "extends"}, root.mark)
    base = read_base(root.value["extends"], "extends", chain, problems)
    return None if base is None else merge(base, rest)


def read_base(target: Node, key: str, chain: list[Path], problems: list[Problem]) -> Node | None:
    """The tree of the file that `target`, the value of `key`, names, without its `name`: that belongs to the run, not
    to what it shares with others. None after noting why there is none. `chain` holds the files that led here."""
    if not isinstance(target.value, str):
        message = f"{key}: expected the name of one file, got {show_value(to_plain(target))}"
        hints = (f"in configs/: {', '.join(shipped_names(ablations=False))}",) if target.value is None else ()
        problems.append(Problem(target.mark, message, hints))
        return None
    path = _find_base(target, key, chain, problems)
    own = None if path is None else read_file(path, problems)
    if path is None or own is None:
        return None
    base = _apply_extends(own, [*chain, path], problems)
    if base is None:
        return None
    if ABLATION_KEY in base.value:
        message = f"{key}: {display(path)} is an ablation, not the configuration of one run"
        problems.append(Problem(target.mark, message))
        return None
    return Node({word: node for word, node in base.value.items() if word != "name"}, base.mark)


def _find_base(target: Node, key: str, chain: list[Path], problems: list[Problem]) -> Path | None:
    """The file that the value of `key` names: relative to its own file, or in configs/."""
    seen = [path.resolve() for path in chain]
    folders = [chain[-1].parent, *_config_folders()]
    found = [path for path in _candidates(Path(target.value), folders) if path.is_file()]
    new = next((path for path in found if path.resolve() not in seen), None)
    if new is not None:
        return new
    if found:
        circle = " -> ".join(display(path) for path in [*chain, found[0]])
        problems.append(Problem(target.mark, f"{key} goes round in a circle: {circle}"))
        return None
    close = _nearest_names(target.value, shipped_names())
    hint = f", did you mean '{close[0]}'?" if close else ""
    looked = " and ".join(dict.fromkeys(display(folder) for folder in folders))
    message = f"{key}: no file '{target.value}'{hint}"
    problems.append(Problem(target.mark, message, (f"looked in {looked}",)))
    return None


def _read_override(argument: int, text: str, problems: list[Problem]) -> Node | None:
    """`a.b=c` as the tree {a: {b: c}}, or None after noting what is wrong with it."""
    mark = Mark(f"command line: '{text}'", argument=argument)
    dotted, equals, value_text = text.partition("=")
    words = re.sub(r"\[(\d+)\]", r".\1", dotted.strip()).split(
        "."
    )  # terms[0], as messages write it, is terms.0
    if not equals or not all(words) or any(word != word.strip() for word in words):
        problems.append(Problem(mark, "expected key=value, such as train.batch_size=8"))
        return None
    if words == ["extends"]:
        problems.append(Problem(mark, "extends belongs in a file; --config chooses the file"))
        return None
    if not value_text.strip():  # YAML's null, which turns off what somebody meant to set
        message = (
            f"nothing stands behind the =: is a variable not set? -> {dotted.strip()}=null, if that is meant"
        )
        problems.append(Problem(mark, message))
        return None
    value, mistakes = parse_yaml(value_text, mark.source, argument=argument)
    problems += mistakes
    if value is None:
        return None
    tree = to_node(to_plain(value), mark, mark)
    for word in reversed(words):
        tree = Node({parse_scalar(word): tree}, mark, mark)
    return tree


def _separate_named(tree: Node) -> list[Node]:
    """The tree in parts that together merge like it: the rest, and each block in it that names a component."""
    if not isinstance(tree.value, dict) or not tree.value or "name" in tree.value:
        return [tree]
    rest = {key: child for key, child in tree.value.items() if not _names_a_component(child)}
    parts = [Node(rest, tree.mark, tree.key_mark)] if rest else []
    for key, child in tree.value.items():
        if key not in rest:
            parts += [Node({key: part}, tree.mark, tree.key_mark) for part in _separate_named(child)]
    return parts


def _names_a_component(node: Node) -> bool:
    """Whether a block names a component, or one in it does."""
    if not isinstance(node.value, dict):
        return False
    return "name" in node.value or any(map(_names_a_component, node.value.values()))


def _depth_of_replacement(tree: Node) -> float:
    """How deep what an override replaces whole stands in it: a block whose name may change, or a list. Those come
    first, outer ones before inner ones, and the other overrides then apply to what is there, wherever they stand on the
    command line."""
    depth = 0
    while isinstance(tree.value, dict) and tree.value:
        if depth and "name" in tree.value:
            return depth
        if len(tree.value) > 1:
            return float("inf")
        (tree,) = tree.value.values()
        depth += 1
    return depth if isinstance(tree.value, list) else float("inf")


def _candidates(name: Path, folders: Sequence[Path]) -> list[Path]:
    """The name in each folder, as it is and with .yaml."""
    alone = name.suffix in (".yaml", ".yml") or not name.name  # a folder: `.` or `/`
    names = [name] if alone else [name, name.with_name(f"{name.name}.yaml")]
    return [folder / name for folder in folders for name in names]


def _config_folders() -> list[Path]:
    """Where bare names are looked up: the current project's configs/, then the one beside this package."""
    return [Path("configs"), SHIPPED]


def _nearest_names(text: str, known: list[str]) -> list[str]:
    """Known names like the text, judged without the folder and the suffix where the text has none."""
    close = difflib.get_close_matches(text.lower(), known, n=1)
    stems: dict[str, Any] = {}
    for name in known:
        stems.setdefault(Path(name).stem, name)
    return close or [stems[stem] for stem in difflib.get_close_matches(Path(text).stem.lower(), stems, n=1)]
