"""Masks that number objects instead of classes: recognised by their values, and asked about.

No class is proposed for each of hundreds of objects. What tells them: values or colours of which most occur in one
mask only; values that each mask counts from 1; and the instance files of Cityscapes and KITTI, which hold
`class * 1000 + number` and `class * 256 + number`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from segkit.data.check.finding import note, problem
from segkit.data.check.propose.proposal import Choice, Proposal
from segkit.data.check.raw_values import RawValues
from segkit.data.files.label_map import IGNORE, REST

#: Masks below which nothing is said of what they share, and values from which on most may be in one mask only.
FEWEST_MASKS, FEWEST_VALUES = 3, 20
#: Values that count from 1 in each mask, and the share of them that are in no more masks than the one before.
FEWEST_COUNTED, COUNTED = 8, 0.9
#: Values that are more than nearly all data sets have classes, and the share of them in one mask only.
MANY_VALUES, MANY_ALONE, ALONE = 100, 0.5, 0.8
#: What classes are multiplied by, in Cityscapes' and KITTI's instance files.
DIVISORS = (1000, 256)
MOST_CLASSES = 256
OBJECT_NAMES = ("background", "object")


@dataclass(frozen=True)
class Instances:
    """Why values look like numbers of objects; `divisor`: they also hold the class, times this; 0: they do not."""

    why: str
    divisor: int = 0


def find_instances(values: Sequence[int], raw: RawValues) -> Instances | None:
    """What says that the values of the masks, or their colours, number objects; None if nothing does."""
    if raw.smoothed or raw.lossy:
        return None  # which have many values of another reason
    divisor = None if raw.are_colours else _find_divisor(values)
    if divisor is not None:
        return Instances(f"the values fit class * {divisor} + number of the object", divisor)
    objects = [value for value in values if value]
    if raw.count < FEWEST_MASKS or not objects:
        return None
    what = "colours" if raw.are_colours else "values"
    alone = sum(raw.masks[value] == 1 for value in objects) / len(objects)
    enough = MANY_ALONE if len(objects) > MANY_VALUES else ALONE
    if len(objects) >= FEWEST_VALUES and alone >= enough:
        return Instances(f"{alone:.0%} of the {len(objects)} {what} are in one mask only")
    counted = [value for value in objects if value not in _border(values, raw)]
    if not raw.are_colours and _count_from_1(counted, raw):
        return Instances(f"the masks count from 1, up to {counted[-1]}, each as far as it has objects")
    return None


def propose_objects(
    values: Sequence[int], raw: RawValues, names: Sequence[str], ignored: Sequence[int]
) -> Proposal:
    """Background and one class of objects."""
    key = (lambda value: f"#{value:06x}") if raw.are_colours else int
    unknown = ignored or _border(values, raw)
    label_map: dict[int | str, int | str] = {key(0): 0, **{key(value): IGNORE for value in unknown}, REST: 1}
    options: dict[str, Any] = {"classes": list(names), "label_map": label_map}
    return Proposal(options, why=[f"{key(0)} is {names[0]}, and each of the other values is a {names[1]}"])


def ask_about_instances(
    found: Instances, values: Sequence[int], raw: RawValues, ignored: Sequence[int], each: Proposal | None
) -> Proposal:
    """The question; `each` is the proposal in which each value is a class, None if that cannot be."""
    what = "colours" if raw.are_colours else "values"
    choices = []
    # Beside classes with numbers there are some without, which are no objects.
    if 0 in values and not found.divisor:
        options = propose_objects(values, raw, OBJECT_NAMES, ignored).options or {}
        flag = f"--classes {' '.join(OBJECT_NAMES)}"
        if ignored:
            shown = [f"'#{value:06x}'" if raw.are_colours else str(value) for value in ignored]
            flag += f" --ignore {' '.join(shown)}"
        zero = "black" if raw.are_colours else "0"
        choices.append(Choice(flag, f"{zero} is the background, and all objects are one class", options))
    if each is not None and each.options is not None and not ignored:
        choices.append(Choice("--ignore none", f"each of the {what} is a class", each.options))
    question = f"do the {len(values)} {what} number objects, rather than classes? {found.why}"
    if not choices:
        text = f"the {len(values)} {what} seem to number objects, and are no classes: {found.why}"
        return Proposal(findings=[problem("instances", text)], divisor=found.divisor)
    return Proposal(question=question, choices=choices, divisor=found.divisor)


def _border(values: Sequence[int], raw: RawValues) -> list[int]:
    """255, where it is no number of an object but that of pixels that are left out, as in Pascal VOC's files."""
    return [255] if not raw.are_colours and 255 in values and 254 not in values else []


def with_hint(proposal: Proposal, raw: RawValues, ignored: frozenset[int] | None) -> Proposal:
    """The proposal, if it came to nothing, with a note where the values seem to number objects."""
    if proposal.options is not None or proposal.question is not None or proposal.divisor is not None:
        return proposal
    found = find_instances([value for value in raw.drawn_values() if value not in (ignored or ())], raw)
    if found is None:
        return proposal
    text = f"the {'colours' if raw.are_colours else 'values'} seem to number objects, and are no classes: {found.why}"
    if not found.divisor:
        text += f"\n   -> --classes {' '.join(OBJECT_NAMES)} makes all objects one class"
    return replace(proposal, findings=[*proposal.findings, note("instances", text)], divisor=found.divisor)


def _count_from_1(objects: Sequence[int], raw: RawValues) -> bool:
    """Whether masks hold 1 ... n, each its own n: then no value is in more masks than the one before."""
    if len(objects) < FEWEST_COUNTED or list(objects) != list(range(1, len(objects) + 1)):
        return False
    pairs = list(itertools.pairwise(objects))
    falling = sum(raw.masks[after] <= raw.masks[before] for before, after in pairs)
    return falling >= COUNTED * len(pairs) and 2 * raw.masks[objects[-1]] <= raw.masks[objects[0]]


def _find_divisor(values: Sequence[int]) -> int | None:
    """What the classes in the values are multiplied by; None if that explains nothing."""
    fitting = {d: max(v % d for v in values if v >= d) for d in DIVISORS if _fits(values, d)}
    return min(fitting, key=fitting.__getitem__) if fitting else None


def _fits(values: Sequence[int], divisor: int) -> bool:
    numbers: dict[int, list[int]] = {}
    for value in values:
        if value >= divisor:
            numbers.setdefault(value // divisor, []).append(value % divisor)
    # In Cityscapes' files, what cannot be counted is the class itself; in KITTI's it is class * 256.
    plain = [value for value in values if value < divisor]
    if not numbers or max(numbers) >= MOST_CLASSES or any(v >= MOST_CLASSES for v in plain):
        return False
    if divisor == 256 and any(plain):
        return False
    most = max(numbers.values(), key=len)
    return len(most) >= 3 and max(most) < divisor // 2 and 3 * len(most) > max(most)
