"""COCO's files: opening a large one beside `json.load`, and drawing polygons beside pycocotools, on a CPU.

open  a generated file of 118,000 images and 860,000 polygons, as large as that of COCO's training images: what goes
      through the file (`index`) and the whole data set, for the first time, beside `json.load`, in fresh processes by
      turns: time, the most memory, and the memory that is kept, both beyond what the process had before
draw  the objects of an image over each other, seven of them, beside `COCO.annToMask` alone, which paints nothing; only
      where pycocotools is installed
"""

import gc
import json
import math
import os
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings

IMAGES, POLYGONS = 118_000, 860_000
SMALL_IMAGES, SMALL_POLYGONS = 50, 300
#: Outlines that are made; the file has them over and over.
OUTLINES = 3_000
#: Times that the large file is opened, at most: each takes half a minute.
TURNS = 3
#: Height and width of the images, and objects of one.
SIZES, OBJECTS = ((480, 640), (3000, 4000)), 7
JSON, INDEX, DATASET, OURS, TOOLS = "json.load", "index", "data set", "segkit", "annToMask"
KEPT = ": kept"


def bench_annotations(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows for opening and for drawing; the ranges of the first are over turns, of the second over processes."""
    counts = (SMALL_IMAGES, SMALL_POLYGONS) if settings.small else (IMAGES, POLYGONS)
    with tempfile.TemporaryDirectory() as folder:
        tell(f"annotations: making a file of {counts[1]:,} polygons")
        write_large(Path(folder), *counts)
        rows = _bench_open(settings, folder, counts, tell)
    for size in SIZES[:1] if settings.small else SIZES:
        tell(f"annotations: drawing on {size[1]}x{size[0]}")
        found = settings.measure(
            "scripts.bench.data.annotations:measure_drawing", {"size": size, "rounds": settings.rounds}
        )
        case = f"draw {OBJECTS} polygons on {size[1]}x{size[0]}"
        rows += rows_of(found, bench="annotations", case=case, baselines=(TOOLS,))
    return rows


def _bench_open(
    settings: Settings, folder: str, counts: tuple[int, int], tell: Callable[[str], None]
) -> list[Row]:
    turns, kept = [], []
    once = replace(settings, processes=min(1, settings.processes), threads=1)
    for turn in range(1 if settings.small else min(settings.rounds, TURNS)):
        tell(f"annotations: opening, turn {turn + 1}")
        taken = {
            entry: once.measure(
                "scripts.bench.data.annotations:measure_opening", {"entry": entry, "folder": folder}
            )[0]
            for entry in (JSON, INDEX, DATASET)
        }
        turns.append(
            {key: {entry: each[key] for entry, each in taken.items()} for key in ("seconds", "bytes")}
        )
        kept.append({"bytes": {entry: each["kept"] for entry, each in taken.items()}})
    names = {"bench": "annotations", "baselines": (JSON,)}
    case = f"open {counts[0]:,} images, {counts[1]:,} polygons"
    return [*rows_of(turns, case=case, **names), *rows_of(kept, case=f"{case}{KEPT}", **names)]


def measure_opening(*, entry: str, folder: str) -> dict[str, Any]:
    """Seconds to open the file in one of the ways, and bytes beyond what the process had: the most, and those kept."""
    from segkit.data.annotations.coco.coco_file import open_coco
    from segkit.data.datasets.coco import Coco

    def load() -> Any:
        with (Path(folder) / "all.json").open(encoding="utf-8") as file:
            return json.load(file)

    calls: dict[str, Callable[[], Any]] = {
        JSON: load,
        INDEX: lambda: open_coco(Path(folder) / "all.json"),
        DATASET: lambda: Coco("train", root=folder, train_annotations="all.json", val_annotations="all.json"),
    }
    cache = tempfile.mkdtemp(dir=folder)
    os.environ["SEGKIT_CACHE"] = cache  # nothing is kept of an earlier turn
    gc.collect()
    before = _resident()
    Path("/proc/self/clear_refs").write_text("5")  # the most memory is counted from now on
    started = time.perf_counter()
    opened = calls[entry]()
    seconds = time.perf_counter() - started
    gc.collect()
    kept, most = _resident() - before, _most_resident() - before
    del opened
    shutil.rmtree(cache)
    return {"seconds": seconds, "bytes": max(1, most), "kept": max(1, kept)}


def _resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _most_resident() -> int:
    """The most bytes that it had at a time."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def measure_drawing(*, size: Sequence[int], rounds: int) -> dict[str, Any]:
    """Seconds to draw the objects of an image, and of pycocotools for their masks alone."""
    from segkit.data.annotations.polygons import polygon_patches

    random = np.random.default_rng(0)
    images = [[make_outline(random, size) for _ in range(OBJECTS)] for _ in range(20)]

    def draw() -> None:
        for polygons in images:
            target = np.zeros(size, dtype=np.uint8)
            for value, patch in enumerate(polygon_patches(polygons, (size[0], size[1])), 1):
                patch.fill(target, value)

    calls: dict[str, Callable[[], object]] = {OURS: draw}
    missing = {}
    if find_spec("pycocotools") is None:
        missing = {OURS: "pycocotools is not installed"}
    else:
        from pycocotools import mask as tools  # type: ignore

        lists = [[points.ravel().tolist() for points in polygons] for polygons in images]
        calls[TOOLS] = lambda: [
            tools.decode(tools.merge(tools.frPyObjects([numbers], *size)))
            for each in lists
            for numbers in each
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pycocotools, about NumPy
        seconds = time_in_turns(calls, rounds=rounds, device=torch.device("cpu"))
    return {"seconds": {} if missing else seconds, "missing": missing}


def make_outline(random: np.random.Generator, size: Sequence[int]) -> np.ndarray:
    """A polygon (K, 2) of 8 to 44 corners somewhere in an image, some of which are cut off: most objects are small."""
    height, width = size
    corners = int(random.integers(8, 45))
    radius = height / 480 * math.exp(random.uniform(math.log(5), math.log(180)))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    far = radius * random.uniform(0.6, 1.1, corners)
    x = random.uniform(0, width) + far * np.cos(angles)
    y = random.uniform(0, height) + far * np.sin(angles)
    return np.stack([x.clip(0, width), y.clip(0, height)], axis=1).round(2)


def write_large(root: Path, images: int, polygons: int) -> None:
    """The file `all.json` in the form of COCO's own, and empty image files."""
    random = np.random.default_rng(0)
    outlines = [json.dumps([make_outline(random, SIZES[0]).ravel().tolist()]) for _ in range(OUTLINES)]
    (root / "images").mkdir()
    with (root / "all.json").open("w", encoding="utf-8") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for n in range(images):
            (root / f"images/{n:012d}.jpg").touch()
            entry = {
                "license": 3,
                "file_name": f"{n:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{n:012d}.jpg",
                "height": 480,
                "width": 640,
                "date_captured": "2013-11-14 16:28:13",
                "flickr_url": "http://farm4.staticflickr.com/3153/2970773875_164f0c0b83_z.jpg",
                "id": n + 1,
            }
            file.write((", " if n else "") + json.dumps(entry))
        file.write('], "annotations": [')
        owners = random.integers(1, images + 1, polygons).tolist()
        for n, owner in enumerate(owners):
            rest = f'"area": {n % 9973}.5, "iscrowd": 0, "image_id": {owner}, "bbox": [1.5, 2.25, {n % 640}.0, 7.75]'
            entry = f'"segmentation": {outlines[n % OUTLINES]}, {rest}, "category_id": {n % 80 + 1}, "id": {n + 1}'
            file.write(f"{', ' if n else ''}{{{entry}}}")
        names = [{"supercategory": "thing", "id": n, "name": f"thing {n}"} for n in range(1, 81)]
        file.write(f'], "categories": {json.dumps(names)}}}')
