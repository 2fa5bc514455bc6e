"""What is said about files that cannot be used: literally, and the same without and with workers."""

import errno
import os

import numpy as np
import pytest
from PIL import Image

from segkit.data.augments.none import NoAugment
from segkit.data.datasets.folder import Folder
from segkit.data.loading.loader import train_batches, val_batches
from segkit.data.weight_maps.file import File
from segkit.errors import DataError

ADVICE = "\n   -> mend or remove the file, or go on without such: data.on_bad_sample=skip"


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def as_jpeg(path):
    image = Image.open(path)
    image.load()
    image.save(path, format="JPEG")
    cut(path, path.stat().st_size // 2)


def as_folder(path):
    path.unlink()
    path.mkdir()


IMAGES = {
    "cut JPEG": (as_jpeg, "cannot read {image}: "),
    "cut PNG": (lambda path: cut(path, 300), "cannot read {image}: "),
    "empty": (lambda path: path.write_bytes(b""), "cannot read {image}: the file is empty"),
    "text": (
        lambda path: path.write_text("hello"),
        "cannot read {image}: not a PNG, JPEG, BMP, TIFF, WEBP or GIF image",
    ),
    "folder": (as_folder, "cannot read {image}: Is a directory"),
    "vanished": (lambda path: path.unlink(), "cannot read {image}: no such file"),
    "size": (
        lambda path: Image.fromarray(np.zeros((3, 4, 3), dtype=np.uint8)).save(path),
        "image and mask sizes differ: images/train/001.png 4x3, masks/train/001.png 32x24",
    ),
}
WEIGHTS = {
    "negative": (lambda w: -w, "weight map with negative values: {weight} goes down to -1"),
    "NaN": (lambda w: w * np.nan, "weight map with NaN or infinite values: {weight}"),
    "infinite": (lambda w: w * np.inf, "weight map with NaN or infinite values: {weight}"),
    "size": (lambda w: w[:3, :4], "weight map of the wrong size: {weight} is 4x3, its image 32x24"),
}


def message(dataset, workers, kind, **options):
    with pytest.raises(DataError) as raised:
        if kind == "val":
            list(val_batches(dataset, batch_size=2, workers=workers, **options))
        else:
            stream = {"batch_size": 4, "seed": 0, "num_batches": 2, "augment": NoAugment()}
            list(train_batches(dataset, workers=workers, **stream, **options))
    return str(raised.value)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_that_cannot_be_used(make_folder, kind, workers):
    damage, text = IMAGES[kind]
    dataset = Folder("train", root=str(make_folder()), classes=["a", "b", "c"])
    path = dataset.image_paths[1]
    damage(path)
    which = "train" if kind in ("cut PNG", "vanished") else "val"
    found = message(dataset, workers, which)
    if kind.startswith("cut"):
        # The rest of the line is Pillow's, and differs from version to version.
        assert found.startswith(text.format(image=path)) and found.endswith(ADVICE) and found.count("\n") == 1
    else:
        assert found == text.format(image=path) + ADVICE


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_weight_map_that_cannot_be_used(make_folder, kind, workers):
    change, text = WEIGHTS[kind]
    dataset = Folder("train", root=str(make_folder()), classes=["a", "b", "c"])
    folder = dataset.root / "weights/train"
    folder.mkdir(parents=True)
    for n in range(4):
        weight = np.ones((24, 32), dtype=np.float32)
        np.save(folder / f"{n:03d}.npy", change(weight) if n == 2 else weight)
    found = message(dataset, workers, "val", weight_map=File())
    assert found == text.format(weight=folder / "002.npy") + ADVICE


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("number", "text"), [(errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error")]
)
def test_a_file_that_the_system_does_not_give(make_folder, workers, number, text, monkeypatch):
    """Root may read everything, so the refusal is played."""

    def refuse(path, **options):
        raise OSError(number, os.strerror(number), str(path))

    dataset = Folder("train", root=str(make_folder()), classes=["a", "b", "c"])
    monkeypatch.setattr("segkit.data.decoding.images_and_masks.Image.open", refuse)
    assert message(dataset, workers, "val") == f"cannot read {dataset.image_paths[0]}: {text}{ADVICE}"
