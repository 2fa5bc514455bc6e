"""Whether a loss does what segkit relies on, and what users of any loss hope for: a table of what holds.

The loss is called with small random batches for a few numbers of classes, at the first, middle and last
iteration of a run. The checks are in segkit/losses/checks. A loss can say that it does not promise one of them,
by an attribute `unpromised = {"name_of_the_check": "reason"}`; the table shows the reason.
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import yaml

from segkit.config.load import config_from_mapping, load_config
from segkit.config.schema import Config
from segkit.config.signature import accepts
from segkit.errors import ConfigError
from segkit.losses.checks.groups import GROUPS
from segkit.losses.checks.speed import speed
from segkit.losses.checks.trial import IGNORE_INDEX, NotApplicable, Subject, Violation
from segkit.registry import LOSSES
from segkit.system.device import choose_device
from segkit.system.typed import typed
from segkit.training.build_component import build_component

#: Iterations of the run in which a loss without a configuration is looked at; long enough for every default.
RUN = 100_000
CLASS_COUNTS = (2, 3, 5)
WIDTH = 100
MARKS = {True: "holds", False: "FAILS", None: "-"}


@dataclass(frozen=True)
class Outcome:
    """Of one check: whether the loss holds it (None: it does not apply), and the counterexample or reason."""

    group: str
    check: str
    promise: str
    holds: bool | None
    text: str = ""


def check_loss(words: Sequence[str], *, config: str | None = None, device: str = "cpu") -> int:
    """Check a loss and print the table; returns the exit status, 1 if anything that applies does not hold.

    `words` are the name of a loss and its parameters as `key=value`; or, with `config` (a file, a name in
    configs/ or a run folder), overrides of that configuration. Raises ConfigError for what cannot be built.
    """
    loaded = find_loss(words, config)
    subject = make_subject(loaded, choose_device(device))
    print(head(loaded, subject))
    outcomes = []
    for outcome in run_checks(subject):
        if not outcomes or outcomes[-1].group != outcome.group:
            print(f"\n{outcome.group}", flush=True)
        print(row(outcome), flush=True)
        outcomes.append(outcome)
    print(f"\nspeed  {measure_speed(subject)}")
    print(summary(loaded.loss.name, outcomes))
    return 1 if any(outcome.holds is False for outcome in outcomes) else 0


def find_loss(words: Sequence[str], config: str | None = None) -> Config:
    """A configuration whose loss block is the loss that is meant."""
    if config is not None:
        names = [word for word in words if word in LOSSES.names()]
        if names:
            instead = typed("check_loss", "--config", config, f"loss.name={names[0]}")
            raise ConfigError(
                f"--config {config} has a loss of its own, and '{names[0]}' is another\n"
                f"   -> {typed('check_loss', names[0])}, or {instead}"
            )
        return load_config(config, words)
    if not words or "=" in words[0]:
        raise ConfigError(f"which loss? -> {typed('check_loss')} ohem_ce thresh=0.6, or --config ohem.yaml")
    name, *parameters = words
    mapping = {"loss": {"name": name}, "train": {"iterations": RUN}}
    overrides = [
        word if word.startswith("loss.") else f"loss.{word}" for word in parameters
    ]  # as messages write it
    return config_from_mapping(mapping, origin="check_loss.py", overrides=overrides)


def make_subject(config: Config, device: torch.device) -> Subject:
    """The loss for every number of classes it can be built for: a few, and the lengths of lists among its options.

    The run has the configured iterations; where epochs are given, RUN, since the data are not opened. Raises
    ConfigError with the constructor's own message if the loss can be built for no number of classes.
    """
    run = config.train.iterations or RUN
    make = partial(build_component, LOSSES, config.loss, "loss", total=run)
    built, refusal = [], None
    for num_classes in sorted({*CLASS_COUNTS, *list_lengths(config.to_mapping()["loss"])}):
        try:
            loss = make(num_classes=num_classes, ignore_index=IGNORE_INDEX)
        except ConfigError as error:
            refusal = refusal or error
            continue
        built.append(num_classes)
        if getattr(loss, "logits_channels", None) == 1:
            break  # one logit stands for two classes, never for more
    if refusal is not None and not built:
        raise refusal
    return Subject(
        make,
        class_counts=tuple(built),
        iterations=tuple(sorted({0, run // 2, run - 1})),
        takes_ignore_index=accepts(LOSSES.get(config.loss.name), "ignore_index"),
        device=device,
    )


def list_lengths(value: Any) -> set[int]:
    """Lengths >= 2 of the lists of numbers within: `class_weights` says how many classes there are."""
    if isinstance(value, dict):
        return set().union(*(list_lengths(item) for item in value.values()))
    if not isinstance(value, list | tuple):
        return set()
    if len(value) > 1 and all(isinstance(item, int | float) for item in value):
        return {len(value)}
    return set().union(*(list_lengths(item) for item in value))


def run_checks(subject: Subject) -> Iterator[Outcome]:
    """Every check of the table, in its order."""
    for group, checks in GROUPS.items():
        for check in checks:
            holds, text = run_check(check, subject)
            yield Outcome(group, check.__name__, promise_of(check), holds, text)


def run_check(check: Callable[[Subject], None], subject: Subject) -> tuple[bool | None, str]:
    """Whether one check holds (None: does not apply), and the counterexample or the reason."""
    try:
        exempt: Any = getattr(subject.build(subject.class_counts[0]), "unpromised", {})
        if check.__name__ in exempt:
            return None, exempt[check.__name__]
        check(subject)
    except Violation as violation:
        return False, str(violation)
    except NotApplicable as reason:
        return None, str(reason)
    return True, ""


def promise_of(check: Callable) -> str:
    """What a check is about: the first line of its docstring."""
    return (check.__doc__ or "").strip().splitlines()[0].removesuffix(".")


def measure_speed(subject: Subject) -> str:
    """The line about speed, or why there is none."""
    try:
        return f"{speed(subject)}; for information only"
    except Violation as violation:
        return textwrap.shorten(f"not measured: {violation}", WIDTH - 8, placeholder=" ...")


def head(config: Config, subject: Subject) -> str:
    """What is checked, and for what."""
    loss = config.to_mapping()["loss"]
    name = loss.pop("name")
    options = {key: value for key, value in loss.items() if value is not None}
    if options:
        name += "  " + yaml.safe_dump(options, default_flow_style=True, sort_keys=False, width=10_000).strip()
    for_what = f"for {_listed(subject.class_counts)} classes, at iterations {_listed(subject.iterations)}"
    return f"{textwrap.fill(name, WIDTH, subsequent_indent='  ')}\n{for_what}, on {subject.device}"


def row(outcome: Outcome) -> str:
    """One check in the table, and below it the counterexample or why it does not apply."""
    line = f"  {MARKS[outcome.holds]:<6} {outcome.promise}"
    if not outcome.text:
        return line
    text = outcome.text if outcome.holds is False else f"not applicable: {outcome.text}"
    text = textwrap.shorten(text, 3 * (WIDTH - 11), placeholder=" ...")
    indent = " " * 11
    return f"{line}\n{textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)}"


def summary(name: str, outcomes: Sequence[Outcome]) -> str:
    """The counts, in one line."""
    holding, failing, other = (sum(outcome.holds is holds for outcome in outcomes) for holds in MARKS)
    verdict = f"{failing} {'does' if failing == 1 else 'do'} not hold" if failing else "all that apply hold"
    applicable = f"; {other} not applicable" if other else ""
    return f"{name}: {verdict} ({holding} of {holding + failing}{applicable})"


def _listed(numbers: Sequence[int]) -> str:
    texts = [f"{number:,}" for number in numbers]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
