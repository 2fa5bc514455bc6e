"""Selection: which pixels a loss keeps, decided without gradient on plain cross-entropy. One registered per file."""

from segkit.losses.selections.all import All
from segkit.losses.selections.hardest import select_hardest
from segkit.losses.selections.loss_max import LossMax, pooled_pixels
from segkit.losses.selections.ohem import Ohem
from segkit.losses.selections.selection import Schedulable, Selected, Selection
from segkit.losses.selections.top_k import TopK
from segkit.losses.selections.top_share import TopShare

__all__ = [
    "All",
    "LossMax",
    "Ohem",
    "Schedulable",
    "Selected",
    "Selection",
    "TopK",
    "TopShare",
    "pooled_pixels",
    "select_hardest",
]
