#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1, seen with Python 3.11 on a CPU.
#
# Expected: n_bins=15 of the calibration error means 15 bins of the confidence, of which the last one ends at 1 and has
# it, as in Guo et al. 2017, (14/15, 1].
#
# Seen: a confidence of exactly 1 has a bin of its own, the sixteenth. softmax in fp32 gives exactly 1 as soon as the
# other logits are 17 less, which in segmentation is most of the background of a trained network. Where the pixels with
# 1 and those just below are wrong in opposite directions, one bin adds them up before it takes the distance, two bins
# do not: 0.515 instead of 0.485 below. So a network that becomes surer by the last bit of fp32, from 0.9999997 to 1,
# gets another error all at once; fp64 does not help, since the probabilities are compared in fp32.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchmetrics==1.9.0
cat > "$folder/look.py" <<'PYTHON'
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15


def by_definition(p, labels):
    """Bins (a, b], of which the last one has 1; the sum over bins of their share x |accuracy - confidence|."""
    confidence, predicted = p.max(dim=1)
    place = (confidence * BINS).ceil().clamp(1, BINS)
    total = 0.0
    for n in range(1, BINS + 1):
        here = place == n
        if here.any():
            gap = (predicted[here] == labels[here]).double().mean() - confidence[here].double().mean()
            total += float(here.double().mean() * gap.abs())
    return total


labels = torch.tensor([1, 1, 0, 0])  # those that are sure are wrong, those that are less sure are right
found = {}
for apart in (15.0, 20.0):
    logits = torch.tensor([[apart, 0.0], [apart, 0.0], [3.5, 0.0], [3.5, 0.0]])
    p = logits.softmax(dim=1)
    theirs = float(multiclass_calibration_error(p, labels, num_classes=2, n_bins=BINS))
    found[apart] = theirs, by_definition(p, labels)
    print(f"largest p {float(p.max()):.8f}  torchmetrics {theirs:.4f}  by definition {found[apart][1]:.4f}")
    assert (float(p.max()) == 1) == (apart == 20.0)
assert abs(found[15.0][0] - found[15.0][1]) < 1e-6, "below 1 they are not the same any more"
assert abs(found[20.0][0] - found[20.0][1]) > 0.02, "1 is in the last bin now"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
