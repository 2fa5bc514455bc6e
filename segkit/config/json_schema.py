"""A JSON schema of configuration files, for editors."""

from typing import Any

from pydantic import BaseModel

from segkit.config.schema import (
    COMPONENTS,
    FIXED,
    NESTED,
    OPTION_SCHEDULE,
    SWITCHED,
    ComponentBlock,
    Config,
)
from segkit.config.signature import Parameter, read_fields, read_parameters, read_term_keys, summarise
from segkit.registry import LOSSES
from segkit.types import ComponentsOf, Duration


def json_schema() -> dict[str, Any]:
    """JSON schema of a configuration file, for editors.

    It knows every registered component. Nothing but a loss is required, since the rest may come from `extends`.
    """
    header = {p.name: p.json_schema() for p in read_fields(Config) if p.name in ("name", "seed", "device")}
    blocks = {key: _block_schema(key, block) for key, block in COMPONENTS.items() if "." not in key}
    fixed = {key: _fixed_schema(key, model) for key, model in FIXED.items()}
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


def _fixed_schema(key: str, model: type[BaseModel]) -> dict[str, Any]:
    """A block that names no component, and those in it that may be on or off."""
    inner = {
        path.removeprefix(f"{key}."): {
            "anyOf": [_object_schema(read_fields(block), block.__doc__), {"type": ["boolean", "null"]}]
        }
        for path, block in SWITCHED.items()
        if path.startswith(f"{key}.")
    }
    schema = _object_schema([p for p in read_fields(model) if p.name not in inner], model.__doc__)
    schema["properties"] |= inner
    return schema


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
