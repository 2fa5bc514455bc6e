#!/usr/bin/env bash
# Pillow 13.0.0 (tifffile 2026.3.3 writes the file), seen with Python 3.11 on Linux.
#
# Expected: Pillow turns a TIFF file as its tag Orientation says, whether its pixels are compressed or not, and gives the
# same pixels for the name of a file as for the file itself.
#
# Seen: an uncompressed greyscale image of 3 rows and 4 columns that is to be turned on its side (Orientation 5 to 8) and is
# opened by its name comes back with 3 rows of 4 columns, the pixels cut into rows at the wrong places: the size is
# exchanged when the file is opened, and pixels that are mapped into memory are then taken in rows of the exchanged
# length. The same file compressed, or opened with open() first, has 4 rows of 3 columns with every pixel in its place. A
# camera that is held upright and saves without compression makes such files; no error says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 tifffile==2026.3.3 pillow==13.0.0
cd "$folder"
cat > look.py <<'PYTHON'
import numpy as np
import tifffile
from PIL import Image

pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
expected = {5: pixels.T, 6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).T, 8: np.rot90(pixels)}
for orientation, upright in expected.items():
    for codec in (None, "zlib"):
        tag = [(274, "H", 1, orientation, True)]
        tifffile.imwrite("a.tif", pixels, photometric="minisblack", compression=codec, extratags=tag)
        by_name = np.asarray(Image.open("a.tif"))
        with open("a.tif", "rb") as file:
            by_file = np.asarray(Image.open(file))
        assert np.array_equal(by_file, upright), "of an open file it is not as the tag says"
        same = np.array_equal(by_name, upright)
        print(f"orientation {orientation}, {codec or 'uncompressed'}: by its name {'as expected' if same else by_name.tolist()}")
        assert same == (codec is not None), "by its name it is no longer read like this"
PYTHON
venv/bin/python look.py
