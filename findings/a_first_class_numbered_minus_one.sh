#!/usr/bin/env bash
# ultralytics 8.4.190 with torch 2.14.1, seen with Python 3.11.
#
# Expected: convert_coco(cls91to80=False) keeps the classes of a COCO file apart and in order: categories are numbered as
# their file likes, and some exporters begin with 0.
#
# Seen: it writes the category's id less 1, whatever the file's first one is. With the categories 0 and 1 the polygons of
# the first have the class -1 in the text files, which is no class, and those of the second have 0, the number of the
# first. Training on them learns the second class under the name of the first, unless whoever counts the classes sees
# that one is missing. Files numbered from 1, as COCO's own are, come out right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.14.1 torchvision==0.29.1 ultralytics==8.4.190
cat > "$folder/look.py" <<'PYTHON'
import json
import os
import sys
from pathlib import Path

os.environ["YOLO_CONFIG_DIR"] = sys.argv[1]  # its settings, which it would keep in the home folder
from ultralytics.data.converter import convert_coco

found = {}
for first in (0, 1):
    source, target = (Path(sys.argv[1]) / f"{name}{first}" for name in ("json", "out"))
    source.mkdir()
    outline = {"bbox": [2, 2, 4, 4], "area": 16, "segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]], "iscrowd": 0}
    content = {
        "images": [{"id": number, "file_name": f"{name}.png", "height": 10, "width": 10}
                   for number, name in enumerate(("cat", "dog"))],
        "categories": [{"id": first, "name": "cat"}, {"id": first + 1, "name": "dog"}],
        "annotations": [{"id": n, "image_id": n, "category_id": first + n, **outline} for n in (0, 1)],
    }
    (source / "instances.json").write_text(json.dumps(content))
    convert_coco(str(source), str(target), use_segments=True, cls91to80=False)
    texts = {path.stem: path.read_text().split()[0] for path in target.glob("labels/**/*.txt")}
    found[first] = texts["cat"], texts["dog"]
    print(f"categories numbered from {first}: cat is class {texts['cat']}, dog is class {texts['dog']}")
raise SystemExit(found != {0: ("-1", "0"), 1: ("0", "1")})
PYTHON
"$folder/venv/bin/python" "$folder/look.py" "$folder"
