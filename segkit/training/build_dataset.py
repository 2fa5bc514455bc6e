"""A configuration's `data` block to a data set and the maker of its weight maps. Data sets of files need no torch."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from typing import Any

from segkit.config.carried.places import refuse_unsaid_data
from segkit.config.schema import Component, Config
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS, WEIGHT_MAPS
from segkit.system.printable import describe_controls
from segkit.training.build_component import build_component

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def build_dataset(config: Config, split: str, *, scored: bool = False) -> Any:
    """The data set that `config.data` names. A DataError while opening it says where its root was set. If it is to be
    `scored` at the original size (`eval.at`), its images are not resized: what shows them to the network does it."""
    refuse_unsaid_data(config)
    if scored and config.eval.at == "original" and "resize" in config.data.params:
        params = {**config.data.params, "resize": None}
        config = config.model_copy(update={"data": config.data.model_copy(update={"params": params})})
    _refuse_resized_parts(config)
    try:
        dataset = build_component(DATASETS, config.data, "data", total=1, split=split)
    except DataError as error:
        if "root" not in config.data.params:
            raise
        where = config.origin_of("data.root")
        first, newline, rest = str(error).partition("\n")
        raise DataError(f"{first} ({where}){newline}{rest}") from error
    _refuse_unlike_data(dataset, f"data: {config.data.name}", split)
    for name in dataset.class_names:
        if wrong := describe_controls(name):
            raise ConfigError(f"data: {config.data.name}: {wrong} -> rename it in the data set")
    if config.data.cache != "disk":
        return dataset
    # Needs torch.
    from segkit.data.cache.cached_data import Cached
    from segkit.data.cache.place import on_disk

    settings = with_found(data_settings(config, split), getattr(dataset, "found_options", {}))
    return Cached(dataset, on_disk(), settings=settings)


def _refuse_unlike_data(dataset: Any, what: str, split: str) -> None:
    """Raises ConfigError for a data set, of somebody's own, that lacks what the others have, or is empty."""
    wanted = ("num_classes", "class_names", "ignore_index", "channels", "__len__", "__getitem__")
    absent = [name for name in wanted if not hasattr(dataset, name)]
    if absent:
        raise ConfigError(
            f"{what}: the data set has no {', '.join(absent)}\n   -> a data set has {', '.join(wanted)}"
        )
    for name in ("num_classes", "ignore_index", "channels"):
        found = getattr(dataset, name)
        if not isinstance(found, Integral) or isinstance(found, bool):
            raise ConfigError(f"{what}: its {name} is {found!r}, and must be a whole number")
    names = list(dataset.class_names)
    if len(names) != dataset.num_classes or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{what}: its num_classes is {dataset.num_classes}, and its class_names are {names}"
        )
    if len(dataset) == 0:
        raise DataError(f"{what}: there are no samples in the part '{split}'")


def with_found(options: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a data set with what it found out for those that are `auto`; of data sets in it, each its own."""
    together = dict(options)
    for name, value in found.items():
        inner = options.get(name)
        if isinstance(inner, list) and all(isinstance(part, Component) for part in inner):
            value = [
                part.model_copy(update={"params": with_found(part.params, its)})
                for part, its in zip(inner, value, strict=True)
            ]
        together[name] = value
    return together


def _refuse_resized_parts(config: Config) -> None:
    """Raises ConfigError if parts of the data are resized and scores are to be at the size of the files."""
    inner = [part for value in config.data.params.values() if isinstance(value, list) for part in value]
    for part in inner:
        if config.eval.at == "original" and isinstance(part, Component) and part.params.get("resize"):
            raise ConfigError(
                f"eval.at=original cannot score data.parts at the size of their files if they are resized ({part.name})"
                "\n   -> remove resize there, or eval.at=network"
            )


def data_settings(config: Config, split: str) -> dict[str, Any]:
    """What a part of the data is made by, besides its files: the options and, of data sets that are not segkit's, the
    code, whose author may change it between two runs."""
    code = _own_code(config.data)
    return {
        "name": config.data.name,
        "split": split,
        **config.data.params,
        **({"own code": code} if code else {}),
    }


def _own_code(component: Component) -> list[str]:
    """Digests of the files that hold the classes of the user's data sets: this one, and those in it."""
    constructor = DATASETS.get(component.name)
    digests = []
    if getattr(constructor, "__module__", "").partition(".")[0] != "segkit":
        with suppress(OSError, TypeError):  # of what has no file, such as a class that a notebook makes
            file = inspect.getsourcefile(constructor)
            digests += [] if file is None else [hashlib.sha256(Path(file).read_bytes()).hexdigest()]
    inner = [part for value in component.params.values() if isinstance(value, list) for part in value]
    return digests + [digest for part in inner if isinstance(part, Component) for digest in _own_code(part)]


def build_weight_map(config: Config, train: Any, weigh: Callable[[str], list[float]]) -> Callable | None:
    """The maker of weight maps that `config.data` names, or None; `weigh` gives it class weights if it wants some."""
    if config.data.weight_map is None:
        return None
    refuse_unsaid_data(config, weight_map=True)
    known = {name: getattr(train, name) for name in WEIGHT_MAPS.given}
    block = "data.weight_map"
    return build_component(WEIGHT_MAPS, config.data.weight_map, block, total=1, weigh_classes=weigh, **known)


def normalisation(config: Config, channels: int) -> tuple[list[float], list[float]]:
    """`data.mean` and `data.std`: unless given, ImageNet's for colour, 0.5 and 0.25 otherwise."""
    mean = config.data.mean or (IMAGENET_MEAN if channels == 3 else [0.5] * channels)
    std = config.data.std or (IMAGENET_STD if channels == 3 else [0.25] * channels)
    return mean, std
