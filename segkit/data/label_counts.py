"""How often each class occurs in the training labels: counted once, and kept on disk for later runs."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from segkit.data.cache.settings import settings_text
from segkit.data.class_weights import ClassCounts, count_classes, weigh_classes
from segkit.data.loading.bad_samples import usable_samples
from segkit.errors import CannotWrite, DataError
from segkit.system.files import cannot_write, write_json

#: Counts are made anew when this number, which stands for what is counted and how it is written, has changed.
FORMAT = 1
#: Samples whose labels are part of what the counts depend on, for what files and settings do not show.
SAMPLES = 16


class LabelCounts:
    """The class counts of `dataset`: counted when first asked for, or read from `folder` if they were kept there.

    `settings` are what the data set was made by. Kept counts hold while the settings, the classes, the files with the
    labels (name, size, time of change) and the labels of some samples are the same; anything else that is found under
    their name, a damaged file included, is replaced. With `skip_bad`, samples that cannot be used are left out, and the
    files with the images count too. Where nothing can be kept, `describe` says so. With `folder`
    None nothing is read or kept.
    """

    def __init__(
        self, dataset: Any, folder: Path | None, *, settings: Mapping[str, Any], skip_bad: bool = False
    ):
        self.dataset, self.folder, self.skip_bad = dataset, folder, skip_bad
        self.settings = settings_text(settings)
        self.kept = False  # whether this process wrote a file
        self._counts: ClassCounts | None = None
        self._origin = self._trouble = ""

    @property
    def asked(self) -> ClassCounts | None:
        """The counts if somebody has asked for them."""
        return self._counts

    def counts(self) -> ClassCounts:
        """The counts. Raises DataError as reading the samples does."""
        if self._counts is None:
            self._counts = self._count() if self.folder is None else self._find_or_count(self.folder)
        return self._counts

    def weigh(self, kind: str | Mapping[str, float]) -> list[float]:
        """Class weights of that kind, rounded as a person would write them; see `weigh_classes`, also for errors."""
        return [float(f"{weight:.4g}") for weight in weigh_classes(self.counts(), kind)]

    def describe(self) -> list[str]:
        """Lines on where the counts are from, or none if nobody asked for them."""
        if self._counts is None:
            return []
        lines = [f"class weights from the labels of {len(self.dataset):,} images{self._origin}"]
        return [*lines, f"warning: {self._trouble}"] if self._trouble else lines

    def _count(self) -> ClassCounts:
        return count_classes(self.dataset, skip_bad=self.skip_bad)

    def _find_or_count(self, folder: Path) -> ClassCounts:
        files = label_files(self.dataset, 0, with_image=self.skip_bad) if len(self.dataset) else []
        name = json.dumps([self.settings, [str(path) for path in files[:1]]])
        path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
        key = _key(self.dataset, self.settings, skip_bad=self.skip_bad)
        counts = _read(path, key, num_classes=self.dataset.num_classes)
        if counts is not None:
            self._origin = f", counted before ({path})"
            return counts
        counts = self._count()
        try:
            self._write(path, key, counts)
        except CannotWrite as error:
            problem = str(error).splitlines()[0]
            self._trouble = (
                f"the counts are not kept, so the next run counts again: {problem}\n"
                "   -> another place for caches: SEGKIT_CACHE=FOLDER in the environment"
            )
        else:
            self._origin, self.kept = f", kept in {path}", True
        return counts

    def _write(self, path: Path, key: str, counts: ClassCounts) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        write_json(path, {"key": key, **vars(counts)})


def label_files(dataset: Any, index: int, *, with_image: bool = False) -> list[Path]:
    """The files that the labels of a sample depend on, absolute; none if the data set names no files."""
    if not hasattr(dataset, "files"):
        return []
    images = None if with_image else getattr(dataset, "image_paths", None)
    paths = [path for path in dataset.files(index) if images is None or path != images[index]]
    return [Path(os.path.abspath(path)) for path in paths]


def describe_file(path: Path) -> str:
    """A file's path, size and time of change. Raises DataError if it is missing."""
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return f"{path} {state.st_size} {state.st_mtime_ns}"


def _each_file(dataset: Any, *, with_image: bool) -> Iterator[Path]:
    """The files that the labels depend on. One that several samples in a row share, such as a list of classes, comes
    once."""
    before: list[Path] = []
    for index in range(len(dataset)):
        files = label_files(dataset, index, with_image=with_image)
        yield from (path for path in files if path not in before)
        before = files


def _key(dataset: Any, settings: str, *, skip_bad: bool) -> str:
    """Digest of all that the counts depend on. Raises DataError for a file that is missing, unless `skip_bad`."""
    digest = hashlib.sha256()
    facts = [FORMAT, settings, skip_bad, list(dataset.class_names), dataset.ignore_index, len(dataset)]
    digest.update(json.dumps(facts).encode())
    for path in _each_file(dataset, with_image=skip_bad):
        try:
            digest.update(f"\n{describe_file(path)}".encode())
        except DataError:
            if not skip_bad:
                raise
    step = -(-len(dataset) // SAMPLES)
    places = range(0, len(dataset), max(1, step))
    for sample in usable_samples(dataset.__getitem__, places, skip_bad=skip_bad):
        target = sample.target.as_subclass(torch.Tensor)  # (H, W)
        digest.update(f"\n{tuple(target.shape)}".encode())
        digest.update(target.contiguous().numpy().data)
    return digest.hexdigest()


def _read(path: Path, key: str, *, num_classes: int) -> ClassCounts | None:
    """The counts in a file, or None if there are none for this key, or no readable ones."""
    try:
        facts = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or facts.pop("key", None) != key:
        return None
    lists: tuple[Any, Any] = (facts.get("pixels"), facts.get("pixels_where_present"))
    sound = all(
        isinstance(numbers, list) and len(numbers) == num_classes and all(type(n) is int for n in numbers)
        for numbers in lists
    )
    return ClassCounts(*lists) if sound else None
