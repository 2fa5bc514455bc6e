"""Files that list the classes, as annotation tools write them."""

import json
import re

import pytest

from segkit.data.files.class_lists import add_entries, read_class_list
from segkit.errors import ConfigError

CVAT = """# label:color_rgb:parts:actions
background:0,0,0::
road:128,64,128:left,right:
car:0,0,142::drive,stop
"""


def read(root, text, name="classes.txt", **options):
    (root / name).write_bytes(text.encode(**options))
    return read_class_list(name, root)


def problem(root, text, name="classes.txt", **options):
    with pytest.raises(ConfigError) as raised:
        read(root, text, name, **options)
    return str(raised.value).replace(f"{root}/", "")


def test_one_name_per_line(tmp_path):
    listed = read(tmp_path, "# my classes\nsky\n\n  wet road \r\ncar: parked\nöl")
    assert listed.names == ["sky", "wet road", "car: parked", "öl"]
    assert listed.label_map == {}
    assert listed.path == tmp_path / "classes.txt"


def test_labelmes_list_counts_from_the_background(tmp_path):
    """labelme's scripts number the lines from -1, and write 255 for that."""
    listed = read(tmp_path, "__ignore__\n_background_\ncat\ndog\n", "labels.txt")
    assert listed.names == ["_background_", "cat", "dog"] and listed.label_map == {}
    assert read(tmp_path, "_background_\ncat\n__ignore__\n").names == ["_background_", "cat", "__ignore__"]


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\u2028b", "a\u202eb"])
def test_control_characters(tmp_path, name):
    shown = name.encode("unicode_escape").decode()
    found = problem(tmp_path, f'name,r,g,b\nsky,0,0,1\n"{name}",0,0,2\n', "class_dict.csv")
    assert "\x1b" not in found and shown in found and "class_dict.csv" in found


def test_byte_order_mark_and_old_line_ends(tmp_path):
    assert read(tmp_path, "sky\r\nroad\rcar", encoding="utf-8-sig").names == ["sky", "road", "car"]


def test_cvat(tmp_path):
    listed = read(tmp_path, CVAT, "labelmap.txt")
    assert listed.names == ["background", "road", "car"]
    assert listed.label_map == {0: 0, "#000000": 0, 1: 1, "#804080": 1, 2: 2, "#00008e": 2}


def test_cvat_without_colours(tmp_path):
    listed = read(tmp_path, "a:::\nb:::\n", "labelmap.txt")
    assert (listed.names, listed.label_map) == (["a", "b"], {})


def test_label_colors(tmp_path):
    listed = read(tmp_path, "64 128 64\tAnimal\n0 0 0\t\tVoid\n 1 2 3 traffic light\n", "label_colors.txt")
    assert listed.names == ["Animal", "Void", "traffic light"]
    assert listed.label_map == {"#408040": 0, "#000000": 1, "#010203": 2}
    assert (listed.of_tool, listed.background, listed.has_colours) == (True, "Void", True)
    assert "label_colors.txt:2: expected red green blue name, found 'b'" in problem(
        tmp_path, "1 2 3 a\nb\n", "label_colors.txt"
    )
    assert "expected red,green,blue from 0 to 255" in problem(tmp_path, "1 2 300 a\n1 2 3 b\n")


def test_label_colors_without_colours_and_with_shared_ones(tmp_path):
    listed = read(tmp_path, " Background\n cat\n", "label_colors.txt")
    assert (listed.names, listed.label_map, listed.background) == (["Background", "cat"], {}, "Background")
    listed = read(tmp_path, "0 0 0 none\n0 0 0 ego\n7 7 7 road\n", "label_colors.txt")
    assert (listed.label_map, listed.background) == ({"#070707": 2}, "none")


def test_dataset_meta(tmp_path):
    data = {
        "labels": ["background", "cat"],
        "label_map": {"0": "background"},
        "segmentation_colors": [[0, 0, 0], [1, 2, 3]],
    }
    listed = read(tmp_path, json.dumps(data, indent=2), "dataset_meta.json")
    assert (listed.names, listed.label_map) == (["background", "cat"], {"#000000": 0, "#010203": 1})
    assert (listed.of_tool, listed.background) == (True, "background")
    listed = read(tmp_path, '{"labels": ["a", "b"]}', "dataset_meta.json")
    assert (listed.names, listed.label_map, listed.background) == (["a", "b"], {}, None)


@pytest.mark.parametrize(
    "text",
    [
        '{"labels": ["a", "b"], "segmentation_colors": [[1, 2, 3]]}',
        "[1]",
        "{}",
        '{"labels": 3}',
        "{",
        '{"labels": null}',
    ],
)
def test_dataset_meta_that_is_none(tmp_path, text):
    assert 'dataset_meta.json:1: expected {"labels": [...]}' in problem(tmp_path, text, "dataset_meta.json")


def test_roboflow(tmp_path):
    listed = read(tmp_path, "Pixel Value, Class\n0, background\n7, crack\n", "_classes.csv")
    assert (listed.names, listed.label_map) == (["background", "crack"], {0: 0, 7: 1})
    listed = read(tmp_path, 'Pixel Value, Class\r\n0, "a, b"\r\n1, crack\r\n', "_classes.csv")
    assert (listed.names, listed.label_map) == (["a, b", "crack"], {})


def test_class_dict(tmp_path):
    listed = read(tmp_path, "name,r,g,b\nurban_land,0,255,255\nwater, 0, 0, 255\n", "class_dict.csv")
    assert (listed.names, listed.label_map) == (["urban_land", "water"], {"#00ffff": 0, "#0000ff": 1})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.txt", "sky\nroad\n# note\nsky\n", "classes.txt:4: the name sky stands on line 1 already"),
        (
            "classes.txt",
            "sky\nignore\n",
            "classes.txt:2: a class cannot be called 'ignore', which label_map uses",
        ),
        ("classes.txt", "sky\n", "data.classes: classes.txt names 1 class; at least 2 are needed"),
        ("classes.txt", "\n# none\n", "data.classes: classes.txt names no class; at least 2 are needed"),
        (
            "labelmap.txt",
            CVAT + "van;1,2,3\n",
            "labelmap.txt:5: expected name:red,green,blue:parts:actions, found 'van;1,2,3'",
        ),
        (
            "labelmap.txt",
            CVAT + "van:1,2::\n",
            "labelmap.txt:5: expected red,green,blue from 0 to 255, found '1,2'",
        ),
        (
            "labelmap.txt",
            CVAT + "van:1,2,256::\n",
            "labelmap.txt:5: expected red,green,blue from 0 to 255, found '1,2,256'",
        ),
        (
            "labelmap.txt",
            CVAT + "van:128,64,128::\n",
            "labelmap.txt:5: the value #804080 stands on line 3 already",
        ),
        (
            "_classes.csv",
            "id,class\n0,a\n",
            "_classes.csv:1: expected the header 'Pixel Value, Class' or 'name, r, g, b', found 'id,class'",
        ),
        ("_classes.csv", "", "data.classes: _classes.csv names no class; at least 2 are needed"),
        (
            "_classes.csv",
            "Pixel Value, Class\n0, a\nb\n",
            "_classes.csv:3: expected pixel value, class, found 'b'",
        ),
        (
            "_classes.csv",
            "Pixel Value, Class\n-1, a\n",
            "_classes.csv:2: expected a value from 0 to 65535, found '-1'",
        ),
        (
            "_classes.csv",
            "Pixel Value, Class\n1, a\n1, b\n",
            "_classes.csv:3: the value 1 stands on line 2 already",
        ),
    ],
)
def test_mistakes_name_file_and_line(tmp_path, name, text, message):
    assert problem(tmp_path, text, name) == message


def test_files_that_are_no_text(tmp_path):
    assert problem(tmp_path, "öl\nsky", encoding="latin-1") == (
        "cannot read classes.txt: it is not UTF-8 text -> save it as UTF-8"
    )
    assert problem(tmp_path, "a\0b\nc") == "cannot read classes.txt: it is not a text file"


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError) as raised:
        read_class_list("names.txt", tmp_path)
    assert str(raised.value) == (
        f"data.classes: no file names.txt in {tmp_path} or in the current folder\n"
        "   -> a list such as [background, crack], or a file: one name per line, CVAT's labelmap.txt, "
        "Roboflow's _classes.csv, a class_dict.csv of name,r,g,b or a label_colors.txt"
    )
    with pytest.raises(ConfigError, match=re.escape(f"no file {tmp_path}/names.txt\n")):
        read_class_list(f"{tmp_path}/names.txt", tmp_path)


def test_files_of_another_kind(tmp_path):
    text = problem(tmp_path, "names: [a, b]", "data.yaml")
    assert text.startswith("data.classes: cannot read classes from data.yaml\n   -> a list such as")


def test_root_comes_before_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "classes.txt").write_text("a\nb")
    monkeypatch.chdir(tmp_path / "here")
    assert read_class_list("classes.txt", tmp_path).names == ["a", "b"]
    (tmp_path / "classes.txt").write_text("c\nd")
    assert read_class_list("classes.txt", tmp_path).names == ["c", "d"]


def test_given_entries_win():
    listed = {0: 0, "#00ff00": 0, 1: 1, "#ff0000": 1}
    assert add_entries(listed, {"#00FF00": "ignore", "1": "ignore", 5: 1}) == {
        0: 0,
        "#ff0000": 1,
        "#00FF00": "ignore",
        "1": "ignore",
        5: 1,
    }
