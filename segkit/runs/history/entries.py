"""What env.json says of code that is not segkit's, and of a run that was resumed as something else."""

from collections.abc import Mapping
from typing import Any

#: The SHA-256 (its first 16 digits) of each file outside of segkit that registers a component of the run, by its name.
OWN_CODE = "own_code"
#: A list of `{"iteration", "key", "before", "after"}`: which setting, or which entry of env.json (`env.torch`), was
#: another until that iteration. What else a run says of its configuration and its code is of its last part.
RESUMED = "resumed"
#: What the keys of entries of env.json begin with.
ENTRY = "env."


def read_own_code(env: Mapping[str, Any]) -> dict[str, str]:
    """The digests by file, without what is none."""
    found = env.get(OWN_CODE)
    return {name: str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}


def read_changes(env: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The changes in the order in which they were made, without what is none."""
    found = env.get(RESUMED)
    return [change for change in found if _is_change(change)] if isinstance(found, list) else []


def _is_change(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"iteration", "key", "before", "after"}:
        return False
    return type(value["iteration"]) is int and isinstance(value["key"], str)
