"""A configuration's `data` block to a data set and the maker of its weight maps. Data sets of files need no torch."""

from collections.abc import Callable
from typing import Any

from segkit.config.schema import Config
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS, WEIGHT_MAPS
from segkit.system.printable import describe_controls
from segkit.training.build_component import build_component


def build_dataset(config: Config, split: str, *, scored: bool = False) -> Any:
    """The data set that `config.data` names. A DataError while opening it says where its root was set. If it is to be
    `scored` at the original size (`eval.at`), its images are not resized: what shows them to the network does it."""
    if scored and config.eval.at == "original" and "resize" in config.data.params:
        params = {**config.data.params, "resize": None}
        config = config.model_copy(update={"data": config.data.model_copy(update={"params": params})})
    try:
        dataset = build_component(DATASETS, config.data, "data", total=1, split=split)
    except DataError as error:
        if "root" not in config.data.params:
            raise
        where = config.origin_of("data.root")
        first, newline, rest = str(error).partition("\n")
        raise DataError(f"{first} ({where}){newline}{rest}") from error
    for name in dataset.class_names:
        if wrong := describe_controls(name):
            raise ConfigError(f"data: {config.data.name}: {wrong} -> rename it in the data set")
    if config.data.cache != "disk":
        return dataset
    # Needs torch.
    from segkit.data.cache.cached_data import Cached
    from segkit.data.cache.place import on_disk

    found = getattr(dataset, "found_options", {})
    return Cached(dataset, on_disk(), settings={**data_settings(config, split), **found})


def data_settings(config: Config, split: str) -> dict[str, Any]:
    """What a part of the data is made by, besides its files."""
    return {"name": config.data.name, "split": split, **config.data.params}


def build_weight_map(config: Config, train: Any, weigh: Callable[[str], list[float]]) -> Callable | None:
    """The maker of weight maps that `config.data` names, or None; `weigh` gives it class weights if it wants some."""
    if config.data.weight_map is None:
        return None
    known = {name: getattr(train, name) for name in WEIGHT_MAPS.given}
    block = "data.weight_map"
    return build_component(WEIGHT_MAPS, config.data.weight_map, block, total=1, weigh_classes=weigh, **known)
