#!/usr/bin/env bash
# torch 2.14.1, torchvision 0.29.1, seen with Python 3.11 on a CPU.
#
# Expected: `import torchvision.transforms.v2` loads torch and the transforms. torch.compile's front end (torch._dynamo)
# and the computer algebra system that it needs (sympy) are loaded by who compiles something, since torch itself puts
# both off: after `import torch` neither is there.
#
# Seen: importing any part of torchvision loads both, because the package imports its operators, and roi_align takes a
# helper from torch._dynamo.utils at the top of its file. So does the first optimizer that is made, in a program that never
# compiles: Optimizer.add_param_group is wrapped by a decorator that imports torch._dynamo when it is first called. A
# program that reads images and trains can therefore not start without the compiler, which is about as long to import
# as torch itself (printed below, CPU seconds; not checked).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
cat > "$folder/look.py" <<'PYTHON'
import sys
import time

started = time.process_time()
import torch

after_torch = time.process_time()
loaded = {"import torch": {"torch._dynamo", "sympy"} & set(sys.modules)}
if sys.argv[1] == "torchvision":
    import torchvision.transforms.v2
else:
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
loaded[sys.argv[1]] = {"torch._dynamo", "sympy"} & set(sys.modules)
print(f"torch {after_torch - started:.1f} s, {sys.argv[1]} {time.process_time() - after_torch:.1f} s more; loaded: {loaded}")
assert loaded["import torch"] == set(), "torch itself loads the compiler now"
assert loaded[sys.argv[1]] == {"torch._dynamo", "sympy"}, "it no longer loads the compiler"
PYTHON
"$folder/venv/bin/python" "$folder/look.py" torchvision
"$folder/venv/bin/python" "$folder/look.py" optimizer
