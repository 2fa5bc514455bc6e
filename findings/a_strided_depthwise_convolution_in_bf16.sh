#!/usr/bin/env bash
# torch 2.14.1, seen with Python 3.11 on a CPU with AVX512-BF16 (on others there is nothing to see, and this says so).
#
# Expected: what torch computes fast in fp32 it computes at least as fast in bf16 where the processor has instructions for
# it, so that autocast speeds up a MobileNet's training as it does a ResNet's. Of depthwise convolutions the forward pass,
# the weights' gradient, and with stride 1 the image's too, are taken by kernels made for them in either precision.
#
# Seen: with stride 2 the gradient of the image is taken by such a kernel (jit_dw) in fp32 only. In bf16 oneDNN takes one
# for convolutions in general, group by group: 8 to 30 times as long as in fp32 on tensors of a few million numbers. A
# network with five of these layers trained no faster in bf16 for them; with them kept in fp32 it did.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1
cat > "$folder/look.py" <<'PYTHON'
import torch
from torch.nn import functional as F

for dtype in (torch.float32, torch.bfloat16):
    for stride in (1, 2):
        image = torch.ones(2, 64, 32, 32, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
        weight = torch.ones(64, 1, 3, 3, dtype=dtype)
        print(f"CASE {dtype} stride {stride}", flush=True)
        F.conv2d(image, weight, stride=stride, padding=1, groups=64).sum().backward()
PYTHON
ONEDNN_VERBOSE=1 "$folder/venv/bin/python" "$folder/look.py" > "$folder/said"
cat > "$folder/judge.py" <<'PYTHON'
import sys

kernels, case = {}, None
for line in open(sys.argv[1]):
    if line.startswith("CASE"):
        case = line.split()[1], line.split()[3]
    elif ",exec," in line and "convolution" in line and "backward_data" in line:
        kernels[case] = line.split(",")[6]
for case, kernel in kernels.items():
    print(*case, kernel)
if "bf16" not in kernels["torch.bfloat16", "1"]:
    print("this processor has no instructions for bf16 that oneDNN takes: nothing to see here")
    sys.exit()
fast = {case for case, kernel in kernels.items() if "dw" in kernel.partition(":")[0]}
expected = {("torch.float32", "1"), ("torch.float32", "2"), ("torch.bfloat16", "1")}
assert fast == expected, f"depthwise kernels are taken for {sorted(fast)} now"
PYTHON
"$folder/venv/bin/python" "$folder/judge.py" "$folder/said"
