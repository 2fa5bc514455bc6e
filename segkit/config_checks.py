"""A tree of values to a Config, or to every mistake in it."""

import difflib
from typing import Any, NamedTuple

from pydantic import ValidationError

from segkit.config_messages import describe_error, dotted_key, list_hint, list_problems, show_value
from segkit.config_schema import COMPONENTS, FIXED, Component, ComponentBlock, Config
from segkit.errors import ConfigError
from segkit.registry import UnknownName
from segkit.signature import Parameter, read_fields, read_parameters
from segkit.yaml_source import Mark, Node, Problem, to_node, to_plain

_GIVEN_FROM = {"num_classes": "data", "ignore_index": "data", "in_channels": "data", "params": "model"}
_HEADER = ("name", "seed", "device")


class _Block(NamedTuple):
    """What a block may hold, and how to speak of it."""

    parameters: list[Parameter]
    owner: str  # the component that takes the parameters, or the block's own name
    listing: str = ""  # what `--list` calls the components, if it is one
    given: tuple[str, ...] = ()
    other_keys: tuple[str, ...] = ()  # allowed, and checked elsewhere


def check_config(root: Node, name: str, problems: list[Problem]) -> Config:
    """The Config that `root` describes. `name` is the run's name where the tree has none.

    Raises ConfigError with `problems` and all that are found here, in file order.
    """
    checker = _Checker(_fill_blocks(root), problems)
    values = checker.check_all()
    if problems:
        raise ConfigError(list_problems(problems))
    if values[""]["name"] is None:
        values[""]["name"] = name
    blocks = {key: model(**values[key]) for key, model in FIXED.items()}
    for key, kind in COMPONENTS.items():
        if "." not in key:
            blocks[key] = _build_component(key, kind, checker.blocks, values)
    try:
        config = Config(**values[""], **blocks)
    except ValidationError as error:  # only the default name was not checked yet
        raise ConfigError(f"the file's name {name!r} cannot name a run; add `name: ...` to it") from error
    config._origins.update(_find_origins(checker.root, config.to_mapping()))
    return config


def _build_component(
    key: str, kind: ComponentBlock, blocks: dict[str, _Block], values: dict[str, dict[str, Any]]
) -> Component | None:
    """The block of one component, or None where the configuration has none."""
    if key not in blocks:
        return None
    params = dict(values[key])
    fields = {name: params.pop(name) for name in kind.model.model_fields if name in params}
    nested = {name: f"{key}.{name}" for name in kind.model.model_fields if f"{key}.{name}" in COMPONENTS}
    inner = {name: _build_component(path, COMPONENTS[path], blocks, values) for name, path in nested.items()}
    return kind.model(name=blocks[key].owner, params=params, **fields, **inner)


def _fill_blocks(root: Node) -> Node:
    """The tree with the default block where one is absent, and below one that does not choose a name."""
    entries, default = dict(root.value), Mark("default")
    for key, block in COMPONENTS.items():
        if block.default is None:
            continue
        node = entries.get(key)
        if node is None:
            entries[key] = to_node(block.default, default)
        elif isinstance(node.value, dict) and "name" not in node.value:
            filled = {**to_node(block.default, default).value, **node.value}
            entries[key] = Node(filled, node.mark, node.key_mark)
    for key in FIXED:
        entries.setdefault(key, Node({}, default))
    return Node(entries, root.mark)


class _Checker:
    """Collects the mistakes of one tree in `problems`."""

    def __init__(self, root: Node, problems: list[Problem]):
        self.root, self.problems = root, problems
        self.header = [parameter for parameter in read_fields(Config) if parameter.name in _HEADER]
        self.blocks: dict[str, _Block] = {}  # by dotted key, those whose parameters are known

    def check_all(self) -> dict[str, dict[str, Any]]:
        """The arguments of Config and of each of its blocks, by dotted key; meaningless if there are problems."""
        for key, kind in COMPONENTS.items():
            self._resolve_component(key, kind)
        for key, model in FIXED.items():
            self.blocks[key] = _Block(read_fields(model), key)
        values = {"": self._check_header()}
        for key in self.blocks:
            values[key] = self._check_block(key)
        self._check_length()
        return values

    def _check_header(self) -> dict[str, Any]:
        known = list(Config.model_fields)
        for key, node in self.root.value.items():
            if key not in known:
                self._report_unknown(node, (), key, known, f"a configuration has: {', '.join(known)}")
        values = {}
        for parameter in self.header:
            node = self.root.value.get(parameter.name)
            default = None if parameter.required else parameter.default
            values[parameter.name] = default if node is None else self._check_value(node, (), parameter)
        return values

    def _find(self, key: str) -> Node | None:
        """The node at a dotted key, or None."""
        node: Node | None = self.root
        for word in key.split("."):
            node = node.value.get(word) if node is not None and isinstance(node.value, dict) else None
        return node

    def _resolve_component(self, key: str, kind: ComponentBlock) -> None:
        """Note the parameters of the component that a block names, or why there is none."""
        node = self._find(key)
        if node is None and key == "loss":
            hint = f"loss: {{name: ...}} with one of {', '.join(kind.registry.names())}"
            self._report(Mark(self.root.mark.source), "'loss' is missing", hint)
        if node is None or (node.value is None and key == "data.weight_map"):
            return
        if not isinstance(node.value, dict):
            name = node.value if isinstance(node.value, str) else "..."
            message = f"{key}: expected a block with a name, got {show_value(to_plain(node))}"
            self._report(node.mark, message, f"-> {key.split('.')[-1]}: {{name: {name}}}")
            return
        name_node = node.value.get("name")
        if name_node is None:
            hint = f"there are: {', '.join(kind.registry.names())}"
            self._report(
                node.key_mark or node.mark, f"'{key}.name' is missing", hint, list_hint(kind.list_flag)
            )
        elif not isinstance(name_node.value, str):
            message = f"{key}.name: expected a string, got {show_value(to_plain(name_node))}"
            self._report(name_node.mark, message, list_hint(kind.list_flag))
        else:
            self._read_component(key, kind, name_node)

    def _read_component(self, key: str, kind: ComponentBlock, name_node: Node) -> None:
        try:
            constructor = kind.registry.get(name_node.value)
        except UnknownName as error:
            hints = [f"there are: {', '.join(error.known)}"] if error.suggestion else []
            self._report(name_node.mark, str(error), *hints, list_hint(kind.list_flag))
            return
        own = read_parameters(constructor, kind.registry.given)
        extra = [
            field for field in read_fields(kind.model) if field.name not in ("name", "params", "weight_map")
        ]
        reserved = {"name", *kind.model.model_fields} - {"params"}
        taken = sorted(reserved & {parameter.name for parameter in own})
        if taken:
            raise TypeError(
                f"{kind.registry.kind} '{name_node.value}': a parameter cannot be called {taken[0]!r}, "
                f"which is a key of every {key} block"
            )
        owner, other_keys = name_node.value.lower(), tuple(sorted(reserved - {field.name for field in extra}))
        self.blocks[key] = _Block([*own, *extra], owner, kind.list_flag, kind.registry.given, other_keys)

    def _check_block(self, key: str) -> dict[str, Any]:
        """The values of a block's parameters."""
        node, block, path = self._find(key), self.blocks[key], tuple(key.split("."))
        if not isinstance(node.value, dict):
            self._report(node.mark, f"{key}: expected a block, got {show_value(to_plain(node))}")
            return {}
        names = [*block.other_keys, *(parameter.name for parameter in block.parameters)]
        for word, child in node.value.items():
            if word in names:
                continue
            if word in block.given:
                origin = f" from the {_GIVEN_FROM[word]}" if word in _GIVEN_FROM else ""
                message = f"'{dotted_key((*path, word))}' is set by segkit{origin}, remove it"
                self._report(child.key_mark or child.mark, message)
            else:
                takes = (
                    f"{block.owner} takes: {', '.join(name for name in names if name != 'name') or 'nothing'}"
                )
                listing = f"   {list_hint(block.listing)}" if block.listing else ""
                self._report_unknown(child, path, word, names, takes + listing)
        values = {}
        for parameter in block.parameters:
            if parameter.name in node.value:
                values[parameter.name] = self._check_value(node.value[parameter.name], path, parameter)
            elif parameter.required:
                where = node.value["name"].mark if "name" in node.value else node.mark
                needs = f"{block.owner} needs {parameter.expected}"
                self._report(where, f"'{dotted_key((*path, parameter.name))}' is missing: {needs}")
            else:
                values[parameter.name] = parameter.default
        return values

    def _check_value(self, node: Node, path: tuple, parameter: Parameter) -> Any:
        try:
            return parameter.check(to_plain(node))
        except ValidationError as error:
            self.problems.append(describe_error(node, (*path, parameter.name), parameter, error))
            return None

    def _check_length(self) -> None:
        """Exactly one of train.iterations and train.epochs."""
        train = self.root.value["train"]
        if not isinstance(train.value, dict):
            return
        given = [train.value[key] for key in ("iterations", "epochs") if key in train.value]
        given = [node for node in given if node.value is not None]
        if len(given) == 2:
            first, second = sorted((node.key_mark or node.mark for node in given), key=self._layer)
            hint = f"the other is set at {first}; remove one, or set it to null (train.iterations=null)"
            self._report(second, "train.iterations and train.epochs are both set; a run has one length", hint)
        elif not given and not any(
            key in _slips(train, self.blocks["train"]) for key in ("iterations", "epochs")
        ):
            where = train.key_mark or Mark(self.root.mark.source)
            self._report(where, "the length of the run is missing: set train.iterations or train.epochs")

    def _layer(self, mark: Mark) -> tuple:
        """Sorts what a later layer says behind what an earlier one says."""
        return mark.argument, mark.source == self.root.mark.source, mark.line, mark.column

    def _report_unknown(self, node: Node, path: tuple, key: Any, names: list[str], hint: str) -> None:
        close = self._suggest(path, str(key), names)
        meant = f", did you mean {close}?" if close else ""
        self._report(node.key_mark or node.mark, f"unknown key '{dotted_key((*path, key))}'{meant}", hint)

    def _suggest(self, path: tuple, key: str, names: list[str]) -> str:
        """The key most likely meant, quoted: the same word in another block, else a similar one in this block."""
        here = ".".join(path)
        elsewhere = [
            f"'{block}.{parameter.name}'"
            for block, content in self.blocks.items()
            for parameter in content.parameters
            if block != here and parameter.name == key
        ]
        if path and key in _HEADER:
            elsewhere.append(f"'{key}' at the top level")
        close = difflib.get_close_matches(key.lower(), names, n=1)
        return " or ".join(elsewhere[:2]) or (f"'{close[0]}'" if close else "")

    def _report(self, mark: Mark, message: str, *hints: str) -> None:
        self.problems.append(Problem(mark, message, hints))


def _slips(node: Node, block: _Block) -> list[str]:
    """Known keys that the block's unknown ones were probably meant to be."""
    names = [parameter.name for parameter in block.parameters]
    unknown = [str(key).lower() for key in node.value if key not in names]
    return [close for key in unknown for close in difflib.get_close_matches(key, names, n=1)]


def _find_origins(root: Node, mapping: dict[str, Any]) -> dict[tuple, str]:
    """Where each value of the resolved configuration was written."""
    origins: dict[tuple, str] = {}

    def visit(node: Node | None, value: Any, path: tuple) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                entries = node.value if node is not None and isinstance(node.value, dict) else {}
                visit(entries.get(key), item, (*path, key))
        else:
            written = "default" if node is None else node.mark.without_column()
            origins[path] = "command line" if node is not None and node.mark.argument else written

    visit(root, mapping, ())
    return origins
