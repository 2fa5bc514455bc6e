#!/usr/bin/env bash
# Pillow 13.0.0, seen with Python 3.11.
#
# Expected: a mask of class ids that is saved as a GIF file, which loses nothing, has the same ids when it is opened and
# taken as an array, as a PNG file has; so has one of 0 and 255.
#
# Seen: the ids are places in a palette, and the writer leaves out of the palette of an image of less than 512 x 512
# pixels what does not occur in it (of any size, if the image is grey). So 0 and 255 come back as 0 and 1, and a mask of
# 255 alone comes back as 0: what an id means changes from file to file, with what is in the picture. The colours that the
# palette gives are right; of files saved in grey, `convert("L")` has the ids. A palette image of 512 x 512 keeps them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0
cd "$folder"
cat > look.py <<'PYTHON'
import numpy as np
from PIL import Image

masks = {
    "0 and 255": (np.resize(np.array([0, 255], np.uint8), (64, 64)), [0, 1]),
    "255 alone": (np.full((64, 64), 255, np.uint8), [0]),
    "0, 1 and 3": (np.resize(np.array([0, 1, 3], np.uint8), (64, 64)), [0, 1, 2]),
    "0, 1 and 2": (np.resize(np.array([0, 1, 2], np.uint8), (64, 64)), [0, 1, 2]),
}
for name, (mask, seen) in masks.items():
    Image.fromarray(mask).save("mask.gif")
    with Image.open("mask.gif") as image:
        ids, greys = np.asarray(image), np.asarray(image.convert("L"))
    print(f"a mask of {name} is read as {np.unique(ids).tolist()}")
    assert np.unique(ids).tolist() == seen, "Pillow no longer does this"
    assert (greys == mask).all(), "nor are the greys the ids any more"
for size, seen in ((64, [0, 1]), (512, [0, 2])):
    mask = Image.frombytes("P", (size, size), np.resize(np.array([0, 2], np.uint8), (size, size)).tobytes())
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    mask.save("mask.gif")
    with Image.open("mask.gif") as image:
        ids = np.unique(np.asarray(image)).tolist()
    print(f"a palette mask of 0 and 2, {size} x {size}, is read as {ids}")
    assert ids == seen, "Pillow no longer does this"
PYTHON
venv/bin/python look.py
