#!/usr/bin/env bash
# datasets 5.2.0, pyarrow 26.0.1, Pillow 13.0.0, seen with Python 3.11 on Linux.
#
# Expected: Dataset.map(function) adds the columns that the function returns and leaves the others as they are, so that a
# function which returns the width of each image, or whether its mask has a class, leaves every pixel alone.
#
# Seen: a column that the function reads from its row is written anew. Of images whose bytes are in the table, as parquet
# files have them, those in a format that can lose something are compressed again with Pillow's defaults: JPEG of quality
# 95 comes back with quality 75, a third of the size and wrong by 3 grey levels on average, and a mask of three colours in
# a lossless WebP file as a lossy one of hundreds. So the part of a data set that was gone through has other images than
# the part that was not. A row whose image is not read, `filter`, and map(..., input_columns=["image"]), which hands the
# image over without the row, keep the bytes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6 pillow==13.0.0
cat > "$folder/look.py" <<'PYTHON'
import io

import datasets
import numpy as np
from PIL import Image

datasets.disable_progress_bars()
y, x = np.mgrid[:64, :64]
noise = np.random.default_rng(0).normal(0, 4, (64, 64, 3))
photograph = (np.stack([2 * x, 2 * y, x + y], axis=-1) + noise).clip(0, 255).astype(np.uint8)
mask = np.zeros((64, 64, 3), np.uint8)
mask[16:48, 16:48] = 128, 0, 0
mask[::7] = 0, 128, 0


def encode(pixels, kind, **options):
    Image.fromarray(pixels).save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def stored(table):
    return table.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"]


def pixels(table):
    return np.asarray(table[0]["image"]).astype(int)


def colours(table):
    return len(np.unique(pixels(table).reshape(-1, 3), axis=0))


looks = {
    "map that reads the row's image": lambda table: table.map(lambda row: {"width": row["image"].width}),
    "map of batches": lambda table: table.map(lambda rows: {"width": [i.width for i in rows["image"]]}, batched=True),
    "map of the image alone": lambda table: table.map(lambda i: {"width": i.width}, input_columns=["image"]),
    "map that reads nothing": lambda table: table.map(lambda row: {"width": 64}),
    "filter": lambda table: table.filter(lambda row: row["image"].width > 1),
}
files = {
    "JPEG": encode(photograph, "JPEG", quality=95, subsampling=0),
    "lossless WebP": encode(mask, "WEBP", lossless=True),
    "PNG": encode(mask, "PNG"),
}
for kind, data in files.items():
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": [{"bytes": data, "path": None}]}, features=features).to_parquet("a.parquet")
    table = datasets.Dataset.from_parquet("a.parquet")
    assert stored(table) == data, "the table does not have the bytes that it was made of"
    for name, look in looks.items():
        after = look(table)
        wrong = np.abs(pixels(after) - pixels(table)).mean()
        sizes = f"{len(data)} bytes, then {len(stored(after))}"
        print(f"{kind:13} {name:30} {sizes:26} wrong by {wrong:4.1f} on average, {colours(after)} colours")
        lost = kind != "PNG" and name in ("map that reads the row's image", "map of batches")
        assert (wrong > 1) == lost, f"{name} {'keeps' if lost else 'changes'} the pixels of {kind} now"
        if lost and kind == "lossless WebP":
            assert colours(table) == 3 and colours(after) > 100, "it has few colours after map, too"
PYTHON
cd "$folder"
HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/look.py"
