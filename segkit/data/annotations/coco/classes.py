"""Which class the objects of a category are, and which classes there are if nobody lists them."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from segkit.data.annotations.coco.read_index import Category
from segkit.data.files.label_map import IGNORE, REST
from segkit.data.files.validate import shorten
from segkit.errors import ConfigError, DataError
from segkit.system.printable import show_name, show_path

#: What names the classes.
Naming = Literal["name", "supercategory"]


def name_of(category: Category, naming: Naming) -> str:
    """What a category is called."""
    return category.name if naming == "name" else category.supercategory or category.name


def list_classes(
    categories: Sequence[Category], label_map: Mapping[str, str], *, background: str | None, naming: Naming
) -> list[str]:
    """The classes that a file has, in the order of its ids, after `background` if that is not None.

    Those that `label_map` makes one have the place of the first of them, those to ignore none.
    """
    names = [] if background is None else [background]
    for category in sorted(categories, key=_order):
        own = name_of(category, naming)
        name = label_map.get(own, label_map.get(REST, own))
        if name != IGNORE and name not in names:
            names.append(name)
    return names


def category_values(
    categories: Sequence[Category],
    used: Sequence[int],
    label_map: Mapping[str, str],
    *,
    classes: Sequence[str],
    ignore_index: int,
    naming: Naming,
    source: Path,
) -> dict[object, int]:
    """Class id or `ignore_index` by the id of a category. Raises DataError for categories that are none of `classes`,
    if there are annotations of them; those without are left out."""
    values, unknown = {}, []
    for category, count in zip(categories, used, strict=True):
        own = name_of(category, naming)
        name = label_map.get(own, label_map.get(REST, own) if own not in classes else own)
        if name == IGNORE:
            values[category.id] = ignore_index
        elif name in classes:
            values[category.id] = classes.index(name)
        elif count:
            unknown.append((own, count))
    if unknown:
        own, count = unknown[0]
        raise DataError(
            f"category without a class: {show_path(source)} has {count} annotations of {show_name(own)!r}, which is "
            f"none of data.classes ({shorten(list(classes), most=6)})"
            + (f", and of {len(unknown) - 1} more" if len(unknown) > 1 else "")
            + f'\n   -> add it to data.classes, or data.label_map={{{own}: CLASS or {IGNORE}}}, or "*" for the rest'
        )
    return values


def check_classes(
    classes: Sequence[str], label_map: Mapping[str, str], *, background: str, ignore_index: int
) -> None:
    """Raises ConfigError for classes, the option `background` and a label map that contradict each other."""
    shown = shorten(list(classes), most=6)
    if len(classes) < 2:
        raise ConfigError(f"data.classes: expected at least 2, there are {shown or 'none'}")
    for name in classes:
        if classes.count(name) > 1:
            raise ConfigError(f"data.classes names {name!r} twice")
        if name in (IGNORE, REST):
            raise ConfigError(
                f"a class cannot be called {name!r}, which label_map uses -> data.label_map={{{name!r}: another}}"
            )
    if background != IGNORE and background not in classes:
        raise ConfigError(
            f"data.background={background} is none of data.classes ({shown})\n"
            f"   -> add it to data.classes, or data.background={IGNORE} for pixels that nothing covers"
        )
    for key, name in label_map.items():
        if name != IGNORE and name not in classes:
            raise ConfigError(
                f"data.label_map: {key!r}: there is no class {name!r}, there are: {shown}, {IGNORE}"
            )
    if 0 <= ignore_index < len(classes):
        raise ConfigError(
            f"data.ignore_index={ignore_index} is also the id of the class {classes[ignore_index]!r} "
            f"-> data.ignore_index=65535"
        )


def check_label_map(
    label_map: Mapping[str, str], categories: Sequence[Category], *, naming: Naming, source: Path
) -> None:
    """Raises ConfigError for names that no category has."""
    names = [name_of(category, naming) for category in categories]
    for key in label_map:
        if key != REST and key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {shorten(names, most=8)}"
            raise ConfigError(
                f"data.label_map: {show_path(source)} has no category {show_name(key)!r}, {hint}"
            )


def _order(category: Category) -> tuple[bool, object]:
    """By id; numbers before texts."""
    is_text = isinstance(category.id, str)
    return is_text, category.id
