"""A configuration without the places of the machine that it was made on, for a file that goes elsewhere."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from segkit.config.keys import covers, flatten
from segkit.config.schema import Config
from segkit.errors import ConfigError

#: Stands where a place was: settings without a default have to be something.
NOT_SAID = "not-in-this-file"
START = "model.init_from"
#: Stands for `log.dir`.
LOG_DIR = "runs"
#: Settings below `log` that say to whose account, on which server, a run was logged; a URI may hold a password.
ACCOUNTS = ("wandb", "mlflow")
#: The keys of settings that are places even where they look like names.
PLACES = ("root", "init_from")
#: The keys of settings whose lists and mappings are of names, such as that of a class, whatever one looks like.
NAMES = ("classes", "label_map", "class_map", "objects")
NUMBERED = re.compile(rf"{NOT_SAID}-[0-9]+")
#: What may be a path within a line, with the drive that Windows has before it; between quotes it may have blanks.
_WORD = re.compile(r"""(?:\b[A-Za-z]:[\\/])?[^\s,{}\[\]()<>`;|&'"=:]+""")
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_WORDS = re.compile(r"""(?:\b[A-Za-z]:[\\/])?[^\s,{}\[\]()<>`;|&'"=:][^,{}\[\]()<>`;|&'"=:]*""")


class StandIns:
    """What stands where places were: the same for the same place, numbered from the second one on, so that settings
    which differ still do."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        return self._known.setdefault(
            place, f"{NOT_SAID}-{len(self._known) + 1}" if self._known else NOT_SAID
        )


def without_places(config: Config, *, start: str | None = None) -> dict[str, Any]:
    """All settings as plain values that load back, but for what names a place or an account: every `root`, `log.dir`,
    `log.wandb`, `log.mlflow`, `model.init_from`, and any other text that is an absolute path or leads upwards. `start`
    stands for a `model.init_from`, where there is one."""
    mapping = config.to_mapping()
    cleared = clear_places(mapping, lambda place: NOT_SAID)
    cleared["model"]["init_from"] = start if mapping["model"]["init_from"] is not None else None
    return cleared


def clear_places(mapping: Mapping[str, Any], stand_in: Callable[[str], str]) -> dict[str, Any]:
    """The same of `Config.to_mapping()`, with what `stand_in` says for each place."""
    # Where runs lie gets no number: it would shift those of the places that count.
    log = {**mapping["log"], "dir": LOG_DIR, **dict.fromkeys(ACCOUNTS)}
    return {key: log if key == "log" else clear_value(key, value, stand_in) for key, value in mapping.items()}


def clear_words(text: str, private: Iterable[str] = ()) -> str:
    """A command, or a line of a message, without the paths in it that `is_place` knows and without the words of
    `private`: folders, whose names may have blanks, and machines."""
    for word in sorted(private, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", NOT_SAID, text)
    text = _QUOTED.sub(lambda quoted: _WORDS.sub(_clear_word, quoted[0]), text)
    return _WORD.sub(_clear_word, text)


def _clear_word(word: re.Match[str]) -> str:
    return NOT_SAID if is_place(word[0].rstrip()) else word[0]


def clear_value(key: str, value: Any, stand_in: Callable[[str], str]) -> Any:
    """The value of a setting, whose last word is `key`, likewise."""
    if key in NAMES and isinstance(value, Mapping | list):
        return value
    if isinstance(value, Mapping):
        return {name: clear_value(name, item, stand_in) for name, item in value.items()}
    if isinstance(value, list):
        return [clear_value("", item, stand_in) for item in value]
    if isinstance(value, str) and not is_unsaid(value) and (key in PLACES or is_place(value)):
        return stand_in(value)
    return value


def is_place(text: str) -> bool:
    """Whether a text is a path that only the machine knows which wrote it."""
    away = text.startswith("~") or ".." in PurePosixPath(text).parts
    return away or PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def left_out(config: Config) -> list[str]:
    """The dotted keys whose values `without_places` leaves out; of an account, the key of the whole."""
    before, after = flatten(config.to_mapping()), flatten(without_places(config))
    lost = [key for key, value in before.items() if after.get(key) != value]
    whole = tuple(f"log.{account}" for account in ACCOUNTS)
    return list(dict.fromkeys(next((name for name in whole if covers(name, key)), key) for key in lost))


def unsaid_keys(config: Config) -> list[str]:
    """The dotted keys that have no value because the file of the configuration leaves it out."""
    return [key for key, value in flatten(config.to_mapping()).items() if is_unsaid(value)]


def is_unsaid(value: Any) -> bool:
    """Whether something stands where a place was, in a value of a setting or in one of its list."""
    if isinstance(value, list):
        return any(map(is_unsaid, value))
    return isinstance(value, str) and (value == NOT_SAID or NUMBERED.fullmatch(value) is not None)


def refuse_unsaid_places(config: Config, weights: object) -> None:
    """Raises ConfigError, naming the keys, for data whose place the file of the weights does not say."""
    unsaid = [key for key in unsaid_keys(config) if is_of_images(key)]
    if unsaid:
        raise ConfigError(
            f"{weights} does not say where its data is -> {' '.join(f'{key}=PATH' for key in unsaid)}"
        )


def refuse_unsaid_data(config: Config, *, weight_map: bool = False) -> None:
    """The same for a configuration that is read by itself, which knows its file: of images, or of the maker of weight
    maps. It names all that training needs besides."""
    unsaid = unsaid_keys(config)
    wanted = [key for key in unsaid if key.startswith("data.") and is_of_images(key) != weight_map]
    first = next(iter(wanted), None)
    if first is not None:
        raise ConfigError(
            f"{_file_of(config, first)} leaves out the places of the machine that it was made on "
            f"-> {' '.join(f'{key}=PATH' for key in unsaid)}"
        )


def refuse_unsaid_start(config: Config) -> None:
    """Raises ConfigError for a training that began with weights which the configuration's file leaves out."""
    if is_unsaid(config.model.init_from):
        raise ConfigError(
            f"{_file_of(config, START)} says that training began with other weights, and not with which "
            f"-> {START}=PATH, or {START}=null to begin without, which is another training"
        )


def is_of_images(key: str) -> bool:
    """Whether reading images and labels needs the setting; what a weight map is read from only training needs."""
    return key.startswith("data.") and not key.startswith("data.weight_map.")


def _file_of(config: Config, key: str) -> str:
    return re.sub(r":\d+$", "", config.origin_of(key))
