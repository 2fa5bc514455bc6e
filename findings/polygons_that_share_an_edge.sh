#!/usr/bin/env bash
# Pillow 13.0.0 and OpenCV 4.14.0, which labelme 6.3 and Ultralytics 8.4 draw with; seen with Python 3.11 on Linux.
#
# Expected: a polygon of labels covers about as many pixels as its area, so that two squares of 10 x 10 which share an
# edge have 100 pixels each and none in common; a polygon that is drawn in two tools makes the same mask.
#
# Seen: both fill the pixels that the outline touches, too: 121 pixels for each square, 11 of which are in both, so that
# the one which is drawn later takes a column of the other. COCO's tools (pycocotools 2.0.11) give 100 and none. Of
# random objects of about 430 pixels, the masks of labelme 6.3.1 and Ultralytics 8.4.190 are 8 to 9 % larger.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pillow==13.0.0 opencv-python-headless==4.14.0.94 pycocotools==2.0.11 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask

SIZE = (32, 48)
SQUARES = [[(10, 10), (20, 10), (20, 20), (10, 20)], [(20, 10), (30, 10), (30, 20), (20, 20)]]


def pillow(square):
    image = Image.new("L", SIZE[::-1])
    ImageDraw.Draw(image).polygon(square, outline=1, fill=1)
    return np.asarray(image)


def opencv(square):
    return cv2.fillPoly(np.zeros(SIZE, np.uint8), [np.array(square, np.int32)], 1)


def coco(square):
    flat = [float(value) for corner in square for value in corner]
    return mask.decode(mask.frPyObjects([flat], *SIZE))[..., 0]


found = {}
for draw in (pillow, opencv, coco):
    first, second = (draw(square) for square in SQUARES)
    found[draw.__name__] = (int(first.sum()), int(second.sum()), int((first & second).sum()))
    print(f"{draw.__name__:7} {found[draw.__name__][:2]} pixels, {found[draw.__name__][2]} of them in both")
assert found == {"pillow": (121, 121, 11), "opencv": (121, 121, 11), "coco": (100, 100, 0)}
PYTHON
