#!/usr/bin/env bash
# torch 2.14.1, seen with Python 3.11 on a CPU.
#
# Expected: an update whose gradients overflow under loss scaling changes nothing: GradScaler skips it and halves the
# scale, and training goes on as if it had begun one update later. With fp16 this is how most trainings begin.
#
# Seen: with `torch.optim.SGD(momentum=0.9, fused=True)` an overflow in the very first update makes a momentum all the
# same, of memory that nobody has written to: whatever was there before goes into all later updates, in silence. The
# scaler leaves skipping to the fused kernel, which skips, but the momentum was made before it was called, and from then
# on counts as made. `use_deterministic_algorithms` fills such memory with NaN, so that it is seen. SGD that is not
# fused, an overflow in the second update, and fused Adam and AdamW are as expected.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy
cd "$folder"
cat > look.py <<'PYTHON'
import math

import torch

torch.use_deterministic_algorithms(True)  # memory that nobody has written to is NaN


def train(name, options, overflow):
    """The weight after three updates, of which the number `overflow` is skipped."""
    weight = torch.nn.Parameter(torch.zeros(4))
    optimizer = getattr(torch.optim, name)([weight], lr=0.1, **options)
    scaler = torch.amp.GradScaler("cpu")
    for number in range(3):
        factor = math.inf if number == overflow else 1.0
        scaler.scale(weight.sum() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return float(weight.detach()[0])


wrong = []
for name, options in (("SGD", {"momentum": 0.9}), ("Adam", {}), ("AdamW", {})):
    for overflow in (0, 1):
        plain, fused = (train(name, {**options, "fused": fused}, overflow) for fused in (False, True))
        print(f"{name:5} overflow in update {overflow + 1}: {plain:.4f} not fused, {fused:.4f} fused")
        if not math.isclose(plain, fused, rel_tol=1e-5):
            wrong.append((name, overflow))
assert wrong == [("SGD", 0)], f"fused differs in other cases now: {wrong}"
PYTHON
venv/bin/python look.py
