"""Groups of images that are not independent."""

import numpy as np
import pytest

from segkit.ablation.statistics.groups import group_images
from segkit.errors import ConfigError

NAMES = ["b/001", "a/001", "b/002", "c/001", "a/002"]


def test_every_image_is_independent_unless_told():
    groups = group_images(NAMES, None)
    assert groups.tolist() == [0, 1, 2, 3, 4]
    assert groups.dtype == np.int64


def test_a_capture_group_numbers_sequences_by_first_appearance():
    groups = group_images(NAMES, "^(.+)/")
    assert groups.tolist() == [0, 1, 0, 2, 1]
    assert groups.dtype == np.int64


def test_the_expression_is_searched_anywhere_in_the_name():
    assert group_images(["x_seq7_1", "seq7_2", "yy_seq8_1"], r"seq(\d+)").tolist() == [0, 0, 1]


def test_other_parentheses_do_not_capture():
    assert group_images(["left-a", "right-a", "left-b"], "(?:left|right)-(.)").tolist() == [0, 0, 1]


def test_consecutive_images_and_a_shorter_last_group():
    groups = group_images(NAMES, 2)
    assert groups.tolist() == [0, 0, 1, 1, 2]
    assert groups.dtype == np.int64


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        (
            "(",
            "group_by: '(' is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        (
            "^b",
            "group_by: '^b' has 0 capture groups, expected exactly one -> put (...) around the part of the name that "
            "is equal for images that belong together, and write other parentheses as (?:...)",
        ),
        (
            "(.)/(.)",
            "group_by: '(.)/(.)' has 2 capture groups, expected exactly one -> put (...) around the part of the name "
            "that is equal for images that belong together, and write other parentheses as (?:...)",
        ),
        (
            "^(b|c)/",
            "group_by: '^(b|c)/' captures nothing in the image name 'a/001' and 1 more"
            " -> change the expression so that it fits every image",
        ),
        (
            "^b|c|a/001|(2)$",
            "group_by: '^b|c|a/001|(2)$' captures nothing in the image name 'b/001' and 3 more"
            " -> change the expression so that it fits every image",
        ),
        (
            "(/00)",
            "group_by: '(/00)' makes 1 group(s) of 5 images; an interval over images needs at least 2 independent "
            "groups -> choose a finer group_by, or evaluate on more images",
        ),
        (
            5,
            "group_by: 5 makes 1 group(s) of 5 images; an interval over images needs at least 2 independent "
            "groups -> choose a finer group_by, or evaluate on more images",
        ),
        (
            1,
            "group_by: expected a regular expression or a number of consecutive images >= 2, got 1"
            " -> leave it out if every image is independent",
        ),
        (
            True,
            "group_by: expected a regular expression or a number of consecutive images >= 2, got True"
            " -> leave it out if every image is independent",
        ),
        (
            2.0,
            "group_by: expected a regular expression or a number of consecutive images >= 2, got 2.0"
            " -> leave it out if every image is independent",
        ),
    ],
)
def test_what_cannot_group_says_why(group_by, message):
    with pytest.raises(ConfigError) as caught:
        group_images(NAMES, group_by)
    assert str(caught.value) == message


def test_one_image_missed_is_named_alone():
    with pytest.raises(ConfigError, match="image name 'c/001' -> change"):
        group_images(NAMES, "^([ab])/")


@pytest.mark.parametrize("names", [[], ["only"]])
def test_fewer_than_two_images(names):
    message = rf"group_by: None makes {len(names)} group\(s\) of {len(names)} images"
    with pytest.raises(ConfigError, match=message):
        group_images(names, None)


@pytest.mark.parametrize(
    ("images", "sizes"), [(20, [5, 5, 5, 5]), (21, [5, 5, 5, 6]), (22, [5, 5, 5, 7]), (23, [5, 5, 5, 5, 3])]
)
def test_few_that_are_left_over_join_the_last_group(images, sizes):
    groups = group_images([f"{n:03d}" for n in range(images)], 5)
    assert np.bincount(groups).tolist() == sizes


def test_a_number_beyond_every_set_makes_one_group():
    with pytest.raises(ConfigError, match="makes 1 group"):
        group_images(["a", "b", "c"], 10**23)
