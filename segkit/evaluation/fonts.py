"""Names in plots and pictures: in an installed font that has their characters, else spelled in letters that are there.

matplotlib's own font, DejaVu Sans, has most alphabets, but no Chinese, Japanese or Korean and none of India or
Thailand; Pillow's has little more than ASCII.
"""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from PIL import ImageDraw, ImageFont

from segkit.system.markup import plot_label
from segkit.system.printable import MOST_OF_CLASS, printable, show_class

#: The font that comes with matplotlib, so that it is always there.
PLOT_FONT = "DejaVu Sans"
#: Pixels of Pillow's own font if nobody says otherwise.
SIZE = 10
#: Has a box for every character, and is what matplotlib draws when it has nothing else.
_BOXES = "Last Resort"
_SPELLED = re.compile(r".* (?:LETTER|SYLLABLE|VOWEL SIGN) (?:SMALL )?([A-Z]+)(?: WITH .*)?")
_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")


@dataclass(frozen=True)
class FontFile:
    """An installed font: the name of its family, and a file of it."""

    family: str
    path: str


#: The font for every character that was asked for; None where no font has it.
_fonts: dict[str, FontFile | None] = {}
#: Whether it was said that a font is missing.
_said = False


def installed_fonts() -> list[FontFile]:
    """A file of each family of fonts, upright and of usual weight where there is one; those without serifs first."""
    from matplotlib import font_manager

    def rank(entry: font_manager.FontEntry) -> tuple[bool, bool, bool, str]:
        usual = str(entry.weight) in ("400", "normal", "regular", "book")
        return (entry.style != "normal", not usual, "Sans" not in entry.name, entry.name)

    files: dict[str, str] = {}
    for entry in sorted(font_manager.fontManager.ttflist, key=rank):
        if not entry.name.startswith(_BOXES):
            files.setdefault(entry.name, str(entry.fname))
    return [FontFile(name, path) for name, path in files.items()]


def drawable(names: Sequence[str], *, kind: str = "class") -> list[str]:
    """The names, which are printable, as plots and pictures can show them.

    A name with characters that no font here has is spelled in others, as far as that stays short and no other name
    becomes the same: else it is `class 3` after its place. The first such name of a process is said on stderr.
    """
    find_fonts(names)
    spelled = [name if _has_fonts(name) else _spell(name) for name in names]
    often, found = Counter(spelled), []
    for place, (name, text) in enumerate(zip(names, spelled, strict=True)):
        clear = text == name or (len(text) <= MOST_OF_CLASS and often[text] == 1)
        found.append(text if clear else f"{kind} {place}")
        if text != name:
            _say_once(name, found[-1])
    return found


def drawable_text(text: str) -> str:
    """Any text as plots and pictures can show it: spelled where no font has its characters."""
    find_fonts([text])
    if _has_fonts(text):
        return text
    _say_once(text, _spell(text))
    return _spell(text)


def plot_labels(names: Sequence[str]) -> list[str]:
    """Names of classes as labels of a plot that is drawn within `name_fonts`."""
    return [plot_label(name) for name in drawable([show_class(name) for name in names])]


@contextmanager
def name_fonts() -> Generator[None, None, None]:
    """What matplotlib draws within takes the characters that its font lacks from the `families` that have them."""
    import matplotlib

    usual = matplotlib.rcParams["font.family"]
    with matplotlib.rc_context({"font.family": list(dict.fromkeys([*usual, *families()]))}):
        yield


def families() -> list[str]:
    """The families that have the characters of all names so far."""
    found = {font.family for font in list(_fonts.values()) if font is not None}
    return sorted(found, key=lambda family: (family != PLOT_FONT, family))


def write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, *, size: int = SIZE) -> None:
    """Write a line of text into a picture, black, with its upper left corner at `place`."""
    x, y = place
    if text.isascii():
        draw.text(place, text, fill="black", font=_picture_font(None, size))
        return
    baseline = y + _ascent(size)
    for piece, font in _pieces(drawable_text(text), size):
        draw.text((x, baseline), piece, fill="black", font=font, anchor="ls")
        x += font.getlength(piece)


def text_width(text: str, *, size: int = SIZE) -> float:
    """Pixels that `write` takes for a line of text."""
    if text.isascii():
        return _picture_font(None, size).getlength(text)
    return sum(font.getlength(piece) for piece, font in _pieces(drawable_text(text), size))


def _pieces(text: str, size: int) -> list[tuple[str, ImageFont.ImageFont | ImageFont.FreeTypeFont]]:
    """The text in pieces that one font has; Pillow takes no character from another."""
    if text.isascii():
        return [(text, _picture_font(None, size))]
    fonts: list[FontFile | None] = []
    for char in text:  # a blank or a mark stays with the letter before it
        fonts.append(_fonts.get(char) or (fonts[-1] if fonts else None))
    first = next((font for font in fonts if font is not None), None)
    pieces = groupby(zip(text, fonts, strict=True), key=lambda pair: pair[1] or first)
    return [("".join(char for char, _ in piece), _picture_font(font, size)) for font, piece in pieces]


@cache
def _picture_font(font: FontFile | None, size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size) if font is None else ImageFont.truetype(font.path, size)


def _ascent(size: int) -> float:
    font = _picture_font(None, size)
    return font.getmetrics()[0] if isinstance(font, ImageFont.FreeTypeFont) else size


def find_fonts(texts: Iterable[str]) -> None:
    """Look for fonts for the characters that were not asked for before; `families` has them then."""
    needed = {char for text in texts if not text.isascii() for char in text} - _fonts.keys()
    needed = {char for char in needed if not _is_unseen(char)}
    if not needed:
        return
    for font in _usual_fonts():
        found = needed & _characters(font)
        _fonts.update(dict.fromkeys(found, font))
        needed -= found
    if not needed:
        return
    coverage = {font: needed & _characters(font) for font in installed_fonts()}
    while needed and coverage:
        best = max(coverage, key=lambda font: len(coverage[font] & needed))  # of a script, all from one font
        found = coverage.pop(best) & needed
        if not found:
            break
        _fonts.update(dict.fromkeys(found, best))
        needed -= found
    _fonts.update(dict.fromkeys(needed))


def _usual_fonts() -> list[FontFile]:
    """What matplotlib is set to, and its own font."""
    from matplotlib import font_manager, rcParams

    families = dict.fromkeys([*rcParams["font.family"], PLOT_FONT])
    files = {
        family: font_manager.findfont(font_manager.FontProperties(family=[family])) for family in families
    }
    return [FontFile(family, str(path)) for family, path in files.items()]


def _characters(font: FontFile) -> set[str]:
    """What a font can draw at any size; nothing if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        face = FT2Font(font.path)
        return {chr(code) for code in face.get_charmap()} if face.scalable else set()
    except (OSError, RuntimeError, ValueError):  # a file that is no font draws nothing
        return set()


def _has_fonts(text: str) -> bool:
    return text.isascii() or all(_is_unseen(char) or _fonts.get(char) is not None for char in text)


def _is_unseen(char: str) -> bool:
    return char.isascii() or char.isspace() or unicodedata.category(char) == "Cf"


def _spell(text: str) -> str:
    """The text with plain letters, sounds or code points in place of characters that no font has."""
    return " ".join("".join(char if _has_fonts(char) else _stand_in(char) for char in text).split())


def _stand_in(char: str) -> str:
    plain = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    find_fonts([plain])
    if plain and plain != char and _has_fonts(plain):
        return plain
    if sound := _SPELLED.fullmatch(unicodedata.name(char, "")):
        return sound[1].lower()
    return "" if unicodedata.category(char) == "Mn" else f" U+{ord(char):04X} "


def _say_once(name: str, shown: str) -> None:
    global _said
    if _said:
        return
    _said = True
    char = next(char for char in name if not _has_fonts(char))
    word = unicodedata.name(char, "symbols").partition(" ")[0]
    script, noto = ("CJK", "Noto Sans CJK") if word in _CJK else (word.title(), f"Noto Sans {word.title()}")
    text = (
        f"fonts     no installed font has the characters of '{name}' ({script}), which pictures show as '{shown}' "
        f"-> install one that has, such as {noto}"
    )
    print(printable(text), file=sys.stderr, flush=True)
