"""Reading the weights of a file that a run is to start from. Nothing in it is executed."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segkit.errors import CheckpointError
from segkit.runs.best import scored_weights
from segkit.runs.checkpoint import NoneIntact, load_checkpoint, newest_intact
from segkit.runs.packed.open import open_packed
from segkit.system.memory import lacks_memory
from segkit.system.packed.members import describe_misnamed, is_packed
from segkit.system.run_files import NUMBERED_CHECKPOINTS, RunFiles

#: Where other programs keep the weights in a file that holds more than those.
INSIDE = ("state_dict", "model_state_dict", "model", "module", "net")


@dataclass(frozen=True)
class Source:
    """Tensors by name, of the file `path`; of a run of segkit, also the names of its classes."""

    path: Path
    tensors: Mapping[str, Tensor]
    class_names: tuple[str, ...] | None = None


def read_source(path: Path) -> Source:
    """The weights of a run folder (its best), of a packed run, of a checkpoint of segkit, or of a .pt, .pth or
    .safetensors file with tensors by name.

    Raises CheckpointError for what is not there, damaged, no such file, or needs code to be opened.
    """
    if path.is_dir():
        path = _of_run(path)
    if not path.is_file():
        raise CheckpointError(
            f"model.init_from: no weights at {path} -> a run folder, a packed run, a .pt or a .safetensors file"
        )
    if is_packed(path):
        packed = open_packed(path)
        return Source(path, packed.tensors, tuple(packed.about.class_names))
    if path.suffix == ".safetensors":
        return Source(path, _read_safetensors(path))
    state = _read_pickled(path)
    if "format_version" in state:
        state = load_checkpoint(path)  # this time with its checksums
        return Source(path, scored_weights(state), tuple(state["class_names"]))
    inside = next((state[key] for key in INSIDE if isinstance(state.get(key), dict)), state)
    tensors = {str(name): value for name, value in inside.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(
            f"model.init_from: {path} has no tensors by name, but {', '.join(map(str, list(state)[:6])) or 'nothing'}"
        )
    return Source(path, tensors)


def _of_run(folder: Path) -> Path:
    run = RunFiles(folder)
    if run.best.is_file():
        return run.best
    found = newest_intact(run.checkpoints)
    if isinstance(found, NoneIntact):
        raise CheckpointError(
            f"model.init_from: no usable weights in {folder}: neither {RunFiles.best.name} nor {NUMBERED_CHECKPOINTS}"
        )
    return found.path


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"model.init_from: {path} needs safetensors, which is not installed -> pip install safetensors"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"model.init_from: {path} cannot be read: {error}") from error


def _read_pickled(path: Path) -> dict[Any, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"model.init_from: {path} holds more than tensors and plain values, and opening that could run code; it is "
            "left alone\n   -> save its state dict alone: torch.save(model.state_dict(), 'weights.pt')"
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError, IndexError, EOFError, TypeError) as error:
        if lacks_memory(error):
            raise
        misnamed = describe_misnamed(path)
        reason = f"is {misnamed}" if misnamed is not None else f"cannot be read: {error}"
        raise CheckpointError(f"model.init_from: {path} {reason}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"model.init_from: {path} holds a {type(state).__name__}, not tensors by name")
    return state
