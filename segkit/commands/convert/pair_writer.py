"""One sample of any data set to an image file and a mask file; done in worker processes."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segkit.commands.convert.record import Entry, digest_of
from segkit.data.decoding.opening import SUFFIXES
from segkit.data.files.paired_files import PairedFiles
from segkit.data.files.validate import check_ids
from segkit.data.label_counts import describe_file
from segkit.data.loading.view import read_sample
from segkit.data.palette import IGNORE_COLOR, palette
from segkit.errors import ConfigError
from segkit.system.files import cannot_write, write_bytes

#: Samples are written anew when this number has changed.
FORMAT = 1
#: Channels of the images that a PNG file can hold.
PNG_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class MaskForm:
    """How ids are stored: in 8 bits with a palette or in 16 bits, and the value of the pixels to ignore."""

    wide: bool
    ignored: int

    @classmethod
    def of(cls, dataset: Any) -> "MaskForm":
        """The narrowest form that has room for all classes; what is to be ignored keeps its value where it fits."""
        wide = dataset.num_classes > 255
        highest = 65535 if wide else 255
        fits = dataset.num_classes <= dataset.ignore_index <= highest
        return cls(wide, dataset.ignore_index if fits else highest)


def keeps_files(dataset: Any) -> bool:
    """Whether the images of a data set are files that are read as `folder` would read them."""
    return isinstance(dataset, PairedFiles) and _is_own(dataset, "read") and _is_own(dataset, "__getitem__")


def keeps_size(dataset: Any) -> bool:
    """Whether samples can be written in the size that they have before `resize`, which is left to who reads them."""
    return isinstance(dataset, PairedFiles) and _is_own(dataset, "__getitem__")


class PairMaker:
    """The bytes of an image file and a mask file for each sample of a data set.

    Images that are files of their own stay as they are (`copy`), the others become PNG; masks are PNG. Both have the
    size from before the data set resizes them, where it has one (see `keeps_size`). `settings` are what else the result
    depends on. Raises DataError for a sample that cannot be used.
    """

    def __init__(self, dataset: Any, *, copy: bool, settings: str):
        self.dataset, self.copy, self.settings = dataset, copy, settings
        self.form = MaskForm.of(dataset)
        colours = getattr(dataset, "palette", None) or palette(dataset.num_classes)
        table = [*colours, *[(0, 0, 0)] * (256 - len(colours))]
        self.colours = [channel for colour in table[:256] for channel in colour]
        if not self.form.wide:
            self.colours[3 * self.form.ignored : 3 * self.form.ignored + 3] = IGNORE_COLOR

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def sample_names(self) -> Sequence[str] | None:
        """What the data set calls its samples, None if it does not."""
        return getattr(self.dataset, "names", None)

    def suffix(self, index: int) -> str:
        """Of the image file."""
        return self.dataset.image_paths[index].suffix if self.copy else ".png"

    def make(self, index: int) -> tuple[str, bytes, bytes]:
        """Suffix and content of the image file, and content of the mask file."""
        if keeps_size(self.dataset):
            pixels, ids = self.dataset.read(index)  # (C, H, W) and (H, W)
            source = self.dataset.shown(self.dataset.mask_paths[index])
            image = (
                self.dataset.image_paths[index].read_bytes()
                if self.copy
                else _as_png(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            )
        else:
            sample = read_sample(self.dataset, index, None)
            ids, source = sample.target.numpy(), str(sample.mask_path or sample.name)
            image = _as_png(sample.image.permute(1, 2, 0).numpy())  # (H, W, C)
        known = {"num_classes": self.dataset.num_classes, "ignore_index": self.dataset.ignore_index}
        check_ids(ids, **known, source=source)
        stored = np.where(ids == self.dataset.ignore_index, self.form.ignored, ids.astype(np.int64))
        return self.suffix(index), image, self._encode(stored)

    def made_by(self, index: int, name: str) -> str:
        """Digest of all that a sample called `name` is made from, as far as files and settings tell."""
        files = self.dataset.files(index) if hasattr(self.dataset, "files") else ()
        facts = [FORMAT, self.settings, name, *map(describe_file, files)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _encode(self, ids: np.ndarray) -> bytes:
        if self.form.wide:
            return _save(Image.fromarray(ids.astype(np.uint16)))
        picture = Image.fromarray(ids.astype(np.uint8))
        picture.putpalette(self.colours)
        return _save(picture)


class PairWriter:
    """`writer(index)` brings the files of a sample about, unless they are there, and returns its entry.

    `names` are the names of the files, `known` what an earlier conversion wrote. Raises as `PairMaker`, ConfigError for
    a file that is in the way, CannotWrite.
    """

    def __init__(
        self,
        maker: PairMaker,
        part: str,
        folder: Path,
        *,
        names: Sequence[str],
        known: Mapping[tuple[str, str], Entry],
    ):
        self.maker, self.part, self.folder, self.names, self.known = maker, part, folder, names, known

    def __call__(self, index: int) -> Entry:
        name, made_by = self.names[index], self.maker.made_by(index, self.names[index])
        before = self.known.get((self.part, name))
        if before is not None and before.made_by == made_by and self._holds(before):
            return before
        own = {} if before is None else before.files
        files = self._make(index)
        for file, content in files.items():
            self._write(file, content, ours=file in own)
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        return Entry(self.part, name, made_by, digests)

    def files_of(self, index: int) -> tuple[str, ...]:
        """The image and the mask of a sample, below the folder."""
        name = self.names[index]
        return f"images/{self.part}/{name}{self.maker.suffix(index)}", f"masks/{self.part}/{name}.png"

    def _holds(self, entry: Entry) -> bool:
        return all(digest_of(self.folder / file) == digest for file, digest in entry.files.items())

    def _make(self, index: int) -> dict[str, bytes]:
        _, *contents = self.maker.make(index)
        return dict(zip(self.files_of(index), contents, strict=True))

    def _write(self, file: str, content: bytes, *, ours: bool) -> None:
        path = self.folder / file
        there = digest_of(path)
        if there == hashlib.sha256(content).hexdigest():
            return
        if there is not None and not ours:
            raise ConfigError(f"{path} is there, and was not written by this command -> another folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        write_bytes(path, content, durable=False)


def refuse_channels(dataset: Any, *, copy: bool) -> None:
    """Raises ConfigError for images that are no files and have more bands than a PNG file."""
    if not copy and dataset.channels not in PNG_CHANNELS:
        raise ConfigError(
            f"images of {dataset.channels} bands cannot be written as PNG files, and are no files that could be copied"
        )


def can_copy(dataset: Any) -> bool:
    """Whether every image is a file of a kind that `folder` finds."""
    return keeps_files(dataset) and all(path.suffix.lower() in SUFFIXES for path in dataset.image_paths)


def _is_own(dataset: Any, method: str) -> bool:
    return getattr(type(dataset), method) is getattr(PairedFiles, method)


def _as_png(pixels: np.ndarray) -> bytes:
    return _save(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _save(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="png")
    return stream.getvalue()
