"""Which runs are of one variant, and what to call variants that nobody named: as their runs are called, and by what
differs where that is not enough."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from segkit.ablation.study.config_diff import (
    ABSENT,
    differing_settings,
    relevant_settings,
    settings_text,
    show_value,
)
from segkit.ablation.study.phrases import group_runs
from segkit.ablation.study.study import Run
from segkit.config.carried.places import NOT_SAID, NUMBERED, is_of_images, is_unsaid


def sort_variants(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each variant, in order of first appearance: those whose configurations differ in nothing but the seed
    and what no result depends on.

    Packed studies number the places that they do not say, each from one on, so that a number of one says nothing of
    those of another. Runs of several that differ in nothing else are of one variant if only images came from there and
    the data have one fingerprint, else if they are called alike. What one study tells apart stays apart. The runs of a
    variant get the numbers of its first one.
    """
    if len({_source(run) for run in runs}) == 1:
        return list(group_runs(runs, _settings).values())
    alike = group_runs(runs, lambda run: NUMBERED.sub(NOT_SAID, _settings(run)))
    found = [_number_alike(runs) for runs in chain.from_iterable(map(_split, alike.values()))]
    place = {run.folder: number for number, run in enumerate(runs)}
    return sorted(found, key=lambda variant: place[variant[0].folder])


def _split(runs: Sequence[Run]) -> list[list[Run]]:
    """The variants among runs that differ at most in places that are not said."""
    if not _are_told_apart(runs) and _have_one_place(runs):
        return [list(runs)]
    found = []
    for named in group_runs(runs, _base_name).values():
        if _are_told_apart(named):
            found += group_runs(named, lambda run: (_source(run), _settings(run), run.variant)).values()
        else:
            found.append(named)
    return found


def _are_told_apart(runs: Sequence[Run]) -> bool:
    """Whether one of their packed studies, or those that are not packed, have several variants among them."""
    return any(
        len({(_settings(run), run.variant) for run in found}) > 1
        for found in group_runs(runs, _source).values()
    )


def _have_one_place(runs: Sequence[Run]) -> bool:
    """Whether all that is not said is where images are, and the same images lie there, by their fingerprint."""
    settings = relevant_settings(runs[0].config)
    unsaid = [key for key, value in settings.items() if NOT_SAID in json.dumps(value)]
    prints = {run.fingerprints.get("data") for run in runs}
    return not unsaid or (all(map(is_of_images, unsaid)) and len(prints) == 1 and None not in prints)


def _number_alike(runs: Sequence[Run]) -> list[Run]:
    first = runs[0].config
    return [replace(run, config=_take_numbers(run.config, first)) for run in runs]


def _take_numbers(value: Any, other: Any) -> Any:
    """`value` with what stands for places in `other`, where something stands for them in both."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return {key: _take_numbers(item, other.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        return [_take_numbers(item, found) for item, found in zip(value, other, strict=True)]
    return other if is_unsaid(value) and is_unsaid(other) else value


def _source(run: Run) -> Path | None:
    """The packed study that a run was read from."""
    return run.folder.parent if run.is_packed else None


def _settings(run: Run) -> str:
    return settings_text(run.config)


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
