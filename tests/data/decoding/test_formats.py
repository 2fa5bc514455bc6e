"""Every kind of file of format_cases.py is read as it was drawn, or refused, by training, checks and predictions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.data.check.file_facts import MOST_COLOURS, read_image_facts, read_mask_facts
from segkit.data.datasets.folder import Folder
from segkit.errors import DataError
from tests.conftest import write_image
from tests.data.decoding.format_case import SIZE, Case
from tests.data.decoding.format_cases import CASES


def read_case(case: Case, folder: Path) -> tuple[str, np.ndarray | None, np.ndarray | None]:
    """(what happened, what was drawn, what is read) of a case written into an empty folder."""
    path = folder / f"{case.what}s" / "train" / f"a{case.suffix}"
    path.parent.mkdir(parents=True)
    drawn = case.write(path)
    try:
        if case.what == "mask":
            return "read", drawn, _read_mask(path)
        return "read", drawn, _read_image(path, folder, drawn.shape[2])
    except DataError as error:
        return str(error), drawn, None


def _read_mask(path: Path) -> np.ndarray:
    """What training reads, which must be what the check counts."""
    folder = path.parents[2]
    write_image(folder / "images/train/a.png", np.zeros((*SIZE, 3), dtype=np.uint8))
    dataset = Folder("train", root=str(folder), classes=["a", "b"])
    values, _ = dataset.read_values(path)
    facts = read_mask_facts(path)
    ids, counts = np.unique(values, return_counts=True)
    assert facts.size == values.shape and facts.distinct == len(ids)
    if len(ids) <= MOST_COLOURS:
        assert facts.counts == dict(zip(ids.tolist(), counts.tolist(), strict=True))
    return values


def _read_image(path: Path, folder: Path, bands: int) -> np.ndarray:
    """What training reads, uint8 (H, W, S)."""
    write_image(folder / "masks/train/a.png", np.zeros(SIZE, dtype=np.uint8))
    facts = read_image_facts(path)
    assert (facts.size, facts.bands) == (SIZE, bands)
    image = Folder("train", root=str(folder), classes=["a", "b"], channels=bands)[0].image
    return image.as_subclass(torch.Tensor).numpy().transpose(1, 2, 0)


def as_bytes(drawn: np.ndarray) -> np.ndarray:
    """An image as it is to be read: 8 bits as they are, anything else from its darkest to its lightest number."""
    if drawn.dtype == np.uint8:
        return drawn
    low, high = float(drawn.min()), float(drawn.max())
    return np.floor((drawn.astype(np.float64) - low) * 255 / (high - low) + 0.5).astype(np.uint8)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_file_is_read_as_it_was_drawn_or_refused(tmp_path, case):
    if not case.is_writable:
        pytest.skip(f"{case.writer} is not installed, which writes this file")
    happened, drawn, read = read_case(case, tmp_path)
    if case.expected in ("exact", "lossy"):
        assert happened == "read"
        if case.what == "mask":
            path = tmp_path / f"masks/train/a{case.suffix}"
            assert (read_mask_facts(path).lossy is not None) == (case.expected == "lossy")
    if case.expected == "exact" and case.what == "mask":
        np.testing.assert_array_equal(read, drawn)
    elif case.expected == "exact":
        expected = as_bytes(drawn)
        assert read.shape == expected.shape
        # single precision may round the middle of two numbers the other way
        assert np.abs(read.astype(int) - expected).max() <= (drawn.dtype != np.uint8)
        assert (read == expected).mean() > 0.999
    elif case.expected != "lossy":
        assert case.expected in happened
