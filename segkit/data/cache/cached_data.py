"""`data.cache`: decoded images and labels in files of their own, since decoding takes longer than reading.

`disk` keeps them for later runs; what was read once also stays in the memory that the system has to spare, shared by
all workers and runs. `ram` keeps them in memory for this run alone: for machines whose disk is slow or full.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import PIL
import torch

from segkit.data.cache.checked_file import SUFFIX, CheckedFiles, Entry, write_entry
from segkit.data.cache.place import CachePlace, in_memory
from segkit.data.cache.ram_folder import require_room
from segkit.data.cache.settings import settings_text
from segkit.data.files.paired_files import file_state
from segkit.data.loading.bad_samples import find_sources, usable_samples
from segkit.data.loading.form import require_sample
from segkit.data.loading.spread import spread
from segkit.data.sample import Sample
from segkit.data.weight_maps.weight_files import digest_target
from segkit.errors import CannotWrite, ConfigError
from segkit.system.files import write_atomically

#: Samples that are read to estimate the size of all.
SAMPLES = 8
#: Samples up to which each is looked for, to say how many are there.
MANY = 50_000

#: What is written changes with the libraries that decode and resize, and with this number.
FORMAT = f"5, Pillow {PIL.__version__}, torchvision {importlib.metadata.version('torchvision')}"


class Cached:
    """The samples of `dataset`, each decoded once and read from `place` from then on; every other attribute is the
    data set's own.

    `dataset.files(index)` names the files that a sample is made of; `settings` are what else it is made by. A sample
    whose files have another size or time of change, or which was made by other settings, is decoded and written anew,
    and so is one whose cached file is damaged. Raises DataError where nothing can be written, and ConfigError for a
    data set that does not name its files. In memory the cache is of this process and its workers only, and
    samples need no files.
    """

    def __init__(self, dataset: Any, place: CachePlace, *, settings: Mapping[str, Any]):
        if not place.in_memory and not hasattr(dataset, "files"):
            raise ConfigError(
                "data.cache=disk needs a data set that names the files of a sample, `files(index)`, as `folder` does\n"
                "   -> data.cache=ram or off"
            )
        self.dataset, self.place = dataset, place
        self.settings = settings_text(settings)
        self.folder = place.make_folder(hashlib.sha256(self.settings.encode()).hexdigest()[:16])
        self._entries = CheckedFiles()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        key, path = self._key(index), self._path(index)
        entry = self._entries.read(path, wanted={"key": key})
        if entry is not None:
            return _to_sample(entry, index)
        channels = getattr(self.dataset, "channels", None)
        sample = require_sample(self.dataset[index], index=index, channels=channels)
        try:
            write_atomically(path, lambda file: _write(file, key, sample))
        except CannotWrite as error:
            raise self.place.cannot_cache(error) from error
        path.with_suffix(".npy").unlink(missing_ok=True)  # of segkit 0.1.0, and read by nobody any more
        return sample

    def take_damaged(self) -> list[Path]:
        """The cached files that this process found damaged, and wrote anew, since it was last asked."""
        return self._entries.take_damaged()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # unpickling asks before there is a data set
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def describe(self) -> str:
        """Where the cache is, how much of it there is, and about how large all of it will be."""
        if len(self) <= MANY:
            there = sum(self._path(index).is_file() for index in range(len(self)))
        else:  # to ask for each would take longer than a run may take to start
            there = min(len(self), sum(name.endswith(SUFFIX) for name in os.listdir(self.folder)))
        size = estimate_size(self) / 1e9
        return f"about {size:.2g} GB, {there:,} of {len(self):,} images there, in {self.folder}"

    def _files(self, index: int) -> Sequence[Path]:
        return self.dataset.files(index) if hasattr(self.dataset, "files") else ()

    def _path(self, index: int) -> Path:
        names = [os.path.abspath(path) for path in find_sources(self.dataset, index)] or [str(index)]
        if hasattr(self.dataset, "parts_of"):  # the same files may be other samples in another part
            names += self.dataset.parts_of(index)
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return self.folder / f"{digest[:32]}{SUFFIX}"

    def _key(self, index: int) -> str:
        """What the content of a cached file depends on. Raises DataError for a file that is missing."""
        files = []
        for path in self._files(index):
            state = file_state(path)
            files.append([str(path), state.st_size, state.st_mtime_ns])
        return json.dumps([FORMAT, self.settings, files])


def estimate_size(dataset: Any, *, weights: bool = False) -> int:
    """About how many bytes all decoded samples take, with float32 maps if `weights`, by what some of them take."""
    places = spread(len(dataset), SAMPLES)
    samples = list(usable_samples(dataset.__getitem__, places, skip_bad=True))
    size = sum(part.numel() * part.element_size() for sample in samples for part in _tensors(sample))
    if weights:
        size += 4 * sum(sample.target.numel() for sample in samples)
    return len(dataset) * size // max(1, len(samples))


def keep_in_memory(
    train: Any, val: Any, *, weights: bool, shared: Path | None = None
) -> tuple[Any, Any, CachePlace]:
    """Both sets with a cache in memory, and its place; with `weights`, there is to be room for weight maps too.

    `shared` is the folder of another process that made room and keeps it. Raises CannotCache if they would not fit.
    """
    separate = val is not train
    if shared is None:
        require_room(estimate_size(train, weights=weights) + (estimate_size(val) if separate else 0))
    place = in_memory(shared)
    kept = Cached(train, place, settings={"split": "train"})
    return kept, Cached(val, place, settings={"split": "val"}) if separate else kept, place


def _write(file: BinaryIO, key: str, sample: Sample) -> None:
    facts = {
        "key": key,
        "name": sample.name,
        "mask_path": None if sample.mask_path is None else str(sample.mask_path),
        "weight_path": None if sample.weight_path is None else str(sample.weight_path),
        "file_size": sample.file_size,
        "file_target": None if sample.file_target is None else digest_target(sample.file_target),
    }
    image, *others = (part.numpy() for part in _tensors(sample))
    # Pixel by pixel, as files have images too: parts of them are resized sooner so.
    write_entry(file, facts, [image.transpose(1, 2, 0), *others])


def _tensors(sample: Sample) -> list[torch.Tensor]:
    """Image, target and, if the data set itself gives some, weights."""
    weight = [] if sample.weight is None else [sample.weight]
    return [part.as_subclass(torch.Tensor) for part in (sample.image, sample.target, *weight)]


def _to_sample(entry: Entry, index: int) -> Sample:
    facts, arrays = entry
    image, target, weight = (*map(torch.from_numpy, arrays), None)[:3]
    del facts["key"]
    for name in ("mask_path", "weight_path"):
        facts[name] = None if facts[name] is None else Path(facts[name])
    if facts["file_size"] is not None:
        facts["file_size"] = tuple(facts["file_size"])
    image = image.permute(2, 0, 1)
    return Sample(image=image, target=target, weight=weight, index=index, **facts)
