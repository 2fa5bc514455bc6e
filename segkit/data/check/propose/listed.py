"""From a file that lists the classes, and the values of masks, to `classes` and `label_map`.

A tool's colour is its meaning only where its list says so. A list without colours is of masks that hold the places of
the classes in it or, in colour, Pascal VOC's colours of these places.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from segkit.data.check.finding import problem
from segkit.data.check.known_values import pack
from segkit.data.check.propose.instances import with_hint
from segkit.data.check.propose.options import UNKNOWN, free_ignore_index
from segkit.data.check.propose.proposal import Answers, Choice, Proposal
from segkit.data.check.propose.values import propose
from segkit.data.check.raw_values import RawValues
from segkit.data.files.class_lists import PLACE_LISTS, ClassList
from segkit.data.files.label_map import IGNORE
from segkit.data.palette import voc_color
from segkit.system.printable import show_path

#: The places that tools draw in Pascal VOC's colours.
VOC_PLACES = {pack(voc_color(place)): place for place in range(256)}
#: What Datumaro draws as 0 where a list names no background.
BACKGROUND = "background"


def propose_listed(listed: ClassList, shown: str, raw: RawValues, ignored: frozenset[int] | None) -> Proposal:
    """Classes and label map by a list, which the `data:` block calls `shown`."""
    if listed.of_tool and raw.are_colours and not listed.has_colours:
        return _by_palette(listed, shown, raw, ignored)
    if listed.path.name in PLACE_LISTS and not raw.are_colours:
        places = {value: value for value in raw.drawn_values()}
        return with_hint(_by_place(listed, shown, raw, ignored, places), raw, ignored)
    if listed.label_map:
        return with_hint(_by_entries(listed, shown, raw, ignored), raw, ignored)
    proposal = propose(raw, Answers(listed.names, ignored))
    if proposal.options is None:
        return proposal
    return Proposal({**proposal.options, "classes": shown}, proposal.why, findings=proposal.findings)


def propose_named(
    names: Sequence[str], tools: ClassList | None, raw: RawValues, ignored: frozenset[int] | None
) -> Proposal:
    """The same for names that a user gives, in the folder of a tool whose list is `tools`, if it has one."""
    if tools is None or not tools.of_tool or tools.has_colours or not raw.are_colours:
        return propose(raw, Answers(names, ignored))
    places = _palette_places(raw)
    if places is None:
        return propose(raw, Answers(names, ignored))
    kept = _kept(places, ignored, len(names))
    if any(places[value] >= len(names) for value in kept):
        return _unnamed(show_path(tools.path), [v for v in kept if places[v] >= len(names)], raw)
    return _number(names, list(names), raw, places, ignored, [_explain_palette(len(names))])


def _by_entries(listed: ClassList, shown: str, raw: RawValues, ignored: frozenset[int] | None) -> Proposal:
    """A list that says by which value or colour each class is stored needs nothing but the rest."""
    known = {
        int(key[1:], 16) if isinstance(key, str) else key
        for key in listed.label_map
        if isinstance(key, str) == raw.are_colours
    }
    unknown = [value for value in sorted(raw.pixels) if value not in known | (ignored or frozenset())]
    if unknown:
        return _unnamed(str(listed.path), unknown, raw)
    options: dict[str, Any] = {"classes": shown}
    if ignored:
        options["label_map"] = {_key(value, raw): IGNORE for value in sorted(ignored)}
    options |= free_ignore_index(len(listed.names))
    return Proposal(options, why=[f"classes and their values are those of {listed.path}"])


def _by_palette(listed: ClassList, shown: str, raw: RawValues, ignored: frozenset[int] | None) -> Proposal:
    places = _palette_places(raw)
    if places is None:
        return propose(raw, Answers(listed.names, ignored))
    return _by_place(listed, shown, raw, ignored, places)


def _palette_places(raw: RawValues) -> dict[int, int] | None:
    """The place that each colour is drawn for, or None if one is not of the palette."""
    drawn = raw.drawn_values()
    return {value: VOC_PLACES[value] for value in drawn} if set(drawn) <= VOC_PLACES.keys() else None


def _by_place(
    listed: ClassList,
    shown: str,
    raw: RawValues,
    ignored: frozenset[int] | None,
    places: Mapping[int, int],
) -> Proposal:
    """Masks that hold places in the list; `places` are those of the values or colours of the masks."""
    names = listed.names
    explained = [_explain_palette(len(names))] if raw.are_colours else []
    if listed.path.name not in PLACE_LISTS or listed.background == names[0]:
        highest, moved = len(names) - 1, None
    else:
        # Datumaro puts the background first before it counts, and takes it out of the list again if it was not in it.
        moved = [listed.background or BACKGROUND, *(name for name in names if name != listed.background)]
        highest = len(moved) - 1
    kept = _kept(places, ignored, highest + 1)
    beyond = [value for value in kept if places[value] > highest]
    if beyond:
        return _unnamed(show_path(listed.path), beyond, raw)
    if moved is None:
        why = explained or [f"the values are places in {show_path(listed.path)}"]
        return _number(names, shown, raw, places, ignored, why)
    if any(places[value] >= len(names) for value in kept):
        why = f"place {len(names)} occurs, and there are {len(names)} names: the list leaves out {moved[0]!r}, place 0"
        return _number(moved, moved, raw, places, ignored, [*explained, why])
    zero = "black" if raw.are_colours else "0"
    choices = []
    for order in (moved, names):
        options = _number(order, order, raw, places, ignored, []).options
        flag = f"--classes {shlex.join(order)}"
        choices.append(Choice(flag, f"{zero} is {order[0]}, then {', '.join(order[1:3])} ...", options or {}))
    question = (
        f"{show_path(listed.path)} does not begin with a background: is {zero} in the masks its first name, "
        f"{names[0]!r}, or {moved[0]!r}?"
    )
    return Proposal(question=question, choices=choices)


def _number(
    names: Sequence[str],
    classes: Any,
    raw: RawValues,
    places: Mapping[int, int],
    ignored: frozenset[int] | None,
    why: list[str],
) -> Proposal:
    """Each place the class of its name; of values that are no place, those that mean unknown are ignored."""
    label_map: dict[int | str, int | str] = {}
    # A list with colours would leave the values without a meaning.
    if raw.are_colours:
        colours = {place: colour for colour, place in VOC_PLACES.items()}
        label_map = {_key(colours[place], raw): place for place in range(len(names))}
    elif isinstance(classes, str):
        label_map = {place: place for place in range(len(names))}
    dropped = sorted(set(places) - set(_kept(places, ignored, len(names))))
    label_map |= {_key(value, raw): IGNORE for value in dropped}
    return Proposal({"classes": classes, **({"label_map": label_map} if label_map else {})}, why=why)


def _kept(places: Mapping[int, int], ignored: frozenset[int] | None, count: int) -> list[int]:
    """The values that are to be classes; 255, which is none of `count` places, means unknown until somebody says what
    does."""
    return [
        value
        for value, place in places.items()
        if value not in (ignored or ()) and not (ignored is None and place == UNKNOWN >= count)
    ]


def _unnamed(path: str, values: Sequence[int], raw: RawValues) -> Proposal:
    flag = " ".join(f"'#{value:06x}'" if raw.are_colours else str(value) for value in values[:8])
    text = f"{path} does not name {len(values)} of the values: {flag}\n   -> --ignore {flag} if they mean unknown"
    if raw.are_colours and list(values) == [0]:
        text += f", or a line for the background, black, in {path}"
    return Proposal(findings=[problem("names", text)])


def _explain_palette(count: int) -> str:
    return f"the list has no colours: those of the masks are Pascal VOC's for its places 0-{count - 1}"


def _key(value: int, raw: RawValues) -> int | str:
    return f"#{value:06x}" if raw.are_colours else value
