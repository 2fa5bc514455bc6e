"""A run on COCO's files is the run on masks of the same pixels, to the last bit of the weights."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import segkit
from segkit.data.datasets.shapes import Shapes
from segkit.runs.checkpoint import load_checkpoint
from tests.data.annotations.coco_files import annotation, box, coco, image_entry, runs_of, write_json

NAMES = ("circle", "square", "line", "star", "void")
COUNTS = {"train": 6, "val": 3}
BRIEF = (
    "model.width=4",
    "train.iterations=3",
    "train.batch_size=3",
    "eval.every=100%",
    "log.images_every=0",
    "log.tensorboard=false",
    "augment.crop_size=32",
)


def as_polygons(mask: np.ndarray) -> list[list[float]]:
    """A rectangle around each row of pixels that belong together, which covers them and no other."""
    found = []
    for row in np.flatnonzero(mask.any(axis=1)).tolist():
        edges = np.flatnonzero(np.diff(np.pad(mask[row], 1).astype(int))).tolist()
        found += [box(x, row, far, row + 1) for x, far in zip(edges[::2], edges[1::2], strict=True)]
    return found


def as_runs(mask: np.ndarray) -> dict:
    return {"size": list(mask.shape), "counts": runs_of(mask)}


def write_shapes(root: Path) -> None:
    """The same images with masks, with polygons, and with run lengths."""
    for part, count in COUNTS.items():
        shapes = Shapes(part, size=48, **{f"{name}_size": number for name, number in COUNTS.items()})
        objects: dict[str, list] = {"polygons": [], "runs": []}
        for n in range(count):
            sample = shapes[n]
            target = sample.target.numpy()  # (H, W)
            for folder, pixels in (("images", sample.image.numpy().transpose(1, 2, 0)), ("masks", target)):
                (root / folder / part).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / folder / part / f"{n}.png")
            for value in set(target.flat) - {0}:
                category = 5 if value == shapes.ignore_index else int(value)
                objects["polygons"].append(annotation(n, category, as_polygons(target == value)))
                objects["runs"].append(annotation(n, category, as_runs(target == value)))
        images = [image_entry(n, size=target.shape) for n in range(count)]
        for kind, found in objects.items():
            write_json(root / f"{kind}_{part}.json", coco(images, found, NAMES))


def weights_of(name: str, data: dict) -> dict[str, torch.Tensor]:
    run = segkit.train("debug.yaml", f"data={json.dumps(data)}", f"name={name}", "log.dir=runs", *BRIEF)
    (path,) = run.folder.glob("checkpoints/*3.pt")
    return load_checkpoint(path)["trainer"]["model"]


def test_outlines_train_the_weights_that_masks_train(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    write_shapes(Path("data"))
    folder = {"name": "folder", "root": "data", "classes": ["background", *NAMES[:4]]}
    expected = weights_of("masks", folder)
    for kind in ("polygons", "runs"):
        options = {f"{part}_annotations": f"{kind}_{part}.json" for part in COUNTS}
        found = weights_of(kind, {"name": "coco", "root": "data", "label_map": {"void": "ignore"}, **options})
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert torch.equal(value, expected[name]), (kind, name)
