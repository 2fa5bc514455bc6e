#!/usr/bin/env bash
# datasets 5.2.0, pyarrow 26.0.1, Pillow 13.0.0, seen with Python 3.11 on Linux.
#
# Expected: Dataset.map stores the images that its function returns as they are then. A mask that was painted over with
# ImageDraw, or made smaller by thumbnail, is that in the new data set, and wherever the images came from.
#
# Seen: Pillow changes an image in place there, and the image goes on saying from which file it was opened; of an
# image that says so map stores the file's name and no pixel. So of a folder of files (imagefolder, or a column of names)
# every change is lost, without a word, and what save_to_disk and to_parquet write of it has the old pixels. Of the same
# images in a parquet file the changes are kept, as they are in a copy (image.copy()), by with_transform, and by a stream
# of the same folder: a script that was tried on one of these does nothing on files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6 pillow==13.0.0
cat > "$folder/look.py" <<'PYTHON'
import os

import datasets
import numpy as np
from PIL import Image, ImageDraw

datasets.disable_progress_bars()
os.makedirs("masks")
Image.fromarray(np.resize(np.array([0, 1, 2, 3], np.uint8), (64, 64))).save("masks/a.png")


def ignore_a_border(row):
    """The outermost pixels become 255."""
    ImageDraw.Draw(row["image"]).rectangle((0, 0, 63, 63), outline=255)
    return row


def ignore_in_a_copy(row):
    return ignore_a_border({"image": row["image"].copy()})


def make_smaller(row):
    row["image"].thumbnail((16, 16), Image.Resampling.NEAREST)
    return row


def of_a_batch(batch):
    return {"image": [ignore_a_border({"image": image})["image"] for image in batch["image"]]}


def changed(table):
    """Whether the first mask is another one than that of the file."""
    image = next(iter(table))["image"]
    return image.size != (64, 64) or image.getpixel((0, 0)) == 255


def read_again(table):
    table.to_parquet("written.parquet")
    return datasets.Dataset.from_parquet("written.parquet")


folder = datasets.load_dataset("imagefolder", data_dir="masks", split="train")
names = datasets.Dataset.from_dict({"image": ["masks/a.png"]}).cast_column("image", datasets.Image())
features = datasets.Features({"image": datasets.Image()})
with open("masks/a.png", "rb") as file:
    embedded = datasets.Dataset.from_dict({"image": [{"bytes": file.read(), "path": "a.png"}]}, features=features)
stream = datasets.load_dataset("imagefolder", data_dir="masks", split="train", streaming=True)
found = {
    "a folder, painted over": changed(folder.map(ignore_a_border)),
    "a folder, made smaller": changed(folder.map(make_smaller)),
    "a folder, batches painted over": changed(folder.map(of_a_batch, batched=True)),
    "a folder, painted over and written": changed(read_again(folder.map(ignore_a_border))),
    "a column of names, painted over": changed(names.map(ignore_a_border)),
    "a folder, copies painted over": changed(folder.map(ignore_in_a_copy)),
    "a folder, with_transform": changed(folder.with_transform(of_a_batch)),
    "a stream of a folder, painted over": changed(stream.map(ignore_a_border)),
    "bytes in a table, painted over": changed(embedded.map(ignore_a_border)),
    "bytes in a table, made smaller": changed(embedded.map(make_smaller)),
}
for name, is_changed in found.items():
    print(f"{name:36}{'changed' if is_changed else 'as before'}")
lost = [name for name, is_changed in found.items() if not is_changed]
assert lost == list(found)[:5], f"what is lost is no longer the first five, but {lost}"
PYTHON
cd "$folder"
HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/look.py"
