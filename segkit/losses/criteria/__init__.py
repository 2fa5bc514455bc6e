"""Criterion: the value of every pixel, before any is selected or averaged. One registered criterion per file.

A criterion is an nn.Module with `num_classes`, `ignore_index`, `forward(logits, target) -> PixelValues` and
`describe() -> str`; with `class_weights` (C,) if it has such weights, and `logits_channels` if its logits have not one
channel per class.
"""

from segkit.losses.criteria.binary_cross_entropy import (
    BinaryCrossEntropy,
    pixel_binary_cross_entropy,
    two_class_logits,
)
from segkit.losses.criteria.border_relaxed_ce import BorderRelaxedCrossEntropy, pixel_border_relaxed
from segkit.losses.criteria.cross_entropy import CrossEntropy
from segkit.losses.criteria.focal import Focal, pixel_focal
from segkit.losses.criteria.function_of_ce import FunctionOfCE, pixel_function_of_ce
from segkit.losses.criteria.generalized_ce import GeneralizedCrossEntropy, pixel_generalized
from segkit.losses.criteria.inputs import read_inputs
from segkit.losses.criteria.logit_adjusted_ce import LogitAdjustedCrossEntropy, pixel_logit_adjusted
from segkit.losses.criteria.margin_smoothing_ce import MarginSmoothingCrossEntropy, pixel_margin_smoothing
from segkit.losses.criteria.pixel_cross_entropy import pixel_cross_entropy, values_of
from segkit.losses.criteria.poly_ce import PolyCrossEntropy, pixel_poly
from segkit.losses.criteria.spatial_smoothing_ce import SpatialSmoothingCrossEntropy, pixel_spatial_smoothing
from segkit.losses.criteria.symmetric_ce import SymmetricCrossEntropy, pixel_symmetric
from segkit.losses.criteria.values import PixelValues, class_weight_of
from segkit.losses.kernels.labels import read_labels

__all__ = [
    "BinaryCrossEntropy",
    "BorderRelaxedCrossEntropy",
    "CrossEntropy",
    "Focal",
    "FunctionOfCE",
    "GeneralizedCrossEntropy",
    "LogitAdjustedCrossEntropy",
    "MarginSmoothingCrossEntropy",
    "PixelValues",
    "PolyCrossEntropy",
    "SpatialSmoothingCrossEntropy",
    "SymmetricCrossEntropy",
    "class_weight_of",
    "pixel_binary_cross_entropy",
    "pixel_border_relaxed",
    "pixel_cross_entropy",
    "pixel_focal",
    "pixel_function_of_ce",
    "pixel_generalized",
    "pixel_logit_adjusted",
    "pixel_margin_smoothing",
    "pixel_poly",
    "pixel_spatial_smoothing",
    "pixel_symmetric",
    "read_inputs",
    "read_labels",
    "two_class_logits",
    "values_of",
]
