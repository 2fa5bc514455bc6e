"""What is kept of a large COCO file: it equals what `read_index` makes of the file, or it is made anew."""

import json
import os
import shutil

import numpy as np
import pytest

from segkit.data.annotations.coco import kept_index
from segkit.data.annotations.coco.kept_index import find_index
from segkit.data.annotations.coco.read_index import read_index
from segkit.data.cache.place import on_disk
from segkit.errors import DataError

OBJECTS = {
    "images": [
        {"id": 7, "file_name": "a/ö\ud800.jpg", "height": 20, "width": 30},
        {"id": "x", "file_name": "b.jpg"},
    ],
    "categories": [
        {"id": 5, "name": "건물", "supercategory": "outdoor"},
        {"id": "k", "name": "dog"},
        {"id": 2.5, "name": "cat"},
    ],
    "annotations": [
        {"image_id": "x", "category_id": "k", "segmentation": [[1, 1, 5, 1, 5, 5]]},
        {"image_id": 7, "category_id": 99, "segmentation": []},
        {"image_id": "x", "category_id": 5, "segmentation": {"size": [20, 30], "counts": [600]}},
    ],
}
PANOPTIC = {
    **OBJECTS,
    "annotations": [
        {"image_id": 7, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 5}]},
        {"image_id": "x", "file_name": "b.png", "segments_info": []},
    ],
}
EMPTY = {"images": [], "categories": [], "annotations": []}
FILES = {"objects": OBJECTS, "panoptic": PANOPTIC, "empty": EMPTY}


@pytest.fixture
def place(tmp_path_factory, monkeypatch):
    """A cache in which any file is worth another."""
    monkeypatch.setattr(kept_index, "MANY", 0)
    return on_disk(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def read(monkeypatch):
    """The files that were gone through."""
    paths = []

    def noted(path):
        paths.append(path.name)
        return read_index(path)

    monkeypatch.setattr(kept_index, "read_index", noted)
    return paths


def write(path, data):
    path.write_text(json.dumps(data))
    return path


def assert_equal(found, expected):
    for name, one, other in zip(found._fields, found, expected, strict=True):
        if isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype, name
        else:
            assert one == other and type(one) is type(other), name
    assert [type(category.id) for category in found.categories] == [
        type(category.id) for category in expected.categories
    ]


@pytest.mark.parametrize("kind", FILES)
def test_what_is_kept_equals_what_is_read(tmp_path, place, read, kind):
    path = write(tmp_path / "a.json", FILES[kind])
    expected = read_index(path)
    for _ in range(3):
        index, notes = find_index(path, place=place)
        assert_equal(index, expected)
        assert notes == []
    assert read == ["a.json"]


def test_it_is_of_the_bytes_of_the_file(tmp_path, place, read):
    """A copy, or a file that was touched, is the same; a byte that changed in its place is noticed."""
    path = write(tmp_path / "a.json", OBJECTS)
    find_index(path, place=place)
    state = path.stat()
    os.utime(path, (1, 1))
    find_index(path, place=place)
    shutil.copy(path, tmp_path / "b.json")
    find_index(tmp_path / "b.json", place=place)
    assert read == ["a.json"]
    path.write_text(path.read_text().replace('"b.jpg"', '"c.jpg"'))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    assert find_index(path, place=place)[0].names[1] == "c.jpg"
    assert read == ["a.json", "a.json"]


def test_a_damaged_one_is_made_anew(tmp_path, place, read):
    path = write(tmp_path / "a.json", OBJECTS)
    expected = find_index(path, place=place)[0]
    (kept,) = (place.folder / kept_index.FOLDER).iterdir()
    whole = kept.read_bytes()
    for content in (whole[:-5], whole[:-1] + b"\xff", b"", b"{}"):
        kept.write_bytes(content)
        assert_equal(find_index(path, place=place)[0], expected)
        assert kept.read_bytes() == whole
    assert read == ["a.json"] * 5


def test_errors_are_those_of_the_file_and_nothing_is_kept(tmp_path, place):
    path = write(tmp_path / "a.json", {**OBJECTS, "annotations": [{"image_id": 8, "category_id": 5}]})
    for _ in range(2):
        with pytest.raises(DataError, match=r"annotations\[0\]: there is no image with the id 8"):
            find_index(path, place=place)
    assert not (place.folder / kept_index.FOLDER).exists()
    with pytest.raises(DataError, match=r"cannot read .*b.json: No such file"):
        find_index(tmp_path / "b.json", place=place)


def test_where_none_can_be_written_a_note_says_so(tmp_path, place, read):
    path = write(tmp_path / "a.json", OBJECTS)
    (place.folder / kept_index.FOLDER).write_text("a file")
    for _ in range(2):
        index, (note,) = find_index(path, place=place)
        assert_equal(index, read_index(path))
        assert note.startswith(
            f"what {path} holds is not kept, so the next start reads it again: cannot write "
        )
    assert read == ["a.json"] * 2


def test_small_files_are_not_kept(tmp_path, place, read, monkeypatch):
    monkeypatch.setattr(kept_index, "MANY", 10**6)
    path = write(tmp_path / "a.json", OBJECTS)
    for _ in range(2):
        find_index(path, place=place)
    assert read == ["a.json"] * 2 and not (place.folder / kept_index.FOLDER).exists()
