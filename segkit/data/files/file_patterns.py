"""Paths with `{stem}` and `{split}` in them, which say where the files of one kind lie."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segkit.config.yaml_source import dump_argument
from segkit.data.decoding.opening import SUFFIXES
from segkit.data.files.compact import STEM, Paths, Texts
from segkit.errors import ConfigError, DataError
from segkit.system.printable import show_path
from segkit.system.typed import quote

SPLIT = "{split}"

#: Told of what a search depends on before it looks there: every folder that is listed, and lists of files.
Watch = Callable[[Path], None]


def ignore(path: Path) -> None:
    """Watch nothing."""


class FilePattern:
    """The files of one kind, such as `masks/{split}/{stem}_mask.png` below `root`.

    `{stem}` is what the files of a sample have in common; `{split}` becomes `split`. Without `{stem}` the pattern is a
    folder. Folders below the last one that the pattern names belong to the stem: `b/0001`. Without a suffix, a file of
    any image suffix counts; upper and lower case of a suffix never matter. `key` is the option that messages name.

    Raises ConfigError for a pattern that cannot name files.
    """

    def __init__(self, text: str, *, root: Path, split: str, key: str):
        self.root, self.text, self.key = root, text.replace("\\", "/"), key
        self._check()
        filled = self.text.replace(SPLIT, split)
        if STEM not in filled:
            filled = f"{filled.rstrip('/')}/{STEM}" if filled.strip("/") else STEM
        suffix = Path(filled).suffix
        self.suffix = suffix if suffix.lower() in SUFFIXES else ""
        fixed, _, after = filled.removesuffix(self.suffix).partition(STEM)
        folder, _, before = fixed.rpartition("/")
        self.folder, self._file = root / folder, f"{before}{STEM}{after}"
        self._literal = len(f"{self.folder}/{self._file}{self.suffix}".replace(STEM, ""))
        self._regex = self._compile()

    @property
    def divides(self) -> bool:
        """Whether training and validation have folders or names of their own."""
        return SPLIT in self.text

    @property
    def names_files(self) -> bool:
        """Whether the pattern says more of its files than where they lie."""
        return bool(self.suffix) or self._file != STEM

    def with_file(self, name: str) -> str:
        """The pattern of files called `name` in the same folders."""
        folder = (
            self.text.partition(STEM)[0].rpartition("/")[0] if STEM in self.text else self.text.rstrip("/")
        )
        return f"{folder}/{name}" if folder else name

    def path_of(self, stem: str) -> Path:
        """Where the file of that stem belongs; without suffix, unless the pattern has one."""
        folder, _, name = stem.rpartition("/")
        return self.folder / folder / f"{self._file.replace(STEM, name)}{self.suffix}"

    def stem_of(self, path: str | Path) -> str | None:
        """The stem of a file, or None if the pattern does not fit it."""
        found = self._regex.fullmatch(str(path))
        return found["folder"] + found["name"] if found else None

    def list_folder(self) -> list[Path]:
        """All images and masks in the folder, whatever their names."""
        paths = [Path(file) for file in _walk(self.folder)]
        return [path for path in paths if path.suffix.lower() in SUFFIXES]

    def shown(self, path: Path) -> str:
        """A file as messages name it: relative to the root if it lies there, and printable."""
        return show_path(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def find(self, others: Sequence["FilePattern"] = (), watch: Watch = ignore) -> "FoundFiles":
        """The files that are there by stem, without those that one of `others` fits more closely.

        Raises DataError for two files of one stem.
        """
        closer = [other for other in others if other._literal > self._literal]
        found = FoundFiles(self)
        for file in _walk(self.folder, watch):
            match = self._regex.fullmatch(file)
            if match is None or any(other.stem_of(file) is not None for other in closer):
                continue
            stem = match["folder"] + match["name"]
            if stem in found:
                first, second = sorted(self.shown(path) for path in (found.path_of(stem), Path(file)))
                raise DataError(
                    f"two files of one name: {first} and {second} -> keep one{self._say_which(file)}"
                )
            found.add(stem, match["suffix"])
        return found

    def paths_of(
        self, stems: Texts, *, endings: Sequence[str] = (), codes: np.ndarray | None = None
    ) -> Paths:
        """Where the files of those stems belong; with suffixes, file n has that of number `codes[n]`."""
        endings = endings or [self.suffix]
        return Paths(os.fspath(self.folder), stems, file=self._file, endings=endings, codes=codes)

    def _say_which(self, file: str) -> str:
        """How to choose between files that differ in their suffix only."""
        if self.suffix:
            return ""
        pattern = self.text if STEM in self.text else self.with_file(STEM)
        return f", or {write_option(self.key, pattern + Path(file).suffix)} to choose"

    def _check(self) -> None:
        known = (STEM, SPLIT)
        wrong = [word for word in re.findall(r"\{[^}]*\}?|\}", self.text) if word not in known]
        if wrong:
            raise ConfigError(
                f"{self.key}: {wrong[0]!r} in {self.text!r} is unknown; there are {STEM} and {SPLIT}"
            )
        ending = re.search(r"\.[A-Za-z][A-Za-z0-9]{1,4}\Z", self.text)
        if ending is None:
            return
        if ending[0].lower() in SUFFIXES and STEM not in self.text:
            raise ConfigError(
                f"{self.key}: {self.text!r} is a single file -> put {STEM} where the names differ"
            )
        if ending[0].lower() not in SUFFIXES and STEM in self.text:
            raise ConfigError(f"{self.key}: {ending[0]} files are not read, only {', '.join(SUFFIXES)}")

    def _compile(self) -> re.Pattern[str]:
        before, *others = [re.escape(part) for part in self._file.split(STEM)]
        name = before + "(?P<name>[^/]+)" + "(?P=name)".join(others)
        suffixes = [self.suffix] if self.suffix else SUFFIXES
        suffix = "|".join(re.escape(suffix) for suffix in suffixes)
        folder = re.escape(os.fspath(self.folder).rstrip("/"))
        return re.compile(f"{folder}/(?P<folder>(?:.+/)?){name}(?P<suffix>(?i:{suffix}))", re.DOTALL)


@dataclass
class FoundFiles:
    """The files of a pattern that are there: of each stem, the number of its suffix in `endings`."""

    pattern: FilePattern
    codes: dict[str, int] = field(default_factory=dict)
    endings: list[str] = field(default_factory=list)

    def add(self, stem: str, suffix: str) -> None:
        """One more file."""
        if suffix not in self.endings:
            self.endings.append(suffix)
        self.codes[stem] = self.endings.index(suffix)

    def __len__(self) -> int:
        return len(self.codes)

    def __contains__(self, stem: object) -> bool:
        return stem in self.codes

    def __iter__(self) -> Iterator[str]:
        return iter(self.codes)

    def path_of(self, stem: str) -> Path:
        """The file of a stem that is there."""
        return self.paths([stem])[0]

    def paths(self, stems: Sequence[str]) -> Paths:
        """The files of these stems, all of which are there."""
        codes = np.fromiter((self.codes[stem] for stem in stems), dtype=np.uint16, count=len(stems))
        return self.pattern.paths_of(Texts.of(stems), endings=self.endings, codes=codes)


def write_option(key: str, pattern: str) -> str:
    """A pattern as an argument of the command line: in quotes for the shell and, where it needs them, for YAML."""
    text = dump_argument(pattern)
    quoted = quote(text)
    return f"{key}={quoted}" if quoted != text else f"{key}='{text}'"


def _walk(folder: Path, watch: Watch = ignore) -> Iterator[str]:
    """The files below a folder, but nothing hidden. Raises DataError for what cannot be listed."""
    watch(folder)
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in visible if not _leads_back(place, name)]
        for name in folders:
            watch(Path(place, name))
        for name in sorted(files):
            if not name.startswith("."):
                yield _as_text(os.path.join(place, name))


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"cannot read the folder {show_path(error.filename)}: {error.strerror}") from error


def _leads_back(place: str, name: str) -> bool:
    """Whether a link leads to a folder that it lies in, where a walk would never end."""
    path = os.path.join(place, name)
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    return os.path.commonpath([target, os.path.realpath(place)]) == target


def _as_text(file: str) -> str:
    try:
        file.encode()
    except UnicodeEncodeError:
        raise DataError(f"file name that is not UTF-8: {os.fsencode(file)!r} -> rename it") from None
    return file
