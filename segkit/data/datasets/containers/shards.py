"""`shards`: samples in tar files, as webdataset writes them.

    root/train-000000.tar    0001.jpg 0001.seg.png 0002.jpg 0002.seg.png ...
    root/val-000000.tar

A shard is a few large reads for a file server where its samples would be thousands of small ones.
"""

import bisect
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from segkit.data.cache.place import on_disk
from segkit.data.containers.parted_files import PartedFiles
from segkit.data.containers.shards import Member, find_shards, read_index
from segkit.data.decoding.parts import Source
from segkit.data.files.compact import Compact, Paths, Texts
from segkit.data.files.options import Channels, Classes, Ends, find_ends, read_meanings
from segkit.data.files.paired_files import PairedFiles, existing_root
from segkit.errors import ConfigError, DataError
from segkit.registry import DATASETS
from segkit.types import Expects, PositiveInt, Size

IMAGES = ["jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp"]
MASKS = [f"{word}.png" for word in ("mask", "seg", "label", "labels", "segmentation", "gt")]

Endings = Annotated[list[str], Field(min_length=1)]
Shards = Annotated[str, Expects("tar files below root, such as train-*.tar or train-{000..099}.tar")]


class _Members(Compact[Member]):
    """The images, or the labels, of all samples of some shards."""

    def __init__(
        self, shards: Sequence[Path], keys: Sequence[Texts], endings: Sequence[str], places: np.ndarray
    ):
        self.shards, self.keys, self.endings, self.places = shards, keys, endings, places
        self.ends = np.cumsum([len(each) for each in keys]).tolist()

    def __len__(self) -> int:
        return len(self.places)

    def _item(self, place: int) -> Member:
        shard = bisect.bisect_right(self.ends, place)
        key = self.keys[shard][place - (self.ends[shard - 1] if shard else 0)]
        offset, size, ending = self.places[place].tolist()
        return Member(self.shards[shard], f"{key}.{self.endings[ending]}", offset, size)


class _MemberPaths(Compact[Path]):
    """What messages call them."""

    def __init__(self, members: _Members):
        self.members = members

    def __len__(self) -> int:
        return len(self.members)

    def _item(self, place: int) -> Path:
        return Path(str(self.members[place]))


@DATASETS.register("shards")
class ShardedFiles(PartedFiles):
    """Images and masks in tar files, next to each other: {key}.jpg and {key}.seg.png (webdataset's shards).

    root          the folder of the shards
    classes       names of the classes, in the order of their ids, or a file that lists them; see `folder`
    train         the shards that are trained on: a pattern with * or with numbers in braces, {000..099}
    val           the shards that validate
    images        endings of images: what comes after the first dot of a name, of which the file is called otherwise
    masks         endings of masks
    shuffle       samples that are mixed at a time: shards are read in a random order, and their samples mixed within a
                  window of so many; null: any sample may come at any time, for disks that do not mind
    unlabelled    what to do about images without a mask: `stop`, or `skip` them
    label_map     what the values in the masks mean; see `folder`
    ignore_index  id of the pixels that count neither in the loss nor in a score
    channels      3 for colour images, 1 for greyscale, which are converted into each other; else as many bands as the
                  images have
    value_range   which numbers become 0 and 255 in images of more than 8 bits; see `folder`
    resize        [height, width] that every image is brought to, or null

    Where the samples lie is read once, from the heads of all files in a shard, and kept. Then a sample is one piece of
    a shard, so that any may be read at any time: which come when depends on seed and epoch alone, and a resumed run and
    any number of processes have the same bits. Shards must not be compressed.

    Raises DataError for what is missing on disk, ValueError or ConfigError for options that contradict each other.
    """

    def __init__(
        self,
        split: Literal["train", "val"],
        *,
        root: str,
        classes: Classes,
        train: Shards = "train*.tar",
        val: Shards = "val*.tar",
        images: Endings = IMAGES,
        masks: Endings = MASKS,
        shuffle: PositiveInt | None = 10_000,
        unlabelled: Literal["stop", "skip"] = "stop",
        label_map: dict[int | str, int | str] | None = None,
        ignore_index: int = 255,
        channels: Channels = 3,
        value_range: Ends = "auto",
        resize: Size | None = None,
    ):
        both = sorted(set(images) & set(masks))
        if both:
            raise ConfigError(f"data.images and data.masks have the same ending: {both[0]}")
        meanings = read_meanings(
            classes, label_map, ignore_index=ignore_index, root=lambda: existing_root(root)
        )
        folder, place = existing_root(root), on_disk()
        endings = [[ending.lower().lstrip(".") for ending in each] for each in (images, masks)]

        def find(part: Literal["train", "val"]) -> tuple[list[Path], list[Texts], _Members, _Members]:
            shards = find_shards(folder, train if part == "train" else val, key=part)
            found = [read_index(path, *endings, unlabelled=unlabelled, place=place) for path in shards]
            places = np.concatenate([index.places for index in found])
            if not len(places):
                raise DataError(
                    f"no samples in {len(shards)} shards: {shards[0]} ... (images: {', '.join(images)})"
                )
            keys, names = [index.keys for index in found], found[0].endings
            members = [_Members(shards, keys, names, places[:, first : first + 3]) for first in (0, 3)]
            return shards, keys, members[0], members[1]

        self.shards, keys, *self.members = find(split)
        names = Texts.of(key for each in keys for key in each)
        if len(set(names)) < len(names):  # a key is unique in its shard only
            titled = zip(self.shards, keys, strict=True)
            names = Texts.of(f"{shard.stem}/{key}" for shard, each in titled for key in each)
        ends = find_ends(value_range, lambda: self.members[0] if split == "train" else find("train")[2])
        PairedFiles.__init__(
            self,
            folder,
            names=names,
            image_paths=_MemberPaths(self.members[0]),
            mask_paths=_MemberPaths(self.members[1]),
            class_names=meanings.names,
            label_map=meanings.label_map,
            channels=channels,
            value_range=ends,
            resize=resize,
            weight_paths=Paths(str(folder / "weights" / split), names),
            palette=meanings.label_map.palette,
        )
        self.meanings, self.shuffle, self.lengths = meanings, shuffle, [len(each) for each in keys]
        found = list(ends) if value_range == "auto" and isinstance(ends, tuple) else None
        self.found_options = {} if found is None else {"value_range": found}
        if shuffle is not None:
            self.epoch_order = self._order

    def sources(self, index: int) -> tuple[Source, Source]:
        """The image and the mask of sample `index` in their shard."""
        return self.members[0][index], self.members[1][index]

    def fingerprint(self) -> str:
        """Names of all samples, and names and sizes in bytes of all shards."""
        digest = hashlib.sha256()
        for shard in self.shards:
            digest.update(f"{shard.name} {shard.stat().st_size}\n".encode())
        for name in self.names:
            digest.update(f"{name}\n".encode())
        return digest.hexdigest()

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        """As `epoch_order`, the samples of an epoch, int64 (length,): shard after shard, mixed within windows."""
        from segkit.data.loading.windows import windowed_order  # needs torch

        assert self.shuffle is not None  # or there would be no such order
        return windowed_order(self.lengths, self.shuffle, seed, epoch)
