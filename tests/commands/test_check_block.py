"""scripts/check_data.py ROOT for a folder that is read as it is: the block that is proposed, and checked."""

import numpy as np
import pytest

from segkit.data.check.contents import blocks
from segkit.errors import DataError
from tests.commands import test_check_folder as folders
from tests.commands.test_check_folder import (
    MINE,
    build,
    explore,
    facts,
    printed_blocks,
    proposal,
    save,
    squares,
)

here = folders.here


def make_arrays(monkeypatch, answer) -> None:
    """Images with arrays beside them, and somebody who proposes `answer` for arrays."""
    for n, split in enumerate(("train", "train", "val")):
        save(f"images/{split}/{n}.png", squares((0, 200)))
        save(f"made/{split}/{n}.png", squares((0, 1)))
        np.save(MINE / f"made/{n}.npy", squares((0, 1)))
    monkeypatch.setitem(blocks.PROPOSERS, "npy", lambda root: answer)


BLOCK = {"name": "folder", "root": str(MINE), "classes": ["a", "b"], "masks": "made/{split}", "channels": 1}


def test_the_block_of_what_is_read_as_it_is_is_printed_written_and_checked(monkeypatch, capsys):
    make_arrays(monkeypatch, BLOCK)
    assert explore() == 0
    text = capsys.readouterr().out
    assert text.startswith("root      data/mine\nfound     made/0.npy and 2 more: NumPy array, int64 24x32\n")
    assert proposal() == BLOCK and facts()["train"]["usable"] == 2
    (block,) = printed_blocks(text)
    assert build(block)[1] == [[0, 1]] * 3
    assert text.endswith("next      python train.py --config runs/check/mine/data.yaml\n")


def test_without_a_proposal_it_says_how_masks_are_made(monkeypatch):
    make_arrays(monkeypatch, None)
    with pytest.raises(DataError, match="no images with masks found in data/mine"):
        explore()


def test_flags_that_are_about_masks_leave_it_at_masks(monkeypatch):
    make_arrays(monkeypatch, BLOCK)
    with pytest.raises(DataError, match="no images with masks found in data/mine"):
        explore(classes=["a", "b"])
