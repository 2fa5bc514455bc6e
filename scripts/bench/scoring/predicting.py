"""A folder of images segmented by `predict`, beside two loops that one writes oneself, with the same network: as a
tutorial has it, in fp32 and torch's own layout, and in the precision and layout that `predict` takes.

Each side is a process of its own, since the most memory that a process ever held is asked for. What it held when the
network was loaded does not count.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from scripts.bench.measure.process import call_task, measure_afresh
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from segkit import train
from segkit.commands.predict import predict_images
from segkit.evaluation.model_output import output_logits
from segkit.runs.predictor import Predictor, load_predictor
from segkit.system.device import amp_for_predictions

TASK = "scripts.bench.scoring.predicting:measure"
OURS, PLAIN, TUNED = "predict", "a plain loop, fp32", "a plain loop, precision and layout of predict"
CLASSES = 19
#: Of the images, and how many.
SIZE, COUNT = (1024, 2048), 24
SMALL_SIZE, SMALL_COUNT = (32, 48), 2


def bench_predicting(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows of `predict` beside the plain loops: seconds of an image, and memory. What is held depends on what the
    allocator does with freed blocks, so it is asked with each."""
    size, count = (SMALL_SIZE, SMALL_COUNT) if settings.small else (SIZE, COUNT)
    tell(f"predicting: {count} images of {size[0]} x {size[1]}, {CLASSES} classes")
    case = f"{count} images of {size[0]} x {size[1]}, {CLASSES} classes, light_fpn"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        run = str(prepare(Path(folder), size, count))
        for allocator in settings.allocators:
            found = [
                _measure_both(settings, run, folder, allocator) for _ in range(max(1, settings.processes))
            ]
            rows += rows_of(
                found, bench="predicting", case=case, baselines=(PLAIN, TUNED), allocator=allocator
            )
    return rows


def _measure_both(settings: Settings, run: str, folder: str, allocator: str) -> dict[str, dict[str, float]]:
    sides = {}
    for side in (PLAIN, TUNED, OURS):
        arguments = {"side": side, "run": run, "folder": folder, "device": settings.device}
        if settings.processes:
            sides[side] = measure_afresh(TASK, arguments, threads=settings.threads, allocator=allocator)
        else:
            sides[side] = call_task(TASK, arguments)
    return {key: {side: found[key] for side, found in sides.items()} for key in ("seconds", "bytes")}


def prepare(folder: Path, size: tuple[int, int], count: int) -> Path:
    """Images to segment, below `folder`/images, and the folder of a run that was trained for one update."""
    generator = np.random.default_rng(0)
    for n in range(count):
        coarse = generator.integers(0, 256, (size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        (folder / "images").mkdir(exist_ok=True)
        image.save(folder / f"images/{n:03}.jpg", quality=90)
    for split in ("train", "val"):
        for kind, shape in (("images", (64, 64, 3)), ("labels", (64, 64))):
            (folder / "data" / kind / split).mkdir(parents=True)
            values = generator.integers(0, CLASSES, shape, dtype=np.uint8)
            Image.fromarray(values).save(folder / "data" / kind / split / "a.png")
    options = {
        "data": {
            "name": "folder",
            "root": str(folder / "data"),
            "classes": [f"c{n}" for n in range(CLASSES)],
        },
        "model": {"name": "light_fpn"},
        "loss": {"name": "ce"},
        "train": {"iterations": 1, "batch_size": 1, "workers": 0},
        "eval": {"images": 0},
        "log": {"dir": str(folder / "runs"), "tensorboard": False},
    }
    (folder / "bench.yaml").write_text(json.dumps(options))  # which is YAML too
    return Path(train(folder / "bench.yaml").folder)


def measure(*, side: str, run: str, folder: str, device: str) -> dict[str, Any]:
    """In one process: seconds of an image, and the most bytes held beyond those of the loaded network."""
    load_predictor(run, device)
    images = sorted((Path(folder) / "images").glob("*.jpg"))
    output = Path(folder) / side.replace(" ", "_")
    output.mkdir(exist_ok=True)
    held = _status("VmRSS")
    begun = time.perf_counter()
    if side == OURS:
        predict_images(
            run, Path(folder) / "images", output=output, forms=["palette"], opacity=0.5, device=device
        )
    else:  # which loads the network once more, as the command does
        predict_plainly(load_predictor(run, device), images, output, tuned=side == TUNED)
    seconds = (time.perf_counter() - begun) / len(images)
    return {"seconds": seconds, "bytes": _status("VmHWM") - held}


@torch.no_grad()
def predict_plainly(predictor: Predictor, images: Sequence[Path], output: Path, *, tuned: bool) -> None:
    """Load, normalise, forward, resize the logits, argmax, save: `tuned` in the precision and layout of `predict`, else
    in fp32 and torch's own layout."""
    mean, std = predictor.preprocess.mean, predictor.preprocess.std
    layout, dtype, model = torch.contiguous_format, None, predictor.model
    if tuned:
        layout = predictor.preprocess.memory_format
        dtype = amp_for_predictions(predictor.config.train.amp, predictor.device)
    else:
        model = model.to(memory_format=layout)
    for path in images:
        with Image.open(path) as file:
            pixels = np.array(file.convert("RGB"))
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(predictor.device)
        with torch.autocast(batch.device.type, dtype=dtype, enabled=dtype is not None):
            shown = ((batch.float() - mean) / std).contiguous(memory_format=layout)
            logits = output_logits(model(shown)).float()
        logits = F.interpolate(logits, batch.shape[-2:], mode="bilinear", align_corners=False)
        ids = logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
        Image.fromarray(ids).save(output / f"{path.stem}.png")


def _status(key: str) -> int:
    """Bytes that the system says of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status says no {key}")
