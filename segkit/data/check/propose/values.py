"""From the values of masks to `classes` and `label_map`: what can be known is proposed, the rest is asked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from segkit.data.check.finding import problem
from segkit.data.check.known_values import ids_behind_greys, is_voc_palette
from segkit.data.check.propose.colours import propose_colours, propose_greys
from segkit.data.check.propose.instances import (
    ask_about_instances,
    find_instances,
    propose_objects,
    with_hint,
)
from segkit.data.check.propose.options import (
    UNKNOWN,
    UNKNOWN_16,
    default_names,
    explain_ignored,
    ignore_flag,
    ignored_in,
    named_options,
    number_options,
)
from segkit.data.check.propose.proposal import Answers, Choice, Proposal
from segkit.data.check.propose.smoothing import find_smoothing
from segkit.data.check.raw_values import RawValues
from segkit.data.files.label_map import IGNORE, REST
from segkit.data.files.validate import shorten

#: The highest numbers of types, which pixels that nobody labelled usually have.
HIGHEST = (UNKNOWN_16, 2**31 - 1, 2**32 - 1)


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
    found, rest = find_smoothing(raw, values)
    if rest:
        choices = [replace(choice, options=_ignore_rest(choice.options)) for choice in proposal.choices]
        options = None if proposal.options is None else _ignore_rest(proposal.options)
        proposal = replace(proposal, options=options, choices=choices)
    return replace(proposal, findings=[*found, *proposal.findings])


def _propose_without_data(raw: RawValues, answers: Answers) -> Proposal:
    """What GDAL's tag in the files calls no data is unknown, unless it is a value that classes have, too; the other
    values are as if it was not there."""
    declared = sorted(raw.nodata)
    rest = replace(
        raw,
        nodata=Counter(),
        pixels=Counter({value: count for value, count in raw.pixels.items() if value not in declared}),
    )
    chosen = propose(rest, replace(answers, declared=declared))
    unknown = dict.fromkeys(declared, IGNORE)
    choices = [
        replace(one, flag=_with_flag(one.flag, declared), options=_with_map(one.options, unknown))
        for one in chosen.choices
    ]
    options = None if chosen.options is None else _with_map(chosen.options, unknown)
    chosen = replace(chosen, options=options, choices=choices)
    kept = propose(replace(raw, nodata=Counter()), replace(answers, ignored=frozenset()))
    usual = all(value < 0 or value in (UNKNOWN, UNKNOWN_16) for value in declared)
    if usual or options is None or kept.options is None:
        says = f"{shorten(declared)} means unknown: the files' tag for no data says so (--ignore none makes it a class)"
        return replace(chosen, why=[says, *chosen.why])
    both = [
        Choice("--ignore none", f"{shorten(declared)} is a class", kept.options),
        Choice(ignore_flag(declared), f"{shorten(declared)} means unknown", options),
    ]
    question = (
        f"the files' tag for no data names {shorten(declared)}: is it a class all the same, or unknown?"
    )
    return Proposal(question=question, choices=both, findings=chosen.findings)


def _with_flag(flag: str, declared: Sequence[int]) -> str:
    """An answer about other values, with those that the files declare."""
    start, none = "--ignore ", flag.endswith(" none")
    if not flag.startswith(start):
        return flag
    return ignore_flag(declared) if none else f"{flag} {' '.join(map(str, declared))}"


def _with_map(options: Mapping[str, Any], entries: Mapping[int, str]) -> dict[str, Any]:
    return {**options, "label_map": {**options.get("label_map", {}), **entries}}


def _propose_each(values: list[int], raw: RawValues, answers: Answers) -> Proposal:
    """Each value or colour is a class, as far as it does not mean unknown."""
    return propose_colours(values, raw, answers) if raw.are_colours else _propose_ids(values, raw, answers)


def _propose_objects(values: list[int], raw: RawValues, answers: Answers) -> Proposal | None:
    """What values that seem to number objects lead to; None if they are to be classes."""
    ignored = ignored_in(values, answers.ignored)
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
        options = number_options(kept, default_names(2), ignored_in(values, ignored))
        return Proposal(
            options, why=[f"{kept[0]} is the only class that occurs, and at least two are needed"]
        )
    if answers.names is not None:
        return _propose_named(kept, values, answers)
    greys = ids_behind_greys(kept)
    if greys is not None and any(value > len(kept) for value in kept):
        return propose_greys(greys, answers)
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
    suspects = [value for value in kept if value < 0 or value in HIGHEST]
    if ignored is None and suspects and suspects != kept:
        return _ask_about_unknown(kept, suspects)
    options = number_options(kept, default_names(len(kept)), ignored_in(values, ignored))
    return Proposal(options, why=[*_explain_order(kept), *explain_ignored(ignored)])


def _propose_named(kept: list[int], values: list[int], answers: Answers) -> Proposal:
    names, ignored = list(answers.names or ()), ignored_in(values, answers.ignored)
    below = [value for value in kept if value < 0 or value in HIGHEST]
    if below and below != kept and answers.ignored is None and len(kept) != len(names):
        answered = replace(answers, ignored=frozenset(below))
        named = _propose_named([value for value in kept if value >= 0], values, answered)
        says = (
            f"{shorten(below)} means unknown: no place in a list is below 0 (--ignore none makes it a class)"
        )
        return replace(named, why=[says, *named.why])
    if kept[0] >= 0 and kept[-1] < len(names):
        return Proposal(
            named_options(names, dict.fromkeys(ignored, IGNORE)),
            why=["the values are places in the list of names"],
        )
    if len(kept) == len(names):
        if len(kept) > 2 and kept[-1] == UNKNOWN and answers.ignored is None and kept[-2] < len(names):
            return _ask_about_last(kept, names)
        return Proposal(
            number_options(kept, names, ignored), why=["as many values as names, taken in their order"]
        )
    if UNKNOWN in kept and answers.ignored is None and kept[-2] < len(names):
        return Proposal(
            named_options(names, {}), why=["the values are places in the list of names, and 255 is unknown"]
        )
    declared = shorten(answers.declared) if answers.declared else ""
    besides = f" besides {declared}, which the files' tag calls no data" if declared else ""
    counts = f"{len(names)} names but {len(kept)} values ({shorten(kept)}){besides}"
    if len(kept) == len(names) + 1:
        suspects = [UNKNOWN] if UNKNOWN in kept else [kept[0], kept[-1]]
        choices = [
            Choice(
                ignore_flag([value, *ignored]),
                f"{value} means unknown" + (f", as {declared}" if declared else ""),
                number_options([v for v in kept if v != value], names, [*ignored, value]),
            )
            for value in suspects
        ]
        asked = "which of them means unknown, too?" if declared else "which value means unknown?"
        return Proposal(question=f"{counts}: {asked}", choices=choices)
    others = f"{declared} and the other values" if declared else "the values"
    text = f"{counts}\n   -> as many --classes, or --ignore {others} that mean unknown"
    return Proposal(findings=[problem("names", text)])


def _only_one_value(values: list[int], kept: list[int]) -> Proposal:
    text = f"the masks hold {shorten(values) or 'nothing'}, of which {len(kept)} can be a class: nothing to tell apart"
    return Proposal(findings=[problem("one-value", text)])


def _accept_unknown(others: list[int], reason: str) -> Proposal:
    """255 for pixels without a label."""
    options = number_options(others, default_names(len(others)), [UNKNOWN])
    return Proposal(options, why=[f"255 means unknown: {reason} (--ignore none makes it a class)"])


def _accept_many_ids(ids: list[int], kept: list[int]) -> Proposal:
    """More ids than 8 bits can count, 255 among them; 65535, where it occurs, is for pixels without a label."""
    unknown = kept[len(ids) :]
    why = [f"the values are the ids 0-{ids[-1]}, so 255 is one of them"]
    if unknown:
        why.append(f"{UNKNOWN_16} means unknown: it is none of them (--ignore none makes it a class)")
    else:
        why += explain_ignored(None)
    return Proposal(number_options(ids, default_names(len(ids)), unknown), why=why)


def _ask_about_unknown(kept: list[int], suspects: Sequence[int] = (UNKNOWN,)) -> Proposal:
    others = [value for value in kept if value not in suspects]
    shown, verb, are = shorten(suspects), *(("is", "a class") if len(suspects) == 1 else ("are", "classes"))
    choices = [
        Choice("--ignore none", f"{shown} {verb} {are}", number_options(kept, default_names(len(kept)), []))
    ]
    names = default_names(max(2, len(others)))
    alone = f"; then {others[0]} is the only class that occurs" if len(others) == 1 else ""
    means = "means" if len(suspects) == 1 else "mean"
    choices.append(
        Choice(
            ignore_flag(suspects),
            f"{shown} {means} unknown{alone}",
            number_options(others, names, list(suspects)),
        )
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
        Choice("--ignore 255", places, named_options(names, {UNKNOWN: IGNORE})),
        Choice("--ignore none", order, number_options(kept, names, [])),
    ]
    question = f"{len(names)} names and the values {shorten(kept)}: is 255 a class, or unknown?"
    return Proposal(question=question, choices=choices)


def _explain_order(kept: list[int]) -> list[str]:
    if kept == list(range(len(kept))):
        return [f"the values are the ids 0-{kept[-1]}"]
    if kept == list(range(1, len(kept) + 1)):
        return [f"the values are 1-{kept[-1]} and 0 does not occur, so 1 becomes class 0"]
    return ["the values are numbered in their order"]
