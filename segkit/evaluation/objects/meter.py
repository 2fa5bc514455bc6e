"""Finds the objects in label and prediction, and counts what was found, split and joined.

Objects are the connected pixels of a class, in the label and in what was predicted, across their sides (connectivity 1
in scikit-image). Labels of classes do not say where one object ends and another of its class begins: two that touch are
one here. Ignored pixels are as if they had been cut out of label and prediction: nothing is counted in them, and
nothing is connected through them.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from segkit.evaluation.objects.counts import COLUMNS, ObjectCounts
from segkit.evaluation.objects.overlaps import compare_overlaps
from segkit.evaluation.objects.runs import find_objects, overlap_runs


class ObjectMeter:
    """Counts the objects of the classes with the ids `classes`, each class by itself.

    Objects of fewer than `min_size` pixels are none, in label and prediction alike, and belong to what is no object.

    Found objects: a true and a predicted object are the same at a threshold t >= 0.5 if their IoU is above t. Then each
    has one partner at most, so that there is nothing to choose.

    Adapted Rand error (Arganda-Carreras et al. 2015, doi:10.3389/fnana.2015.00142), as in scikit-image's
    `adapted_rand_error`: 1 - F1 of the pairs of different pixels that lie in one predicted segment, for those that lie
    in one true object. Variation of information (Meila 2007, doi:10.1016/j.jmva.2006.11.013), as in scikit-image's
    `variation_of_information` with `ignore_labels=(0,)`: H(predicted | true), what is split, and H(true | predicted),
    what is joined, in bits. Both are of the pixels of true objects alone, as in the ISBI 2012 and SNEMI3D challenges;
    the rest of the label, such as the membrane between cells, is in no true object, and what is predicted there changes
    neither. Of those pixels all that are predicted as no object are one segment. (The script of SNEMI3D makes a segment
    of each of them.)
    """

    def __init__(self, classes: Sequence[int], *, ignore_index: int, min_size: int = 0):
        self.classes, self.ignore_index, self.min_size = tuple(classes), ignore_index, min_size

    def count(self, target: Tensor, prediction: Tensor) -> ObjectCounts:
        """Of labels and predicted class ids, both (N, H, W) on any device."""
        shape = len(target), len(self.classes)
        counts = np.zeros((*shape, COLUMNS), dtype=np.int64)
        entropies = np.zeros((*shape, 2))
        images = zip(target.cpu().numpy(), prediction.cpu().numpy(), strict=True)
        for n, (label, answer) in enumerate(images):
            valid = label != self.ignore_index  # (H, W)
            for k, class_id in enumerate(self.classes):
                true, answered = (
                    find_objects((ids == class_id) & valid, min_size=self.min_size) for ids in (label, answer)
                )
                overlaps = overlap_runs(true, answered)
                counts[n, k], entropies[n, k] = compare_overlaps(overlaps, true.total, answered.total)
        return ObjectCounts(counts, entropies, self.classes, self.min_size)
