#!/usr/bin/env bash
# SimpleITK 2.5.7, NumPy 2.4.6, seen with Python 3.11.
#
# Expected: to read one slice of a volume without the rest of it, ImageFileReader takes an extract size of 0 along the third
# axis, as its documentation shows; that gives what the volume gives in memory by image[:, :, k].
#
# Seen: for a sagittal series, whose rows and columns lie along the second and third direction of space, the reader ends
# with "Invalid submatrix extracted for collapsed direction": of the 3 x 3 matrix of directions it keeps the upper
# left corner, which has no inverse. In memory the same slice is given, with directions made up. A volume of one slice, an
# extract size of 1, is read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check SimpleITK==2.5.7 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import SimpleITK as sitk

volume = sitk.GetImageFromArray(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
volume.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))  # the columns of the matrix: x runs to the back, y up, z to the left
sitk.WriteImage(volume, "sagittal.nrrd")


def read(depth):
    reader = sitk.ImageFileReader()
    reader.SetFileName("sagittal.nrrd")
    reader.ReadImageInformation()
    reader.SetExtractIndex((0, 0, 1))
    reader.SetExtractSize((5, 4, depth))
    return reader.Execute()


assert volume[:, :, 1].GetSize() == (5, 4), "memory gives no such slice"
assert (sitk.GetArrayFromImage(read(1))[0] == sitk.GetArrayFromImage(volume)[1]).all(), "another slice is read"
try:
    size = read(0).GetSize()
except RuntimeError as error:
    print(f"from memory (5, 4); from the file: {str(error).strip().splitlines()[-1].strip()}")
    assert "collapsed direction" in str(error), "another error"
else:
    raise AssertionError(f"the slice is read now: {size}")
PYTHON
cd "$folder"
"$folder/venv/bin/python" "$folder/look.py"
