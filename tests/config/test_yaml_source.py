"""PyYAML's traps are closed, every value knows its place, and no text can exhaust or command the machine."""

import math

import pytest
import yaml

from segkit.config import yaml_source
from segkit.config.problem import shorten
from segkit.config.yaml_source import (
    MAX_DEPTH,
    dump_inline,
    dump_yaml,
    parse_scalar,
    parse_yaml,
    to_node,
    to_plain,
)


def read(text):
    node, problems = parse_yaml(text, "f.yaml")
    assert problems == []
    return to_plain(node)


def complain(text):
    _, problems = parse_yaml(text, "f.yaml")
    return "\n".join(map(str, problems))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("+1.5e3", 1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("0", 0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_plain_words_with_a_type(text, value):
    loaded = read(f"a: {text}")["a"]
    assert loaded == value and type(loaded) is type(value)
    assert parse_scalar(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("no", "off", "yes", "on", "No", "ON", "y", "n"),
        *("1:30", "190:20:30", "2021-01-01", "2021-01-01 10:00:00"),
        *("010", "0o17", "0x1F", "1_000", "1.0.0", "1/16", "10%", "=", "12345678901234567890"),
    ],
)
def test_words_that_stay_strings(text):
    assert read(f"a: {text}") == {"a": text}


def test_not_a_number():
    assert math.isnan(read("a: .nan")["a"])


def test_quotes_make_a_string():
    assert read("a: '3'\nb: \"1e-4\"\nc: |\n  12\n") == {"a": "3", "b": "1e-4", "c": "12\n"}


def test_keys_have_types_too():
    assert read("{0: sky, 255: ignore, no: x, '7': y}") == {0: "sky", 255: "ignore", "no": "x", "7": "y"}


def test_places_of_keys_and_values():
    node, _ = parse_yaml(
        "seed: 3\nloss:\n  name: ohem_ce  # hard pixels\n  list: [1, 22]\n", "configs/a.yaml"
    )
    loss = node.value["loss"]
    assert str(loss.key_mark) == "configs/a.yaml:2:1"
    assert str(loss.value["name"].key_mark) == "configs/a.yaml:3:3"
    assert str(loss.value["name"].mark) == "configs/a.yaml:3:9"
    assert str(loss.value["list"].value[1].mark) == "configs/a.yaml:4:13"
    assert loss.value["name"].mark.text == "  name: ohem_ce  # hard pixels"
    assert loss.value["name"].mark.without_column() == "configs/a.yaml:3"


def test_aliases_are_values():
    assert read("a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


def test_duplicate_key():
    assert complain("a: 1\nb: 2\na: 3\n") == (
        "f.yaml:3:1: the key 'a' appears twice; the first is on line 1\n      3 | a: 3"
    )


def test_duplicate_key_keeps_the_first_and_reads_on():
    node, problems = parse_yaml("a: 1\na: 2\nb: {c: 1, c: 2}\n", "f.yaml")
    assert to_plain(node) == {"a": 1, "b": {"c": 1}}
    assert len(problems) == 2


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!mine", "!!set"]
)
def test_tags_construct_nothing(tag, monkeypatch):
    monkeypatch.setattr("os.system", lambda *args: pytest.fail("code ran"))
    node, problems = parse_yaml(f"a: {tag} [ls]", "f.yaml")
    assert to_plain(node) == {"a": ["ls"]}
    assert [p.message for p in problems] == [f"tags are not allowed, remove {tag}"]


def test_tag_on_an_anchor_is_reported():
    assert "tags are not allowed, remove !!int" in complain("a: &x !!int 3\nb: *x\n")


def test_merge_keys():
    assert complain("a: &x {b: 1}\nc:\n  <<: *x\n") == (
        "f.yaml:3:3: merge keys (<<) are not allowed\n      3 |   <<: *x\n"
        "   to share settings between files, use extends"
    )


def test_key_that_is_a_list():
    assert complain("? [1, 2]\n: 3\n") == (
        "f.yaml:1:3: a key must be a single word or number\n      1 | ? [1, 2]"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "f.yaml:1:5: YAML syntax: mapping values are not allowed here\n      1 | a: b: c"),
        (
            "a:\n\tb: 1",
            "f.yaml:2:1: YAML syntax: while scanning for the next token, found character '\\t' that cannot start "
            "any token\n      2 |  b: 1\n   indent with spaces, not tabs",
        ),
        (
            "a: [1, 2\nb: 3",
            "f.yaml:2:2: YAML syntax: while parsing a flow sequence, expected ',' or ']', but got ':'\n"
            "      2 | b: 3",
        ),
        (
            "a: 1\n---\nb: 2",
            "f.yaml:2:1: YAML syntax: expected a single document in the stream, but found another document\n"
            "      2 | ---",
        ),
        ("a: *b", "f.yaml:1:4: YAML syntax: found undefined alias 'b'\n      1 | a: *b"),
        ("ok: 1\na: \x01", "f.yaml:2:4: the character #x0001 is not allowed\n      2 | a: \\x01"),
        ("a: &x [*x]", "f.yaml:1:4: an alias stands inside its own anchor\n      1 | a: &x [*x]"),
    ],
)
def test_unreadable_text(text, message):
    node, problems = parse_yaml(text, "f.yaml")
    assert node is None
    assert [str(problem) for problem in problems] == [message]


def test_alias_bomb_stops_at_once(monkeypatch):
    """Half a kilobyte that expands to 3.9e9 values, of which no more are made than are allowed."""
    made = 0
    convert = yaml_source._Reader._convert

    def count(*arguments):
        nonlocal made
        made += 1
        return convert(*arguments)

    monkeypatch.setattr(yaml_source._Reader, "_convert", count)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    text = "\n".join(lines)
    assert len(text) < 600
    node, problems = parse_yaml(text, "f.yaml")
    assert made == yaml_source.MAX_NODES + 1
    assert node is None
    assert problems[0].message == "more than 100,000 values (each use of an alias counts)"


def test_too_many_values_without_aliases(monkeypatch):
    monkeypatch.setattr("segkit.config.yaml_source.MAX_NODES", 1000)
    assert complain("[" + "1," * 999 + "]") == ""
    assert "more than 100,000 values" in complain("[" + "1," * 1000 + "]")


def test_too_deep():
    assert f"nested more than {MAX_DEPTH} levels deep" in complain("[" * 5000)
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_too_large():
    assert complain("#" * 1_000_001) == "f.yaml: larger than 1 MB"
    assert complain("#" * 1_000_000) == ""


def test_escape_codes_do_not_reach_the_terminal():
    _, problems = parse_yaml("a: 1\na: 2", "f.yaml\x1b[31m")
    assert "\x1b" not in str(problems[0])


def test_long_lines_are_cut():
    assert shorten("x" * 101) == "x" * 97 + "..."
    assert shorten("x" * 100) == "x" * 100


def test_command_line_has_no_lines():
    _, problems = parse_yaml("[1", "command line: 'a=[1'", argument=2)
    assert str(problems[0]) == (
        "command line: 'a=[1': YAML syntax: while parsing a flow sequence, expected ',' or ']', "
        "but got '<stream end>'"
    )


VALUES = {
    "strings": [
        "1e-4",
        "1:30",
        "no",
        "010",
        "1_000",
        "2021-01-01",
        "null",
        "",
        "a: b",
        "# x",
        "10%",
        "ä",
        "a\nb",
    ],
    "numbers": [1e-4, 1e-5, 1e22, 0.1, 3, -7, 1.0, math.inf],
    "others": [None, True, False, [], {}, [[1, 2], {"a": [3]}]],
    "keys": {0: 1, "0": 2, "no": 3, "1e3": 4},
}


def test_what_is_written_reads_back():
    assert read(dump_yaml(VALUES)) == VALUES
    assert read(dump_inline(VALUES)) == VALUES


def test_what_is_written_reads_back_in_other_readers():
    assert yaml.safe_load(dump_yaml(VALUES)) == VALUES


def test_lists_stay_on_one_line():
    assert (
        dump_yaml({"b": {"y": [1, 2], "x": "1/16"}, "a": 1e-5}) == "b:\n  y: [1, 2]\n  x: 1/16\na: 1.0e-05\n"
    )


def test_plain_and_back():
    assert to_plain(to_node(VALUES, parse_yaml("a", "x")[0].mark)) == VALUES
