#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0 and kornia 0.9.0 with torch 2.14.1, seen with Python 3.11 on a CPU.
#
# Expected: with ignore_index a mean is taken over the pixels that are not ignored, as F.cross_entropy does: labels that
# are half ignored give the loss of the other half.
#
# Seen: SoftCrossEntropyLoss of the one and focal_loss of the other (reduction="mean") leave the ignored pixels out of the
# sum and not out of the number that it is divided by, so that half of the loss comes out. An image with few labels weighs
# less, a batch of padded crops has a smaller learning rate, and a sum of two losses changes its balance with what is
# ignored. FocalLoss, DiceLoss and TverskyLoss of segmentation-models-pytorch and tversky_loss of kornia give what is
# expected: within one package, swapping the loss swaps the meaning of ignore_index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0 kornia==0.9.0
cat > "$folder/look.py" <<'PYTHON'
import torch
import torch.nn.functional as F
from kornia.losses import focal_loss, tversky_loss
from segmentation_models_pytorch.losses import DiceLoss, FocalLoss, SoftCrossEntropyLoss, TverskyLoss

torch.manual_seed(0)
logits, labels = torch.randn(2, 4, 16, 16), torch.randint(0, 4, (2, 16, 16))
half = labels.clone()
half[:, :8] = 255


def share(ignoring, plain):
    """The loss with the upper half ignored, in terms of that of the lower half alone."""
    return float(ignoring(logits, half) / plain(logits[:, :, 8:], labels[:, 8:]))


options = {"alpha": None, "gamma": 2.0, "reduction": "mean"}
found = {
    "torch F.cross_entropy": share(lambda z, t: F.cross_entropy(z, t, ignore_index=255), F.cross_entropy),
    "smp SoftCrossEntropyLoss": share(
        SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255), SoftCrossEntropyLoss(smooth_factor=0.0)
    ),
    "smp FocalLoss": share(FocalLoss("multiclass", ignore_index=255), FocalLoss("multiclass")),
    "smp DiceLoss": share(DiceLoss("multiclass", ignore_index=255), DiceLoss("multiclass")),
    "smp TverskyLoss": share(TverskyLoss("multiclass", ignore_index=255), TverskyLoss("multiclass")),
    "kornia focal_loss": share(
        lambda z, t: focal_loss(z, t, ignore_index=255, **options), lambda z, t: focal_loss(z, t, **options)
    ),
    "kornia tversky_loss": share(
        lambda z, t: tversky_loss(z, t, 0.3, 0.7, ignore_index=255), lambda z, t: tversky_loss(z, t, 0.3, 0.7)
    ),
}
for name, ratio in found.items():
    print(f"{name:26}{ratio:.4f}")
for name, ratio in found.items():
    expected = 0.5 if name in ("smp SoftCrossEntropyLoss", "kornia focal_loss") else 1.0
    assert abs(ratio - expected) < 1e-4, f"{name}: {ratio:.4f} is not {expected} any more"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
