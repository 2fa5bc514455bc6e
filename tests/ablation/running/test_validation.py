"""What variants are scored on, and which of them no report could compare."""

import numpy as np
import pytest

from segkit.ablation.running.validation import Validation, look_at, warn_of_others
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes

TWO = Validation(("a", "b"), 2, ("x", "y"), (4, 4), (10, 6))


@pytest.mark.parametrize(
    ("changes", "what", "advice"),
    [
        ({}, "", ""),
        ({"pixels": None}, "", ""),
        ({"names": None}, "", ""),
        (
            {"names": None, "count": 3},
            "validation images: others (3 instead of 2)",
            "validate all on the same images",
        ),
        ({"names": ("y", "x")}, "validation images: another order", "validate all on the same images"),
        ({"names": ("x", "z")}, "validation images: others (with z)", "validate all on the same images"),
        (
            {"class_names": ("a", "c")},
            "classes: others (a, c instead of a, b)",
            "one list of classes for all",
        ),
        (
            {"pixels": (9, 6)},
            "validation labels: others",
            "score all against the same labels, at the same size",
        ),
    ],
)
def test_what_differs_is_told(changes, what, advice):
    line = f"warning   {what} in other than in ce, so no report can compare them -> {advice}"
    found = {"first": TWO._replace(**changes), "ce": TWO, "other": TWO._replace(**changes)}
    expected = [line.replace("in other", f"in {name}") for name in ("first", "other")] if what else []
    assert warn_of_others(found, "ce") == expected
    assert warn_of_others({"first": TWO, "other": TWO}, "ce") == [], "the baseline is finished"
    assert warn_of_others({}, "ce") == []


def test_pixels_are_those_that_a_score_counts():
    shapes = Shapes("val", size=32, val_size=3)
    found = look_at(shapes)
    assert found[:4] == (shapes.class_names, 3, ("val_00000", "val_00001", "val_00002"), (32, 32))
    assert look_at(shapes, other=found).names is found.names and look_at(shapes).names is not found.names
    target = shapes[0].target.numpy()
    assert found.pixels == tuple(int((target == class_id).sum()) for class_id in range(5))


def test_a_first_image_that_cannot_be_used_is_nothing_known(tmp_path, save):
    save(tmp_path / "images/val/0.png", np.zeros((8, 8, 3), dtype=np.uint8))
    save(tmp_path / "masks/val/0.png", np.zeros((8, 8), dtype=np.uint8))
    folder = Folder("val", root=str(tmp_path), classes=["a", "b"])
    (tmp_path / "masks/val/0.png").write_bytes(b"no image")
    assert look_at(folder) == Validation(("a", "b"), 1)
