#!/usr/bin/env bash
# rasterio 1.4.4 (its GDAL), OpenCV 5.0.0.93, Pillow 13.0.0 and tifffile 2026.3.3, seen with Python 3.11.
#
# Expected: a TIFF file of 16-bit numbers that is packed to fewer bits (GDAL's NBITS, without loss, as class ids and
# cameras of 10, 12 or 14 bits allow it) gives the numbers that were written, or an error.
#
# Seen: OpenCV gives every number times 64, 16 or 4, of type uint16 and without a word, as if the highest number of so
# many bits were white: class 3 of a label file of 12 bits is 48. Pillow reads 12 bits exactly and calls files of 10 and 14
# no image. tifffile reads all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 tifffile==2026.3.3 \
    imagecodecs==2026.3.6 pillow==13.0.0 opencv-python-headless==5.0.0.93 rasterio==1.4.4
cd "$folder"
cat > look.py <<'PYTHON'
import warnings

import cv2
import numpy as np
import rasterio
import tifffile
from PIL import Image, UnidentifiedImageError

warnings.filterwarnings("ignore")  # of a file without georeference
ids = np.arange(256, dtype=np.uint16).reshape(16, 16)
for bits, factor in ((10, 64), (12, 16), (14, 4)):
    path = f"{bits}.tif"
    with rasterio.open(path, "w", driver="GTiff", height=16, width=16, count=1, dtype="uint16", nbits=bits) as file:
        file.write(ids[None])
    with rasterio.open(path) as file:
        assert (file.read(1) == ids).all(), "GDAL does not give back what it wrote"
    assert (tifffile.imread(path) == ids).all(), "tifffile does not read it as it was written"
    found = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    try:
        pillow = "as written" if (np.asarray(Image.open(path)) == ids).all() else "otherwise"
    except UnidentifiedImageError:
        pillow = "not at all"
    print(f"{bits} bits: id 3 is {found[0, 3]} for OpenCV; Pillow reads it {pillow}")
    assert found.dtype == np.uint16 and (found == ids * factor).all(), "OpenCV no longer multiplies by this"
    assert pillow == ("as written" if bits == 12 else "not at all"), "Pillow no longer does this"
PYTHON
venv/bin/python look.py
