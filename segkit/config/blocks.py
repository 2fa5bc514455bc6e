"""Blocks that name a component: their keys, the blocks inside them, and numbers that follow a schedule."""

import difflib
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import ValidationError

from segkit.config.messages import colon_hint, describe_error, dotted_key, list_hint, show_value
from segkit.config.problem import Mark, Problem, keep_on_one_line
from segkit.config.schema import NESTED, OPTION_SCHEDULE, Component, ComponentBlock, OptionSchedule
from segkit.config.signature import Parameter, read_parameters, read_term_keys
from segkit.config.written.components import find_constructor
from segkit.config.yaml_source import Node, to_node, to_plain
from segkit.registry import AUGMENTS, TRANSFORMS, RefusedName, UnknownName
from segkit.schedule import parse_duration
from segkit.types import ComponentsOf, Duration

#: How deep blocks may stand in blocks: a sum of sums of sums.
MAX_DEPTH = 8

#: Schedules whose value does not move, so that `to`, `start` and `end` would do nothing.
CONSTANT = "constant"

_GIVEN_FROM = {"num_classes": "data", "ignore_index": "data", "in_channels": "data", "params": "model"}


class Block(NamedTuple):
    """What a block may hold, and how to speak of it."""

    parameters: list[Parameter]
    owner: str  # the component that takes the parameters, or the block's own name
    listing: str = ""  # what `--list` calls the components, if it is one
    given: tuple[str, ...] = ()
    other_keys: tuple[str, ...] = ()  # allowed, and checked elsewhere
    schedules: bool = False  # whether its numbers may follow a schedule


class BlockChecker:
    """Collects the mistakes of blocks in `problems`.

    `known` holds the blocks of the configuration by dotted key, as far as their parameters are known, and `header`
    the keys beside them: a key in the wrong block is answered with the block it belongs to.
    """

    def __init__(self, problems: list[Problem], header: Sequence[str]):
        self.problems, self.header = problems, header
        self.known: dict[str, Block] = {}

    def resolve(
        self,
        node: Node,
        path: tuple,
        kind: ComponentBlock,
        *,
        leading: Sequence[Parameter] = (),
        trailing: Sequence[Parameter] = (),
        other_keys: tuple[str, ...] = (),
        schedules: bool = False,
    ) -> Block | None:
        """The parameters of the component that the block at `path` names, or None after noting why there is none.

        `leading` and `trailing` are those that every such block has.
        """
        key = dotted_key(path)
        name_node = self._find_name(node, path, kind)
        if name_node is None:
            return None
        try:
            owner, constructor = find_constructor(kind.registry, name_node.value)
        except RefusedName as error:
            self.report(name_node.mark, str(error), f"-> {error.instead}", list_hint(kind.list_flag))
            return None
        except UnknownName as error:
            hints = [] if error.lists_names else [f"there are: {', '.join(error.known)}"]
            if kind.registry is AUGMENTS and name_node.value.lower() in map(str.lower, TRANSFORMS.names()):
                hints = [f"-> {{name: compose, transforms: [{{name: {name_node.value}, ...}}]}}"]
            self.report(name_node.mark, str(error), *hints, list_hint(kind.list_flag))
            return None
        own = read_parameters(constructor, kind.registry.given)
        reserved = {"name", *other_keys, *(parameter.name for parameter in [*leading, *trailing])}
        taken = sorted(reserved & {parameter.name for parameter in own})
        if taken:
            raise TypeError(
                f"{kind.registry.kind} '{name_node.value}': a parameter cannot be called {taken[0]!r}, "
                f"which is a key of every {key} block"
            )
        return Block(
            [*leading, *own, *trailing], owner, kind.list_flag, kind.registry.given, other_keys, schedules
        )

    def accept(
        self,
        node: Node,
        path: tuple,
        kind: ComponentBlock,
        *,
        trailing: Sequence[Parameter] = (),
        other_keys: tuple[str, ...] = (),
    ) -> Block | None:
        """As `resolve`, without asking the component: whatever stands in the block is a parameter of any value."""
        name_node = self._find_name(node, path, kind)
        if name_node is None:
            return None
        taken = {"name", *other_keys, *(parameter.name for parameter in trailing)}
        own = [_anything(key) for key in node.value if key not in taken]
        return Block([*own, *trailing], name_node.value, kind.list_flag, (), other_keys)

    def _find_name(self, node: Node, path: tuple, kind: ComponentBlock) -> Node | None:
        """The node of the name, a string, in the block at `path`, or None after noting why there is none."""
        key = dotted_key(path)
        if not isinstance(node.value, dict):
            name = node.value if isinstance(node.value, str) else "..."
            hint = f"-> {path[-1]}: {{name: {name}}}" if isinstance(path[-1], str) else f"-> {{name: {name}}}"
            message = f"{key}: expected a block with a name, got {show_value(to_plain(node))}"
            nothing = () if node.value is not None else _list_names(kind)
            self.report(node.mark, message, *(colon_hint(name) or (hint,)), *nothing)
            return None
        name_node = node.value.get("name")
        if name_node is None or name_node.value is None:  # a key without a value is as good as no key
            mark = node.key_mark or node.mark if name_node is None else name_node.mark
            self.report(mark, f"'{key}.name' is missing", *_list_names(kind))
            return None
        if not isinstance(name_node.value, str):
            message = f"{key}.name: expected a string, got {show_value(to_plain(name_node))}"
            self.report(name_node.mark, message, list_hint(kind.list_flag))
            return None
        return name_node

    def check_block(self, node: Node, path: tuple, block: Block) -> dict[str, Any]:
        """The values of a block's parameters; meaningless if there are problems."""
        if not isinstance(node.value, dict):
            hints = colon_hint(node.value) if isinstance(node.value, str) else ()
            if node.value is None:
                hints = (f"-> write its keys below it, or leave `{path[-1]}` out",)
            message = f"{dotted_key(path)}: expected a block, got {show_value(to_plain(node))}"
            self.report(node.mark, message, *hints)
            return {}
        names = [*block.other_keys, *(parameter.name for parameter in block.parameters)]
        for word, child in node.value.items():
            if word in names or (word == "name" and block.listing):
                continue
            if word in block.given:
                origin = f" from the {_GIVEN_FROM[word]}" if word in _GIVEN_FROM else ""
                message = f"'{dotted_key((*path, word))}' is set by segkit{origin}, remove it"
                self.report(child.key_mark or child.mark, message)
            else:
                listing = f"   {keep_on_one_line(list_hint(block.listing))}" if block.listing else ""
                takes = f"{block.owner} takes: {', '.join(names) or 'nothing'}{listing}"
                self.report_unknown(child, path, word, [*names, "name"] if block.listing else names, takes)
        return {
            parameter.name: self._check_parameter(node, path, parameter, block)
            for parameter in block.parameters
        }

    def _check_parameter(self, node: Node, path: tuple, parameter: Parameter, block: Block) -> Any:
        inner = (*path, parameter.name)
        if parameter.name in node.value:
            return self.check_value(node.value[parameter.name], inner, parameter, schedules=block.schedules)
        if parameter.required:
            if parameter.name in find_slips(node, block):
                return None  # said already: the unknown key was meant to be this one
            where = node.value["name"].mark if "name" in node.value else node.mark
            self.report(where, f"'{dotted_key(inner)}' is missing: {block.owner} needs {parameter.expected}")
            return None
        if parameter.component and parameter.default is not None:  # a block, whose own defaults are filled in
            default = to_node(parameter.default, Mark("default"))
            return self.check_value(default, inner, parameter, schedules=block.schedules)
        return parameter.default

    def check_value(self, node: Node, path: tuple, parameter: Parameter, *, schedules: bool = False) -> Any:
        """The value of a parameter as the constructor gets it, a Component where it is a block, or None after
        noting what is wrong with it. With `schedules`, a number may be a block that names a schedule."""
        mark = parameter.component
        if mark is not None and not (node.value is None and parameter.allows_none):
            if isinstance(mark, ComponentsOf):
                return self._check_components(node, path, mark, schedules)
            return self._check_component(node, path, mark, schedules)
        is_block = isinstance(node.value, dict)
        if schedules and is_block and parameter.number is not None:
            return self._check_schedule(node, path, parameter.number)
        try:
            return parameter.check(to_plain(node))
        except ValidationError as error:
            problem = describe_error(node, path, parameter, error)
            if schedules and is_block and "name" in node.value:
                problem = replace(problem, hints=(*problem.hints, "only a number can follow a schedule"))
            self.problems.append(problem)
            return None

    def _check_component(
        self, node: Node, path: tuple, mark: Any, schedules: bool, leading: Sequence[Parameter] = ()
    ) -> Component | None:
        """The component in a parameter."""
        if sum(isinstance(step, str) for step in path) > MAX_DEPTH:
            self.report(node.mark, f"{dotted_key(path)}: blocks are nested more than {MAX_DEPTH} deep")
            return None
        block = self.resolve(node, path, NESTED[mark.kind], leading=leading, schedules=schedules)
        if block is None:
            return None
        return Component(name=block.owner, params=self.check_block(node, path, block))

    def _check_components(self, node: Node, path: tuple, mark: ComponentsOf, schedules: bool) -> list | None:
        """The components in a parameter that is a list of them."""
        if not isinstance(node.value, list) or not node.value:
            message = f"{dotted_key(path)}: expected {mark.expected}, got {show_value(to_plain(node))}"
            self.report(node.mark, message)
            return None
        keys = read_term_keys(mark)
        return [
            self._check_component(item, (*path, place), mark, schedules, keys)
            for place, item in enumerate(node.value)
        ]

    def _check_schedule(self, node: Node, path: tuple, number: Parameter) -> OptionSchedule | None:
        """The schedule in the place of a number."""
        leading = [Parameter("from", number.annotation), Parameter("to", number.annotation)]
        leading += [Parameter("start", Duration, "0%"), Parameter("end", Duration, "100%")]
        name = node.value.get("name")
        if name is not None and str(name.value).lower() == CONSTANT:
            leading = leading[:1]
        block = self.resolve(node, path, OPTION_SCHEDULE, leading=leading)
        if block is None:
            return None
        before = len(self.problems)
        values = self.check_block(node, path, block)
        if len(self.problems) == before:
            self._check_way(node, path, number, values)
        return OptionSchedule(name=block.owner, params=values)

    def _check_way(self, node: Node, path: tuple, number: Parameter, values: dict[str, Any]) -> None:
        """The rules between the keys of a schedule."""
        key = dotted_key(path)
        ends = [values[name] for name in ("from", "to") if name in values]
        if number.mixes_counts(*ends):
            first, second = (show_value(value) for value in ends)
            message = f"{key}: from={first} and to={second} must both be counts, or both shares"
            self.report(node.value["to"].mark, message)
        if "start" in values:
            start, end = parse_duration(values["start"]), parse_duration(values["end"])
            if type(start) is type(end) and start > end:  # else it shows once the run's length is known
                where = node.value.get("start") or node.value["end"]
                message = (
                    f"{key}: start={values['start']} is after end={values['end']}; it must not be larger"
                )
                self.report(where.mark, message)

    def report_unknown(self, node: Node, path: tuple, key: Any, names: list[str], hint: str) -> None:
        close = self._suggest(path, str(key), names)
        meant = f", did you mean {close}?" if close else ""
        if node.value is None and colon_hint(str(key)):  # `{name:ce}` is one key without a value
            meant, (hint,) = "", colon_hint(str(key))
        self.report(node.key_mark or node.mark, f"unknown key '{dotted_key((*path, key))}'{meant}", hint)

    def _suggest(self, path: tuple, key: str, names: list[str]) -> str:
        """The key most likely meant, quoted: the same word in another block, else a similar one in this block."""
        here = dotted_key(path)
        elsewhere = [
            f"'{block}.{parameter.name}'"
            for block, content in self.known.items()
            for parameter in content.parameters
            if block != here and parameter.name == key
        ]
        if path and key in self.header:
            elsewhere.append(f"'{key}' at the top level")
        close = difflib.get_close_matches(key.lower(), names, n=1)
        return " or ".join(elsewhere[:2]) or (f"'{close[0]}'" if close else "")

    def report(self, mark: Mark, message: str, *hints: str) -> None:
        self.problems.append(Problem(mark, message, hints))


def _list_names(kind: ComponentBlock) -> tuple[str, str]:
    """The hints for a block that names no component."""
    return f"there are: {', '.join(kind.registry.names())}", list_hint(kind.list_flag)


@functools.cache
def _anything(name: str) -> Parameter:
    """A parameter of any value. Kept, because a validator takes longer to make than a file to read."""
    return Parameter(name, Any)


def find_slips(node: Node, block: Block) -> list[str]:
    """Known keys that the block's unknown ones were probably meant to be."""
    names = [parameter.name for parameter in block.parameters]
    unknown = [
        str(key).lower() for key in node.value if key not in (*names, *block.other_keys, *block.given, "name")
    ]
    return [close for key in unknown for close in difflib.get_close_matches(key, names, n=1)]
