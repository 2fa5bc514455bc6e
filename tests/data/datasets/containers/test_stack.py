"""`stack`: which pages train and validate, and what is said of files that do not belong together."""

import numpy as np
import pytest
from PIL import Image

from segkit.data.datasets.containers.stack import Stack
from segkit.errors import ConfigError, DataError
from tests.data.containers.contained_folders import CLASSES, IMAGES, LABELS, make_stack, save_stack


def stack(root, split="train", **options):
    block = {"classes": CLASSES, "train_images": "train-volume.tif", "train_labels": "train-labels.tif"}
    return Stack(split, root=str(root), **{**block, **options})


def refusal(error, call):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


def test_the_last_pages_of_each_file_validate(tmp_path):
    make_stack(tmp_path)
    save_stack(tmp_path / "more/b.tif", IMAGES[:3])
    save_stack(tmp_path / "more/b-labels.tif", LABELS[:3])
    files = {
        "train_images": ["train-volume.tif", "more/b.tif"],
        "train_labels": ["train-labels.tif", "more/b-labels.tif"],
    }
    train, val = (stack(tmp_path, split, **files, val_fraction=0.3) for split in ("train", "val"))
    assert train.names == [f"train-volume_{n:03}" for n in range(7)] + ["more/b_000", "more/b_001"]
    assert val.names == ["train-volume_007", "train-volume_008", "train-volume_009", "more/b_002"]
    assert val[3].mask_path == tmp_path / "more/b-labels.tif#2"
    assert val.weight_paths[3] == tmp_path / "weights/more/b_002"


def test_files_of_their_own_validate(tmp_path):
    make_stack(tmp_path)
    save_stack(tmp_path / "v.tif", IMAGES[:2])
    save_stack(tmp_path / "l.tif", LABELS[:2])
    val = stack(tmp_path, "val", val_images="v.tif", val_labels="l.tif")
    assert (len(stack(tmp_path, val_images="v.tif", val_labels="l.tif")), val.names) == (
        10,
        ["v_000", "v_001"],
    )


def test_a_pattern_pairs_by_what_names_have_in_common(tmp_path):
    for n, stem in enumerate(("b2", "b10")):
        save_stack(tmp_path / f"images/{stem}.tif", IMAGES[n : n + 2])
        save_stack(tmp_path / f"labels/{stem}_gt.tif", LABELS[n : n + 2])
    files = {"train_images": "images/{stem}.tif", "train_labels": "labels/{stem}_gt.tif", "val_fraction": 0.5}
    dataset = stack(tmp_path, **files)
    assert dataset.names == ["images/b2_000", "images/b10_000"]
    np.testing.assert_array_equal(dataset[1].target, LABELS[1])
    (tmp_path / "labels/b10_gt.tif").unlink()
    assert refusal(DataError, lambda: stack(tmp_path, **files)) == (
        "data.train_images: images/b10.tif has no partner, labels/b10_gt.tif (1 of 2 files have none)"
    )


def test_pages_of_16_bits_have_a_range_that_the_run_keeps(tmp_path):
    save_stack(tmp_path / "train-volume.tif", IMAGES.astype(np.uint16) * 16)
    save_stack(tmp_path / "train-labels.tif", LABELS)
    options = {"val_fraction": 0.2, "channels": 1}
    train, val = (stack(tmp_path, split, **options) for split in ("train", "val"))
    assert train.value_range == val.value_range == (0, 4080)
    assert train.found_options == {"value_range": [0, 4080]}
    np.testing.assert_array_equal(train[2].image[0], IMAGES[2])
    assert stack(tmp_path, value_range=[0, 8160], **options).found_options == {}


def test_label_map_and_lists_of_classes(tmp_path):
    save_stack(tmp_path / "train-volume.tif", IMAGES)
    save_stack(tmp_path / "train-labels.tif", LABELS * 100)
    (tmp_path / "classes.txt").write_text("cell\nborder\n")
    options = {"classes": "classes.txt", "label_map": {0: "ignore", 100: 0, 200: 1}, "val_fraction": 0.2}
    dataset = stack(tmp_path, **options)
    assert dataset.class_names == ("cell", "border")
    np.testing.assert_array_equal(dataset[4].target, np.array([255, 0, 1])[LABELS[4]])
    assert dataset.files(0)[-1] == tmp_path / "classes.txt"
    assert refusal(DataError, lambda: stack(tmp_path, val_fraction=0.2)[4]) == (
        "label out of range: train-labels.tif#4 has ids 0, 100, 200 but data.classes has 3 classes (0-2), "
        "ignore_index 255\n   100, 200 look like grey values of a palette or RGB mask saved as grey\n"
        "   -> say what each value means with data.label_map, such as {100: ignore, 200: ignore}"
    )


def test_pages_that_do_not_match(tmp_path):
    make_stack(tmp_path)
    save_stack(tmp_path / "short.tif", LABELS[:7])
    assert refusal(DataError, lambda: stack(tmp_path, train_labels="short.tif", val_fraction=0.2)) == (
        "as many images as labels are needed: train-volume.tif has 10 pages and short.tif 7 "
        "-> leave out of the longer one what the other has not"
    )
    save_stack(tmp_path / "small.tif", LABELS[:, ::2])
    dataset = stack(tmp_path, train_labels="small.tif", val_fraction=0.2)
    assert refusal(DataError, lambda: dataset[3]) == (
        "image and mask sizes differ: train-volume.tif#3 32x24, small.tif#3 32x12"
    )
    Image.fromarray(IMAGES[0]).save(tmp_path / "single.tif")
    Image.fromarray(LABELS[0]).save(tmp_path / "one.tif")
    files = {"train_images": "single.tif", "train_labels": "one.tif"}
    assert refusal(DataError, lambda: stack(tmp_path, **files, val_fraction=0.2)) == (
        "data.val_fraction=0.2 cannot divide single.tif (its pages), which has 1, into a training and a validation part"
    )


#: Options that contradict each other, and what is said of them.
CONTRADICTIONS = {
    "nothing validates": (
        {},
        "nothing says which images validate -> data.val_images and data.val_labels, or data.val_fraction=0.2 for the "
        "last fifth",
    ),
    "two ways": (
        {"val_images": "a.tif", "val_labels": "b.tif", "val_fraction": 0.2},
        "data.val_images and data.val_fraction both say which images validate -> remove one",
    ),
    "half a part": (
        {"val_images": "a.tif"},
        "data.val_images is set but data.val_labels is not -> data.val_labels=FILE",
    ),
    "lists": (
        {"train_images": ["a.tif", "b.tif"], "train_labels": ["c.tif"], "val_fraction": 0.2},
        "data.train_images has 2 files and data.train_labels 1 -> as many, in pairs",
    ),
    "twice": (
        {"train_images": ["a.tif", "a.tif"], "train_labels": ["c.tif", "d.tif"], "val_fraction": 0.2},
        "data.train_images names a file twice: a.tif, a.tif",
    ),
    "one pattern": (
        {"train_images": "{stem}.tif", "val_fraction": 0.2},
        "data.train_labels has no {stem}, and the other one has -> both or none",
    ),
    "a stem in a folder": (
        {"train_images": "{stem}/a.tif", "train_labels": "{stem}/b.tif", "val_fraction": 0.2},
        "data.train_images='{stem}/a.tif': expected {stem} once, in the name of the file",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_options_that_contradict_each_other(tmp_path, case):
    options, message = CONTRADICTIONS[case]
    make_stack(tmp_path)
    assert refusal(ConfigError, lambda: stack(tmp_path, **options)) == message


def test_two_files_of_one_name(tmp_path):
    for suffix in ("tif", "tiff"):
        save_stack(tmp_path / f"a.{suffix}", IMAGES[:2])
        save_stack(tmp_path / f"b.{suffix}", LABELS[:2])
    files = {"train_images": ["a.tif", "a.tiff"], "train_labels": ["b.tif", "b.tiff"], "val_fraction": 0.5}
    assert refusal(DataError, lambda: stack(tmp_path, **files)) == (
        "two samples of one name: a_000 -> rename one of their files"
    )


def test_real_membranes(tmp_path, real_data):
    """The slices of the ISBI challenge, put back into stacks as they were published."""
    membrane = real_data("membrane")
    for kind, name in (("images", "train-volume.tif"), ("labels", "train-labels.tif")):
        pages = [np.asarray(Image.open(path)) for path in sorted((membrane / kind / "train").glob("*.png"))]
        save_stack(tmp_path / name, np.stack(pages), compression="tiff_lzw")
    options = {
        "classes": ["membrane", "cell"],
        "label_map": {0: 0, 255: 1},
        "channels": 1,
        "val_fraction": 0.2,
    }
    train, val = (stack(tmp_path, split, **options) for split in ("train", "val"))
    assert (len(train), len(val)) == (19, 5)
    last = sorted((membrane / "images/train").glob("*.png"))[-1]
    np.testing.assert_array_equal(val[4].image[0], np.asarray(Image.open(last)))
    assert 0.1 < (val[4].target == 0).double().mean() < 0.4
