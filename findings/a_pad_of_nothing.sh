#!/usr/bin/env bash
# torch 2.14.1 and torchvision 0.29.1, seen with Python 3.11 on an x86-64 processor; torch 2.11.0 does the same.
#
# Expected: padding an image by nothing on all sides gives the tensor back, as resizing or cropping it to the size that it
# has does in torchvision, and as `contiguous()` and `to(dtype)` do. So networks that pad to a multiple of their stride,
# or before a convolution of stride 2, pay nothing where the size already fits, as 512 x 512 always does.
#
# Seen: F.pad makes a copy in every mode, and so do nn.ZeroPad2d and torchvision's v2.functional.pad. In training it stays:
# a ReLU keeps its output for the backward pass, the convolution behind the pad keeps the copy, and where one tensor was
# stored there are two. MONAI's DivisiblePad asks first, and gives back what it got.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 monai==1.6.1 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch.nn.functional as F
from monai.transforms import DivisiblePad
from torch import nn
from torchvision.transforms.v2 import functional as transforms

image = torch.randn(1, 3, 64, 64)


def same(other):
    return other.data_ptr() == image.data_ptr()


def stored(pad):
    """Bytes that a ReLU and a convolution keep for their backward passes, each storage once."""
    sizes = {}

    def note(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    convolution, features = nn.Conv2d(8, 8, 3), torch.randn(1, 8, 64, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        convolution(pad(torch.relu(features)))
    return sum(sizes.values())


nothing = (0, 0, 0, 0)
activation = 8 * 64 * 64 * 4
seen = {
    "torch gives back": [m for m in ("constant", "reflect", "replicate", "circular") if same(F.pad(image, nothing, mode=m))],
    "ZeroPad2d gives back": same(nn.ZeroPad2d(0)(image)),
    "torchvision's pad": same(transforms.pad(image, list(nothing))),
    "torchvision's crop": same(transforms.center_crop(image, [64, 64])),
    "torchvision's resize": same(transforms.resize(image, [64, 64])),
    "MONAI's pad": same(DivisiblePad(32)(image[0])),
    "activations more": (stored(lambda x: F.pad(x, nothing)) - stored(lambda x: x)) / activation,
}
print(seen)
expected = {
    "torch gives back": [],
    "ZeroPad2d gives back": False,
    "torchvision's pad": False,
    "torchvision's crop": True,
    "torchvision's resize": True,
    "MONAI's pad": True,
    "activations more": 1.0,
}
raise SystemExit(seen != expected)
PYTHON
