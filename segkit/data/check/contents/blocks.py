"""Which `data:` block reads a folder as it is, by what its files hold, without masks being made first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segkit.data.check.contents.coco_blocks import propose_coco
from segkit.data.check.contents.describe import find_names
from segkit.data.check.contents.tool_blocks import (
    propose_cvat,
    propose_label_studio,
    propose_labelme,
    propose_yolo,
)

#: By the name of a kind of files (see `kinds` and `text_kinds`): a function of the folder that gives the block, with
#: `name` and `root` first, or None where such files are there and yet no block reads them.
PROPOSERS: dict[str, Callable[[Path], dict[str, Any] | None]] = {
    "panoptic": propose_coco,
    "coco": propose_coco,
    "labelme": propose_labelme,
    "yolo": propose_yolo,
    "cvat": propose_cvat,
    "label_studio": propose_label_studio,
}


def propose_block(root: Path) -> dict[str, Any] | None:
    """The block for the annotations that say most, in the order of `describe.ORDER`; None if none is read as it is.

    Files are told by their content. Raises DataError where a proposer does.
    """
    for name in find_names(root):
        block = PROPOSERS[name](root) if name in PROPOSERS else None
        if block is not None:
            return block
    return None
