"""What the check before training finds."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from segkit.data.check import check_data
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.spread import spread
from segkit.data.loading.view import Subset
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
    assert re.fullmatch(r"62/62 masks fine \(\d+\.\d s\)", report.summary)
    assert (report.train.samples, report.val.samples) == (
        46,
        16,
    )  # the fingerprint's 16 of each are among them
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
    assert text.endswith(
        "\n   6 of the 6 samples checked fail\n"
        f"   -> python scripts/check_data.py {root} lists all values and proposes a label_map"
    )


@pytest.mark.parametrize("place", ["images", "masks"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "no image"])
def test_damaged_file_is_found(make_folder, place, damage):
    """Of a PNG file, Pillow reads all pixels to find the EXIF data, which may come after them."""
    root = make_folder()
    path = root / place / "val/001.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(
        {"cut": content[: len(content) // 2], "flipped": content, "no image": b"damaged"}[damage]
    )
    text = refusal(root)
    assert text.startswith(f"cannot read {root}/{place}/val/001.png: ")
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
    for value, name in enumerate(("train/000", "val/000")):
        (root / f"images/{name}.png").unlink()
        # A BMP file has as many bytes as pixels, and the first row last.
        pixels[0, 0] = 1 + value
        save(root / f"images/{name}.bmp", np.repeat(np.repeat(pixels, 10, axis=0), 10, axis=1))
        save(
            root / f"masks/{name}.png", np.repeat(np.arange(240) % 3, 320).reshape(240, 320).astype(np.uint8)
        )
    assert check(root).warnings == []


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_images_saved_anew_are_copies(make_folder, suffix):
    root = make_folder()
    (root / "images/val/001.png").unlink()
    copy = root / f"images/val/001{suffix}"
    with Image.open(root / "images/train/003.png") as image:
        image.save(copy, **({"compress_level": 0} if suffix == ".png" else {}))
    assert check(root).warnings == [
        f"1 val image is also a train image: {copy} is {root}/images/train/003.png, so the scores flatter"
    ]


def test_images_twice_in_one_part(make_folder):
    root = make_folder()
    for name in ("001", "002"):
        (root / f"images/train/{name}.png").write_bytes((root / "images/train/000.png").read_bytes())
    assert check(root).warnings == [
        f"2 train images repeat others: {root}/images/train/001.png is {root}/images/train/000.png"
    ]


def test_images_of_one_colour(make_folder, save):
    root = make_folder()
    path = save(root / "images/train/001.png", np.full((24, 32, 3), 7, dtype=np.uint8))
    assert check(root).warnings == [f"1 of the 4 train images checked is one colour throughout: {path}"]


def test_ids_that_count_from_1(make_folder):
    root = make_folder(ids=(1, 2))
    assert check(root).warnings == [
        "in no train mask: sky",
        "no mask checked has a pixel of the first class, 'sky': do the ids count from 1? "
        "-> data.label_map: {1: 0, 2: 1, ...}",
    ]
    assert check(make_folder(ids=(0, 2))).warnings == ["in no train mask: road"]


def smooth(labels):
    """A mask made larger by a person who did not think of it."""
    height, width = labels.shape
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.BILINEAR, box=(0, 0, 8, 6)))


def test_smoothed_masks_are_found_even_where_the_label_map_hides_them(make_folder, save):
    root = make_folder(ids=(0, 200))
    hides = {"label_map": {0: 0, 200: 1, "*": "ignore"}, "classes": ["sky", "road"]}
    assert check(root, **hides).warnings == []
    labels = np.zeros((24, 32), dtype=np.uint8)
    labels[2:5, 3:6] = 200
    path = save(root / "masks/train/001.png", smooth(labels))
    (text,) = check(root, **hides).warnings
    assert text.startswith(
        "1 of the 4 train masks looked at closely is smoothed: values that lie only on edges"
    )
    assert text.endswith(f" in {path} -> resize masks with `nearest`")


def test_thin_labels_are_not_taken_for_smoothed_ones(make_folder, save):
    root = make_folder()
    labels = np.zeros((24, 32), dtype=np.uint8)
    labels[:, ::4] = 1
    labels[::5] = 2
    for name in ("train/000", "train/001", "val/000"):
        save(root / f"masks/{name}.png", labels)
    assert check(root).warnings == []


def test_empty_sets(make_folder):
    train = Subset(Shapes("train", size=32), [])
    with pytest.raises(DataError) as raised:
        check_data(train, Shapes("val", size=32))
    assert str(raised.value) == "the train set is empty"
    with pytest.raises(DataError) as raised:
        check_data(Shapes("train", size=32), train)
    assert str(raised.value) == "the val set is empty"


def test_bad_samples_can_be_skipped(make_folder):
    root = make_folder()
    for name in ("train/001", "val/000"):
        (root / f"images/{name}.png").write_bytes(b"damaged " + name.encode())
    train, val = (Folder(split, root=str(root), classes=CLASSES) for split in ("train", "val"))
    report = check_data(train, val, skip_bad=True)
    assert report.summary.startswith("4/6 masks fine")
    assert report.warnings == [
        "2 of the 6 samples checked cannot be used and will be skipped: "
        f"cannot read {root}/images/train/001.png: not a PNG, JPEG, BMP, TIFF, WEBP or GIF image"
    ]
    assert (report.train.samples, report.val.samples) == (3, 1)
    with pytest.raises(DataError):
        check_data(train, val)


def test_skipping_needs_something_that_is_left(make_folder):
    root = make_folder(train=2)
    for path in root.glob("images/train/*"):
        path.write_bytes(b"damaged")
    train, val = (Folder(split, root=str(root), classes=CLASSES) for split in ("train", "val"))
    with pytest.raises(DataError, match="2 of the 4 samples checked fail"):
        check_data(train, val, skip_bad=True)


def test_findings_tell_scripts_what_the_warnings_tell_people(make_folder):
    report = check(make_folder(ids=(0, 1)), batch_size=5)
    assert [finding.text for finding in report.findings] == report.warnings
    assert [finding.kind for finding in report.findings] == ["absent-classes", "small-set"]
    assert report.findings[0].as_json() == {
        "kind": "absent-classes",
        "severity": "warning",
        "text": "in no train mask: car",
        "files": [],
    }


def test_jpeg_masks(make_folder, save):
    root = make_folder(train=1, val=1)
    (root / "masks/train/000.png").unlink()
    path = save(root / "masks/train/000.jpg", np.full((24, 32), 1, dtype=np.uint8))
    assert check(root).warnings[-1] != ""
    assert (
        f"masks are compressed as JPEG, which changes labels near edges: {path} -> save masks as PNG"
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


def test_report_in_plain_values(make_folder):
    root = make_folder(train=2, val=1)
    facts = check(root).as_json()
    assert json.loads(json.dumps(facts)) == facts
    assert sorted(facts) == ["findings", "train", "val"]
    assert sorted(facts["train"]) == [
        "classes",
        "failures",
        "ignored_share",
        "image_kinds",
        "images",
        "mask_colours",
        "mask_kinds",
        "mask_values",
        "read",
        "sizes",
        "usable",
        "valid_pixels",
    ]
    train = facts["train"]
    assert (train["images"], train["read"], train["usable"], train["valid_pixels"]) == (2, 2, 2, 2 * 24 * 32)
    assert train["sizes"] == {"32x24": 2}
    assert (train["image_kinds"], train["mask_kinds"]) == ({"RGB PNG": 2}, {"L PNG": 2})
    assert sorted(train["mask_values"]) == ["0", "1", "2"] and not train["mask_colours"]
    assert [entry["class"] for entry in train["classes"]] == CLASSES
    assert sum(entry["pixels"] for entry in train["classes"]) == 2 * 24 * 32
    assert {entry["images"] for entry in train["classes"]} == {2}
    assert check_data(Shapes("train", size=32)).as_json()["val"] is None
