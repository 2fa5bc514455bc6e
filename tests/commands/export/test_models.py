"""Every registered network is exported, for images of any size and number, in both forms."""

import importlib

import pytest
import torch

from segkit.commands.export import onnx_file, pt2_file
from segkit.commands.export.network import LogitsOnly
from segkit.commands.export.sweep import SIZES, sweep
from segkit.commands.export.trace import trace
from segkit.registry import MODELS
from segkit.runs.exported.onnx_network import open_session

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'segkit[export]'")

#: Of networks of a size that is free, a small one; each exports in seconds.
SMALL = {
    "unet": {"width": 4, "depth": 3},
    "light_fpn": {"width": 8, "stem": 4, "blocks": [1, 1, 1, 1], "decoder": 8},
}
#: Of other libraries: one of each kind that segkit names in its documents. All of them are exported.
OTHERS = [
    ("smp", {"architecture": "Unet", "encoder": "resnet18"}),
    ("timm", {"backbone": "resnet18"}),
    ("hf", {"architecture": "segformer", "options": {"depths": [1, 1, 1, 1]}}),
]
LIBRARIES = {"smp": "segmentation_models_pytorch", "timm": "timm", "hf": "transformers"}
NAMES = [
    name if name in SMALL else pytest.param(name, marks=pytest.mark.heavy)
    for name in MODELS.names()
    if name not in LIBRARIES
]


def export_and_sweep(name: str, params: dict) -> None:
    torch.manual_seed(0)
    network = LogitsOnly(MODELS.get(name)(5, 3, **params)).eval().requires_grad_(False)
    program = trace(network, 3, None, torch.float32)
    session = open_session(onnx_file.to_bytes(onnx_file.to_onnx(program, "logits"), {}))
    kept = pt2_file.open_pt2(pt2_file.to_bytes(program, "{}"))
    for run in (kept, lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])):
        assert sweep(network, run, 3, None, torch.float32) == 2 * len(SIZES)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_exported(name):
    export_and_sweep(name, SMALL.get(name, {}))


@pytest.mark.parametrize(
    ("name", "params"), OTHERS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_network_of_another_library_is_exported(name, params):
    if importlib.util.find_spec(LIBRARIES[name]) is None:
        pytest.skip(f"{LIBRARIES[name]} is not installed: pip install 'segkit[{name}]'")
    export_and_sweep(name, params)
