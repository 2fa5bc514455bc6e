"""What an ablation file consists of, checked key by key; the variants' own settings are checked in plan.py."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from segkit.ablation.plan.grid import expand_variant
from segkit.ablation.study.claims import LEVEL, METRICS, check_level, check_margin, check_margin_of
from segkit.config.messages import show_value
from segkit.config.problem import Mark, Problem
from segkit.config.schema import Config
from segkit.config.sources import ABLATION_KEY
from segkit.config.yaml_source import Node, dump_inline, to_plain
from segkit.system.files import refuse_name

KEYS = (
    "name",
    "base",
    "seeds",
    "baseline",
    "group_by",
    "margin",
    "level",
    "metrics",
    "settings",
    ABLATION_KEY,
)
#: What an ablation cannot do without.
NEEDED = {
    "base": "the configuration that all variants start from, such as ohem.yaml",
    "seeds": "such as [0, 1, 2]; every variant is trained with each",
    "baseline": "the variant that the others are compared with",
    ABLATION_KEY: "a block of settings for each thing to compare",
}
LARGEST_SEED = 2**32 - 1
LONGEST_NAME = 100
#: Of a file's 255, so that `-seed4294967295.lock` fits behind it.
LONGEST_IN_BYTES = 230

#: What segkit sets in each run, with the reason that a message gives.
SET_BY_SEGKIT = {
    ("name",): "a run is named after its variant and seed",
    ("seed",): "every variant is trained with each of `seeds`",
    ("log", "dir"): "the runs of one ablation lie in one folder; `settings` may choose where",
}


@dataclass(frozen=True)
class AblationFile:
    """An ablation file in parts: what is not there, or wrong, is None or empty."""

    name: str | None = None
    base: Node | None = None
    seeds: tuple[int, ...] = ()
    baseline: str | None = None
    group_by: str | int | None = None
    margin: float | None = None
    level: float = LEVEL
    metrics: tuple[str, ...] = METRICS
    settings: Node | None = None
    variants: dict[str, Node] = field(default_factory=dict)


def read_ablation(root: Node, problems: list[Problem]) -> AblationFile:
    """The parts of an ablation file; what is wrong with them is added to `problems`."""
    source = Mark(root.mark.source)
    _check_keys(root, source, problems)
    readers: dict[str, Callable[[Node, list[Problem]], Any]] = {
        "name": _read_name,
        "base": lambda node, problems: node,
        "seeds": _read_seeds,
        "group_by": _read_group_by,
        "margin": _read_margin,
        "level": _read_level,
        "metrics": _read_metrics,
        "settings": _read_settings,
        ABLATION_KEY: _read_variants,
    }
    values = {key: read(root.value[key], problems) for key, read in readers.items() if key in root.value}
    variants = values.get(ABLATION_KEY) or {}
    if "baseline" in root.value:
        values["baseline"] = _read_baseline(root.value["baseline"], list(variants), problems)
    if values.get("margin") is not None:
        reason = check_margin_of((values.get("metrics") or METRICS)[0])
        problems += [] if reason is None else [Problem(root.value["margin"].mark, f"margin: {reason}")]
    return AblationFile(**{key: value for key, value in values.items() if value is not None})


def describe_needs() -> tuple[str, ...]:
    """What an empty ablation file lacks, as hints."""
    return ("an ablation needs:", *(f"- {key}: {what}" for key, what in NEEDED.items()))


def check_folder_name(value: Any) -> str | None:
    """Why `value` cannot name a variant (its runs' folders), None if it can."""
    if not isinstance(value, str):
        return f"must be text, got {show_value(value)} -> '{dump_inline(value)}' in quotes"
    if not value.strip() or value[0] in ".-" or value != value.strip() or re.search(r"[/\\\x00-\x1f]", value):
        return f"must be usable as a folder name: without / and \\, not starting with a dot or dash, got {value!r}"
    if len(value) > LONGEST_NAME:
        return f"must have at most {LONGEST_NAME} characters to be usable as a folder name, got {len(value)}"
    return refuse_name(value, LONGEST_IN_BYTES)


def check_seeds(values: Sequence[Any]) -> str | None:
    """Why `values` cannot be the seeds of an ablation, None if they can."""
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_SEED:
            return f"expected integers in [0, {LARGEST_SEED}], got {show_value(value)}"
    repeated = [value for place, value in enumerate(values) if value in values[:place]]
    if repeated:
        return f"the seed {repeated[0]} appears twice; runs of the same seed would be the same run"
    return None


def refuse_set_keys(node: Node, where: str, problems: list[Problem], *, allowed: tuple = ()) -> None:
    """Note the keys below `node` that segkit sets itself."""
    for path, reason in SET_BY_SEGKIT.items():
        found: Node | None = node
        for word in path:
            found = found.value.get(word) if found is not None and isinstance(found.value, dict) else None
        if found is not None and path not in allowed:
            message = f"{where}: '{'.'.join(path)}' is set by segkit, remove it"
            problems.append(Problem(found.key_mark or found.mark, message, (reason,)))


def _check_keys(root: Node, source: Mark, problems: list[Problem]) -> None:
    for key, node in root.value.items():
        if key in KEYS:
            continue
        close = difflib.get_close_matches(str(key).lower(), KEYS, n=1)
        meant = f", did you mean '{close[0]}'?" if close else ""
        hint = f"an ablation has: {', '.join(KEYS)}"
        if key == "extends":
            meant, hint = "", "-> base: FILE   (what all variants start from)"
        elif key in Config.model_fields and not close:
            meant, hint = "", f"-> settings: {{{key}: ...}}   (for every variant), or below one variant"
        problems.append(Problem(node.key_mark or node.mark, f"unknown key '{key}'{meant}", (hint,)))
    slips = [
        word
        for key in root.value
        if key not in KEYS
        for word in difflib.get_close_matches(str(key).lower(), KEYS, n=1)
    ]
    for key, what in NEEDED.items():
        if key not in root.value and key not in slips:
            problems.append(Problem(source, f"'{key}' is missing: {what}"))


def _read_name(node: Node, problems: list[Problem]) -> str | None:
    if node.value is None:  # the file's own name then, as of a configuration
        return None
    reason = check_folder_name(node.value)
    if reason is not None:
        problems.append(Problem(node.mark, f"name {reason}"))
    return node.value if reason is None else None


def _read_seeds(node: Node, problems: list[Problem]) -> tuple[int, ...]:
    values = to_plain(node)
    if not isinstance(values, list) or not values:
        hint = ("-> seeds: [0, 1, 2]",)
        problems.append(
            Problem(node.mark, f"seeds: expected a non-empty list, got {show_value(values)}", hint)
        )
        return ()
    reason = check_seeds(values)
    if reason is not None:
        problems.append(Problem(node.mark, f"seeds: {reason}"))
        return ()
    return tuple(values)


def _read_group_by(node: Node, problems: list[Problem]) -> str | int | None:
    value = to_plain(node)
    rule = "a regular expression with one group on image names, or a number of consecutive images >= 2"
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2:
        return value
    if not isinstance(value, str):
        problems.append(Problem(node.mark, f"group_by: expected {rule}, got {show_value(value)}"))
        return None
    try:
        groups = re.compile(value).groups
    except re.error as error:
        problems.append(Problem(node.mark, f"group_by: {value!r} is no regular expression: {error}"))
        return None
    if groups != 1:
        hint = ("the image name's part in parentheses names its group: '(seq[0-9]+)_[0-9]+'",)
        problems.append(Problem(node.mark, f"group_by: {value!r} has {groups} groups, expected one", hint))
    return value


def _read_margin(node: Node, problems: list[Problem]) -> float | None:
    """Of the file in points, here as a share."""
    value = to_plain(node)
    if value is None:
        return None
    reason = check_margin(value)
    if reason is not None:
        problems.append(Problem(node.mark, f"margin: {reason}"))
        return None
    return value / 100


def _read_level(node: Node, problems: list[Problem]) -> float | None:
    value = to_plain(node)
    if value is None:
        return None
    reason = check_level(value)
    if reason is not None:
        problems.append(Problem(node.mark, f"level: {reason}"))
        return None
    return float(value)


def _read_metrics(node: Node, problems: list[Problem]) -> tuple[str, ...] | None:
    """Whether the classes they name are there shows when the variants are built."""
    from segkit.ablation.statistics.metrics import check_metric  # late, because it needs NumPy

    names = to_plain(node)
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        hint = ("-> metrics: [miou, accuracy]   (the first is the main one)",)
        problems.append(
            Problem(node.mark, f"metrics: expected a list of names, got {show_value(names)}", hint)
        )
        return None
    reasons = [reason for reason in map(check_metric, names) if reason is not None]
    reasons += [f"'{name}' is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    problems += [Problem(node.mark, f"metrics: {reason}") for reason in reasons]
    return None if reasons else tuple(names)


def _read_settings(node: Node, problems: list[Problem]) -> Node | None:
    if node.value is None:
        return None
    if not isinstance(node.value, dict):
        problems.append(Problem(node.mark, f"settings: expected blocks, got {show_value(to_plain(node))}"))
        return None
    refuse_set_keys(node, "settings", problems, allowed=(("log", "dir"),))
    return _without_extends(node, "settings", problems)


def _read_variants(node: Node, problems: list[Problem]) -> dict[str, Node]:
    """The settings of each variant by name, the combinations of a grid one by one."""
    if not isinstance(node.value, dict) or not node.value:
        message = f"{ABLATION_KEY}: expected a block for each variant, got {show_value(to_plain(node))}"
        problems.append(Problem(node.mark, message, ("-> variants: {ce: {loss: {name: ce}}, ...}",)))
        return {}
    variants: dict[str, Node] = {}
    for key, block in node.value.items():
        for name, settings in _read_variant(key, block, problems).items():
            _check_variant_name(name, block, variants, problems)
            variants[name] = settings
    if len(variants) == 1 and not problems:
        problems.append(
            Problem(node.key_mark or node.mark, f"{ABLATION_KEY}: there is one; a comparison needs two")
        )
    return variants


def _read_variant(key: Any, block: Node, problems: list[Problem]) -> dict[str, Node]:
    where = block.key_mark or block.mark
    reason = check_folder_name(key)
    if reason is not None:
        problems.append(Problem(where, f"the variant's name {reason}"))
        return {}
    if not isinstance(block.value, dict):
        hint = f"-> {key}: {{loss: {{name: ...}}}}, or {key}: {{}} for the base as it is"
        got = "nothing" if block.value is None else show_value(to_plain(block))
        problems.append(Problem(where, f"{key}: expected a block of settings, got {got}", (hint,)))
        return {key: Node({}, block.mark, block.key_mark)}  # so that it counts as a variant
    variants = expand_variant(key, block, problems)
    shared = Node({word: node for word, node in block.value.items() if word != "grid"}, block.mark)
    for settings in variants.values():  # a block of a grid may have them too
        refuse_set_keys(settings, key, problems)
    _without_extends(shared, key, problems)
    return {name: _drop(node, "extends") for name, node in variants.items()}


def _check_variant_name(name: str, block: Node, earlier: dict[str, Node], problems: list[Problem]) -> None:
    reason = check_folder_name(name)  # a combination of a grid may be too long
    if reason is not None:
        problems.append(Problem(block.key_mark or block.mark, f"the variant's name {reason}"))
    same = next((other for other in earlier if other.casefold() == name.casefold()), None)
    if same is not None:
        message = f"the variant '{name}' would share its folders with '{same}'; rename one"
        problems.append(Problem(block.key_mark or block.mark, message))


def _read_baseline(node: Node, variants: list[str], problems: list[Problem]) -> str | None:
    if node.value in variants:
        return node.value
    if variants:
        close = difflib.get_close_matches(str(node.value).lower(), variants, n=1)
        meant = f", did you mean '{close[0]}'?" if close else ""
        message = f"baseline: there is no variant {show_value(to_plain(node))}{meant}"
        problems.append(Problem(node.mark, message, (f"there are: {', '.join(variants)}",)))
    return None


def _without_extends(node: Node, where: str, problems: list[Problem]) -> Node:
    if "extends" in node.value:
        mark = node.value["extends"].key_mark or node.value["extends"].mark
        hint = "`base` is what all variants start from; write here what differs"
        problems.append(Problem(mark, f"{where}: extends belongs in a file of its own", (hint,)))
    return _drop(node, "extends")


def _drop(node: Node, key: str) -> Node:
    return Node({word: child for word, child in node.value.items() if word != key}, node.mark, node.key_mark)
