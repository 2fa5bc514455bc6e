"""From labels to class ids, and the classes that labels make."""

import pytest

from segkit.data.annotations.tools.names import NamedClasses, classes_of
from segkit.errors import ConfigError, DataError

CLASSES = ["background", "car", "road"]


def id_of(label: str, **options) -> int:
    return NamedClasses(CLASSES, **options).id_of(label, source="a.json", entry="shapes[3]")


def test_a_class_means_itself_and_the_map_wins():
    assert [id_of(name) for name in CLASSES] == [0, 1, 2]
    assert id_of("van", label_map={"van": "car"}) == 1
    assert id_of("car", label_map={"car": "road", "*": "ignore"}) == 2
    assert id_of("van", label_map={"*": "ignore"}) == 255
    assert id_of("van", label_map={"*": "road"}, ignore_index=7) == 2


def test_a_label_that_is_no_class():
    with pytest.raises(DataError) as raised:
        id_of("cars")
    assert str(raised.value) == (
        "label not among the classes: a.json, shapes[3], is 'cars'; data.classes are background, car, road\n"
        "   -> add it to data.classes, or say what it means: data.label_map='{cars: car}'"
    )
    with pytest.raises(DataError, match=r"data.label_map='\{tree: ignore\}'"):
        id_of("tree")


def test_what_nothing_is_drawn_on():
    assert NamedClasses(CLASSES).background == 0
    assert NamedClasses(CLASSES, background="road").background == 2
    assert NamedClasses(["car", "road"], background="ignore").background == 255


def test_every_mistake_at_once():
    with pytest.raises(ConfigError) as raised:
        NamedClasses(["car", "road", "car", "ignore"], {"van": "cra"}, ignore_index=1)
    assert raised.value.problems == [
        "data.ignore_index=1 is also the id of the class 'road'\n"
        "   -> an id that no class has, such as data.ignore_index=65535",
        "data.classes: a class cannot be called 'ignore', which label_map uses",
        "data.classes names 'car' twice",
        "data.background: there is no class 'background', there are: car, road, car, ignore, ignore",
        "data.label_map: 'van': there is no class 'cra', did you mean 'car'?",
    ]


def test_classes_that_nobody_lists():
    assert classes_of({"road", "car"}) == CLASSES
    assert classes_of({"van", "road", "x", "background"}, {"van": "car", "x": "ignore"}) == CLASSES
    assert classes_of({"a", "b"}, {"*": "thing"}) == ["background", "thing"]
    assert classes_of({"a", "b"}, background="ignore") == ["a", "b"]
    with pytest.raises(
        ConfigError, match="the labels make the class 'background' alone; at least 2 are needed"
    ):
        classes_of(set())
