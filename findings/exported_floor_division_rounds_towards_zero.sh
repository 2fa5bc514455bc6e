#!/usr/bin/env bash
# torch 2.14.1 with onnx 1.23.2, onnxscript 0.7.2 and onnxruntime 1.32.0, seen with Python 3.11 on a CPU.
#
# Expected: a size that a model computes from that of its input is the same in the file that torch.onnx.export writes.
# Python's // rounds down, and so does the program of torch.export that the file is made of.
#
# Seen: of sizes that are free, // becomes ONNX's Div, which rounds towards zero. The usual way to round up, -(-n // 2),
# is one too small for every odd n: a part of the input is missing from the output, and nothing is said. The exporter's
# own comparison with the example input shows it only if the example is of such a size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
cat > "$folder/look.py" <<'PYTHON'
import logging
import warnings

import onnxruntime
import torch

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)


class Half(torch.nn.Module):
    """The first half of each row, rounded up."""

    def forward(self, x):
        return x[:, : -(-x.shape[1] // 2)]


free = ({1: torch.export.Dim.DYNAMIC},)
program = torch.export.export(Half(), (torch.zeros(1, 9),), dynamic_shapes=free)
file = torch.onnx.export(program, (), dynamo=True, verbose=False).model_proto.SerializeToString()
session = onnxruntime.InferenceSession(file)
(name,) = (each.name for each in session.get_inputs())
for length in (7, 8, 9):
    row = torch.zeros(1, length)
    expected = program.module()(row).shape[1]
    found = session.run(None, {name: row.numpy()})[0].shape[1]
    print(f"half of {length}: torch.export {expected}, the ONNX file {found}")
    assert expected == (length + 1) // 2, "torch.export no longer rounds down"
    assert found == length // 2, "the file no longer rounds towards zero"
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
