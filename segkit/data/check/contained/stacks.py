"""Multi-page TIFF files that belong together, as options of the data set `stack`."""

import os
from pathlib import Path
from typing import Any

from segkit.data.check.contained.names import pair_by_words
from segkit.data.check.find_layout import VAL_FRACTION, FoundLayout
from segkit.data.containers.parted_files import below, shown_below
from segkit.data.containers.stacks import pair_pages
from segkit.data.decoding.pages import find_pages
from segkit.data.decoding.parts import Source
from segkit.data.files.validate import shorten
from segkit.errors import DataError

SUFFIXES = (".tif", ".tiff")
#: Files of a folder that are looked into before it is taken for one of single images.
FEW = 4


def find_stacks(root: Path) -> FoundLayout | None:
    """The stacks of a folder in pairs; None where there is no pair. Raises DataError for pages that do not match."""
    stacks = [path for folder in _list_folders(root) for path in folder]
    found = pair_by_words((below(path, root), path) for path in stacks)
    if not found.train:
        return None
    options: dict[str, Any] = {}
    pairs: dict[str, list[tuple[Source, Source]]] = {}
    for part, files in (("train", found.train), ("val", found.val)):
        for what, place in (("images", 0), ("labels", 1)) if files else ():
            names = [pair[place].relative_to(root).as_posix() for pair in files]
            options[f"{part}_{what}"] = names[0] if len(names) == 1 else names
        pages = [page for pair in files for page in pair_pages(root, *pair)]
        if pages:
            pairs[part] = [(page.image, page.labels) for page in pages]
    text = "the pages of " + " and ".join(shown_below(path, root) for path in found.train[0])
    if len(found.train) + len(found.val) > 1:
        text += f" and of {len(found.train) + len(found.val) - 1} more pairs"
    if not found.val:
        options["val_fraction"] = VAL_FRACTION
        text += f"; nothing says which pages validate: the last {VAL_FRACTION:.0%} do, which lie side by side"
    if found.alone:
        text += f"; without partner: {shorten([shown_below(path, root) for path in found.alone], most=3)}"
    return FoundLayout(options, text, pairs, without_mask=[], without_image=[], name="stack")


def _list_folders(root: Path) -> list[list[Path]]:
    """The TIFF files of several pages, by folder."""
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(place) / name for name in sorted(names) if Path(name).suffix.lower() in SUFFIXES]
        paths = [path for path in paths if not path.name.startswith(".")]
        if any(_is_stack(path) for path in paths[:FEW]):
            found.append([path for path in paths if _is_stack(path)])
    return found


def _is_stack(path: Path) -> bool:
    try:
        return len(find_pages(path)) > 1
    except DataError:  # which whoever reads it reports
        return False
