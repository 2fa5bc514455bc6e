"""What is said of the size that images are scored at."""

import pytest

from segkit.data.scored_size import describe_sizes, scored_size


@pytest.mark.parametrize(
    ("labels", "shown", "words"),
    [
        (None, None, ""),
        (None, (16, 24), "at the size of their files"),
        ((16, 24), [16, 24], "resized to 16 x 24"),
        ((16, 24), None, "resized to 16 x 24"),
        ((16, 24), (8, 12), "resized to 16 x 24, and to 8 x 12 for the network"),
    ],
)
def test_what_labels_and_images_are_brought_to(labels, shown, words):
    assert describe_sizes(labels, shown) == words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"name": "shapes"}, ""),
        ({"resize": [16, 24]}, "resized to 16 x 24"),
        ({"parts": [{"resize": [16, 24]}, {"resize": [16, 24]}]}, "resized to 16 x 24"),
        ({"parts": [{"resize": [16, 24]}, {"resize": None}]}, "resized part by part"),
        ({"parts": [{"resize": [16, 24]}, {"parts": [{"resize": [16, 24]}]}]}, "resized to 16 x 24"),
        ({"parts": [{}, {}]}, ""),
    ],
)
def test_the_size_in_a_configuration(data, words):
    assert scored_size({"data": data}) == words
    original = "at the size of their files" if words else ""
    assert scored_size({"data": data, "eval": {"at": "original"}}) == original
    assert scored_size({"data": data}, at="original") == original
    assert scored_size({"data": data, "eval": {"at": "original"}}, at="network") == words
