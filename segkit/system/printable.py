r"""Names that come from data, and may hold anything, as text that is safe on a terminal, in a log and in a picture.

Whoever writes a name into a message shows it by `show_name` or `show_path`, on one line. What writes to a stream or a
log passes all text through `printable`, so that a name that was forgotten, or a message of a library, cannot steer the
terminal either.
"""

import os
import unicodedata

#: Characters of a name that are shown; of a longer one the middle is left out. Those of a class stand in tables and in
#: legends, where a longer one would push out the rest.
MOST_CHARACTERS, MOST_OF_CLASS = 80, 40
_OMITTED = "..."
#: Control characters, halves of characters (bytes of a file name that is no UTF-8), and what ends a line or paragraph.
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
#: What turns round the direction of the text that follows, so that it reads as another.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, *, keep: str = "\n\t") -> str:
    r"""The text with an escape such as `\x1b` for every control character but those of `keep`, and for whatever ends a
    line or turns the direction of reading. A byte of a file name that is no UTF-8 becomes `\xff`."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or _is_seen(char) else _escape(char) for char in text)


def describe_controls(name: str) -> str | None:
    """What is wrong with the name of a class that holds line breaks or other control characters but tabs; else None.

    Names of classes become columns, keys and tags of files, where no escape would be read back.
    """
    if printable(name, keep="\t") == name:
        return None
    return f"the name of a class holds a line break or a control character: {show_name(name)}"


def show_name(name: object, *, most: int = MOST_CHARACTERS) -> str:
    """The name on one line of printable characters, with the middle left out beyond `most` of them (at least 8)."""
    text = printable(str(name), keep="")
    if len(text) <= most:
        return text
    last = (most - len(_OMITTED)) // 2
    return f"{text[: most - len(_OMITTED) - last]}{_OMITTED}{text[-last:]}"


def show_class(name: str) -> str:
    """The name of a class for a table on a terminal or for a legend, see `show_name`."""
    return show_name(name, most=MOST_OF_CLASS)


def show_path(path: str | os.PathLike[str]) -> str:
    """The path on one line of printable characters; the middle of each over-long name in it is left out."""
    text = os.fspath(path)
    if (
        len(text) <= MOST_CHARACTERS and text.isprintable()
    ):  # as most: it is shown for each sample that is read
        return text
    return "/".join(show_name(part) for part in text.split("/"))


def _is_seen(char: str) -> bool:
    return unicodedata.category(char) not in _UNSEEN and char not in _TURNING


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # as Python reads bytes that are no UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def printable_piece(text: str) -> str:
    """What is written to a stream in one piece, printable: carriage returns pass at its ends, where a progress bar has
    them."""
    inside = text.strip("\r")
    first = len(text) - len(text.lstrip("\r"))
    return text[:first] + printable(inside) + text[first + len(inside) :]
