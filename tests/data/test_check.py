"""What the check before training finds."""

import re

import numpy as np
import pytest

from segkit.data.check import check_data, spread
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes
from segkit.data.weight_maps.file import File
from segkit.errors import DataError

CLASSES = ["sky", "road", "car"]


def check(root, *, limit=64, batch_size=None, **options):
    train, val = (
        Folder(split, root=str(root), **{"classes": CLASSES, **options}) for split in ("train", "val")
    )
    return check_data(train, val, limit=limit, batch_size=batch_size)


def refusal(root, **options):
    with pytest.raises(DataError) as raised:
        check(root, **options)
    return str(raised.value)


def test_generated_data_is_fine():
    train, val = Shapes("train", size=32), Shapes("val", size=32)
    report = check_data(train, val, batch_size=16)
    assert re.fullmatch(r"64/64 masks fine \(\d+\.\d s\)", report.summary)
    assert (report.train.samples, report.val.samples) == (48, 16)
    assert report.warnings == []
    assert check_data(train, limit=10).summary.startswith("10/10 masks fine")
    assert check_data(train, train, limit=10).train.samples == 10


def test_time_is_bounded():
    report = check_data(Shapes("train"), Shapes("val"), seconds=0.0)
    assert (report.train.samples, report.val.samples) == (1, 1)


def test_counts(make_folder, save):
    root = make_folder(train=2, val=1)
    save(root / "masks/train/000.png", np.full((24, 32), 1, dtype=np.uint8))
    half = np.full((24, 32), 255, dtype=np.uint8)
    half[:12] = 0
    save(root / "masks/train/001.png", half)
    report = check(root)
    assert report.train.pixels == [384, 768, 0]
    assert report.train.images == [1, 1, 0]
    assert (report.train.valid, report.train.ignored) == (1152, 384)
    assert report.table == [
        "class    pixels      in",
        "sky      33.33 %  1/2 images",
        "road     66.67 %  1/2 images",
        "car       0.00 %  0/2 images",
        "ignored  25.00 %  of all pixels",
    ]
    assert report.warnings == [
        "in no train mask: car",
        "in the val masks checked but not in the train masks checked: car",
    ]


def test_error_is_raised_with_how_many_fail(make_folder):
    root = make_folder(ids=(0, 1, 147))
    text = refusal(root)
    assert text.startswith("label out of range: masks/train/000.png has ids 0, 1, 147 but")
    assert text.endswith("\n   6 of the 6 samples checked fail")


def test_damaged_image_is_found(make_folder):
    root = make_folder()
    (root / "images/val/001.png").write_bytes(b"damaged")
    text = refusal(root)
    assert text.startswith(f"cannot read {root}/images/val/001.png: ")
    assert "samples checked" not in text


def test_foreground_that_would_be_ignored(make_folder):
    root = make_folder(ids=(0, 255))
    assert refusal(root) == (
        "masks hold only 0 and 255, and 255 is ignore_index: all but 'sky' would be ignored, "
        f"as in {root}/masks/train/000.png\n"
        "   -> data.label_map: {0: 0, 255: 1} if 255 is a class, {255: ignore} if it does mean unknown"
    )
    assert check(root, label_map={0: 0, 255: 1}).train.ignored == 0
    assert check(root, label_map={255: "ignore"}).warnings == ["in no train mask: road, car"]


def test_mostly_ignored(make_folder):
    root = make_folder(ids=(255, 255, 255, 255, 0, 1, 2))
    assert [w for w in check(root).warnings if "pixels" in w] == [
        f"{n} % of the {part} pixels checked are ignored" for part, n in _ignored_percent(root)
    ]


def _ignored_percent(root):
    report = check(root)
    return [
        (part, round(100 * tally.ignored_share))
        for part, tally in (("train", report.train), ("val", report.val))
    ]


def test_mask_without_any_label(make_folder, save):
    root = make_folder()
    save(root / "masks/train/002.png", np.full((24, 32), 255, dtype=np.uint8))
    assert check(root).warnings == ["1 of the 4 train masks checked have no labelled pixel"]


def test_fewer_images_than_a_batch(make_folder):
    root = make_folder()
    assert check(root, batch_size=4).warnings == []
    assert check(root, batch_size=5).warnings == [
        "4 train images are fewer than a batch of 5: a batch repeats images"
    ]


def test_class_absent_from_a_part_of_the_set(make_folder):
    warnings = check(make_folder(train=8, ids=(0, 1)), limit=4).warnings
    assert warnings == ["in none of the 3 train masks checked: car"]


def test_images_in_both_parts(make_folder):
    root = make_folder()
    copy = root / "images/val/001.png"
    copy.write_bytes((root / "images/train/003.png").read_bytes())
    assert check(root).warnings == [
        f"1 val image is also a train image: {copy} is {root}/images/train/003.png, so the scores flatter"
    ]


def test_files_that_only_begin_alike_are_not_copies(make_folder, save):
    root = make_folder()
    pixels = np.zeros((24, 32, 3), dtype=np.uint8)
    for name in ("train/000", "val/000"):
        save(root / f"images/{name}.png", pixels)
        path = root / f"images/{name}.png"
        path.write_bytes(path.read_bytes() + b"\0" * 5000 + name[:1].encode())
    assert check(root).warnings == []


def test_jpeg_masks(make_folder, save):
    root = make_folder(train=1, val=1)
    (root / "masks/train/000.png").unlink()
    path = save(root / "masks/train/000.jpg", np.full((24, 32), 1, dtype=np.uint8))
    assert check(root).warnings[-1] != ""
    assert (
        f"masks are JPEG files, which changes labels near edges: {path} -> save masks as PNG"
        in check(root).warnings
    )


def test_masks_without_image_are_mentioned(make_folder):
    root = make_folder()
    (root / "images/train/001.png").unlink()
    assert check(root).warnings == ["1 mask has no image: masks/train/001.png"]


def test_spread():
    assert spread(3, 5) == [0, 1, 2]
    assert spread(100, 4) == [0, 33, 66, 99]
    assert spread(100, 1) == [0]
    assert spread(100, 0) == []
    assert len(set(spread(65, 64))) == 64


def check_weights(root, value_of):
    """The check with weight maps that `value_of(name)` fills, or leaves out where that is None."""
    for image in root.glob("images/*/*.png"):
        value = value_of(f"{image.parent.name}/{image.stem}")
        folder = root / "weights" / image.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        if value is not None:
            np.save(folder / f"{image.stem}.npy", np.full((24, 32), value, dtype=np.float32))
    train, val = (Folder(split, root=str(root), classes=CLASSES) for split in ("train", "val"))
    return check_data(train, val, weight_map=File())


def test_weight_maps_are_checked_too(make_folder):
    root = make_folder()
    assert check_weights(root, lambda name: 1).summary.startswith("6/6 masks fine")
    for name, value, text in (
        ("train/002", -1, "weight map with negative values: "),
        ("val/001", np.nan, "weight map with NaN or infinite values: "),
    ):
        with pytest.raises(DataError) as raised:
            check_weights(root, lambda n, name=name, value=value: value if n == name else 1)
        assert str(raised.value).startswith(f"{text}{root}/weights/{name}.npy")


def test_missing_weight_maps_are_counted(make_folder):
    root = make_folder()
    with pytest.raises(DataError) as raised:
        check_weights(root, lambda name: None if name in ("train/003", "val/000") else 1)
    first, _, rest = str(raised.value).partition("\n")
    assert first.endswith(f"needs a map for every image: expected {root}/weights/train/003.(png|npy)")
    assert rest.endswith("   2 of the 6 samples checked fail")


def test_weight_maps_that_are_0_everywhere_would_teach_nothing(make_folder):
    root = make_folder()
    with pytest.raises(DataError) as raised:
        check_weights(root, lambda name: 0)
    assert str(raised.value).startswith(
        "the weight maps of all 4 train samples checked are 0 at every labelled pixel: nothing would be learned\n"
    )
    check_weights(root, lambda name: 1 if name == "train/001" else 0)


def test_wrong_ids_in_a_jpeg_mask_are_explained_by_that(make_folder, save):
    root = make_folder(train=1, val=1)
    (root / "masks/train/000.png").unlink()
    path = save(root / "masks/train/000.jpg", np.full((24, 32), 7, dtype=np.uint8))
    assert refusal(root) == (
        "label out of range: masks/train/000.jpg has ids 7 but data.classes has 3 classes (0-2), ignore_index 255\n"
        "   it is a JPEG file, which changes labels near edges -> save masks as PNG"
    ), path
