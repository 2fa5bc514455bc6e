"""Text files that list the images of a part: names, or images and masks in pairs.

Blank lines and lines that begin with # say nothing. Image and mask are separated by blanks, a comma or, where names
have blanks, a tab.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segkit.data.decoding.opening import SUFFIXES
from segkit.data.files.text_lists import find_text, read_lines
from segkit.errors import DataError


@dataclass(frozen=True)
class Entry:
    """A line of a list; `mask` is None where the list holds names."""

    line: int
    image: str
    mask: str | None = None


@dataclass(frozen=True)
class FileList:
    """The entries of a list, at least one: all with a mask, or none."""

    path: Path
    entries: list[Entry]

    @property
    def has_pairs(self) -> bool:
        """Whether the list names the masks too."""
        return self.entries[0].mask is not None


def read_file_list(name: str, root: Path, *, key: str) -> FileList:
    """The list that the option `key` names, below `root` or seen from the current folder.

    Raises ConfigError for a file that is missing or no text, DataError for an empty list and for a line that is no pair
    among pairs.
    """
    hint = "a text file with a name per line, or with an image and its mask"
    path = find_text(name, root, key=key, hint=hint)
    lines = read_lines(path)
    if not lines:
        raise DataError(f"no images in the list {path}")
    if not _is_pair(lines[0][1]):
        return FileList(path, [Entry(number, text) for number, text in lines])
    entries = []
    for number, text in lines:
        if not _is_pair(text):
            raise DataError(
                f"{path}:{number}: expected an image and its mask as on line {lines[0][0]}, found {text!r}\n"
                "   -> a tab between them where names have blanks"
            )
        entries.append(Entry(number, *_split(text)))
    return FileList(path, entries)


def find_listed_file(text: str, root: Path, *, where: str) -> Path:
    """The file below `root` that a list names; a / at its beginning is the root itself, if there is such a file.

    Raises DataError, beginning with `where`, for a file that is not there or lies elsewhere.
    """
    text = text.replace("\\", "/")
    inside = Path(os.path.normpath(root / text.lstrip("/")))
    if not inside.is_relative_to(os.path.normpath(root)):
        raise DataError(_explain_outside(text, root, where))
    if inside.is_file():
        return root / inside.relative_to(os.path.normpath(root))
    if text.startswith("/") and Path(text).is_file():
        whole, base = Path(os.path.normpath(text)), Path(os.path.abspath(root))
        if not whole.is_relative_to(base):
            raise DataError(_explain_outside(text, root, where))
        return root / whole.relative_to(base)
    raise DataError(f"{where}: no file {text} in {root}{_describe_shorter(text, root)}")


def _is_pair(text: str) -> bool:
    words = _split(text)
    return len(words) == 2 and all(PurePosixPath(word).suffix.lower() in SUFFIXES for word in words)


def _split(text: str) -> Sequence[str]:
    separator = r"\t+" if "\t" in text else "," if "," in text else r"\s+"
    return [word.strip() for word in re.split(separator, text)]


def _explain_outside(text: str, root: Path, where: str) -> str:
    return f"{where}: {text} is not below {root} -> data.root must be a folder above all files of the list"


def _describe_shorter(text: str, root: Path) -> str:
    """The same file without some of its first folders, if that is there: lists are often made on other machines."""
    parts = PurePosixPath(text).parts
    for first in range(1, len(parts)):
        shorter = PurePosixPath(*parts[first:])
        if (root / shorter).is_file():
            before = text.removesuffix(str(shorter))
            return f"\n   there is {shorter} -> remove {before!r} from the paths of the list"
    return ""
