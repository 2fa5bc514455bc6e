"""In which settings the variants of a study differ, so that a reader sees what was compared, and nothing else."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from segkit.ablation.study.study import Run, Study
from segkit.config.keys import covers, flatten, is_backend

#: Stands for a key that a variant does not have.
ABSENT = "-"

#: Settings on which nothing that was learnt or scored depends, and the seed, which differs within a variant.
IGNORED = (
    "name",
    "seed",
    "device",
    "data.cache",
    "train.workers",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "eval.batch_size",
    "eval.every",
    "eval.images",
    "eval.calibration",
    "log",
)


@dataclass(frozen=True)
class ConfigDiff:
    """Settings by dotted key, in the order of the configuration.

    `differing` holds a value per variant (ABSENT where it has no such key), `constant` is the number of the keys that
    are the same everywhere. `inconsistent` holds, per variant, the keys that its own runs disagree in, with a
    value per seed: such a variant is not one thing.
    """

    variants: tuple[str, ...]
    differing: Mapping[str, Mapping[str, Any]]
    constant: int
    inconsistent: Mapping[str, Mapping[str, Mapping[int, Any]]]

    @cached_property
    def blocks(self) -> frozenset[str]:
        """The top-level blocks that differ, such as {"loss", "data"}."""
        return frozenset(key.partition(".")[0] for key in self.differing)

    @property
    def only_loss(self) -> bool:
        """Whether every differing key is below `loss`."""
        return self.blocks <= {"loss"}

    @property
    def only_loss_and_weight_map(self) -> bool:
        """Whether every differing key is below `loss`, or makes the weight map that a loss reads."""
        return all(covers("loss", key) or covers("data.weight_map", key) for key in self.differing)

    @property
    def sentence(self) -> str:
        """What differs, in words."""
        same = f"the other {self.constant} settings are the same in all variants"
        if not self.differing:
            return f"The variants do not differ: all {self.constant} settings are the same."
        if self.only_loss:
            return f"Only the loss differs; {same}."
        if self.only_loss_and_weight_map:
            return f"Only the loss and the weight map that it reads (data.weight_map) differ; {same}."
        names = [block for block in _first_words(self.differing) if block != "loss"]
        besides = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        if "loss" in self.blocks:
            return f"Not only the loss differs, but also {besides}; {same}."
        return f"The loss is the same; {besides} {'differ' if len(names) > 1 else 'differs'}; {same}."


def diff_configs(study: Study) -> ConfigDiff:
    """Compare the configurations of all variants that have a run. A variant is its run of the lowest seed."""
    runs = {variant: study.of(variant) for variant in study.variants}
    runs = {variant: found for variant, found in runs.items() if found}
    settings = {variant: relevant_settings(found[0].config) for variant, found in runs.items()}
    differing = differing_settings(settings)
    inconsistent = {variant: _disagreements(found) for variant, found in runs.items()}
    return ConfigDiff(
        variants=tuple(runs),
        differing=differing,
        constant=len(_merge_keys(settings.values())) - len(differing),
        inconsistent={variant: found for variant, found in inconsistent.items() if found},
    )


def relevant_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `Config.to_mapping()` by dotted key that the result depends on, without the seed."""
    return {key: value for key, value in flatten(config).items() if not is_ignored(key)}


def settings_text(config: Mapping[str, Any]) -> str:
    """A text that is the same for configurations that `differing_settings` finds no difference between: 0 and 0.0,
    which a default and a file may have, are one number."""
    return json.dumps(_with_floats(relevant_settings(config)), sort_keys=True)


def _with_floats(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return float(value) if type(value) is int else value


def is_ignored(key: str) -> bool:
    """Whether nothing that was learnt or scored depends on the setting."""
    # Backends of a loss differ by rounding only, as the machines do that choose between them.
    return is_backend(key) or any(covers(rule, key) for rule in IGNORED)


def differing_settings(settings: Mapping[Any, Mapping[str, Any]]) -> dict[str, dict[Any, Any]]:
    """By dotted key, the values of those that are not the same in all of `settings`."""
    found = {}
    for key in _merge_keys(settings.values()):
        values = {owner: flat.get(key, ABSENT) for owner, flat in settings.items()}
        first = next(iter(values.values()))
        if any(value != first for value in values.values()):
            found[key] = values
    return found


def show_value(value: Any) -> str:
    """A setting as a configuration file would have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(show_value, value))}]"
    return "''" if value == "" else str(value)


def _disagreements(runs: Sequence[Run]) -> dict[str, dict[int, Any]]:
    return differing_settings({run.seed: relevant_settings(run.config) for run in runs})


def _merge_keys(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """All keys, block by block in order of appearance. Where others have a block, nothing in its place is no key."""
    said: dict[str, bool] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            said[key] = said.get(key, False) or value not in (None, {}, [])
    outer = {key.rpartition(".")[0] for key in said}
    kept = {key for key, says in said.items() if says or key not in outer}
    keys = list(said)
    blocks = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    return sorted(kept, key=lambda key: (blocks.index(key.partition(".")[0]), keys.index(key)))


def _first_words(keys: Mapping[str, Any]) -> list[str]:
    """The blocks of the keys, in order; the weight map on its own, since the images are the same without it."""
    names = ["data.weight_map" if covers("data.weight_map", key) else key.partition(".")[0] for key in keys]
    return list(dict.fromkeys(names))
