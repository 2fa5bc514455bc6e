"""What a run has left behind, without what depends on when and how fast it trained, so that two can be compared."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segkit.runs.checkpoint import load_checkpoint
from segkit.system.run_files import RunFiles, list_checkpoints, list_set_aside

_TIMED = ("seconds", "images_per_second", "time", "perf/", "speed", "memory", "started", "peak")


def read_history(folder: Path) -> dict[str, Any]:
    """Everything that must be equal of two runs that trained alike to their end, by file."""
    files = RunFiles(folder)
    with np.load(files.per_image) as arrays:
        per_image = {name: arrays[name].tobytes() for name in arrays.files}
    rows = csv.DictReader(files.results.read_text().splitlines())
    return {
        "checkpoints": {
            path.name: _bytes(load_checkpoint(path)) for path in list_checkpoints(files.checkpoints)
        },
        "best.pt": _bytes(load_checkpoint(files.best)),
        "results.csv": [{name: text for name, text in row.items() if not _timed(name)} for row in rows],
        "per_image.npz": per_image,
        "summary.json": _untimed(json.loads(files.summary.read_text())),
        "status.json": {
            name: value
            for name, value in json.loads(files.status.read_text()).items()
            if name in ("state", "iteration", "exit_code", "error")
        },
        "files": sorted(
            str(path.relative_to(folder)) for path in folder.rglob("*") if path.parent.name != "tb"
        ),
        "set aside": [path.name for path in list_set_aside(files)],
        "temporary": sorted(path.name for path in folder.rglob("*.tmp*")),
    }


def unlike(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The files in which two histories differ."""
    return [name for name in first if first[name] != second[name]]


def _timed(name: str) -> bool:
    return any(part in name for part in _TIMED)


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(item) for name, item in value.items() if not _timed(name)}
    return value


def _bytes(value: Any) -> Any:
    """A checkpoint's state with its tensors as bytes, which unlike tensors can be compared at once."""
    if isinstance(value, torch.Tensor):
        return (
            value.dtype,
            tuple(value.shape),
            value.contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
        )
    if isinstance(value, dict):
        return {name: _bytes(item) for name, item in value.items() if not _timed(str(name))}
    if isinstance(value, list | tuple):
        return [_bytes(item) for item in value]
    return value
