"""Names that MLflow accepts."""

import pytest

from segkit.runs.recording.trackers.names import LONGEST, SafeNames, make_safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("val/iou/sky", "val/iou/sky"),
        ("val/iou/traffic light", "val/iou/traffic light"),
        ("val/iou/Bürgersteig", "val/iou/Bürgersteig"),
        ("val/iou/car (parked), left", "val/iou/car _parked__ left"),
        ("val/iou/..", "val/iou/_"),
        ("val/iou/a//b", "val/iou/a/_/b"),
        ("/x/", "_/x/_"),
        ("a\nb", "a_b"),
        ("x" * 1000, "x" * LONGEST),
    ],
)
def test_a_name_is_made_safe(name, safe):
    assert make_safe(name) == safe


def test_no_two_names_become_one():
    names = SafeNames()
    assert [names(name) for name in ("a(b", "a)b", "a_b", "a(b")] == ["a_b", "a_b_2", "a_b_3", "a_b"]
