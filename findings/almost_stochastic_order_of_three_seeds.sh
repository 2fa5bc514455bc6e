#!/usr/bin/env bash
# deepsig 1.2.8, NumPy 2.4.6, SciPy 1.17.1, pandas 2.3.3, seen with Python 3.11.
#
# Expected: deepsig.aso compares the scores of two networks over seeds. It returns an upper bound, at a confidence of
# 0.95 by default, of how far the first is from being the better one; its documentation says that below 0.5 "not better"
# can be rejected, and recommends 0.2 to be careful. Of two networks that are the same one, the first should then be
# called better in about 5 of 100 comparisons, and by 0.2 in fewer. With few seeds a test should say less, not more.
#
# Seen: with three seeds a side the bound is below 0.5 in 22 of 100 comparisons and below 0.2 in 8, with five in 25 and
# 12. The bound rests on a bootstrap of the three scores, whose spread is far too
# small: it is that of the scores at hand, two of which are often equal in a resample. More iterations do not help.
# So three or five seeds a side, which most papers have, are fewer than the test can be used for.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    deepsig==1.2.8 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3
cat > "$folder/look.py" <<'PYTHON'
import inspect

import numpy as np
from deepsig import aso

PAIRS = 120
assert inspect.signature(aso).parameters["confidence_level"].default == 0.95, "another confidence is the default"
shares = {}
for seeds in (3, 5):
    random = np.random.default_rng(seeds)
    bounds = np.array(
        [
            aso(*random.normal(0.7, 0.01, (2, seeds)), num_bootstrap_iterations=100, show_progress=False, seed=number)
            for number in range(PAIRS)
        ]
    )
    shares[seeds] = {limit: float((bounds < limit).mean()) for limit in (0.5, 0.2)}
print(f"of {PAIRS} comparisons of a network with itself, by seeds, the bound is below: {shares}")
assert shares[3][0.5] > 0.12, "the bound of three seeds keeps its level now"
assert shares[5][0.2] > 0.07, "by the recommended limit five seeds keep the level now"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
