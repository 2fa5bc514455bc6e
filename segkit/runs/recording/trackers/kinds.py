"""Which trackers a configuration asks for, and whether their packages are there."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from segkit.config.schema import Log
from segkit.errors import ConfigError

#: The trackers by the name of their key below `log`, which is also that of their package and of its extra.
KINDS = ("wandb", "mlflow")


def tracker_settings(log: Log) -> dict[str, dict[str, Any]]:
    """The settings of the trackers that are on, by kind."""
    blocks = {kind: getattr(log, kind) for kind in KINDS}
    return {kind: block.model_dump() for kind, block in blocks.items() if block is not None}


def require_trackers(log: Log) -> None:
    """Raises ConfigError for a tracker that is on and lacks a package. Imports none of them."""
    problems = []
    for kind, settings in tracker_settings(log).items():
        missing = [name for name in _packages(kind, settings) if not is_installed(name)]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            problems.append(
                f"log.{kind} needs {' and '.join(missing)}, which {verb} not installed\n"
                f"   -> pip install 'segkit[{kind}]', or log.{kind}=false"
            )
    if problems:
        raise ConfigError(problems)


def _packages(kind: str, settings: Mapping[str, Any]) -> list[str]:
    """What must be there: for MLflow without a server, also what its database needs, which mlflow-skinny lacks."""
    if kind != "mlflow" or settings["tracking_uri"] or os.environ.get("MLFLOW_TRACKING_URI"):
        return [kind]
    return [kind, "sqlalchemy", "alembic"]


def is_installed(package: str) -> bool:
    """Whether the package can be imported. A folder of that name, such as the one that wandb itself leaves in the
    working directory, is none."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # ValueError: a module of that name that was made by hand
        return False
    return spec is not None and spec.origin is not None
