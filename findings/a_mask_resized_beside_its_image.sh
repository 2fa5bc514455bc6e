#!/usr/bin/env bash
# torchvision 0.29.1, MONAI 1.6.1 and kornia 0.9.0 with torch 2.14.1, seen with Python 3.11 on a CPU.
#
# Expected: an image and its mask that one call makes four times smaller stay on top of each other. A label is taken from
# one of the 4 x 4 pixels that a new pixel is made of; with even factors none lies in their middle, and the next is an
# eighth of a new pixel away from it.
#
# Seen: v2.Resize of torchvision, of tensors, and Resized of MONAI (mode bilinear for the image, nearest for the mask)
# take the label of the first of them, at the top left: three eighths of a new pixel beside the middle of the colours,
# everywhere and in one direction. torch's "nearest" takes corners, its bilinear interpolation centres. Resize of kornia
# takes the label next to the middle and brings the corners of the image onto the corners, so that the image is stretched
# below its mask: half a new pixel at the left edge, a quarter in the other direction at the right. The default mask of a
# tool says where a border is by as much as boundary scores with a tolerance of one pixel measure.
# interpolation=NEAREST_EXACT, for the mask alone, gives the eighth.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 monai==1.6.1 kornia==0.9.0
cat > "$folder/look.py" <<'PYTHON'
import warnings

import torch
from kornia.augmentation import AugmentationSequential, Resize
from monai.transforms import Resized
from torchvision import tv_tensors
from torchvision.transforms import v2

warnings.filterwarnings("ignore")
OLD, NEW = 256, 64
# Each pixel says in which column it is, so that what comes out says where it was taken from.
columns = torch.arange(OLD).float().expand(1, 1, OLD, OLD).contiguous()


def by_torchvision():
    return v2.Resize((NEW, NEW))(tv_tensors.Image(columns), tv_tensors.Mask(columns))


def by_torchvision_exact():
    exact = v2.functional.resize(tv_tensors.Mask(columns), (NEW, NEW), interpolation=v2.InterpolationMode.NEAREST_EXACT)
    return v2.Resize((NEW, NEW))(tv_tensors.Image(columns)), exact


def by_monai():
    pair = {"image": columns[0], "mask": columns[0]}
    pair = Resized(keys=["image", "mask"], spatial_size=(NEW, NEW), mode=["bilinear", "nearest"])(pair)
    return pair["image"][None], pair["mask"][None]


def by_kornia():
    return AugmentationSequential(Resize((NEW, NEW), p=1.0), data_keys=["input", "mask"])(columns, columns.clone())


expected = {
    "torchvision v2.Resize": (-0.375, -0.375),
    "torchvision NEAREST_EXACT": (0.125, 0.125),
    "MONAI Resized": (-0.375, -0.375),
    "kornia Resize": (0.476, -0.226),
}
calls = (by_torchvision, by_torchvision_exact, by_monai, by_kornia)
wrong = 0
for (name, values), call in zip(expected.items(), calls, strict=True):
    image, mask = (torch.as_tensor(part).as_subclass(torch.Tensor) for part in call())
    away = (mask - image)[0, 0, NEW // 2] * NEW / OLD  # in new pixels, along a row
    found = tuple(round(float(away[column]), 3) for column in (2, NEW - 3))
    print(f"{name:28}the mask's place less the image's, in new pixels: left {found[0]:+}, right {found[1]:+}")
    wrong += found != values
raise SystemExit(bool(wrong))
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
