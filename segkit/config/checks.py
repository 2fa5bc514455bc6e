"""A tree of values to a Config, or to every mistake in it."""

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ValidationError

from segkit.config.blocks import Block, BlockChecker, find_slips
from segkit.config.messages import list_problems, show_value
from segkit.config.problem import Mark, Problem
from segkit.config.schema import COMPONENTS, FIXED, SWITCHED, Component, ComponentBlock, Config
from segkit.config.signature import read_fields
from segkit.config.yaml_source import Node, to_node, to_plain
from segkit.errors import ConfigError

_HEADER = ("name", "seed", "device")


def check_config(
    root: Node, name: str, problems: list[Problem], *, checked: Collection[str] = COMPONENTS
) -> Config:
    """The Config that `root` describes. `name` is the run's name where the tree has none.

    Of the blocks that name a component, only those that are `checked` ask it what it takes, which loads torch for most.
    The others are for reading: their options are as they stand there, and nothing can be built from them. Raises
    ConfigError with `problems` and all that are found here, in file order.
    """
    checker = _Checker(_fill_blocks(root), problems, checked)
    values = checker.check_all()
    if problems:
        raise ConfigError(list_problems(problems))
    if values[""]["name"] is None:
        values[""]["name"] = name
    blocks: dict[str, Any] = {key: _build_fixed(key, model, values) for key, model in FIXED.items()}
    for key, kind in COMPONENTS.items():
        if "." not in key:
            blocks[key] = _build_component(key, kind, checker.blocks, values)
    try:
        config = Config(**values[""], **blocks)
    except ValidationError as error:  # only the default name was not checked yet
        raise ConfigError(f"the file's name {name!r} cannot name a run; add `name: ...` to it") from error
    config._origins.update(_find_origins(checker.root, config.to_mapping()))
    return config


def _build_fixed(key: str, model: type[BaseModel], values: dict[str, dict[str, Any]]) -> BaseModel:
    """A block that names no component, with those in it that are on."""
    inner = {
        word: SWITCHED[f"{key}.{word}"](**values[f"{key}.{word}"])
        for word in _switched_in(key)
        if f"{key}.{word}" in values
    }
    return model(**values[key], **inner)


def _switched_in(key: str) -> tuple[str, ...]:
    """The keys of the blocks in a block that may be on or off."""
    return tuple(path.removeprefix(f"{key}.") for path in SWITCHED if path.startswith(f"{key}."))


def _build_component(
    key: str, kind: ComponentBlock, blocks: dict[str, Block], values: dict[str, dict[str, Any]]
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
        entries[key] = _fill_switched(key, entries[key])
    return Node(entries, root.mark)


def _fill_switched(key: str, node: Node) -> Node:
    """The block with an empty block where one in it is `true`."""
    if not isinstance(node.value, dict):
        return node
    on = {
        word: Node({}, child.mark, child.key_mark)
        for word, child in node.value.items()
        if word in _switched_in(key) and child.value is True
    }
    return Node({**node.value, **on}, node.mark, node.key_mark) if on else node


class _Checker:
    """Collects the mistakes of one tree in `problems`."""

    def __init__(self, root: Node, problems: list[Problem], checked: Collection[str]):
        self.root, self.problems, self.checked = root, problems, checked
        self.header = [parameter for parameter in read_fields(Config) if parameter.name in _HEADER]
        self.checker = BlockChecker(problems, _HEADER)

    @property
    def blocks(self) -> dict[str, Block]:
        """By dotted key, the blocks whose parameters are known."""
        return self.checker.known

    def check_all(self) -> dict[str, dict[str, Any]]:
        """The arguments of Config and of each of its blocks, by dotted key; meaningless if there are problems."""
        for key, kind in COMPONENTS.items():
            self._resolve_component(key, kind)
        for key, model in FIXED.items():
            inner = _switched_in(key)
            fields = [field for field in read_fields(model) if field.name not in inner]
            self.blocks[key] = Block(fields, key, other_keys=inner)
        for key, model in SWITCHED.items():
            if self._is_on(key):
                self.blocks[key] = Block(read_fields(model), key)
        values = {"": self._check_header()}
        for key, block in self.blocks.items():
            node = self._find(key)
            assert node is not None  # only blocks that are there are known
            values[key] = self.checker.check_block(node, tuple(key.split(".")), block)
        self._check_length()
        return values

    def _check_header(self) -> dict[str, Any]:
        known = list(Config.model_fields)
        for key, node in self.root.value.items():
            if key not in known:
                hint = f"a configuration has: {', '.join(known)}"
                self.checker.report_unknown(node, (), key, known, hint)
        values = {}
        for parameter in self.header:
            node = self.root.value.get(parameter.name)
            default = None if parameter.required else parameter.default
            name = (parameter.name,)
            values[parameter.name] = (
                default if node is None else self.checker.check_value(node, name, parameter)
            )
        return values

    def _find(self, key: str) -> Node | None:
        """The node at a dotted key, or None."""
        node: Node | None = self.root
        for word in key.split("."):
            node = node.value.get(word) if node is not None and isinstance(node.value, dict) else None
        return node

    def _is_on(self, key: str) -> bool:
        """Whether a block is there that may be on or off, after noting what is neither."""
        node = self._find(key)
        if node is not None and not isinstance(node.value, dict | bool | None):
            found = show_value(to_plain(node))
            self.checker.report(node.mark, f"{key}: expected a block, true, false or null, got {found}")
        return node is not None and isinstance(node.value, dict)

    def _resolve_component(self, key: str, kind: ComponentBlock) -> None:
        """Note the parameters of the component that a block names."""
        node = self._find(key)
        if node is None and key == "loss":
            hint = f"loss: {{name: ...}} with one of {', '.join(kind.registry.names())}"
            self.checker.report(Mark(self.root.mark.source), "'loss' is missing", hint)
        if node is None or (node.value is None and key == "data.weight_map"):
            return
        fields = [
            field for field in read_fields(kind.model) if field.name not in ("name", "params", "weight_map")
        ]
        nested = tuple({"weight_map"} & set(kind.model.model_fields))
        path = tuple(key.split("."))
        if key in self.checked:
            block = self.checker.resolve(
                node, path, kind, trailing=fields, other_keys=nested, schedules=key == "loss"
            )
        else:
            block = self.checker.accept(node, path, kind, trailing=fields, other_keys=nested)
        if block is not None:
            self.blocks[key] = block

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
            self.checker.report(
                second, "train.iterations and train.epochs are both set; a run has one length", hint
            )
        elif not given and not any(
            key in find_slips(train, self.blocks["train"]) for key in ("iterations", "epochs")
        ):
            where = train.key_mark or Mark(self.root.mark.source)
            self.checker.report(
                where, "the length of the run is missing: set train.iterations or train.epochs"
            )

    def _layer(self, mark: Mark) -> tuple:
        """Sorts what a later layer says behind what an earlier one says."""
        return mark.argument, mark.source == self.root.mark.source, mark.line, mark.column


def _find_origins(root: Node, mapping: dict[str, Any]) -> dict[tuple, str]:
    """Where each value of the resolved configuration was written."""
    origins: dict[tuple, str] = {}

    def visit(node: Node | None, value: Any, path: tuple) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                entries = node.value if node is not None and isinstance(node.value, dict) else {}
                visit(entries.get(key), item, (*path, key))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for place, item in enumerate(value):
                visit(node.value[place] if node is not None else None, item, (*path, place))
        else:
            written = "default" if node is None else node.mark.without_column()
            origins[path] = "command line" if node is not None and node.mark.argument else written

    visit(root, mapping, ())
    return origins
