"""An order that stays near the order of storage: for files of which what lies together is read together."""

from collections.abc import Sequence

import numpy as np
import torch

from segkit.data.loading.sampler import derive_seed


def windowed_order(lengths: Sequence[int], window: int, seed: int, epoch: int) -> np.ndarray:
    """All samples of files with `lengths` samples, int64 (total,), in the numbering of one file after the other.

    The files come in a random order, their samples mixed within a window: in blocks of `window` samples, then in blocks
    that begin in the middle of the first. So a sample moves by less than 1.5 windows, over the ends of files too, and
    any two within half a window may change places. A pure function of all arguments.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "windows", epoch))
    starts = np.cumsum([0, *lengths])
    files = torch.randperm(len(lengths), generator=generator).tolist()
    order = np.concatenate([np.arange(starts[file], starts[file + 1]) for file in files], dtype=np.int64)
    for offset in (0, window // 2):
        blocks = (np.arange(len(order)) + offset) // window
        drawn = torch.rand(len(order), generator=generator, dtype=torch.float64).numpy()
        order = order[np.lexsort((drawn, blocks))]
    return order
