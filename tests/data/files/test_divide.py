"""Dividing one set of images by their names."""

import random
import re

import pytest

from segkit.data.files.divide import choose_validation
from segkit.errors import ConfigError, DataError


def test_a_name_decides_alone():
    names = [f"image {number}" for number in range(500)]
    chosen = choose_validation(names, fraction=0.2)
    shuffled = random.Random(0).sample(names, k=len(names))
    assert choose_validation(shuffled, fraction=0.2) == chosen
    for kept in (names[:100], names[100:], names[::3]):
        assert choose_validation(kept, fraction=0.2) == chosen & set(kept)
    assert choose_validation(names, fraction=0.2, seed=1) != chosen


def test_the_choice_never_changes():
    """What a checkpoint was trained on must not become validation data with a newer segkit."""
    names = [f"{number:03}" for number in range(20)]
    assert sorted(choose_validation(names, fraction=0.2)) == ["001", "004", "006", "009", "011", "013"]
    assert sorted(choose_validation(names, fraction=0.2, seed=7)) == ["003", "008", "010", "018"]


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.9])
def test_the_share_is_about_the_one_asked_for(fraction):
    chosen = choose_validation([str(number) for number in range(20_000)], fraction=fraction)
    deviation = (20_000 * fraction * (1 - fraction)) ** 0.5
    assert abs(len(chosen) - 20_000 * fraction) < 4 * deviation


def test_larger_shares_hold_smaller_ones():
    names = [str(number) for number in range(300)]
    shares = [choose_validation(names, fraction=fraction) for fraction in (0.1, 0.3, 0.6)]
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("count", range(2, 12))
@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.999])
def test_both_parts_have_an_image(count, fraction):
    names = [str(number) for number in range(count)]
    for seed in range(20):
        assert 0 < len(choose_validation(names, fraction=fraction, seed=seed)) < count


def test_groups_stay_together():
    names = [f"patient{patient}/slice{n}" for patient in range(30) for n in range(5)]
    for group in (r"^patient\d+", r"^patient(\d+)/", r"^(?:patient)(\d+)"):
        chosen = choose_validation(names, fraction=0.3, group=group)
        assert 0 < len(chosen) < len(names)
        for patient in range(30):
            assert sum(name.startswith(f"patient{patient}/") for name in chosen) in (0, 5)


@pytest.mark.parametrize(
    ("names", "group", "error", "text"),
    [
        (
            [],
            None,
            DataError,
            "data.val_fraction=0.25 cannot divide 0 images into a training and a validation part",
        ),
        (
            ["a"],
            None,
            DataError,
            "data.val_fraction=0.25 cannot divide 1 image into a training and a validation part",
        ),
        (
            ["a_1", "a_2"],
            "^a",
            DataError,
            "data.val_fraction=0.25 cannot divide 2 images of one group (data.split_group='^a') into a training and a "
            "validation part",
        ),
        (["a_1", "b"], "^.*_", DataError, "data.split_group='^.*_' finds nothing in the image name 'b'"),
        (["a", "b"], "(", ConfigError, "data.split_group='(' is no regular expression: missing ), "),
    ],
)
def test_what_cannot_be_divided(names, group, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        choose_validation(names, fraction=0.25, group=group)
