"""What can be configured, in words and as a JSON schema, and where the values of a run come from."""

from typing import Any

from segkit.config_schema import COMPONENTS, FIXED, ComponentBlock, Config
from segkit.errors import ConfigError
from segkit.signature import Parameter, read_fields, read_parameters, summarise
from segkit.yaml_source import dump_inline, dump_yaml

_COMMENT_COLUMN = 44


def list_components(kind: str) -> str:
    """The registered components of one kind: name, summary, and parameters with default and allowed values.

    `kind` is what follows `--list`: losses, models, datasets, transforms, schedules, optimizers, weight_maps.
    Raises ConfigError for anything else.
    """
    kinds = {block.list_flag: key for key, block in COMPONENTS.items()}
    if kind not in kinds:
        raise ConfigError(f"--list {kind}: there is no such list; there are: {', '.join(kinds)}")
    key = kinds[kind]
    block = COMPONENTS[key]
    lines = [f"{kind}: the values of {key}.name, each with the other keys of its {key} block"]
    for name in block.registry.names():
        constructor = block.registry.get(name)
        lines += ["", f"{name:<18}  {summarise(constructor)}".rstrip()]
        parameters = read_parameters(constructor, block.registry.given)
        widths = [
            max((len(text) for text in texts), default=0)
            for texts in zip(*map(_row, parameters), strict=True)
        ]
        for parameter in parameters:
            first, default, expected = _row(parameter)
            lines.append(f"  {first:<{widths[0]}}  {default:<{widths[1]}}  {expected}")
    return "\n".join(lines)


def _row(parameter: Parameter) -> tuple[str, str, str]:
    default = "(required)" if parameter.required else _show_default(parameter.default)
    return parameter.name, default, parameter.expected


def _show_default(value: Any) -> str:
    return dump_inline(list(value) if isinstance(value, tuple) else value)


def describe_origins(mapping: dict[str, Any], origins: dict[tuple, str]) -> str:
    """The resolved configuration as YAML; a comment on each line says where its value was written."""
    lines: list[str] = []

    def write(value: dict[Any, Any], path: tuple) -> None:
        for key, item in value.items():
            indent = "  " * len(path)
            if isinstance(item, dict) and item:
                lines.append(f"{indent}{dump_inline(key)}:")
                write(item, (*path, key))
            else:
                # Through the block form, so that a string of several lines stays one value.
                text = dump_yaml({key: item}).rstrip("\n")
                text = text if "\n" not in text else f"{dump_inline(key)}: {dump_inline(item)}"
                lines.append(f"{indent + text:<{_COMMENT_COLUMN}}  # {origins.get((*path, key), 'default')}")

    write(mapping, ())
    return "\n".join(lines) + "\n"


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
    choices = []
    for name in block.registry.names():
        constructor = block.registry.get(name)
        schema = _object_schema(read_parameters(constructor, block.registry.given), summarise(constructor))
        schema["properties"] = {"name": {"const": name}, **schema["properties"], **extra}
        choices.append(schema)
    return {"anyOf": choices}


def _object_schema(parameters: list[Parameter], description: str | None) -> dict[str, Any]:
    properties = {p.name: {"description": p.expected, **p.json_schema()} for p in parameters}
    return {
        "type": "object",
        "description": description or "",
        "properties": properties,
        "additionalProperties": False,
    }
