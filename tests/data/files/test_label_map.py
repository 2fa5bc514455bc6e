"""File values to class ids."""

import numpy as np
import pytest

from segkit.data.files.label_map import LabelMap
from segkit.errors import ConfigError, DataError

CLASSES = ["sky", "road", "car"]


def apply(label_map, values, *, colours=False, ignore_index=255):
    mapping = LabelMap(label_map, classes=CLASSES, ignore_index=ignore_index)
    return mapping.apply(np.array([values], dtype=np.int32), are_colours=colours, source="masks/a.png")[
        0
    ].tolist()


def message(label_map, values, **options):
    with pytest.raises(DataError) as raised:
        apply(label_map, values, **options)
    return str(raised.value)


def test_values_are_ids_without_a_map():
    assert apply(None, [0, 2, 255, 1]) == [0, 2, 255, 1]


def test_a_map_that_only_ignores_leaves_the_other_ids():
    assert apply({3: "ignore"}, [0, 3, 2]) == [0, 255, 2]
    assert apply({"0": "ignore"}, [0, 1, 2]) == [255, 1, 2]


def test_ignoring_the_rest_leaves_the_class_ids():
    assert apply({"*": "ignore"}, [0, 1, 2, 3, 70000, -1]) == [0, 1, 2, 255, 255, 255]
    assert apply({1: "ignore", "*": "ignore"}, [0, 1, 2, 9]) == [0, 255, 2, 255]


def test_values_beyond_16_bits():
    assert apply({-9999: "ignore"}, [0, -9999, 2]) == [0, 255, 2]
    assert apply({"-1": "car", 70000: 0}, [-1, 70000]) == [2, 0]
    assert apply({0: 1, "*": "car"}, [0, -5, 70000]) == [1, 2, 2]
    assert apply(None, [0, -100], ignore_index=-100) == [0, -100]
    assert message(None, [-9999, 0]).endswith("such as {-9999: ignore}")
    assert message({0: 0, 70000: 1}, [-1, 0, 70000]).endswith(
        'of which -1 is not named\n   -> add {-1: ignore}, or "*": ignore for all that are not named'
    )


def test_which_values_the_map_speaks_of():
    mapping = LabelMap({7: "car", "*": "ignore"}, classes=CLASSES, ignore_index=255)
    assert [mapping.names_value(value) for value in (7, 255)] == [True, False]
    assert LabelMap({"*": "car"}, classes=CLASSES, ignore_index=255).names_value(255)


def test_palette():
    def palette(label_map):
        return LabelMap(label_map, classes=CLASSES, ignore_index=255).palette

    colours = {"#000000": 0, "#ff0000": 1, "#0000ff": "ignore", "#102030": 2, "#ffffff": 1}
    assert palette(colours) == [(0, 0, 0), (255, 0, 0), (16, 32, 48)]
    assert palette({"#000000": 0, "#ff0000": 1}) is None
    assert palette({"#000000": 0, "#010101": 1, "#020202": 2}) is None
    assert palette(None) is None


def test_numbers_names_and_strings():
    assert apply({0: 0, 255: 1}, [0, 255]) == [0, 1]
    assert apply({"7": "car", 11: "sky", 12: "ignore"}, [7, 11, 12]) == [2, 0, 255]
    assert apply({300: "car", "*": "ignore"}, [300, 5, 65535]) == [2, 255, 255]
    assert apply({5: "ignore", "*": "road"}, [5, 6], ignore_index=-1) == [-1, 1]


def test_ids_that_no_byte_holds():
    classes = [str(number) for number in range(300)]
    mapping = LabelMap({7: 299, 8: "ignore", 300: 1}, classes=classes, ignore_index=1000)
    for values, ids in (([7, 8], [299, 1000]), ([7, 300, 8], [299, 1, 1000])):
        found = mapping.apply(np.array([values], dtype=np.int32), are_colours=False, source="a")
        assert found.tolist() == [ids]


@pytest.mark.parametrize("label_map", [None, {3: "ignore"}, {0: 2, "*": 1}, {0: 0, 255: 1}, {7: "car"}])
@pytest.mark.parametrize("values", [[0, 2, 255], [0, 255], [7, 7], [0, 3]])
def test_bytes_mean_what_wider_numbers_do(label_map, values):
    mapping = LabelMap(label_map, classes=CLASSES, ignore_index=255)
    found = []
    for dtype in (np.uint8, np.int32):
        try:
            ids = mapping.apply(np.array([values], dtype=dtype), are_colours=False, source="masks/a.png")
            found.append(ids.tolist())
        except DataError as error:
            found.append(str(error))
    assert found[0] == found[1]


def test_colours():
    colours = {"#000000": "sky", "#FF0000": 1, "#0000ff": "ignore"}
    assert apply(colours, [0xFF0000, 0, 0x0000FF], colours=True) == [1, 0, 255]
    assert apply({**colours, "*": "car"}, [0x123456, 0xFFFFFF, 0], colours=True) == [2, 2, 0]


def test_every_value_has_its_own_meaning():
    values = np.arange(65536)
    entries = {value: value % 3 for value in range(0, 65536, 7)}
    assert apply({**entries, "*": "ignore"}, values) == [entries.get(v, 255) for v in range(65536)]


def test_ids_out_of_range_look_like_grey_values():
    assert message(None, [0, 1, 147, 220]) == (
        "label out of range: masks/a.png has ids 0, 1, 147, 220 but data.classes has 3 classes (0-2), "
        "ignore_index 255\n"
        "   147, 220 look like grey values of a palette or RGB mask saved as grey\n"
        "   -> say what each value means with data.label_map, such as {147: ignore, 220: ignore}"
    )


def test_ids_that_start_at_one():
    assert message(None, [1, 2, 3]).endswith(
        "its ids start at 1 -> data.label_map: {1: 0, 2: 1, ...}, and 0: ignore if 0 is unlabelled"
    )


def test_id_just_out_of_range():
    assert message({3: "ignore"}, [0, 3, 4]) == (
        "label out of range: masks/a.png has ids 0, 4 but data.classes has 3 classes (0-2), ignore_index 255\n"
        "   -> say what each value means with data.label_map, such as {4: ignore}"
    )


def test_values_not_named():
    assert message({0: 0, 255: 1}, [0, 128, 255]) == (
        "label not in data.label_map: masks/a.png has values 0, 128, 255, of which 128 is not named\n"
        '   -> add {128: ignore}, or "*": ignore for all that are not named'
    )
    assert "of which 0, 70000 are not named\n   -> add {0: ignore}" in message({1: 0}, [0, 1, 70000])


def test_class_ids_left_out_of_a_map_are_proposed_as_they_are():
    assert message({7: 2}, [0, 1, 7]) == (
        "label not in data.label_map: masks/a.png has values 0, 1, 7, of which 0, 1 are not named\n"
        '   -> add {0: 0}, or "*": ignore for all that are not named'
    )


def test_255_is_not_ignored_by_a_map_that_does_not_say_so():
    assert "255 is not named" in message({0: 0, 1: 1}, [0, 1, 255])


def test_colours_not_named():
    assert message({"#000000": 0}, [0, 0x00FF00], colours=True) == (
        'label not in data.label_map: masks/a.png has the colours "#00ff00", which are not named\n'
        '   -> name them, or "*": ignore for all that are not named'
    )
    assert message({0: 0}, [0xFF00FF], colours=True).startswith(
        'colours without a meaning: masks/a.png is an RGB image with "#ff00ff"\n'
    )


def test_all_mistakes_in_a_map_are_reported_at_once():
    with pytest.raises(ConfigError) as raised:
        LabelMap({0: "raod", 1: 7, "red": 0, 2: "plane", 3: 0, "3": 1}, classes=CLASSES, ignore_index=255)
    assert raised.value.problems == [
        "data.label_map: 0: there is no class 'raod', did you mean 'road'?",
        "data.label_map: 1: there is no class 7: data.classes has 3 (ids from 0)",
        'data.label_map: \'red\': a key is a file value, "#rrggbb" or "*"',
        "data.label_map: 2: there is no class 'plane', there are: sky, road, car, ignore",
        "data.label_map: '3': this value is named twice",
    ]
