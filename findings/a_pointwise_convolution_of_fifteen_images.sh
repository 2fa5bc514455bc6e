#!/usr/bin/env bash
# torch 2.14.1, seen with Python 3.11 on an x86-64 processor.
#
# Expected: what a 1x1 convolution in fp32 says of an image does not depend on how many other images are in the batch. A
# pixel of the result is a sum over the channels of one pixel; the images share nothing but the call.
#
# Seen: on one thread the logits of the first image of 15 and of the same image among 16 differ in their last digits. Up
# to 15 images torch leaves such a convolution to a matrix product of its own, from 16 images on, and with two threads
# always, to oneDNN, which adds up in another order. So a run repeated with OMP_NUM_THREADS=1, a loader process that sets
# one thread, or the last, smaller batch of a validation set makes other bits of the same pixels. In channels_last both
# ways gave the same bits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import torch

torch.manual_seed(0)
classifier = torch.nn.Conv2d(48, 19, kernel_size=1)
images = torch.randn(16, 48, 32, 32)
logits = {}
with torch.no_grad():
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for count in (1, 15, 16):
            logits[threads, count] = classifier(images[:count])[0].clone()
same = {case: torch.equal(found, logits[1, 16]) for case, found in logits.items()}
for (threads, count), equal in same.items():
    away = (logits[threads, count] - logits[1, 16]).abs().max().item()
    print(f"{threads} thread(s), a batch of {count}: largest difference from 1 thread and 16 images {away:.1e}")
raise SystemExit([case for case, equal in same.items() if not equal] != [(1, 1), (1, 15)])
PYTHON
