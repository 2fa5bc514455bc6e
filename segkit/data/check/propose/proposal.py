"""What is asked, and what is proposed, of masks of which nothing is known yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from segkit.data.check.finding import Finding


@dataclass(frozen=True)
class Answers:
    """What a user says on the command line.

    names    of the classes, in the order of their values; None: not said
    ignored  values, or colours as 0xRRGGBB, that mean unknown; empty: none does; None: not said
    declared values that the files themselves call no data, and that are left out of those that are asked about
    """

    names: Sequence[str] | None = None
    ignored: frozenset[int] | None = None
    declared: Sequence[int] = ()


@dataclass(frozen=True)
class Choice:
    """One answer to a question: the flag that gives it, and the options it leads to."""

    flag: str
    meaning: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Proposal:
    """`options` are `classes` and `label_map` for `data:`, None if a question is open or nothing can be proposed.

    why        a line for each thing that was concluded
    question   what the files do not tell, with `choices`
    findings   problems of the values themselves
    divisor    the values are `class * divisor + number of an object`; 0: they number objects and say no class;
               None: nothing says that they do
    """

    options: dict[str, Any] | None = None
    why: list[str] = field(default_factory=list)
    question: str | None = None
    choices: list[Choice] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    divisor: int | None = None
