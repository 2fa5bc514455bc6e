#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, seen with Python 3.11 on a CPU.
#
# Expected: GeneralizedDiceScore adds up a score of every image, so the same predictions of the same images give the same
# value however the images are put into batches, as MeanIoU and DiceScore of the same package do.
#
# Seen: two images scored together give 0.952, one after the other 0.995, with the default weights (one over the square
# of a class's labelled pixels). A class that is missing from an image has the weight one over 0 there; it is replaced by
# the largest weight that a class has in the images of the batch (by the code that of another class, because a table of
# images by classes is read as one of classes by images), and by 0 where it is missing from all of them. So false
# positives of a class in images without it cost something or nothing, by what they were validated beside. A batch size
# chosen for the memory of a GPU, or the last batch of a set, changes the score.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchmetrics==1.9.0
cat > "$folder/look.py" <<'PYTHON'
import warnings

import torch
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore, MeanIoU

warnings.filterwarnings("ignore")  # on defaults that are to change
labels = torch.zeros(2, 4, 4, dtype=torch.long)
labels[:, 0] = 1
labels[1, 1] = 2  # the first image has no pixel of class 2
predictions = labels.clone()
predictions[0, 3, 3] = 2  # where one pixel is taken for it


def score(kind, batch_size, **options):
    metric = kind(num_classes=3, input_format="index", **options)
    for batch in zip(predictions.split(batch_size), labels.split(batch_size), strict=True):
        metric.update(*batch)
    return float(metric.compute())


together, apart = score(GeneralizedDiceScore, 2), score(GeneralizedDiceScore, 1)
print(f"generalized Dice of the same two images: {together:.4f} in one batch, {apart:.4f} in two")
assert abs(together - 0.9519) < 1e-4 and abs(apart - 0.9947) < 1e-4, "it no longer depends on the batch size as it did"
for kind, options in ((MeanIoU, {}), (DiceScore, {"average": "macro"})):
    assert score(kind, 2, **options) == score(kind, 1, **options), f"{kind.__name__} depends on the batch size too"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
