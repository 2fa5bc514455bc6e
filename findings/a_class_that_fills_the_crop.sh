#!/usr/bin/env bash
# scipy 1.17.1 and MONAI 1.6.1, seen with Python 3.11 on an x86-64 processor.
#
# Expected: the distance to the nearest pixel outside of a class, in a crop that the class fills, where there is no such
# pixel, is infinite, or an error; at least it does not depend on where in the crop a pixel lies, and a mirrored mask has
# mirrored distances.
#
# Seen: scipy.ndimage.distance_transform_edt measures from a place that does not exist, one row above the first pixel,
# without a warning: 1 at the upper left corner and more towards the lower right, up to the diagonal of the crop.
# return_indices names that place (-1, 0). Of the functions beside it, distance_transform_cdt says -1 everywhere and
# distance_transform_bf the root of the largest double. MONAI's DistanceTransformEDT hands on what scipy says on a CPU.
# So weight maps and signed distances (boundary losses, U-Net's border weights) that are made of random crops have a slope
# across every crop inside a road or an organ, unless whoever makes them asks first whether there is an outside.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    scipy==1.17.1 monai==1.6.1 torch==2.14.1 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import torch
from monai.transforms import DistanceTransformEDT
from scipy import ndimage

filled = np.ones((4, 6))
distance, nearest = ndimage.distance_transform_edt(filled, return_indices=True)
rows, columns = np.indices(filled.shape)
from_nowhere = np.hypot(rows + 1, columns)
by_monai = DistanceTransformEDT()(torch.from_numpy(filled)[None]).numpy()[0]
print(distance.round(2), nearest[:, 2, 3])
seen = {
    "from a row above": np.allclose(distance, from_nowhere) and set(map(tuple, nearest.reshape(2, -1).T)) == {(-1, 0)},
    "mirrored": np.allclose(ndimage.distance_transform_edt(filled[:, ::-1])[:, ::-1], distance),
    "by MONAI": np.allclose(by_monai, from_nowhere),
    "chessboard": bool((ndimage.distance_transform_cdt(filled) == -1).all()),
    "brute force": bool((ndimage.distance_transform_bf(filled) > 1e150).all()),
}
print(seen)
expected = dict.fromkeys(seen, True) | {"mirrored": False}
raise SystemExit(seen != expected)
PYTHON
