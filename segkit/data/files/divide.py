"""One set of images divided into a training and a validation part."""

import hashlib
import re
from collections.abc import Sequence

from segkit.errors import ConfigError, DataError


def choose_validation(
    names: Sequence[str], *, fraction: float, seed: int = 0, group: str | None = None
) -> set[str]:
    """The names that validate: about `fraction` of them, at least one, and never all.

    A name alone decides its part, by a hash of it and `seed`, so images that are added move no other to another part;
    only a part that would be empty takes the nearest one. With `group`, a regular expression, names stay together in
    which it finds the same text: all of it, or what its first parentheses hold. Raises ConfigError for an expression
    that is none, DataError for names in which it finds nothing, and where there is nothing to divide.
    """
    groups = {name: _find_group(name, group) for name in names}
    places = {text: _place(text, seed) for text in set(groups.values())}
    if len(places) < 2:
        what = "1 image" if len(names) == 1 else f"{len(names)} images"
        if len(names) > 1:
            what += f" of one group (data.split_group={group!r})"
        raise DataError(
            f"data.val_fraction={fraction:g} cannot divide {what} into a training and a validation part"
        )
    ordered = sorted(places, key=lambda text: (places[text], text))
    chosen = {text for text in ordered if places[text] < fraction} or {ordered[0]}
    if len(chosen) == len(ordered):
        chosen.remove(ordered[-1])
    return {name for name in names if groups[name] in chosen}


def _find_group(name: str, group: str | None) -> str:
    if group is None:
        return name
    try:
        found = re.search(group, name)
    except re.error as error:
        raise ConfigError(f"data.split_group={group!r} is no regular expression: {error}") from None
    if found is None:
        raise DataError(f"data.split_group={group!r} finds nothing in the image name {name!r}")
    return found[1] if found.re.groups and found[1] is not None else found[0]


def _place(text: str, seed: int) -> float:
    """A number in [0, 1) that looks random, always the same for a text and a seed."""
    digest = hashlib.sha256(f"{seed}\0{text}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
