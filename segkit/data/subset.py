"""A part of a data set, with the attributes of the whole."""

from collections.abc import Sequence
from typing import Any


class Subset:
    """The samples of `dataset` at `places`, in that order; every other attribute is the data set's own."""

    def __init__(self, dataset: Any, places: Sequence[int]):
        self.dataset, self.places = dataset, list(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.places[index]]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # unpickling asks before there is a data set
            raise AttributeError(name)
        value = getattr(self.dataset, name)
        return self._files if name == "files" else value

    def _files(self, index: int) -> Any:
        """The files of sample `index` of this part, for a data set that has files."""
        return self.dataset.files(self.places[index])
