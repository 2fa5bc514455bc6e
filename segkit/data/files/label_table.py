"""The published meaning of the values in the label files of a named data set."""

from collections.abc import Mapping

import numpy as np

from segkit.data.files.validate import shorten
from segkit.errors import DataError

#: The id of pixels that count neither in the loss nor in a score, in every named data set.
IGNORE_INDEX = 255


class LabelTable:
    """Turns the values of published label files into class ids, uint8.

    dataset   the data set's name, for messages
    values    file value -> class id or IGNORE_INDEX, for labels that are numbers from 0 to 255
    colours   colour (0xRRGGBB) -> class id or IGNORE_INDEX, for labels that are colours

    One of the two is given. A value that it does not name is an error: the files are not the published ones.
    """

    def __init__(
        self,
        dataset: str,
        *,
        values: Mapping[int, int] | None = None,
        colours: Mapping[int, int] | None = None,
    ):
        self.dataset, self.ignore_index = dataset, IGNORE_INDEX
        self.values, self.colours = dict(values or {}), dict(colours or {})
        table = np.zeros(256, dtype=np.uint8)
        table[list(self.values)] = list(self.values.values())
        # Python replaces bytes several times faster than NumPy looks them up.
        self._bytes, self._named = table.tobytes(), bytes(self.values)
        self._colour_keys = np.array(sorted(self.colours), dtype=np.int32)
        self._colour_ids = np.array([self.colours[key] for key in sorted(self.colours)], dtype=np.uint8)

    def names_value(self, value: int) -> bool:
        """True: no value of a published file has to be guessed, not even one that is also the id to ignore."""
        return True

    def apply(self, values: np.ndarray, *, are_colours: bool, source: str) -> np.ndarray:
        """Class ids (H, W), uint8, from file values (H, W). Raises DataError naming `source`.

        The result is not to be written to.
        """
        if are_colours != bool(self.colours):
            found, published = ("an RGB", "single-channel") if are_colours else ("a single-channel", "RGB")
            raise DataError(
                f"not a label file of {self.dataset}: {source} is {found} image, the published ones are {published}"
            )
        return self._from_colours(values, source) if are_colours else self._from_numbers(values, source)

    def _from_numbers(self, values: np.ndarray, source: str) -> np.ndarray:
        if values.dtype != np.uint8 and values.size and (values.min() < 0 or values.max() > 0xFF):
            raise self._unknown(values, source)
        found = values.astype(np.uint8, copy=False).tobytes()
        if found.translate(None, self._named):
            raise self._unknown(values, source)
        return np.frombuffer(found.translate(self._bytes), dtype=np.uint8).reshape(values.shape)

    def _from_colours(self, values: np.ndarray, source: str) -> np.ndarray:
        place = np.searchsorted(self._colour_keys, values).clip(max=len(self._colour_keys) - 1)
        if not (self._colour_keys[place] == values).all():
            raise self._unknown(values, source)
        return self._colour_ids[place]

    def _unknown(self, values: np.ndarray, source: str) -> DataError:
        wrong = [value for value in np.unique(values).tolist() if value not in (self.colours or self.values)]
        shown = [f"#{value:06x}" for value in wrong] if self.colours else wrong
        kind = "colour" if self.colours else "value"
        return DataError(
            f"not a label of {self.dataset}: {source} has the {kind}{'s' if len(wrong) > 1 else ''} "
            f"{shorten(shown)}, which its publication does not name\n"
            "   -> unpack the file again; for labels of your own: data.name=folder with a data.label_map"
        )
