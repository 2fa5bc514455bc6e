"""`none`: no augmentation."""

from segkit.data.sample import Sample
from segkit.registry import AUGMENTS


@AUGMENTS.register("none")
class NoAugment:
    """The images as they are."""

    def __call__(self, sample: Sample) -> Sample:
        return sample
