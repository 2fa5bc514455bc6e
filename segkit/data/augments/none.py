"""`none`: no augmentation."""

from segkit.data.sample import Sample
from segkit.registry import AUGMENTS


@AUGMENTS.register("none")
class NoAugment:
    """The images as they are."""

    takes_plain_tensors = draws_from_torch = True

    def __call__(self, sample: Sample) -> Sample:
        return sample
