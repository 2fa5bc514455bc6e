"""Losses for semantic segmentation: pixel losses are criterion x selection x reduction, region losses stand beside.

Usable with two tensors and nothing else of segkit:

    from segkit.losses import ohem_cross_entropy
    loss = ohem_cross_entropy(logits, target, thresh=0.7, n_min="1/16")
"""

from segkit.losses.bootstrapped_ce import LinearWarmUp, bootstrapped_cross_entropy
from segkit.losses.common.pixel_loss import PixelLoss, PixelReport
from segkit.losses.common.reduction import selected_mean, valid_mean, weighted_mean
from segkit.losses.common.region import RegionLoss
from segkit.losses.criteria import (
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    PixelValues,
    pixel_binary_cross_entropy,
    pixel_cross_entropy,
    pixel_focal,
)
from segkit.losses.cross_entropy import cross_entropy
from segkit.losses.ohem_ce import ohem_cross_entropy
from segkit.losses.pixelwise.bce import binary_cross_entropy
from segkit.losses.pixelwise.focal import focal_loss
from segkit.losses.regions.active_boundary import active_boundary_loss
from segkit.losses.regions.boundary import boundary_loss
from segkit.losses.regions.cldice import cldice_loss
from segkit.losses.regions.dice import dice_loss
from segkit.losses.regions.jaccard import jaccard_loss
from segkit.losses.regions.lovasz import lovasz_loss
from segkit.losses.regions.tversky import tversky_loss
from segkit.losses.selections import All, Ohem, Selected, Selection, TopK, TopShare
from segkit.losses.weighted_mask_ce import weighted_mask_cross_entropy

__all__ = [
    "All",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Focal",
    "LinearWarmUp",
    "Ohem",
    "PixelLoss",
    "PixelReport",
    "PixelValues",
    "RegionLoss",
    "Selected",
    "Selection",
    "TopK",
    "TopShare",
    "active_boundary_loss",
    "binary_cross_entropy",
    "bootstrapped_cross_entropy",
    "boundary_loss",
    "cldice_loss",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "jaccard_loss",
    "lovasz_loss",
    "ohem_cross_entropy",
    "pixel_binary_cross_entropy",
    "pixel_cross_entropy",
    "pixel_focal",
    "selected_mean",
    "tversky_loss",
    "valid_mean",
    "weighted_mask_cross_entropy",
    "weighted_mean",
]
