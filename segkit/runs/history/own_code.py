"""Digests of the code outside of segkit that a run's components come from."""

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

from segkit.config.carried.packed import find_imports
from segkit.config.schema import Config


def digest_own_code(config: Config) -> dict[str, str]:
    """A digest of each file outside of segkit that registers a component of the configuration, by its name without its
    folder. What such a file imports is not in it."""
    digests = {needed.file: _digest_now(needed.file) for needed in find_imports(config)}
    return {name: digest for name, digest in digests.items() if digest is not None}


def changed_since(digests: Mapping[str, str]) -> list[str]:
    """The names of those files that are imported and were another when `digests` were made."""
    now = {name: _digest_now(name) for name in digests}
    return [name for name, digest in digests.items() if now[name] not in (None, digest)]


def _digest_now(name: str) -> str | None:
    """None for what is not imported, or is no file, such as a cell of a notebook."""
    module = sys.modules.get(name.removesuffix(".py"))
    path = Path(getattr(module, "__file__", None) or "")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None
