"""What stands in for the places of a machine in a configuration that leaves it."""

from segkit.config.carried.places import NOT_SAID, left_out, without_places
from segkit.config.load import config_from_mapping


def test_the_name_of_a_class_is_no_place():
    part = {
        "name": "folder",
        "root": "x",
        "classes": ["/", "~b"],
        "label_map": {0: "~b", 1: "/"},
        "class_map": {"/": "~b"},
    }
    other = {**part, "classes": "/home/me/classes.txt"}
    data = {"name": "mix", "classes": ["~b", "c"], "parts": [part, other]}
    mapping = {"data": data, "loss": {"name": "ce"}, "train": {"iterations": 1}}
    config = config_from_mapping(mapping, origin="test")
    found = without_places(config)["data"]
    assert found["classes"] == ["~b", "c"]
    assert {key: found["parts"][0][key] for key in part} == {**part, "root": NOT_SAID}
    assert found["parts"][1]["classes"] == NOT_SAID, "a file of classes is one"
    assert left_out(config) == ["data.parts.0.root", "data.parts.1.root", "data.parts.1.classes"]
