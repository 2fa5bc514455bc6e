"""From files to a batch: ours beside Pillow and torchvision v2 in floating point, with the same augmentation."""

import random
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from scripts.bench.data.image_files import SIZE, write_images
from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from segkit.data.augments.standard import Standard
from segkit.data.cache.cached_data import Cached, keep_in_memory
from segkit.data.cache.place import on_disk
from segkit.data.datasets.folder import Folder
from segkit.data.loading.loader import train_batches
from segkit.data.loading.view import TrainView
from segkit.system.device import Normalize

TASK, LOADER_TASK = "scripts.bench.data.data_path:measure", "scripts.bench.data.data_path:measure_loader"
PLAIN = "Pillow + torchvision v2 in float"
OURS, NORMALISED = "segkit", "segkit, normalised on the CPU"
CACHED, IN_MEMORY = "segkit, data.cache=disk", "segkit, data.cache=ram"
LOADER, PLAIN_LOADER = "segkit's loader", "DataLoader of the same"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP, SCALE, JITTER, IGNORE_INDEX = 320, (0.5, 2.0), 0.3, 255
WORKERS = (0, 2)


def bench_data(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows of time per batch of 16; one thread, as a loader's process has."""
    count, size, crop = (2, (32, 48), 16) if settings.small else (16, SIZE, CROP)
    case = f"{count} images of {size[0]} x {size[1]}, JPEG and PNG, crops of {crop}"
    tell(f"data: {case}")
    arguments = {"count": count, "size": size, "crop": crop, "rounds": settings.rounds}
    found = settings.measure(TASK, arguments, threads=1)
    rows = rows_of(found, bench="data", case=case, baselines=(PLAIN,))
    for workers in WORKERS:
        tell(f"data: {workers} workers")
        passes = settings.measure(LOADER_TASK, {**arguments, "workers": workers}, threads=1)
        name = f"{4 * count} images, {workers} workers"
        rows += rows_of(passes, bench="data", case=name, baselines=(PLAIN_LOADER,))
    return rows


def measure(*, count: int, size: list[int], crop: int, rounds: int) -> dict[str, Any]:
    """In one process: seconds from files to a batch of all images."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_images(Path(folder), count=count, size=(size[0], size[1]))
        augment, cached = make_augment(crop), Cached(dataset, on_disk(Path(folder) / "cache"), settings={})
        in_memory, _, _ = keep_in_memory(dataset, dataset, weights=False)
        view, cached_view, memory_view = (
            TrainView(each, weight_map=None, augment=augment, seed=0) for each in (dataset, cached, in_memory)
        )
        pipeline, normalize = PlainPipeline(dataset, crop), Normalize(MEAN, STD)

        def ours() -> Tensor:
            return default_collate([view[0, index] for index in range(count)])["image"]

        calls = {
            PLAIN: lambda: default_collate([pipeline(index) for index in range(count)]),
            OURS: ours,
            NORMALISED: lambda: normalize(ours()),
            CACHED: lambda: default_collate([cached_view[0, index] for index in range(count)]),
            IN_MEMORY: lambda: default_collate([memory_view[0, index] for index in range(count)]),
        }
        seconds = time_in_turns(calls, rounds=rounds, device=torch.device("cpu"))
    return {"seconds": seconds}


def measure_loader(*, count: int, size: list[int], crop: int, rounds: int, workers: int) -> dict[str, Any]:
    """In one process: seconds for four times all images, with the start of the workers."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_images(Path(folder), count=count, size=(size[0], size[1]))
        pipeline, batch_size = PlainPipeline(dataset, crop), count // 2

        def ours() -> None:
            batches = train_batches(
                dataset,
                augment=make_augment(crop),
                batch_size=batch_size,
                seed=0,
                num_batches=8,
                workers=workers,
            )
            deque(batches, maxlen=0)

        def plain() -> None:
            places = [index % count for index in range(4 * count)]
            images = _ByPlace(pipeline)
            deque(DataLoader(images, batch_size, sampler=places, num_workers=workers), maxlen=0)

        seconds = time_in_turns(
            {PLAIN_LOADER: plain, LOADER: ours}, rounds=rounds, device=torch.device("cpu")
        )
    return {"seconds": seconds}


def make_augment(crop: int) -> Standard:
    """segkit's augmentation, as PlainPipeline's."""
    jitter = {"brightness": JITTER, "contrast": JITTER, "saturation": JITTER}
    return Standard(IGNORE_INDEX, crop_size=crop, scale=list(SCALE), **jitter)


class _ByPlace:
    """A pipeline as a data set."""

    def __init__(self, pipeline: "PlainPipeline"):
        self.pipeline = pipeline

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.pipeline(index)


class PlainPipeline:
    """As tutorials and reference scripts do it: to float, resize all, crop, flip, jitter, normalise; int64 labels."""

    def __init__(self, dataset: Folder, crop: int):
        self.dataset = dataset
        fill = {tv_tensors.Image: 0.0, tv_tensors.Mask: IGNORE_INDEX}
        self.rest = v2.Compose(
            [
                v2.RandomCrop(crop, pad_if_needed=True, fill=fill),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(JITTER, JITTER, JITTER),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __call__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.dataset.image_paths[index]) as file:
            image = tv_tensors.Image(F.pil_to_tensor(file.convert("RGB")))
        with Image.open(self.dataset.mask_paths[index]) as file:
            mask = tv_tensors.Mask(F.pil_to_tensor(file)[0])
        image = F.to_dtype(image, torch.float32, scale=True)
        factor = random.uniform(*SCALE)
        size = [round(factor * side) for side in image.shape[-2:]]
        image = F.resize(image, size, antialias=True)
        mask = F.resize(mask, size, interpolation=v2.InterpolationMode.NEAREST)
        image, mask = self.rest(image, mask)
        return image.as_subclass(Tensor), mask.as_subclass(Tensor).long()
