#!/usr/bin/env bash
# datasets 5.2.0, pyarrow 26.0.1, seen with Python 3.11.
#
# Expected: what datasets keeps of a parquet file belongs to that file. When another takes its place, of other content and
# other size, load_dataset and Dataset.from_parquet read it anew; at the latest, asking for the data says that they changed.
#
# Seen: both give the rows of the first file if the second has its time of change, as rsync --times, cp --preserve and tar
# leave it: the copy is found by path and time, and neither size nor content is looked at. Labels that were corrected
# and brought over with their times are trained on as they were before, without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1
cat > "$folder/look.py" <<'PYTHON'
import os

import datasets

datasets.disable_progress_bars()
sizes, rows = [], []
for mask in ("the first label", "another label, corrected by hand"):
    datasets.Dataset.from_dict({"label": [mask]}).to_parquet("a.parquet")
    os.utime("a.parquet", (1_000_000_000, 1_000_000_000))
    sizes.append(os.stat("a.parquet").st_size)
    loaded = datasets.load_dataset("parquet", data_files="a.parquet", split="train")
    rows.append((loaded[0]["label"], datasets.Dataset.from_parquet("a.parquet")[0]["label"]))
print(f"files of {sizes} bytes; read: {rows}")
assert sizes[0] != sizes[1], "the files were meant to differ in size"
assert rows[1] == rows[0], "the second file is read now"
PYTHON
cd "$folder"
HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" "$folder/look.py"
