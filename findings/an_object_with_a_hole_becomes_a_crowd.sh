#!/usr/bin/env bash
# supervision 0.31.2 with opencv-python-headless 5.0.0.93, seen with Python 3.11.
#
# Expected: as_coco writes each mask of a data set as one object, iscrowd 0, whatever its shape. A mask is one detection
# with a class of its own, and a wheel is one wheel though one can look through it.
#
# Seen: a mask with a hole, and one in two parts (a car behind a post), get iscrowd 1, since they are written as run
# lengths; a mask in one piece without a hole becomes a polygon with iscrowd 0. For COCO's tools a crowd is a region in
# which nobody counted: its evaluation asks for none of them to be found, and loaders for training commonly leave them
# out. So which objects are learned and scored depends on their shape, and a class of rings is gone as a whole. The
# pixels are right: whoever makes label maps has to take crowds for objects of their class.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    supervision==0.31.2 opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import supervision as sv

folder = Path(sys.argv[1])
image = str(folder / "a.png")
cv2.imwrite(image, np.zeros((64, 64, 3), np.uint8))
masks = {name: np.zeros((64, 64), bool) for name in ("square", "ring", "two parts")}
masks["square"][2:12, 40:60] = True
masks["ring"][14:44, 4:34] = True
masks["ring"][24:34, 14:24] = False
masks["two parts"][50:60, 4:20] = masks["two parts"][50:60, 24:40] = True
stack = np.stack(list(masks.values()))
objects = sv.Detections(
    xyxy=sv.mask_to_xyxy(stack).astype(float), mask=stack, class_id=np.arange(len(masks))
)
dataset = sv.DetectionDataset(classes=list(masks), images=[image], annotations={image: objects})
dataset.as_coco(annotations_path=str(folder / "objects.json"))
found = json.loads((folder / "objects.json").read_text())["annotations"]
crowds = {name: each["iscrowd"] for name, each in zip(masks, found, strict=True)}
for name, each in zip(masks, found, strict=True):
    kind = "polygon" if isinstance(each["segmentation"], list) else "run lengths"
    print(f"{name}: {kind}, iscrowd {each['iscrowd']}, area {each['area']:.0f} of {masks[name].sum()} pixels")
raise SystemExit(crowds != {"square": 0, "ring": 1, "two parts": 1})
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
