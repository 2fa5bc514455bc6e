"""From the values of a label file to class ids."""

import difflib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from segkit.data.files.validate import describe_wrong_ids, shorten
from segkit.data.palette import Color
from segkit.errors import ConfigError, DataError

REST = "*"
IGNORE = "ignore"
#: Up to here, a table says what a value means; other values are looked up one by one.
LARGEST_VALUE = 0xFFFF
#: Difference of two colours, in their most different channel, that is seen in a picture.
VISIBLE = 24


class LabelMap:
    """Turns file values into class ids by the entries of `data.label_map`.

    A key is a file value (`7`), a colour (`"#ff0000"`) or `"*"` for all values not named; what it maps to is a class
    id, a class name or `ignore`. Values that are not named: with no map, or one that only says what to ignore,
    a number is the class id itself; otherwise they are an error, because guessing would hide a mistake.
    `{"*": ignore}` alone thus ignores all that is no class id.

    Raises ConfigError, with every mistake found, for a map that is wrong in itself.
    """

    def __init__(
        self, label_map: Mapping[int | str, int | str] | None, *, classes: Sequence[str], ignore_index: int
    ):
        self.classes, self.ignore_index = list(classes), ignore_index
        self.rest: int | None = None
        self.values: dict[int, int] = {}
        self.colours: dict[int, int] = {}
        problems = []
        for key, meaning in (label_map or {}).items():
            try:
                self._add(key, self._class_id(meaning))
            except ValueError as error:
                problems.append(f"data.label_map: {key!r}: {error}")
        if problems:
            raise ConfigError(problems)
        self._table = self._make_table()
        self._colour_keys = np.array(sorted(self.colours), dtype=np.int32)
        self._colour_ids = np.array([self.colours[key] for key in sorted(self.colours)], dtype=np.int32)

    @property
    def palette(self) -> list[Color] | None:
        """The colours that the map gives the classes; None if one has none, or two can hardly be told apart."""
        colours = {class_id: colour for colour, class_id in reversed(self.colours.items())}
        if not set(range(len(self.classes))) <= colours.keys():
            return None
        packed = [colours[class_id] for class_id in range(len(self.classes))]
        channels = np.array([[value >> 16, value >> 8 & 0xFF, value & 0xFF] for value in packed])  # (C, 3)
        apart = np.abs(channels[:, None] - channels).max(axis=2)  # (C, C)
        np.fill_diagonal(apart, 0xFF)
        return (
            [(red, green, blue) for red, green, blue in channels.tolist()] if apart.min() >= VISIBLE else None
        )

    def names_value(self, value: int) -> bool:
        """Whether the map says what this file value means; ignoring all that it does not name says nothing of it."""
        return value in self.values or self.rest not in (None, self.ignore_index)

    def apply(self, values: np.ndarray, *, are_colours: bool, source: str) -> np.ndarray:
        """Class ids (H, W), int32 or, where they fit, uint8, from file values (H, W). Raises DataError naming `source`.

        The result is not to be written to.
        """
        return self._from_colours(values, source) if are_colours else self._from_numbers(values, source)

    def _add(self, key: int | str, class_id: int) -> None:
        text = str(key).strip()
        if text == REST:
            self.rest = class_id
            return
        if re.fullmatch("#[0-9a-fA-F]{6}", text):
            entries, value = self.colours, int(text[1:], 16)
        elif re.fullmatch("-?[0-9]{1,19}", text):
            entries, value = self.values, int(text)
        else:
            raise ValueError('a key is a file value, "#rrggbb" or "*"')
        if value in entries:
            raise ValueError("this value is named twice")
        entries[value] = class_id

    def _class_id(self, meaning: int | str) -> int:
        if meaning in (IGNORE, self.ignore_index):
            return self.ignore_index
        if isinstance(meaning, int) and 0 <= meaning < len(self.classes):
            return meaning
        if meaning in self.classes:
            return self.classes.index(meaning)
        if isinstance(meaning, int):
            raise ValueError(
                f"there is no class {meaning}: data.classes has {len(self.classes)} (ids from 0)"
            )
        close = difflib.get_close_matches(meaning, [*self.classes, IGNORE], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {shorten(self.classes)}, {IGNORE}"
        raise ValueError(f"there is no class {meaning!r}, {hint}")

    def _make_table(self) -> np.ndarray:
        """Class id by file value; -1 where the value is not allowed, which `ignore_index` may be too."""
        table = np.full(LARGEST_VALUE + 1, -1, dtype=np.int32)
        self._allowed = np.zeros(LARGEST_VALUE + 1, dtype=bool)
        meanings = [*self.values.values(), *([] if self.rest is None else [self.rest])]
        only_ignores = not self.colours and all(meaning == self.ignore_index for meaning in meanings)
        if self.rest is not None:
            table[:], self._allowed[:] = self.rest, True
        if only_ignores:
            named = list(range(len(self.classes)))
            if 0 <= self.ignore_index <= LARGEST_VALUE:
                named.append(self.ignore_index)
            table[named], self._allowed[named] = named, True
        for value, class_id in self.values.items():
            if 0 <= value <= LARGEST_VALUE:
                table[value], self._allowed[value] = class_id, True
        self._identity = self.rest is None and only_ignores
        # For 8-bit files, whose values Python replaces several times faster as bytes than NumPy by their index. What is
        # not allowed becomes a byte that stands for nothing else, which is found sooner than what is not allowed.
        few, allowed = table[:256], self._allowed[:256]
        free = np.setdiff1d(np.arange(256), few[allowed])
        fits = bool(
            (few[allowed] >= 0).all() and (few[allowed] <= 0xFF).all() and (free.size or allowed.all())
        )
        self._wrong = int(free[0]) if free.size else None
        self._bytes = np.where(allowed, few, self._wrong or 0).astype(np.uint8).tobytes() if fits else None
        return table

    def _from_numbers(self, values: np.ndarray, source: str) -> np.ndarray:
        fits = values.dtype == np.uint8 or (values.size and values.min() >= 0 and values.max() <= 0xFF)
        if self._bytes is not None and fits:
            ids = values.astype(np.uint8, copy=False).tobytes().translate(self._bytes)
            if self._wrong is None or self._wrong not in ids:
                return np.frombuffer(ids, dtype=np.uint8).reshape(values.shape)
        in_table = (values >= 0) & (values <= LARGEST_VALUE)
        if not in_table.all():
            return self._from_any_numbers(values, source)
        if not self._allowed[values].all():
            raise DataError(self._describe_numbers(np.unique(values).tolist(), source))
        return self._table[values]

    def _from_any_numbers(self, values: np.ndarray, source: str) -> np.ndarray:
        """The same for values of which some lie outside the table, such as the -9999 of maps."""
        found, places = np.unique(values, return_inverse=True)
        ids = [self._id_of(value) for value in found.tolist()]
        if None in ids:
            raise DataError(self._describe_numbers(found.tolist(), source))
        return np.array(ids, dtype=np.int32)[places].reshape(values.shape)

    def _id_of(self, value: int) -> int | None:
        if 0 <= value <= LARGEST_VALUE:
            return int(self._table[value]) if self._allowed[value] else None
        default = self.ignore_index if self._identity and value == self.ignore_index else self.rest
        return self.values.get(value, default)

    def _describe_numbers(self, ids: list[int], source: str) -> str:
        if self._identity:
            remaining = [i for i in ids if i not in self.values]
            return describe_wrong_ids(
                remaining, num_classes=len(self.classes), ignore_index=self.ignore_index, source=source
            )
        unnamed = [i for i in ids if i not in self.values]
        free = set(range(len(self.classes))) - set(self.values.values())
        meaning = unnamed[0] if unnamed[0] in free else IGNORE  # a class id may simply have been left out
        return (
            f"label not in data.label_map: {source} has values {shorten(ids)}, of which {shorten(unnamed)} "
            f"{'is' if len(unnamed) == 1 else 'are'} not named\n"
            f'   -> add {{{unnamed[0]}: {meaning}}}, or "*": ignore for all that are not named'
        )

    def _from_colours(self, values: np.ndarray, source: str) -> np.ndarray:
        if not self.colours:
            found = shorten([f'"#{value:06x}"' for value in np.unique(values).tolist()], most=6)
            raise DataError(
                f"colours without a meaning: {source} is an RGB image with {found}\n"
                '   -> data.label_map: {"#000000": 0, "#ff0000": 1, ...} says which class each colour is'
            )
        place = np.searchsorted(self._colour_keys, values).clip(max=len(self._colour_keys) - 1)
        known = self._colour_keys[place] == values
        if self.rest is None and not known.all():
            found = shorten([f'"#{value:06x}"' for value in np.unique(values[~known]).tolist()], most=6)
            raise DataError(
                f"label not in data.label_map: {source} has the colours {found}, which are not named\n"
                '   -> name them, or "*": ignore for all that are not named'
            )
        ids = self._colour_ids[place]
        return ids if self.rest is None else np.where(known, ids, np.int32(self.rest))
