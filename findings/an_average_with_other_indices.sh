#!/usr/bin/env bash
# torch 2.14.1 and torchvision 0.29.1, seen with Python 3.11.
#
# Expected: the moving average of a network that does not change is that network. torch's AveragedModel is asked for
# buffers as well (`use_buffers=True`), as torchvision's own training script does, so that batch norm's statistics are
# averaged with the weights.
#
# Seen: buffers of whole numbers are averaged too, as average * decay + model * (1 - decay), and what that rounds to is
# cut off. A Swin Transformer keeps in such a buffer which bias belongs to which pair of positions. With the decays 0.9,
# 0.9995 and 0.9999 one update makes a sixth to a third of these indices smaller by one, for good, in the copy that is
# evaluated and saved; with 0.99 and 0.999 none. The network's answers move, and a checkpoint of the copy keeps the
# indices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy
cd "$folder"
cat > look.py <<'PYTHON'
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.models import SwinTransformer

torch.manual_seed(0)
network = SwinTransformer([4, 4], 16, depths=[2, 2], num_heads=[2, 2], window_size=[7, 7], num_classes=4).eval()
for parameter in network.parameters():
    if parameter.ndim > 1:  # as they are drawn, attention is nearly the same everywhere
        torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
image = torch.rand(1, 3, 112, 112)
changed = []
for decay in (0.9, 0.99, 0.999, 0.9995, 0.9999):
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    for _ in range(2):  # the first only copies
        average.update_parameters(network)
    pairs = [
        (mine, averaged)
        for mine, averaged in zip(network.buffers(), average.module.buffers(), strict=True)
        if not mine.is_floating_point()
    ]
    lower = sum(int((averaged < mine).sum()) for mine, averaged in pairs)
    count = sum(mine.numel() for mine, _ in pairs)
    with torch.no_grad():
        answers, others = network(image), average.eval()(image)
    apart = float((others - answers).norm() / answers.norm())
    print(f"decay {decay:<6}  {lower:4} of {count} indices are lower, answers differ by {apart:.1e} of their size")
    changed += [decay] if lower else []
    assert (apart > 1e-4) == (lower > 0)
assert changed == [0.9, 0.9995, 0.9999], f"the decays that change indices are no longer these, but {changed}"
PYTHON
venv/bin/python look.py
