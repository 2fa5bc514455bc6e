"""Losses for semantic segmentation: pixel losses are criterion x selection x reduction, region losses stand beside.

Usable with two tensors and nothing else of segkit:

    from segkit.losses import ohem_cross_entropy
    loss = ohem_cross_entropy(logits, target, thresh=0.7, n_min="1/16")
"""

from segkit.losses.bootstrapped_ce import LinearWarmUp, bootstrapped_cross_entropy
from segkit.losses.common.pixel_loss import PixelLoss, PixelReport
from segkit.losses.common.reduction import recall_mean, selected_mean, valid_mean, weighted_mean
from segkit.losses.common.region import RegionLoss
from segkit.losses.common.soft_counts import OverlapLoss
from segkit.losses.criteria import (
    BinaryCrossEntropy,
    BorderRelaxedCrossEntropy,
    CrossEntropy,
    Focal,
    FunctionOfCE,
    GeneralizedCrossEntropy,
    LogitAdjustedCrossEntropy,
    MarginSmoothingCrossEntropy,
    PixelValues,
    PolyCrossEntropy,
    SpatialSmoothingCrossEntropy,
    SymmetricCrossEntropy,
    pixel_binary_cross_entropy,
    pixel_border_relaxed,
    pixel_cross_entropy,
    pixel_focal,
    pixel_function_of_ce,
    pixel_logit_adjusted,
    pixel_margin_smoothing,
    pixel_spatial_smoothing,
)
from segkit.losses.cross_entropy import cross_entropy
from segkit.losses.ohem_ce import ohem_cross_entropy
from segkit.losses.pixelwise.bce import binary_cross_entropy
from segkit.losses.pixelwise.border_relaxed_ce import border_relaxed_cross_entropy
from segkit.losses.pixelwise.focal import focal_loss
from segkit.losses.pixelwise.generalized_ce import generalized_cross_entropy
from segkit.losses.pixelwise.logit_adjusted_ce import logit_adjusted_cross_entropy
from segkit.losses.pixelwise.loss_max_pooling import max_pooled_cross_entropy
from segkit.losses.pixelwise.margin_smoothing_ce import margin_smoothing_cross_entropy
from segkit.losses.pixelwise.poly_ce import poly_cross_entropy
from segkit.losses.pixelwise.recall_ce import recall_cross_entropy
from segkit.losses.pixelwise.spatial_smoothing_ce import spatial_smoothing_cross_entropy
from segkit.losses.pixelwise.symmetric_ce import symmetric_cross_entropy
from segkit.losses.regions.active_boundary import active_boundary_loss
from segkit.losses.regions.boundary import boundary_loss
from segkit.losses.regions.cldice import cldice_loss
from segkit.losses.regions.dice import dice_loss
from segkit.losses.regions.focal_tversky import focal_tversky_loss
from segkit.losses.regions.jaccard import jaccard_loss
from segkit.losses.regions.log_cosh_dice import log_cosh_dice_loss
from segkit.losses.regions.lovasz import lovasz_loss
from segkit.losses.regions.mcc import mcc_loss
from segkit.losses.regions.rmi import rmi_loss
from segkit.losses.regions.tversky import tversky_loss
from segkit.losses.regions.unified_focal import unified_focal_loss
from segkit.losses.selections import All, LossMax, Ohem, Selected, Selection, TopK, TopShare
from segkit.losses.weighted_mask_ce import weighted_mask_cross_entropy

__all__ = [
    "All",
    "BinaryCrossEntropy",
    "BorderRelaxedCrossEntropy",
    "CrossEntropy",
    "Focal",
    "FunctionOfCE",
    "GeneralizedCrossEntropy",
    "LinearWarmUp",
    "LogitAdjustedCrossEntropy",
    "LossMax",
    "MarginSmoothingCrossEntropy",
    "Ohem",
    "OverlapLoss",
    "PixelLoss",
    "PixelReport",
    "PixelValues",
    "PolyCrossEntropy",
    "RegionLoss",
    "Selected",
    "Selection",
    "SpatialSmoothingCrossEntropy",
    "SymmetricCrossEntropy",
    "TopK",
    "TopShare",
    "active_boundary_loss",
    "binary_cross_entropy",
    "bootstrapped_cross_entropy",
    "border_relaxed_cross_entropy",
    "boundary_loss",
    "cldice_loss",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "focal_tversky_loss",
    "generalized_cross_entropy",
    "jaccard_loss",
    "log_cosh_dice_loss",
    "logit_adjusted_cross_entropy",
    "lovasz_loss",
    "margin_smoothing_cross_entropy",
    "max_pooled_cross_entropy",
    "mcc_loss",
    "ohem_cross_entropy",
    "pixel_binary_cross_entropy",
    "pixel_border_relaxed",
    "pixel_cross_entropy",
    "pixel_focal",
    "pixel_function_of_ce",
    "pixel_logit_adjusted",
    "pixel_margin_smoothing",
    "pixel_spatial_smoothing",
    "poly_cross_entropy",
    "recall_cross_entropy",
    "recall_mean",
    "rmi_loss",
    "selected_mean",
    "spatial_smoothing_cross_entropy",
    "symmetric_cross_entropy",
    "tversky_loss",
    "unified_focal_loss",
    "valid_mean",
    "weighted_mask_cross_entropy",
    "weighted_mean",
]
