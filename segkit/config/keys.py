"""The settings of a configuration under dotted keys, as overrides and messages write them, and as one text."""

from collections.abc import Mapping
from typing import Any


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists stay whole, but for lists of blocks (`loss.terms.0.weight`)."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = dict(enumerate(value))
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def covers(rule: str, key: str) -> bool:
    """Whether `rule` is the dotted key or a block around it; an empty rule is around everything."""
    return rule in ("", key) or key.startswith(f"{rule}.")


def is_backend(key: str) -> bool:
    """Whether the key says how a loss is computed, not which: `loss.backend`, `loss.terms.0.backend` ..."""
    return key.startswith("loss.") and key.endswith(".backend")
