"""What the variants of an ablation were resolved to, kept in its folder so that a report needs no torch.

Only a component knows its own defaults, and asking it loads torch. Its answer holds as long as the settings, segkit's
code and the packages that it comes from are the same; the key under which it is kept is made of all these, so that an
answer to anything else is not found, and the component asked again.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segkit.ablation.folder import AblationFiles
from segkit.config.checks import check_config
from segkit.config.problem import Problem
from segkit.config.schema import Config
from segkit.config.yaml_source import Node, parse_yaml, to_plain
from segkit.errors import ConfigError
from segkit.system.environment import require_torch_pair
from segkit.system.files import write_json

_SEGKIT = Path(__file__).resolve().parents[2]
#: Packages whose version can change a default or a rule: torch's optimizers are components.
_PACKAGES = ("torch", "torchvision", "pydantic")


@dataclass
class Resolver:
    """Variants to configurations. Those in `known` (`Config.to_yaml()` by key) are for reading, as `check_config` says
    of blocks that are not checked; all others load torch. `given` are the answers so far, as `known` has them."""

    known: Mapping[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    def resolve(self, tree: Node, variant: str, problems: list[Problem]) -> Config:
        """The configuration of a variant, see `check_config`. Raises ConfigError."""
        key = _make_key(tree, variant)
        config = self._recall(key, variant)
        if config is None:
            require_torch_pair()
            config = check_config(tree, variant, problems)
        self.given[key] = config.to_yaml()
        return config

    def _recall(self, key: str, variant: str) -> Config | None:
        if key not in self.known:
            return None
        root, problems = parse_yaml(self.known[key], "resolved")
        if root is None or not isinstance(root.value, dict):
            return None
        try:
            return check_config(root, variant, problems, checked=())
        except ConfigError:  # somebody wrote into the file; the components answer again
            return None


def read_resolved(folder: Path) -> dict[str, str]:
    """What is known in an ablation's folder. Nothing, if it is missing or damaged: then it is found out again."""
    try:
        known = json.loads(AblationFiles(folder).resolved.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    texts = isinstance(known, dict) and all(isinstance(text, str) for text in known.values())
    return known if texts else {}


def write_resolved(folder: Path, resolved: Mapping[str, str]) -> None:
    """Keep the answers, unless they are there. Raises CannotWrite."""
    if read_resolved(folder) != resolved:
        write_json(AblationFiles(folder).resolved, resolved)


def _make_key(tree: Node, variant: str) -> str:
    settings = repr([variant, to_plain(tree), _identify_code()])  # of JSON, the keys 0 and "0" would be one
    return hashlib.sha256(settings.encode()).hexdigest()


@functools.cache
def _identify_code() -> str:
    """A digest of segkit's files and the versions of what they are built on."""
    digest = hashlib.sha256()
    for path in sorted(_SEGKIT.rglob("*.py")):
        digest.update(f"{path.relative_to(_SEGKIT)} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    for package in _PACKAGES:
        digest.update(f"{package} {importlib.metadata.version(package)} ".encode())
    return digest.hexdigest()
