"""Where the values of a resolved configuration come from."""

from typing import Any

from segkit.config.yaml_source import dump_inline, dump_yaml

_COMMENT_COLUMN = 44


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
