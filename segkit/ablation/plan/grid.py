"""`grid` in a variant: one variant for each combination of the values of some keys."""

import re
from itertools import product

from segkit.config.messages import show_value
from segkit.config.problem import Problem
from segkit.config.sources import merge
from segkit.config.yaml_source import Node, dump_inline, parse_scalar, to_plain


def expand_variant(name: str, block: Node, problems: list[Problem]) -> dict[str, Node]:
    """The settings by variant name: `block` alone, or with each combination of its `grid` on top.

    A grid `{loss.thresh: [0.6, 0.7]}` makes `name-thresh-0.6` and `name-thresh-0.7`.
    """
    rest = Node({key: node for key, node in block.value.items() if key != "grid"}, block.mark, block.key_mark)
    if "grid" not in block.value:
        return {name: rest}
    grid = block.value["grid"]
    before = len(problems)
    _check_grid(name, grid, problems)
    if len(problems) > before:
        return {name: rest}
    labels = _label_keys(list(grid.value))
    variants: dict[str, Node] = {}
    for values in product(*(node.value for node in grid.value.values())):
        chosen = dict(zip(grid.value, values, strict=True))
        combined = "-".join([name, *(f"{labels[key]}-{_label_value(node)}" for key, node in chosen.items())])
        if combined in variants:
            message = f"{name}.grid: two combinations would be called '{combined}'; write them as variants"
            problems.append(Problem(grid.mark, message))
        variants[combined] = _apply_choice(rest, chosen, grid)
    return variants


def _check_grid(name: str, grid: Node, problems: list[Problem]) -> None:
    if not isinstance(grid.value, dict) or not grid.value:
        message = f"{name}.grid: expected lists of values by key, got {show_value(to_plain(grid))}"
        problems.append(Problem(grid.mark, message, ("-> grid: {loss.thresh: [0.6, 0.7]}",)))
        return
    for key, node in grid.value.items():
        place = f"{name}.grid.{key}"
        if not all(str(key).split(".")):
            problems.append(
                Problem(node.key_mark or node.mark, f"{place}: expected a key such as loss.thresh")
            )
        elif key in ("name", "seed", "log.dir"):
            problems.append(Problem(node.key_mark or node.mark, f"{place}: '{key}' is set by segkit"))
        elif not isinstance(node.value, list) or not node.value:
            message = f"{place}: expected a non-empty list of values, got {show_value(to_plain(node))}"
            problems.append(Problem(node.mark, message))
        else:
            plain = to_plain(node)
            texts = [dump_inline(value) for value in plain]  # of which 1 and 1.0 are two
            repeated = [value for n, value in enumerate(plain) if texts[n] in texts[:n]]
            if repeated:
                problems.append(Problem(node.mark, f"{place}: {show_value(repeated[0])} appears twice"))


def _apply_choice(rest: Node, chosen: dict[str, Node], grid: Node) -> Node:
    """The settings with one value for each key of the grid: outer keys before inner ones, of those in one block that
    which names its component first."""
    keys = {key: str(key).split(".") for key in chosen}
    for key in sorted(chosen, key=lambda key: (len(keys[key]), keys[key][-1] != "name")):
        mark = grid.value[key].key_mark or grid.mark
        tree = Node(chosen[key].value, chosen[key].mark, mark)
        for word in reversed(keys[key]):
            tree = Node({parse_scalar(word): tree}, mark, mark)
        rest = merge(rest, tree)
    return rest


def _label_keys(keys: list[str]) -> dict[str, str]:
    """The last word of each key where that tells them apart, else the whole key."""
    words = [str(key).rsplit(".", 1)[-1] for key in keys]
    apart = len(set(words)) == len(words)
    return {key: word if apart else _make_safe(str(key)) for key, word in zip(keys, words, strict=True)}


def _label_value(node: Node) -> str:
    value = to_plain(node)
    if isinstance(value, dict) and "name" in value:  # a block: its component, and what else it says
        rest = [f"{key}-{item}" for key, item in value.items() if key != "name"]
        return _make_safe("-".join([str(value["name"]), *rest]))
    return _make_safe(value if isinstance(value, str) else dump_inline(value))


def _make_safe(text: str) -> str:
    """1/16 as 1_16: only what every file system and shell takes as it is."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", text).strip("_") or "_"
