"""`data.cache` for weight maps: computing a distance to borders takes longer than all else that is done to a sample."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segkit.data.cache.checked_file import SUFFIX, CheckedFiles, write_entry
from segkit.data.cache.place import CachePlace
from segkit.data.loading.view import WeightMaker
from segkit.data.sample import Sample
from segkit.errors import CannotWrite
from segkit.system.files import write_atomically

#: What is written changes with the libraries that compute it, and with this number.
FORMAT = f"2, torch {torch.__version__}, numpy {np.__version__}"


class CachedWeights:
    """The maps of `maker`, each computed once and read from `place` from then on, as float32 to the last bit.

    `maker.recipe` is a text with everything besides the labels that its maps depend on, so a map is filed under recipe
    and labels: no change of files or settings can go unnoticed. Raises CannotCache where nothing can be written.
    """

    def __init__(self, maker: Any, place: CachePlace):
        self.maker, self.place = maker, place
        recipe = hashlib.sha256(f"{FORMAT}, {maker.recipe}".encode()).hexdigest()[:16]
        self.folder = place.make_folder(f"weight_maps/{recipe}")
        self._entries = CheckedFiles()

    def __call__(self, sample: Sample) -> Tensor:
        target = sample.target.as_subclass(Tensor).contiguous().numpy()  # (H, W)
        digest = hashlib.blake2b(f"{target.shape} {target.dtype}".encode(), digest_size=16)
        digest.update(target.data)
        path = self.folder / f"{digest.hexdigest()}{SUFFIX}"
        entry = self._entries.read(path, wanted={})
        if entry is not None:
            return torch.from_numpy(entry.arrays[0])
        weight = self.maker(sample)
        try:
            write_atomically(path, lambda file: write_entry(file, {}, [weight.numpy()]))
        except CannotWrite as error:
            raise self.place.cannot_cache(error) from error
        return weight

    def take_damaged(self) -> list[Path]:
        """The cached maps that this process found damaged, and wrote anew, since it was last asked."""
        return self._entries.take_damaged()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "maker":  # unpickling asks before there is a maker
            raise AttributeError(name)
        return getattr(self.maker, name)


def keep_weights(maker: WeightMaker | None, place: CachePlace) -> WeightMaker | None:
    """`maker` with a cache if it has a recipe: only maps that take long to compute have one."""
    return CachedWeights(maker, place) if hasattr(maker, "recipe") else maker
