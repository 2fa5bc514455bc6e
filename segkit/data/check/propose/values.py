"""From the values of masks to `classes` and `label_map`: what can be known is proposed, the rest is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from segkit.data.check.finding import Finding, problem
from segkit.data.check.known_values import VOC_BORDER, VOC_IDS, ids_behind_greys, is_voc_palette
from segkit.data.check.propose.instances import (
    ask_about_instances,
    find_instances,
    propose_objects,
    with_hint,
)
from segkit.data.check.propose.proposal import Answers, Choice, Proposal
from segkit.data.check.raw_values import RawValues
from segkit.data.files.label_map import IGNORE, REST
from segkit.data.files.validate import shorten
from segkit.system.printable import show_path

#: The id that data sets usually give to pixels nobody labelled, and that `ignore_index` is by default.
UNKNOWN = 255
#: The same in masks of 16 bits, which can have more classes than that.
UNKNOWN_16 = 65535
#: Distinct colours from which on a mask looks like a photograph.
MOST_CLASSES = 256


def propose(raw: RawValues, answers: Answers) -> Proposal:
    """Classes and label map for masks of these values."""
    if not raw.count:
        return Proposal(findings=[problem("no-mask", "no mask could be read")])
    if answers.ignored is None and raw.nodata and not raw.are_colours:
        return _propose_without_data(raw, answers)
    values = raw.drawn_values()
    proposal = _propose_objects(values, raw, answers) or _propose_each(values, raw, answers)
    if answers.names is not None:
        proposal = with_hint(proposal, raw, answers.ignored)
    found, rest = _find_smoothing(raw, values)
    if rest:
        choices = [replace(choice, options=_ignore_rest(choice.options)) for choice in proposal.choices]
        options = None if proposal.options is None else _ignore_rest(proposal.options)
        proposal = replace(proposal, options=options, choices=choices)
    return replace(proposal, findings=[*found, *proposal.findings])


def _propose_without_data(raw: RawValues, answers: Answers) -> Proposal:
    """What GDAL's tag in the files calls no data is unknown, unless it is a value that classes have, too."""
    declared = sorted(raw.nodata)
    chosen = propose(raw, replace(answers, ignored=frozenset(declared)))
    if all(value < 0 or value in (UNKNOWN, UNKNOWN_16) for value in declared) or chosen.options is None:
        says = f"{shorten(declared)} means unknown: the files' tag for no data says so (--ignore none makes it a class)"
        return replace(chosen, why=[says, *chosen.why])
    kept = propose(raw, replace(answers, ignored=frozenset()))
    choices = [Choice("--ignore none", f"{shorten(declared)} is a class", kept.options or {})]
    choices.append(Choice(_flag(declared), f"{shorten(declared)} means unknown", chosen.options))
    question = (
        f"the files' tag for no data names {shorten(declared)}: is it a class all the same, or unknown?"
    )
    return Proposal(question=question, choices=choices, findings=chosen.findings)


def _propose_each(values: list[int], raw: RawValues, answers: Answers) -> Proposal:
    """Each value or colour is a class, as far as it does not mean unknown."""
    return _propose_colours(values, raw, answers) if raw.are_colours else _propose_ids(values, raw, answers)


def _propose_objects(values: list[int], raw: RawValues, answers: Answers) -> Proposal | None:
    """What values that seem to number objects lead to; None if they are to be classes."""
    ignored = _ignored_in(values, answers.ignored)
    kept = [value for value in values if value not in ignored]
    said = answers.ignored == frozenset() or (answers.names is not None and len(answers.names) != 2)
    found = None if said else find_instances(kept, raw)
    if found is None or (found.divisor and answers.names is not None):
        return None
    if answers.names is not None:
        return propose_objects(kept, raw, answers.names, ignored)
    return ask_about_instances(
        found, kept, raw, ignored, _propose_each(values, raw, Answers(None, frozenset()))
    )


def _ignore_rest(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a label map that ignores all it does not name, but no class id."""
    return {**options, "label_map": {**options.get("label_map", {}), REST: IGNORE}}


def _propose_ids(values: list[int], raw: RawValues, answers: Answers) -> Proposal:
    ignored = answers.ignored
    kept = [value for value in values if value not in (ignored or ())]
    if not kept or len(values) < 2:
        return _only_one_value(values, kept)
    if len(kept) == 1 and answers.names is None:
        options = _number(kept, _default_names(2), _ignored_in(values, ignored))
        return Proposal(
            options, why=[f"{kept[0]} is the only class that occurs, and at least two are needed"]
        )
    if answers.names is not None:
        return _propose_named(kept, values, answers)
    greys = ids_behind_greys(kept)
    if greys is not None and any(value > len(kept) for value in kept):
        return _propose_greys(greys, answers)
    ids = [value for value in kept if value != UNKNOWN_16]
    if ignored is None and ids == list(range(len(ids))) and ids[-1] > UNKNOWN:
        return _accept_many_ids(ids, kept)
    if ignored is None and UNKNOWN in kept:
        others = [value for value in kept if value != UNKNOWN]
        if is_voc_palette({v: c for v, c in raw.palette.items() if v in kept}):
            return _accept_unknown(
                others, "the colours of the palette are Pascal VOC's, where 255 is the border"
            )
        if len(others) > 1 and others == list(range(len(others))):
            return _accept_unknown(
                others, f"the other values are the ids 0-{others[-1]}, and 255 is none of them"
            )
        return _ask_about_unknown(kept)
    if ignored is None and kept[0] < 0:
        return _ask_about_unknown(kept, [value for value in kept if value < 0])
    options = _number(kept, _default_names(len(kept)), _ignored_in(values, ignored))
    return Proposal(options, why=[*_explain_order(kept), *_explain_ignored(ignored)])


def _propose_named(kept: list[int], values: list[int], answers: Answers) -> Proposal:
    names, ignored = list(answers.names or ()), _ignored_in(values, answers.ignored)
    if kept[-1] < len(names):
        return Proposal(
            _options(names, dict.fromkeys(ignored, IGNORE)),
            why=["the values are places in the list of names"],
        )
    if len(kept) == len(names):
        if len(kept) > 2 and kept[-1] == UNKNOWN and answers.ignored is None and kept[-2] < len(names):
            return _ask_about_last(kept, names)
        return Proposal(_number(kept, names, ignored), why=["as many values as names, taken in their order"])
    if UNKNOWN in kept and answers.ignored is None and kept[-2] < len(names):
        return Proposal(
            _options(names, {}), why=["the values are places in the list of names, and 255 is unknown"]
        )
    if len(kept) == len(names) + 1:
        suspects = [UNKNOWN] if UNKNOWN in kept else [kept[0], kept[-1]]
        choices = [
            Choice(
                _flag([value, *ignored]),
                f"{value} means unknown",
                _number([v for v in kept if v != value], names, [*ignored, value]),
            )
            for value in suspects
        ]
        question = f"{len(names)} names but {len(kept)} values ({shorten(kept)}): which value means unknown?"
        return Proposal(question=question, choices=choices)
    text = (
        f"{len(names)} names but {len(kept)} values: {shorten(kept)}\n"
        "   -> as many --classes, or --ignore the values that mean unknown"
    )
    return Proposal(findings=[problem("names", text)])


def _propose_greys(greys: Mapping[int, Sequence[int]], answers: Answers) -> Proposal:
    """Palette files of Pascal VOC that somebody converted to grey, which is found out by the greys."""
    listed = ", ".join(f"{value} = {' or '.join(map(str, ids))}" for value, ids in greys.items() if value)
    text = (
        "the values are greys of Pascal VOC's palette: the masks were palette files and converted to grey\n"
        f"   the ids probably were: {listed}\n"
        "   -> take the palette files themselves, whose ids are unharmed"
    )
    found = [problem("palette-as-grey", text)]
    ignored = [
        value for value, ids in greys.items() if ids[0] == VOC_BORDER or value in (answers.ignored or ())
    ]
    kept = sorted((value for value in greys if value not in ignored), key=lambda value: greys[value][0])
    names = [f"class_{'_or_'.join(map(str, greys[value]))}" for value in kept]
    return Proposal(
        _number(kept, names, ignored), why=["the names have the ids before the conversion"], findings=found
    )


def _propose_colours(values: list[int], raw: RawValues, answers: Answers) -> Proposal:
    kept = [value for value in values if value not in (answers.ignored or ())]
    if len(kept) < 2 or len(kept) > MOST_CLASSES:
        text = f"the masks have {len(kept)} colours: no labels, or masks of a JPEG or a photograph"
        return Proposal(findings=[problem("colours", text)])
    ignored = _ignored_in(values, answers.ignored)
    if answers.names is not None:
        text = (
            "which colour is which class cannot be known from names alone\n"
            "   -> --classes FILE with the lines `name,r,g,b` and one per class below, as class_dict.csv has them"
        )
        return Proposal(findings=[problem("colours", text)])
    if set(kept) <= VOC_IDS.keys():
        known = sorted(kept, key=VOC_IDS.__getitem__)
        border = [value for value in known if VOC_IDS[value] == VOC_BORDER and answers.ignored is None]
        classes = [value for value in known if value not in border]
        names = [f"class_{VOC_IDS[value]}" for value in classes]
        options = _number(classes, names, [*ignored, *border], colours=True)
        return Proposal(options, why=["the colours are Pascal VOC's; the names have its ids"])
    if all(value == (value & 0xFF) * 0x010101 for value in kept):
        names = [f"class_{value & 0xFF}" for value in kept]
        why = ["the colours are greys, taken in their order", *_explain_ignored(answers.ignored)]
        return Proposal(_number(kept, names, ignored, colours=True), why=why)
    kept.sort(key=lambda value: -raw.pixels[value])
    options = _number(kept, [f"colour_{value:06x}" for value in kept], ignored, colours=True)
    return Proposal(
        options,
        why=["each colour is a class, the most frequent first", *_explain_ignored(answers.ignored)],
    )


def _only_one_value(values: list[int], kept: list[int]) -> Proposal:
    text = f"the masks hold {shorten(values) or 'nothing'}, of which {len(kept)} can be a class: nothing to tell apart"
    return Proposal(findings=[problem("one-value", text)])


def _accept_unknown(others: list[int], reason: str) -> Proposal:
    """255 for pixels without a label."""
    options = _number(others, _default_names(len(others)), [UNKNOWN])
    return Proposal(options, why=[f"255 means unknown: {reason} (--ignore none makes it a class)"])


def _accept_many_ids(ids: list[int], kept: list[int]) -> Proposal:
    """More ids than 8 bits can count, 255 among them; 65535, where it occurs, is for pixels without a label."""
    unknown = kept[len(ids) :]
    why = [f"the values are the ids 0-{ids[-1]}, so 255 is one of them"]
    if unknown:
        why.append(f"{UNKNOWN_16} means unknown: it is none of them (--ignore none makes it a class)")
    else:
        why += _explain_ignored(None)
    return Proposal(_number(ids, _default_names(len(ids)), unknown), why=why)


def _ask_about_unknown(kept: list[int], suspects: Sequence[int] = (UNKNOWN,)) -> Proposal:
    others = [value for value in kept if value not in suspects]
    shown, verb, are = shorten(suspects), *(("is", "a class") if len(suspects) == 1 else ("are", "classes"))
    choices = [Choice("--ignore none", f"{shown} {verb} {are}", _number(kept, _default_names(len(kept)), []))]
    names = _default_names(max(2, len(others)))
    alone = f"; then {others[0]} is the only class that occurs" if len(others) == 1 else ""
    means = "means" if len(suspects) == 1 else "mean"
    choices.append(
        Choice(_flag(suspects), f"{shown} {means} unknown{alone}", _number(others, names, list(suspects)))
    )
    return Proposal(
        question=f"the masks hold {shorten(kept)}: {verb} {shown} {are}, or unknown?", choices=choices
    )


def _ask_about_last(kept: list[int], names: list[str]) -> Proposal:
    """As many values as names, of which 255 is none of the places."""
    places = (
        f"255 means unknown; the other values are places in the list of names, {kept[0]} is {names[kept[0]]}"
    )
    order = f"255 is a class; the values are the names in their order, {kept[0]} is {names[0]} and 255 {names[-1]}"
    choices = [
        Choice("--ignore 255", places, _options(names, {UNKNOWN: IGNORE})),
        Choice("--ignore none", order, _number(kept, names, [])),
    ]
    question = f"{len(names)} names and the values {shorten(kept)}: is 255 a class, or unknown?"
    return Proposal(question=question, choices=choices)


def _find_smoothing(raw: RawValues, values: list[int]) -> tuple[list[Finding], bool]:
    """Masks that were smoothed or compressed with loss, and whether values are left over by that."""
    if not raw.smoothed and not raw.lossy:
        return [], False
    rest = sorted(raw.pixels.keys() - set(values))
    share = sum(raw.pixels[value] for value in rest) / max(1, raw.total)
    shown = shorten([_shown(value, raw) for value in rest], most=6)
    left = f": {shown} lie on edges, {100 * share:.2f} % of the pixels" if rest else ""
    ignored = "; the data: block ignores such pixels" if rest else ": not all of these values were drawn"
    found = [
        problem(
            "lossy-masks",
            f"{len(paths)} of {raw.count} masks are compressed as {codec}, which changes labels near edges{left}; "
            f"{show_path(paths[0])}\n   -> save masks as PNG, from what they were made of{ignored}",
            paths,
        )
        for codec, paths in raw.lossy.items()
    ]
    lossy = {path for paths in raw.lossy.values() for path in paths}
    smoothed = [path for path in raw.smoothed if path not in lossy]
    if smoothed:
        text = (
            f"{len(smoothed)} of {raw.count} masks were smoothed or resized{left}; {show_path(smoothed[0])}\n"
            "   -> make the masks anew, resized with `nearest` and saved as PNG; the data: block ignores such pixels"
        )
        found.append(problem("soft-masks", text, smoothed))
    return found, bool(rest)


def _number(
    values: Sequence[int], names: Sequence[str], ignored: Sequence[int], *, colours: bool = False
) -> dict[str, Any]:
    """Options that make the values the classes 0, 1, 2 ... in this order."""
    key = _colour if colours else int
    label_map: dict[int | str, int | str] = {key(value): n for n, value in enumerate(values)}
    says_nothing = list(values) == list(range(len(values))) and not colours
    if says_nothing:
        label_map = {}
    return _options(names, {**label_map, **{key(value): IGNORE for value in ignored}})


def _options(names: Sequence[str], label_map: Mapping[int | str, int | str]) -> dict[str, Any]:
    options: dict[str, Any] = {"classes": list(names)}
    if label_map:
        options["label_map"] = dict(label_map)
    return options | free_ignore_index(len(names))


def free_ignore_index(classes: int) -> dict[str, Any]:
    """The option that so many classes need, of which one else has the id 255."""
    return {"ignore_index": UNKNOWN_16} if classes > UNKNOWN else {}


def _default_names(count: int) -> list[str]:
    return [f"class_{n}" for n in range(count)]


def _explain_order(kept: list[int]) -> list[str]:
    if kept == list(range(len(kept))):
        return [f"the values are the ids 0-{kept[-1]}"]
    if kept == list(range(1, len(kept) + 1)):
        return [f"the values are 1-{kept[-1]} and 0 does not occur, so 1 becomes class 0"]
    return ["the values are numbered in their order"]


def _explain_ignored(ignored: frozenset[int] | None) -> list[str]:
    return ["if one of the values means unknown: --ignore VALUE"] if ignored is None else []


def _ignored_in(values: list[int], ignored: frozenset[int] | None) -> list[int]:
    return sorted(value for value in ignored or () if value in values)


def _flag(values: Sequence[int]) -> str:
    return f"--ignore {' '.join(map(str, sorted(values)))}"


def _shown(value: int, raw: RawValues) -> str:
    return _colour(value) if raw.are_colours else str(value)


def _colour(value: int) -> str:
    return f"#{value:06x}"
