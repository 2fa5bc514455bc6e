#!/usr/bin/env bash
# tifffile 2026.3.3, Pillow 13.0.0, OpenCV 5.0.0.93, scikit-image 0.26.0 and rasterio 1.4.4, seen with Python 3.11.
#
# Expected: a boolean mask that is saved as a TIFF file with tifffile's defaults has its object where it was drawn for
# whoever reads it: a bilevel image is the simplest there is.
#
# Seen: tifffile stores booleans as 1-bit pixels of which 0 is white (PhotometricInterpretation 0), with the bits as they
# are in memory. Programs for pictures follow the interpretation: Pillow and OpenCV give the object as 0 and everything
# else as 1 or 255. Programs for arrays give the bits: scikit-image, rasterio and tifffile itself have the object as 1. So
# half of the readers train on the mask's complement, which no check of values or shares of two classes notices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 tifffile==2026.3.3 \
    pillow==13.0.0 opencv-python-headless==5.0.0.93 scikit-image==0.26.0 rasterio==1.4.4
cd "$folder"
cat > look.py <<'PYTHON'
import warnings

import cv2
import numpy as np
import rasterio
import tifffile
from PIL import Image
from skimage import io

warnings.filterwarnings("ignore")  # of a file without georeference
mask = np.zeros((16, 16), dtype=bool)
mask[4:12, 4:12] = True
tifffile.imwrite("mask.tif", mask)
with rasterio.open("mask.tif") as file:
    read = {
        "tifffile": tifffile.imread("mask.tif"),
        "scikit-image": io.imread("mask.tif"),
        "rasterio": file.read(1),
        "Pillow": np.asarray(Image.open("mask.tif")),
        "OpenCV": cv2.imread("mask.tif", cv2.IMREAD_UNCHANGED),
    }
inverted = []
for name, values in read.items():
    found = values.astype(bool)
    assert (found == mask).all() or (found == ~mask).all()
    print(f"{name:13} object {values[8, 8]!s:5}  around it {values[0, 0]}")
    inverted += [name] if found[0, 0] else []
assert inverted == ["Pillow", "OpenCV"], f"the readers that invert the mask are no longer these, but {inverted}"
PYTHON
venv/bin/python look.py
