"""`class_balanced`: every pixel weighs what its class weighs."""

from torch import Tensor

from segkit.data.class_weights import ClassTable
from segkit.data.sample import Sample
from segkit.registry import WEIGHT_MAPS
from segkit.types import ClassWeights


@WEIGHT_MAPS.register("class_balanced")
class ClassBalanced:
    """The weight of each pixel's class; 0 where ignored.

    class_weights  one number per class; `balanced` and `median_frequency` are computed from the training labels
    """

    def __init__(self, num_classes: int, ignore_index: int, *, class_weights: ClassWeights = "balanced"):
        self.class_table = ClassTable(class_weights, num_classes=num_classes, ignore_index=ignore_index)

    def __call__(self, sample: Sample) -> Tensor:
        return self.class_table.look_up(sample.target.as_subclass(Tensor))  # (H, W)
