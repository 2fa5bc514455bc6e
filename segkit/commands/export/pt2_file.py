"""An exported program as the bytes of a .pt2 file, which `torch.export.load` reads without segkit."""

import io
import warnings
from typing import Any

import torch
from torch.export import ExportedProgram

#: The name of the metadata among the `extra_files` of `torch.export.load`.
ABOUT = "segkit.json"
#: What torch notes of where in the source each part comes from.
NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn")


def to_bytes(program: ExportedProgram, about: str) -> bytes:
    """The file, with the text `about` in it, and nothing of the machine that wrote it."""
    strip(program)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ABOUT: about})
    return file.getvalue()


def strip(program: ExportedProgram) -> None:
    """Remove what torch notes of the source, and the example, in place."""
    program.example_inputs = None
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for name in NOTES:
                    node.meta.pop(name, None)


def open_pt2(content: bytes) -> Any:
    """The module in the bytes of such a file."""
    with warnings.catch_warnings():
        # Of torch 2.11, about weights that it reads from the file and that nobody writes to.
        warnings.filterwarnings("ignore", message="The given buffer is not writable", category=UserWarning)
        return torch.export.load(io.BytesIO(content)).module()
