#!/usr/bin/env bash
# torch 2.14.1, seen with Python 3.11 on a CPU.
#
# Expected: the state dict of an optimizer fits a model of the same shapes, whatever its memory format, as the model's own
# state dict does: a run that was trained with contiguous weights goes on with channels_last ones, or the reverse. Without
# `fused` it does.
#
# Seen: with fused=True, SGD with momentum and AdamW pair the numbers of a weight with those of its moments by their place
# in memory, not by their index. load_state_dict keeps the strides that the moments were saved with, so after a change of
# the memory format every weight of a convolution is moved by the moments of another one. Nothing is said, and the loss
# still falls.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1
cat > "$folder/look.py" <<'PYTHON'
import copy

import torch
from torch import nn

MAKERS = {
    "SGD": lambda weights, fused: torch.optim.SGD(weights, lr=0.01, momentum=0.9, fused=fused),
    "AdamW": lambda weights, fused: torch.optim.AdamW(weights, lr=0.01, fused=fused),
}


def update(model, optimizer):
    image = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)
    optimizer.zero_grad()
    model(image).square().mean().backward()
    optimizer.step()


def distance(make, fused):
    """How far two ways to go on are from each other: as before, and with weights that are channels_last."""
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3)
    optimizer = make(model.parameters(), fused)
    update(model, optimizer)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    other = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    other.load_state_dict(weights)
    other_optimizer = make(other.parameters(), fused)
    other_optimizer.load_state_dict(state)
    update(model, optimizer)
    update(other, other_optimizer)
    return float((model.weight - other.weight).detach().abs().max())


for name, make in MAKERS.items():
    plain, fused = distance(make, False), distance(make, True)
    print(f"{name}: largest difference of a weight after one update: {plain:.1e} without fused, {fused:.1e} with")
    assert plain < 1e-6, "without fused the memory format made a difference"
    assert fused > 1e-3, "fused optimizers go by the index now"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
