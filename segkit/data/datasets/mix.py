"""`mix`: several data sets as one, their classes joined by name."""

import bisect
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from segkit.data.decoding.images_and_masks import ValueRange, common_range
from segkit.data.files.label_map import IGNORE, REST
from segkit.data.files.options import check_classes
from segkit.data.files.validate import check_ids, shorten
from segkit.data.loading.bad_samples import find_sources
from segkit.data.loading.names import find_names
from segkit.data.palette import Color
from segkit.errors import DataError
from segkit.registry import DATASETS
from segkit.system.printable import show_path
from segkit.types import ComponentsOf, PositiveFloat

if TYPE_CHECKING:  # it needs torch, and a list of the data sets does not
    from segkit.data.sample import Sample


@dataclass(frozen=True)
class Part:
    """One of the data sets of a mix.

    weight     how often each of its images is drawn in training, beside one of a part of weight 1
    class_map  what its classes are in the mix: name of a class -> name of a class of the mix, or `ignore`; "*" for all
               that are not named and that the mix does not have. Classes of the same name need not be named
    title      what scores and messages call it
    """

    name: str
    dataset: Any
    weight: PositiveFloat = 1.0
    class_map: dict[str, str] | None = None
    title: str | None = None

    @property
    def called(self) -> str:
        return self.title or self.name


@DATASETS.register("mix")
class Mix:
    """Several data sets as one: each a block with `name` and its own options, its classes joined with theirs by name.

    parts         the data sets, such as {name: camvid, root: data/camvid, weight: 2.0, class_map: {fence: ignore}}:
                  `weight` times as many draws of each image in training; `class_map` says what classes become that are
                  called otherwise here, or `ignore`; `title` is the name in scores, else `name`
    classes       names of the classes, in the order of their ids
    ignore_index  id of the pixels that count neither in the loss nor in a score

    An epoch has as many draws as all parts have images. Validation is over all images of all parts, each once, and each
    part has a score of its own beside. What is of a class that a part does not have stays as the part labels it, such
    as its background, unless that is ignored.

    Raises ConfigError and DataError as the parts do, naming the part; ValueError for classes that cannot be joined.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        parts: Annotated[list[Part], ComponentsOf("dataset", into=Part)],
        classes: Annotated[list[str], Field(min_length=2)],
        ignore_index: int = 255,
    ):
        check_classes(classes, ignore_index)
        self.parts, self.class_names, self.num_classes = parts, tuple(classes), len(classes)
        self.ignore_index, self.channels = ignore_index, parts[0].dataset.channels
        self.part_names = tuple(part.called for part in parts)
        self._check(parts)
        fits_a_byte = 0 <= ignore_index <= 255 and len(classes) <= 255
        self.target_dtype = np.uint8 if fits_a_byte else np.int64
        self.tables = [self._make_table(number, part) for number, part in enumerate(parts)]
        self.ends = np.cumsum([len(part.dataset) for part in parts]).tolist()
        self.notes = [
            note for part, table in zip(parts, self.tables, strict=True) for note in self._note(part, table)
        ]
        self.palette = _join_palettes(parts, self.tables, len(classes))
        sizes = {getattr(part.dataset, "resize", None) for part in parts}
        #: What the images of all parts are brought to; None where that is not one size.
        self.resize: tuple[int, int] | None = next(iter(sizes)) if len(sizes) == 1 else None
        if len(sizes) > 1:
            self.notes.append(
                "the parts are not resized alike, so the network will be shown other images in their own size, by "
                "predict too -> one resize for all parts, or for none"
            )
        ranges = [getattr(part.dataset, "value_range", None) for part in parts]
        #: Which numbers are black and white in images of more than 8 bits; None where that differs, or there are none.
        self.value_range: ValueRange = common_range(ranges)
        if self.value_range is None and any(ranges):
            self.notes.append(
                "the parts take different numbers for black and white in images of more than 8 bits, so predict will "
                "refuse such images -> one value_range for all parts"
            )
        if all(hasattr(part.dataset, "files") for part in parts):
            self.files = self._files
        found = [getattr(part.dataset, "found_options", {}) for part in parts]
        #: What `auto` stands for in the options of each part, to be kept with the run.
        self.found_options = {"parts": found} if any(found) else {}

    def __len__(self) -> int:
        return self.ends[-1]

    def sample_names(self) -> list[str] | None:
        """What each sample is called; None if one of the parts does not tell."""
        joined = []
        for part in self.parts:
            names = find_names(part.dataset)
            if names is None:
                return None
            joined += [f"{part.called}/{name}" for name in names]
        return joined

    def __getitem__(self, index: int) -> "Sample":
        """Sample `index`. Raises DataError for one that cannot be used, naming its part."""
        import torch

        number, place = self._find(index)
        part = self.parts[number]
        try:
            sample = part.dataset[place]
            check_ids(
                sample.target.numpy(),
                num_classes=part.dataset.num_classes,
                ignore_index=part.dataset.ignore_index,
                source=show_path(sample.mask_path or sample.name),
            )
        except DataError as error:
            raise type(error)(f"{part.called}: {error}") from error
        target = torch.from_numpy(self._translate(number, sample.target.numpy()))
        before = sample.file_target
        if isinstance(before, torch.Tensor):
            before = torch.from_numpy(self._translate(number, before.numpy()))
        name = f"{part.called}/{sample.name}"
        return replace(sample, target=target, file_target=before, name=name, index=index)

    def part_of(self, index: int) -> str:
        """The name of the part that sample `index` is of."""
        return self.part_names[self._find(index)[0]]

    def parts_of(self, index: int) -> tuple[str, ...]:
        """The same, followed by the part of that part if it is a mix itself, and so on."""
        number, place = self._find(index)
        inner = getattr(self.parts[number].dataset, "parts_of", None)
        return self.part_names[number], *(() if inner is None else inner(place))

    def sources(self, index: int) -> Sequence[Any]:
        """What image and labels of a sample are read from: of parts that are files of several images, their places in
        these; of parts without files, nothing."""
        number, place = self._find(index)
        return find_sources(self.parts[number].dataset, place)

    def epoch_order(self, seed: int, epoch: int) -> np.ndarray:
        """The samples that an epoch of training draws, int64 (length,): a pure function of both numbers."""
        from segkit.data.loading.draws import WeightedDraws  # needs torch

        lengths = [len(part.dataset) for part in self.parts]
        return WeightedDraws(lengths, [part.weight for part in self.parts]).order(seed, epoch)

    def fingerprint(self) -> str:
        """Digest of the parts: what they know of their files, their classes, and what those become."""
        facts = []
        for part, table in zip(self.parts, self.tables, strict=True):
            own = part.dataset.fingerprint() if hasattr(part.dataset, "fingerprint") else ""
            facts.append(
                [part.called, own, len(part.dataset), list(part.dataset.class_names), sorted(table.items())]
            )
        return hashlib.sha256(repr([facts, self.class_names]).encode()).hexdigest()

    def _files(self, index: int) -> Sequence[Path]:
        """The files that a sample is made of. A mix has this, as `files`, if all its parts have files."""
        number, place = self._find(index)
        return self.parts[number].dataset.files(place)

    def _find(self, index: int) -> tuple[int, int]:
        """Number of the part, and number of the sample in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        number = bisect.bisect_right(self.ends, index)
        return number, index - (self.ends[number - 1] if number else 0)

    def _translate(self, number: int, target: np.ndarray) -> np.ndarray:
        """Ids of a part (H, W) as ids of the mix, which has room for all of them."""
        known, becomes = (np.array(list(each)) for each in zip(*self.tables[number].items(), strict=True))
        if target.dtype == np.uint8:
            table = np.zeros(256, dtype=self.target_dtype)
            table[known] = becomes
            return table[target]
        order = np.argsort(known)
        return becomes[order][np.searchsorted(known[order], target)].astype(self.target_dtype)

    def _make_table(self, number: int, part: Part) -> dict[int, int]:
        """Ids of a part to ids of the mix. Raises ValueError for a class that becomes none."""
        meanings, names = part.class_map or {}, part.dataset.class_names
        where = f"parts[{number}] ({part.called})"
        unknown = [name for name in meanings if name not in names and name != REST]
        if unknown:
            raise ValueError(f"{where}: class_map names {unknown[0]!r}, but the classes are {shorten(names)}")
        table, homeless = {part.dataset.ignore_index: self.ignore_index}, []
        for class_id, name in enumerate(names):
            meaning = meanings.get(name, name if name in self.class_names else meanings.get(REST))
            if meaning == IGNORE:
                table[class_id] = self.ignore_index
            elif meaning in self.class_names:
                table[class_id] = self.class_names.index(meaning)
            elif meaning is not None:
                raise ValueError(
                    f"{where}: class_map makes {name!r} {meaning!r}; there are {shorten(self.class_names)}, {IGNORE}"
                )
            else:
                homeless.append(name)
        if homeless:
            raise ValueError(
                f"{where}: {shorten(homeless)} {'are' if len(homeless) > 1 else 'is'} not in data.classes\n"
                f"   -> class_map: {{{homeless[0]}: CLASS}} says what it is here, {{{homeless[0]}: {IGNORE}}} leaves "
                f'it out, {{"*": {IGNORE}}} all such'
            )
        return table

    def _note(self, part: Part, table: Mapping[int, int]) -> list[str]:
        """What somebody should know about a part."""
        notes = [f"{part.called}: {note}" for note in getattr(part.dataset, "notes", [])]
        absent = [name for class_id, name in enumerate(self.class_names) if class_id not in table.values()]
        if absent:
            notes.append(
                f"{part.called} has no class that is {shorten(absent)} here: where its images show one, the label is "
                "that of another class, unless class_map ignores it"
            )
        return notes

    def _check(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if self.part_names.count(part.called) > 1:
                raise ValueError(f"two parts are called {part.called!r} -> give one another title")
            if not len(part.dataset):
                raise DataError(f"{part.called}: there are no images")
            if part.dataset.channels != self.channels:
                raise ValueError(
                    f"the images of {parts[0].called} have {self.channels} channels, those of {part.called} "
                    f"{part.dataset.channels} -> channels: {self.channels} in the block of the part"
                )


def _join_palettes(
    parts: Sequence[Part], tables: Sequence[Mapping[int, int]], count: int
) -> list[Color] | None:
    """For each class the colour that the first part with such a class has; None if a class has none, or two one."""
    colours: dict[int, Color] = {}
    for part, table in zip(parts, tables, strict=True):
        for class_id, colour in enumerate(getattr(part.dataset, "palette", None) or []):
            colours.setdefault(table[class_id], colour)
    palette = [colours[class_id] for class_id in range(count) if class_id in colours]
    return palette if len(set(palette)) == count else None
