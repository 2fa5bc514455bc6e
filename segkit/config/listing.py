"""What can be configured, in words: the lists of `--list`."""

from typing import Any

from segkit.config.schema import COMPONENTS, NESTED, ComponentBlock
from segkit.config.signature import Parameter, read_parameters, summarise
from segkit.config.written.components import list_constructors
from segkit.config.yaml_source import dump_inline
from segkit.errors import ConfigError
from segkit.registry import SCHEDULES, TRANSFORMS

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
    for name, constructor in list_constructors(block.registry):
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
