"""The lists of a JSON file, entry by entry, in pieces of any size."""

import json
import random

import pytest

from segkit.data.annotations.coco import json_entries
from segkit.data.annotations.coco.json_entries import JsonLists
from segkit.errors import DataError

CONTENT = {
    "info": {
        "description": 'a "quoted" [text] }{ \\ with ünicode and \u2028 and 𝄞',
        "year": 2017,
        "none": None,
    },
    "empty": [],
    "images": [{"id": 1, "file_name": "große Straße.jpg"}, {"id": 2, "file_name": "日本\\n.jpg"}],
    "number": -1.5e-3,
    "annotations": [
        {"id": n, "segmentation": [[0.5, n, 1e3, -2]], "deep": {"a": [{"b": "]}"}]}} for n in range(30)
    ],
    "plain": [1, "zwei", None, True, [3], 12345678901234567890, 1.25],
    "ключ": ["ü"],
}


def write(path, text: str, *, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def check_entries(path, content) -> None:
    lists = JsonLists(path)
    found = list(lists)
    assert lists.keys == list(content)
    expected = [
        (key, n, value)
        for key, values in content.items()
        if isinstance(values, list)
        for n, value in enumerate(values)
    ]
    assert [(entry.key, entry.number, entry.value) for entry in found] == expected
    whole = path.read_bytes()
    assert [json.loads(whole[entry.start : entry.end]) for entry in found] == [entry.value for entry in found]


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_entries_are_those_of_the_whole_file(tmp_path, monkeypatch, piece, ascii, indent):
    monkeypatch.setattr(json_entries, "PIECE", piece)
    text = json.dumps(CONTENT, ensure_ascii=ascii, indent=indent)
    check_entries(write(tmp_path / "a.json", text), CONTENT)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_space_and_the_mark_of_a_byte_order_may_be_around_it(tmp_path, encoding):
    text = f"\n\t {json.dumps(CONTENT)} \r\n"
    check_entries(write(tmp_path / "a.json", text.strip() + "\n", encoding=encoding), CONTENT)
    check_entries(write(tmp_path / "b.json", text), CONTENT)


def test_pieces_end_anywhere_in_files_made_at_random(tmp_path, monkeypatch):
    draw = random.Random(0)
    for n in range(60):
        value = {"x": [draw.choice([draw.random(), "a\\u00e9" * 5, "ß", {"k": [[]]}, -7]) for _ in range(9)]}
        monkeypatch.setattr(json_entries, "PIECE", draw.randint(1, 40))
        check_entries(write(tmp_path / f"{n}.json", json.dumps(value, ensure_ascii=n % 2 == 0)), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, 2', "1:12: it ends in the middle -> get the file again, which was cut short"),
        ('{"a":\n [{"b": "c', "2:9: it ends in the middle -> get the file again, which was cut short"),
        ('{"a": [1, 2}', "1:12: expected ',', found '}'"),
        ('{"a": [1,]}', "1:10: expected something between ',' and ']', found ']'"),
        ('{"a": 1,}', "1:9: expected something between ',' and '}', found '}'"),
        ('{"a" 1}', "1:6: expected ':', found '1'"),
        ("{a: 1}", "1:2: expected a key in quotes, found 'a'"),
        ('{"a":\n\n  [1, nix]}', "3:7: Expecting value"),
        ('{"a": [' + '["b",' * 100_000, "1:8: nested too deeply"),
        ("", "1:1: it ends in the middle -> get the file again, which was cut short"),
    ],
)
@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_files_that_are_no_json(tmp_path, monkeypatch, piece, text, message):
    monkeypatch.setattr(json_entries, "PIECE", piece)
    path = write(tmp_path / "a.json", text)
    with pytest.raises(DataError) as raised:
        list(JsonLists(path))
    assert str(raised.value) == f"not JSON: {path}:{message}"


def test_text_that_is_not_utf_8(tmp_path):
    path = write(tmp_path / "a.json", '{"a": [{"b": "ü"}]}', encoding="latin-1")
    with pytest.raises(DataError) as raised:
        list(JsonLists(path))
    assert str(raised.value) == f"not JSON: {path}:1:8: its text is not UTF-8"


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*: no such file"):
        list(JsonLists(tmp_path / "a.json"))
