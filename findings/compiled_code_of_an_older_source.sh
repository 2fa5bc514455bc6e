#!/usr/bin/env bash
# numba 0.68.1, seen with Python 3.11 on x86-64 Linux.
#
# Expected: code that was kept on disk (cache=True) is of the source as it is, or is compiled again; whatever happens to a
# process that compiles, the next one runs what the source says.
#
# Seen: once a file has changed, its list of compiled functions starts anew and names the code's files by the same numbers
# as before, and the list is written before the code. A process that ends in between (Ctrl-C, say)
# leaves the code of the old source under the new source's entry: from then on every process runs it, without a word and
# for good, until the source changes again. Several processes that start together after an update need no accident: one
# that looks between the two writes of another runs the old code once. Names that hold a hash of the source avoid both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numba==0.68.1
cd "$folder"
write() { printf 'from numba import njit\n\n\n@njit("int64()", cache=True)\ndef answer():\n    return %s\n' "$1" > kernel.py; }
write 1
venv/bin/python -c "import kernel; assert kernel.answer() == 1"
write 22
# A process that is interrupted while it writes the code.
venv/bin/python - <<'PYTHON' || true
from numba.core.caching import IndexDataCacheFile


def interrupted(self, name, data):
    raise KeyboardInterrupt


IndexDataCacheFile._save_data = interrupted
import kernel
PYTHON
found=$(venv/bin/python -c "import kernel; print(kernel.answer())")
echo "the source returns 22, the next process $found"
test "$found" = 1
