"""A configuration without the places of the machine that it was made on, for a file that goes elsewhere."""

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from segkit.config.keys import flatten
from segkit.config.schema import Config
from segkit.errors import ConfigError

#: Stands where a place was: settings without a default have to be something.
NOT_SAID = "not-in-this-file"


def without_places(config: Config) -> dict[str, Any]:
    """All settings as plain values that load back, but for what names a place: every `root`, `log.dir`,
    `model.init_from`, and any other text that is an absolute path or leads upwards."""
    mapping = config.to_mapping()
    mapping["log"]["dir"] = "runs"
    mapping["model"]["init_from"] = None
    return {key: _clear(key, value) for key, value in mapping.items()}


def _clear(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _clear(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clear("", item) for item in value]
    return NOT_SAID if isinstance(value, str) and (key == "root" or is_place(value)) else value


def is_place(text: str) -> bool:
    """Whether a text is a path that only the machine knows which wrote it."""
    away = text.startswith("~") or ".." in PurePosixPath(text).parts
    return away or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def refuse_unsaid_places(config: Config, weights: object) -> None:
    """Raises ConfigError, naming the keys, for data whose place the file of the weights does not say."""
    settings = flatten({"data": config.to_mapping()["data"]})
    unsaid = [
        key
        for key, value in settings.items()
        if value == NOT_SAID and not key.startswith("data.weight_map.")  # which only training reads
    ]
    if unsaid:
        raise ConfigError(
            f"{weights} does not say where its data is -> {' '.join(f'{key}=PATH' for key in unsaid)}"
        )
