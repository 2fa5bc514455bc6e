"""Names with control characters, of any length and in any encoding, as text that is safe to show."""

import io
import os

import pytest

from segkit.system.printable import (
    describe_controls,
    printable,
    show_class,
    show_name,
    show_path,
)
from segkit.system.screen import Screen

HOSTILE = "a\x1b[31m\n\t\r\x00\x7f\x85\u2028\u202e"


def test_what_is_printable_stays_as_it_is():
    text = "é ß 😀 \u00a0 क्\u200dष |<b>` \\\n\tend"  # among it what str.isprintable() refuses: nbsp, a joiner
    assert printable(text) == text


def test_control_characters_become_escapes():
    assert printable(HOSTILE) == "a\\x1b[31m\n\t\\r\\x00\\x7f\\x85\\u2028\\u202e"
    assert show_name(HOSTILE) == "a\\x1b[31m\\n\\t\\r\\x00\\x7f\\x85\\u2028\\u202e"


def test_bytes_that_are_no_utf8():
    assert show_name(os.fsdecode(b"a\xff")) == "a\\xff"
    assert show_name("\ud800") == "\\ud800"


def test_long_names_are_cut_in_the_middle():
    assert show_name("b" * 40 + "m" * 300 + "e" * 40) == "b" * 39 + "..." + "e" * 38
    assert show_name("b" * 80) == "b" * 80
    assert len(show_class("x" * 300)) == 40 and show_class("x" * 40) == "x" * 40
    assert show_path(f"/{'a' * 70}/{'b' * 300}.png") == f"/{'a' * 70}/{'b' * 39}...{'b' * 34}.png"


@pytest.mark.parametrize(
    ("written", "found"),
    [("a\x1b[2J\n", "a\\x1b[2J\n"), ("\r10 %|# | a\rb\r", "\r10 %|# | a\\rb\r"), ("\r", "\r"), ("", "")],
)
def test_stream(written, found):
    inner = io.StringIO()
    stream = Screen(inner)
    assert stream.write(written) == len(written)
    assert inner.getvalue() == found
    assert not stream.isatty()


def test_control_characters_in_the_name_of_a_class():
    assert describe_controls("wet\troad | <b>") is None
    assert describe_controls("a\nb") == "the name of a class holds a line break or a control character: a\\nb"
