"""Pixel losses for semantic segmentation: criterion x selection x reduction.

Usable with two tensors and nothing else of segkit:

    from segkit.losses import ohem_cross_entropy
    loss = ohem_cross_entropy(logits, target, thresh=0.7, n_min="1/16")
"""

from segkit.losses.bootstrapped_ce import LinearWarmUp, bootstrapped_cross_entropy
from segkit.losses.criterion import CrossEntropy, PixelValues, pixel_cross_entropy
from segkit.losses.cross_entropy import cross_entropy
from segkit.losses.ohem_ce import ohem_cross_entropy
from segkit.losses.pixel_loss import PixelLoss, PixelReport
from segkit.losses.reduction import selected_mean, valid_mean, weighted_mean
from segkit.losses.selection import All, Ohem, Selected, TopShare
from segkit.losses.weighted_mask_ce import weighted_mask_cross_entropy

__all__ = [
    "All",
    "CrossEntropy",
    "LinearWarmUp",
    "Ohem",
    "PixelLoss",
    "PixelReport",
    "PixelValues",
    "Selected",
    "TopShare",
    "bootstrapped_cross_entropy",
    "cross_entropy",
    "ohem_cross_entropy",
    "pixel_cross_entropy",
    "selected_mean",
    "valid_mean",
    "weighted_mask_cross_entropy",
    "weighted_mean",
]
