"""Folders of every kind that holds several images in a file, with the same 10 images and labels, and blocks that read
them. Hugging Face's tables are written by their own library, volumes by nibabel and SimpleITK, stacks by Pillow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.registry import DATASETS

COUNT, SIZE = 10, (24, 32)
CLASSES = ["background", "cell", "border"]
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, *SIZE), dtype=np.uint8)
#: In every image are all classes, and no two are alike.
LABELS = ((np.indices(SIZE).sum(axis=0) + np.arange(COUNT)[:, None, None]) // 5 % 3).astype(np.uint8)


def save_stack(path: Path, pages: np.ndarray, **options: Any) -> Path:
    """A TIFF file with these pages (N, H, W) or (N, H, W, 3), as Pillow writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(page) for page in pages)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def make_stack(root: Path) -> dict[str, Any]:
    save_stack(root / "train-volume.tif", IMAGES)
    save_stack(root / "train-labels.tif", LABELS)
    return {
        "name": "stack",
        "classes": CLASSES,
        "train_images": "train-volume.tif",
        "train_labels": "train-labels.tif",
        "val_fraction": 0.2,
        "channels": 1,
    }


def make_arrays(root: Path) -> dict[str, Any]:
    np.save(root / "images.npy", IMAGES)
    np.save(root / "labels.npy", LABELS.astype(np.int64))
    return {
        "name": "arrays",
        "classes": CLASSES,
        "train_images": "images.npy",
        "train_labels": "labels.npy",
        "val_fraction": 0.2,
        "channels": 1,
    }


def make_npz(root: Path) -> dict[str, Any]:
    np.savez_compressed(root / "all.npz", x=IMAGES, y=LABELS)
    names = {"train_images": "all.npz#x", "train_labels": "all.npz#y"}
    return make_arrays(root) | names


def describe_cases(root: Path, ending: str, channels: int = 1, **labels: Any) -> None:
    """An empty data set of nnU-Net's, with its dataset.json."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    described = {
        "channel_names": {str(n): f"channel {n}" for n in range(channels)},
        "labels": labels or {name: n for n, name in enumerate(CLASSES)},
        "numTraining": COUNT,
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps(described))


def make_cases(root: Path) -> dict[str, Any]:
    describe_cases(root, ".png")
    for n in range(COUNT):
        Image.fromarray(IMAGES[n]).save(root / f"imagesTr/case_{n:02}_0000.png")
        Image.fromarray(LABELS[n]).save(root / f"labelsTr/case_{n:02}.png")
    folds = [
        {
            "train": [f"case_{n:02}" for n in range(8)],
            "val": [f"case_{n:02}" for n in range(8, COUNT)],
        }
    ]
    (root / "splits_final.json").write_text(json.dumps(folds))
    return {"name": "nnunet"}


def make_volumes(root: Path) -> dict[str, Any]:
    """Five volumes of two slices."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel, which writes volumes, is not installed")
    describe_cases(root, ".nii.gz")
    spacing = np.diag([1, 1, 3, 1])
    for n in range(0, COUNT, 2):
        for folder, arrays, end in (("imagesTr", IMAGES, "_0000"), ("labelsTr", LABELS, "")):
            volume = nibabel.Nifti1Image(arrays[n : n + 2].transpose(2, 1, 0), spacing)
            nibabel.save(volume, root / folder / f"case_{n:02}{end}.nii.gz")
    folds = [{"train": [f"case_{n:02}" for n in (0, 2, 4, 6)], "val": ["case_08"]}]
    (root / "splits_final.json").write_text(json.dumps(folds))
    return {"name": "nnunet"}


def make_itk_volumes(root: Path) -> dict[str, Any]:
    """The same volumes as MetaImage, whose numbers lie beside their heads."""
    itk = pytest.importorskip(
        "SimpleITK", reason="SimpleITK, which writes MetaImage and NRRD, is not installed"
    )
    block = make_volumes(root)
    describe_cases(root, ".mhd")
    for path in sorted(root.rglob("*.nii.gz")):
        itk.WriteImage(itk.ReadImage(str(path)), str(path).replace(".nii.gz", ".mhd"))
        path.unlink()
    return block


def as_table(rows: slice) -> Any:
    """Some of the images as a table of Hugging Face's."""
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    pairs = zip(IMAGES[rows], LABELS[rows], strict=True)
    listed = [{"image": Image.fromarray(image), "label": Image.fromarray(labels)} for image, labels in pairs]
    return datasets.Dataset.from_list(listed, features=features)


def make_saved(root: Path) -> dict[str, Any]:
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    parts = {"train": as_table(slice(8)), "validation": as_table(slice(8, COUNT))}
    datasets.DatasetDict(parts).save_to_disk(str(root), num_shards={"train": 2, "validation": 1})
    return {"name": "hf", "classes": CLASSES, "channels": 1}


def make_parquet(root: Path) -> dict[str, Any]:
    (root / "data").mkdir()
    train = as_table(slice(8))
    for n in range(2):
        shard = train.shard(2, n, contiguous=True)
        shard.to_parquet(str(root / f"data/train-{n:05}-of-00002.parquet"))
    as_table(slice(8, COUNT)).to_parquet(str(root / "data/validation-00000-of-00001.parquet"))
    (root / "id2label.json").write_text(json.dumps({str(n): name for n, name in enumerate(CLASSES)}))
    return {"name": "hf", "channels": 1}


#: What makes a folder, and returns the block that reads it, but for its root.
KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "stack": make_stack,
    "arrays": make_arrays,
    "npz": make_npz,
    "cases": make_cases,
    "volumes": make_volumes,
    "itk volumes": make_itk_volumes,
    "saved": make_saved,
    "parquet": make_parquet,
}


def open_part(root: Path, block: dict[str, Any], split: str) -> Any:
    """The data set that a block describes."""
    options = {key: value for key, value in block.items() if key != "name"}
    return DATASETS.get(block["name"])(split, root=str(root), **options)
