"""YAML text to plain values that remember where they were written.

A stricter and smaller YAML than PyYAML's: `1e-4` is a number, `no` and `off` are strings (only true and false
are booleans), there are no dates, base-60 or octal integers, a key stands once, and tags and merge keys are
refused. Nothing is ever constructed but None, bool, int, float, str, list and dict, and neither deep nesting nor
aliases can exhaust the machine.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from segkit.config.problem import Mark, Problem
from segkit.system.typed import quote

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 64

_TOO_MANY = f"more than {MAX_NODES:,} values (each use of an alias counts)"

_TAG = "tag:yaml.org,2002:"
# Longer or zero-padded digits stay strings: 007 is a name, not 7.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BARE_PATTERN = re.compile(r"(?:\A|[\s:\[,])\{(?:stem|split)\}")
_RESOLVERS = (
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("bool", _BOOL, "tTfF"),
    ("null", _NULL, ["~", "n", "N", ""]),
)


@dataclass(frozen=True)
class Node:
    """A value with its place. `value` is a scalar, a list of Nodes, or a dict of Nodes by plain key."""

    value: Any
    mark: Mark
    key_mark: Mark | None = None  # where the key stands, for an entry of a mapping


def to_plain(node: Node) -> Any:
    """The value without the places."""
    if isinstance(node.value, dict):
        return {key: to_plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [to_plain(item) for item in node.value]
    return node.value


def to_node(value: Any, mark: Mark, key_mark: Mark | None = None) -> Node:
    """A plain value as a Node that all stands at one place."""
    if isinstance(value, dict):
        return Node({key: to_node(item, mark, mark) for key, item in value.items()}, mark, key_mark)
    if isinstance(value, list | tuple):
        return Node([to_node(item, mark) for item in value], mark, key_mark)
    return Node(value, mark, key_mark)


def parse_yaml(text: str, source: str, *, argument: int = 0) -> tuple[Node | None, list[Problem]]:
    """The document in `text` as a Node, and every mistake found.

    The Node is None where the text cannot be read on (syntax, budgets). `source` names the text in messages. An
    argument of the command line, counted from 1, has no lines: there `source` is the whole place.
    """
    reader = _Reader(text, source, argument)
    return reader.read(), reader.problems


def parse_scalar(text: str) -> Any:
    """One word as YAML would read it without quotes: `255` is an int, `no` a string."""
    for kind, pattern, _ in _RESOLVERS:
        if pattern.match(text):
            return _construct_scalar(kind, text)
    return text


def _construct_scalar(kind: str, text: str) -> Any:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text.lower() == "true" if kind == "bool" else None


class _Refused(Exception):
    """The document breaks a rule that makes reading on pointless."""

    def __init__(self, mark: yaml.Mark, message: str):
        self.mark, self.message = mark, message


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with budgets; used only to compose nodes, never to construct values."""

    def __init__(self, text: str):
        super().__init__(text)
        self.depth = self.nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        start = self.peek_event().start_mark
        self.depth += 1
        self.nodes += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(start, f"nested more than {MAX_DEPTH} levels deep")
        if self.nodes > MAX_NODES:
            raise _Refused(start, _TOO_MANY)
        tag = getattr(self.peek_event(), "tag", None)
        node: Any = super().compose_node(parent, index)
        self.depth -= 1
        if not hasattr(node, "explicit_tag"):  # an alias brings the node of its anchor, tag and all
            node.explicit_tag = tag
        return node


class _Reader:
    """Composes one document and turns its nodes into ours, counting every expansion of an alias."""

    def __init__(self, text: str, source: str, argument: int):
        self.text, self.source, self.argument = text, source, argument
        self.lines = text.splitlines()
        self.problems: list[Problem] = []
        self.nodes = 0
        self.open: set[int] = set()  # nodes being converted, to notice an alias inside its own anchor

    def read(self) -> Node | None:
        if len(self.text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            self.problems.append(Problem(self._mark(None), f"larger than {MAX_BYTES // 10**6} MB"))
            return None
        try:
            loader = _Loader(self.text)
            root = loader.get_single_node()
            return Node(None, self._mark(None)) if root is None else self._convert(root)
        except _Refused as error:
            self._refuse(error.mark, error.message)
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position)
            column = error.position - (self.text.rfind("\n", 0, error.position) + 1)
            place = yaml.Mark("", 0, line, column, None, 0)
            self._refuse(place, f"the character #x{error.character:04x} is not allowed")
        except yaml.MarkedYAMLError as error:
            hint = ("indent with spaces, not tabs",) if "'\\t'" in (error.problem or "") else ()
            if not hint and "{#" in self.text.replace(" ", ""):
                hint = ('a # starts a comment; quote a colour: "#ff0000"',)
            if not hint and _BARE_PATTERN.search(self.text):
                hint = ('quote a value that begins with {, such as "{split}/{stem}.png"',)
            what = ", ".join(part for part in (error.context, error.problem) if part)
            self._refuse(error.problem_mark or error.context_mark, f"YAML syntax: {what}", hint)
        return None

    def _convert(self, node: yaml.Node, key_mark: Mark | None = None) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _Refused(node.start_mark, _TOO_MANY)
        if id(node) in self.open:
            raise _Refused(node.start_mark, "an alias stands inside its own anchor")
        tag = getattr(node, "explicit_tag", None)  # the loader's note
        if tag is not None:
            self._refuse(node.start_mark, f"tags are not allowed, remove {tag.replace(_TAG, '!!')}")
        self.open.add(id(node))
        mark = self._mark(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            value: Any = self._convert_mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            value = [self._convert(item) for item in node.value]
        else:
            assert isinstance(node, yaml.ScalarNode)  # there is no fourth kind
            value = (
                parse_scalar(node.value) if node.style is None else node.value
            )  # a style is a kind of quotes
        self.open.discard(id(node))
        return Node(value, mark, key_mark)

    def _convert_mapping(self, node: yaml.MappingNode) -> dict[Any, Node]:
        entries: dict[Any, Node] = {}
        for key_node, value_node in node.value:
            mark = self._mark(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(mark, "a key must be a single word or number"))
                continue
            key = self._convert(key_node).value
            value = self._convert(value_node, mark)
            if key == "<<":
                hint = ("to share settings between files, use extends",)
                self.problems.append(Problem(mark, "merge keys (<<) are not allowed", hint))
            elif key in entries:
                first = entries[key].key_mark
                where = f"; the first is on line {first.line}" if first and first.line else ""
                self.problems.append(Problem(mark, f"the key '{key}' appears twice{where}"))
            else:
                entries[key] = value
        return entries

    def _refuse(self, mark: yaml.Mark | None, message: str, hints: tuple[str, ...] = ()) -> None:
        self.problems.append(Problem(self._mark(mark), message, hints))

    def _mark(self, mark: yaml.Mark | None) -> Mark:
        if mark is None or self.argument:
            return Mark(self.source, argument=self.argument)
        text = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return Mark(self.source, mark.line + 1, mark.column + 1, text)


class _Dumper(yaml.SafeDumper):
    """Writes what both this reader and any YAML 1.1 reader load back; lists stay on one line, unless of blocks."""

    def represent_list(self, data: Iterable[Any]) -> yaml.SequenceNode:
        in_lines = not self.default_flow_style and any(isinstance(item, dict) for item in data)
        return self.represent_sequence(_TAG + "seq", data, flow_style=not in_lines)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(list, _Dumper.represent_list)
for _kind, _pattern, _first in _RESOLVERS:  # a string that this reader would take for a number gets quotes
    _Dumper.add_implicit_resolver(_TAG + _kind, _pattern, list(_first))


def dump_yaml(value: Any) -> str:
    """Plain values as YAML, keys in their order."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=10**6
    )


def dump_inline(value: Any) -> str:
    """A plain value as YAML on one line, as it could stand after `key=` on the command line."""
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, allow_unicode=True, width=10**6
    )
    return text.removesuffix("\n").removesuffix("\n...")


def setting(key: str, value: Any) -> str:
    """`key=value` as a person types it on the command line, in quotes where the shell or YAML needs them."""
    return quote(f"{key}={dump_argument(value)}")


def dump_argument(value: Any) -> str:
    """A plain value as YAML on one line, text in double quotes if in any: they are the easier ones to read in a shell's
    single quotes."""
    text = dump_inline(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) and text.startswith("'") else text


def walk_leaves(node: Node, path: tuple = ()) -> Iterator[tuple[tuple, Node]]:
    """Every scalar and list of a tree with the keys that lead to it."""
    if isinstance(node.value, dict) and node.value:
        for key, item in node.value.items():
            yield from walk_leaves(item, (*path, key))
    else:
        yield path, node
