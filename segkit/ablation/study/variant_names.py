"""What to call variants that nobody named: as their runs are called, and by what differs where that is not enough."""

from collections.abc import Mapping, Sequence
from typing import Any

from segkit.ablation.study.config_diff import ABSENT, differing_settings, relevant_settings, show_value
from segkit.ablation.study.study import Run


def name_variants(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group of runs, all different.

    `ohem` for runs named ohem or ohem-seed<seed>; `ohem thresh=0.6` and `ohem thresh=0.7` where two groups have that
    name.
    """
    bases = [_base_name(runs[0]) for runs in groups]
    names = list(bases)
    for base in set(bases):
        places = [place for place, name in enumerate(bases) if name == base]
        if len(places) > 1:
            settings = {place: relevant_settings(groups[place][0].config) for place in places}
            for place, words in _distinguish(settings).items():
                names[place] = f"{base} {words}".rstrip()
    return _number_equal(names)


def _base_name(run: Run) -> str:
    return run.config["name"].removesuffix(f"-seed{run.seed}")


def _distinguish(settings: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """For each, its values of the settings that differ. A block of another `name` says enough by that name, unless
    another has the same name too."""
    differing = differing_settings(settings)
    short = _shorten(list(differing))
    words = {}
    for place in settings:
        told = [
            key
            for key, values in differing.items()
            if values[place] != ABSENT and not _is_told_by_name(key, place, differing)
        ]
        words[place] = " ".join(f"{short[key]}={show_value(differing[key][place])}" for key in told)
    return words


def _is_told_by_name(key: str, place: int, differing: Mapping[str, Mapping[int, Any]]) -> bool:
    """Whether all that have a block of the same name around `key` have the same value there."""
    for name_key, names in differing.items():
        block = name_key.removesuffix("name")
        if name_key.endswith(".name") and key != name_key and key.startswith(block):
            same = [other for other, name in names.items() if name == names[place]]
            if all(differing[key][other] == differing[key][place] for other in same):
                return True
    return False


def _shorten(keys: Sequence[str]) -> dict[str, str]:
    """Each key without the blocks that are not needed to tell them apart; `loss` for `loss.name`."""
    short = {}
    for key in keys:
        parts = key.removesuffix(".name").split(".")
        endings = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        others = [f".{other.removesuffix('.name')}" for other in keys if other != key]
        unique = (end for end in endings if not any(other.endswith(f".{end}") for other in others))
        short[key] = next(unique, key)
    return short


def _number_equal(names: Sequence[str]) -> list[str]:
    """The names, with (2), (3) ... after those that are there already."""
    taken: list[str] = []
    for name in names:
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name} ({number})", number + 1
        taken.append(unique)
    return taken
