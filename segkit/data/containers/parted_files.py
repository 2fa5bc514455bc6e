"""Images and labels of which a file holds several: what data sets of stacks, arrays and tables have in common."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segkit.data.decoding.images_and_masks import ValueRange, read_image, read_labels
from segkit.data.decoding.parts import Source
from segkit.data.files.options import Meanings
from segkit.data.files.paired_files import Pair, PairedFiles
from segkit.data.files.validate import shorten
from segkit.errors import DataError
from segkit.system.printable import show_path


class PartedFiles(PairedFiles):
    """A data set whose sample n is the part `images[n]` of some file with the labels in the part `labels[n]`.

    A part is read like a file of its own, when it is asked for, and messages name it FILE#KEY (see `decoding.parts`);
    what is a file by itself is given as its path. The other arguments are those of `PairedFiles`. `found_options` are
    what options stand for that were found in the data, to be kept with the run.
    """

    def __init__(
        self,
        root: Path,
        *,
        names: Sequence[str],
        images: Sequence[Source],
        labels: Sequence[Source],
        meanings: Meanings,
        channels: int,
        value_range: ValueRange,
        found: bool,
        resize: Sequence[int] | None,
        notes: Sequence[str] = (),
    ):
        twice = {name for name, count in Counter(names).items() if count > 1}
        if twice:
            raise DataError(
                f"two samples of one name: {shorten(sorted(twice), most=3)} -> rename one of their files"
            )
        super().__init__(
            root,
            names=names,
            image_paths=[Path(os.fspath(image)) for image in images],
            mask_paths=[Path(os.fspath(label)) for label in labels],
            class_names=meanings.names,
            label_map=meanings.label_map,
            channels=channels,
            value_range=value_range,
            resize=resize,
            weight_paths=[root / "weights" / name for name in names],
            palette=meanings.label_map.palette,
            notes=notes,
        )
        self.images, self.labels, self.meanings = list(images), list(labels), meanings
        ends = list(value_range) if found and isinstance(value_range, tuple) else None
        self.found_options: dict[str, Any] = {} if ends is None else {"value_range": ends}

    def sources(self, index: int) -> tuple[Source, Source]:
        """The parts, or files, that image and labels of sample `index` are read from."""
        return self.images[index], self.labels[index]

    def read(self, index: int) -> Pair:
        """What the parts of sample `index` hold, of their own size. Raises DataError for those that cannot be used."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        image_source, label_source = self.sources(index)
        image, turned = read_image(image_source, channels=self.channels, value_range=self.value_range)
        values, are_colours = read_labels(label_source, colours=bool(self.label_map.colours))
        names = [self.shown(path) for path in (self.image_paths[index], self.mask_paths[index])]
        if image.shape[1:] != values.shape:
            (height, width), (rows, columns) = image.shape[1:], values.shape
            raise DataError(
                f"image and mask sizes differ: {names[0]} {width}x{height}{' (after EXIF)' if turned else ''}, "
                f"{names[1]} {columns}x{rows}"
            )
        ids = self.label_map.apply(values, are_colours=are_colours, source=names[1])
        return Pair(image, ids.astype(self.target_dtype))

    def files(self, index: int) -> tuple[Path, ...]:
        """The files that a sample is made of, which others may be made of, too: of its image, then of its labels."""
        each = [path for source in self.sources(index) for path in files_of(source)]
        return tuple(dict.fromkeys([*each, *self.meanings.files]))

    def fingerprint(self) -> str:
        """Names of all samples, and names and sizes in bytes of all files, which change when the data do."""
        paths = dict.fromkeys(path for source in (*self.images, *self.labels) for path in files_of(source))
        digest = hashlib.sha256()
        for line in (*self.names, *(_describe(path) for path in paths)):
            digest.update(f"{line}\n".encode())
        return digest.hexdigest()


def files_of(source: Source) -> tuple[Path, ...]:
    """The files that an image or its labels are read from."""
    return (source,) if isinstance(source, Path) else source.files


def _describe(path: Path) -> str:
    try:
        return f"{path.name} {path.stat().st_size}"
    except OSError:
        return f"{path.name} None"  # which is reported where its samples are


def below(path: Path, root: Path) -> str:
    """The path as names of samples begin: relative to `root`, without suffix."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).with_suffix("").as_posix()


def shown_below(path: Path, root: Path) -> str:
    """A file as messages name it: relative to `root` if it lies there, and printable."""
    return show_path(path.relative_to(root) if path.is_relative_to(root) else path)
