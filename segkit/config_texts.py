"""What can be configured, in words and as a JSON schema, and where the values of a run come from."""

from typing import Any

from segkit.config_schema import COMPONENTS, FIXED, NESTED, OPTION_SCHEDULE, ComponentBlock, Config
from segkit.errors import ConfigError
from segkit.registry import LOSSES, SCHEDULES, TRANSFORMS
from segkit.signature import Parameter, read_fields, read_parameters, read_term_keys, summarise
from segkit.types import ComponentsOf, Duration
from segkit.yaml_source import dump_inline, dump_yaml

_COMMENT_COLUMN = 44
#: What a list begins with.
_NOTES = {
    SCHEDULES: (
        "A number of a loss can follow one too, between iterations or shares of the run:\n"
        "  thresh: {name: linear, from: 0.9, to: 0.6, start: 10%, end: 50%}"
    ),
    TRANSFORMS: (
        "They stand in lists; small names are segkit's own, the others torchvision's (transforms.v2):\n"
        "  augment: {name: compose, transforms: [{name: scale_crop, crop_size: 320}, {name: RandomHorizontalFlip}]}"
    ),
}


def list_components(kind: str) -> str:
    """The registered components of one kind: name, summary, and parameters with default and allowed values.

    `kind` is what follows `--list`: losses, models, datasets, transforms, schedules, optimizers, weight_maps, criteria,
    selections. Raises ConfigError for anything else.
    """
    by_registry: dict[Any, tuple[str, ComponentBlock]] = {}  # one may stand under two keys
    for key, block in [*COMPONENTS.items(), *NESTED.items()]:
        if block.list_flag == kind:
            by_registry.setdefault(block.registry, (key, block))
    if not by_registry:
        known = ", ".join(dict.fromkeys(block.list_flag for block in {**COMPONENTS, **NESTED}.values()))
        raise ConfigError(f"--list {kind}: there is no such list; there are: {known}")
    lists = [_list_registry(kind, key, block) for key, block in by_registry.values()]
    return "\n\n\n".join(lists)


def _list_registry(kind: str, key: str, block: ComponentBlock) -> str:
    lines = [f"{kind}: the values of {key}.name, each with the other keys of its {key} block"]
    if block.registry in _NOTES:
        lines.append(_NOTES[block.registry])
    for name in block.registry.names():
        constructor = block.registry.get(name)
        lines += ["", f"{name:<18}  {summarise(constructor)}".rstrip()]
        rows = [_row(parameter) for parameter in read_parameters(constructor, block.registry.given)]
        widths = [max(map(len, texts)) for texts in zip(*rows, strict=True)]
        for first, default, expected in rows:
            lines.append(f"  {first:<{widths[0]}}  {default:<{widths[1]}}  {expected}")
    return "\n".join(lines)


def _row(parameter: Parameter) -> tuple[str, str, str]:
    default = "(required)" if parameter.required else _show_default(parameter.default)
    return parameter.name, default, parameter.expected


def _show_default(value: Any) -> str:
    return dump_inline(list(value) if isinstance(value, tuple) else value)


def describe_origins(mapping: dict[str, Any], origins: dict[tuple, str]) -> str:
    """The resolved configuration as YAML; a comment on each line says where its value was written."""
    return "\n".join(_write_block(mapping, (), origins)) + "\n"


def _write_block(block: dict[Any, Any], path: tuple, origins: dict[tuple, str]) -> list[str]:
    lines: list[str] = []
    for key, item in block.items():
        here = (*path, key)
        indent = "  " * len(path)
        if isinstance(item, dict) and item:
            lines += [f"{indent}{dump_inline(key)}:", *_write_block(item, here, origins)]
        elif isinstance(item, list) and item and all(isinstance(part, dict) and part for part in item):
            lines.append(f"{indent}{dump_inline(key)}:")
            for place, part in enumerate(item):
                first, *rest = _write_block(part, (*here, place), origins)
                dash = 2 * (len(here))  # each part stands one step further in than its list
                lines += [f"{first[:dash]}- {first[dash + 2 :]}", *rest]
        else:
            # Through the block form, so that a string of several lines stays one value.
            text = dump_yaml({key: item}).rstrip("\n")
            text = text if "\n" not in text else f"{dump_inline(key)}: {dump_inline(item)}"
            lines.append(f"{indent + text:<{_COMMENT_COLUMN}}  # {origins.get(here, 'default')}")
    return lines


def json_schema() -> dict[str, Any]:
    """JSON schema of a configuration file, for editors.

    It knows every registered component. Nothing but a loss is required, since the rest may come from `extends`.
    """
    header = {p.name: p.json_schema() for p in read_fields(Config) if p.name in ("name", "seed", "device")}
    blocks = {key: _block_schema(key, block) for key, block in COMPONENTS.items() if "." not in key}
    fixed = {key: _object_schema(read_fields(model), model.__doc__) for key, model in FIXED.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "segkit configuration",
        "type": "object",
        "properties": {
            "extends": {"type": "string", "description": "The configuration file that this one changes."},
            **header,
            **blocks,
            **fixed,
        },
        "additionalProperties": False,
        "anyOf": [{"required": ["extends"]}, {"required": ["loss"]}],
        "$defs": {
            **{kind: _inner_schema(kind, block) for kind, block in NESTED.items()},
            "schedule": _way_schema(),
        },
    }


def _block_schema(key: str, block: ComponentBlock) -> dict[str, Any]:
    """One alternative per registered component."""
    extra = {
        field.name: field.json_schema()
        for field in read_fields(block.model)
        if field.name not in ("name", "params", "weight_map")
    }
    if "weight_map" in block.model.model_fields:
        nested = _block_schema(f"{key}.weight_map", COMPONENTS[f"{key}.weight_map"])
        extra["weight_map"] = {"anyOf": [nested, {"type": "null"}]}
    moving = block.registry in (LOSSES, NESTED["criterion"].registry, NESTED["selection"].registry)
    choices = []
    for name in block.registry.names():
        constructor = block.registry.get(name)
        parameters = read_parameters(constructor, block.registry.given)
        schema = _object_schema(parameters, summarise(constructor), moving=moving)
        schema["properties"] = {"name": {"const": name}, **schema["properties"], **extra}
        choices.append(schema)
    return {"anyOf": choices}


def _inner_schema(key: str, block: ComponentBlock) -> dict[str, Any]:
    """A block in a block, to which a list may add keys of its own."""
    schema = _block_schema(key, block)
    for choice in schema["anyOf"]:
        del choice["additionalProperties"]
    return schema


def _way_schema() -> dict[str, Any]:
    """A schedule in the place of a number."""
    times = {name: Parameter(name, Duration).json_schema() for name in ("start", "end")}
    ends = {name: {"type": ["number", "string"]} for name in ("from", "to")}
    schema = _block_schema("schedule", OPTION_SCHEDULE)
    for choice in schema["anyOf"]:
        choice["properties"] |= {**ends, **times}
        choice["required"] = ["name", "from"]
    return schema


def _object_schema(
    parameters: list[Parameter], description: str | None, *, moving: bool = False
) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description or "",
        "properties": {p.name: _value_schema(p, moving=moving) for p in parameters},
        "additionalProperties": False,
    }


def _value_schema(parameter: Parameter, *, moving: bool) -> dict[str, Any]:
    """The schema of a value; with `moving`, a number may be a schedule."""
    schema = {"description": parameter.expected, **parameter.json_schema()}
    mark = parameter.component
    if isinstance(mark, ComponentsOf):
        keys = {key.name: _value_schema(key, moving=moving) for key in read_term_keys(mark)}
        return {
            "description": parameter.expected,
            "type": "array",
            "minItems": 1,
            "items": {"allOf": [{"$ref": f"#/$defs/{mark.kind}"}, {"properties": keys}]},
        }
    if mark is not None:
        none = [{"type": "null"}] if parameter.allows_none else []
        return {"description": parameter.expected, "anyOf": [{"$ref": f"#/$defs/{mark.kind}"}, *none]}
    if moving and parameter.number is not None:
        own = {key: schema.pop(key) for key in list(schema) if key not in ("description", "default", "title")}
        schema["anyOf"] = [own, {"$ref": "#/$defs/schedule"}]
    return schema
