"""scripts/check_data.py ROOT for a folder that is read as it is: the block that is proposed, and checked."""

import json

import numpy as np
import pytest

from segkit.data.check.contents import blocks
from segkit.errors import DataError
from tests.commands import test_check_folder as folders
from tests.commands.test_check_folder import (
    MINE,
    build,
    explore,
    facts,
    printed_blocks,
    proposal,
    save,
    squares,
)
from tests.data.annotations.coco_files import (
    SIZE,
    annotation,
    box,
    coco,
    image_entry,
    save_image,
    write_json,
    write_small,
)
from tests.data.datasets.test_coco_panoptic import write_panoptic

here = folders.here


def make_arrays(monkeypatch, answer) -> None:
    """Images with arrays beside them, and somebody who proposes `answer` for arrays."""
    for n, split in enumerate(("train", "train", "val")):
        save(f"images/{split}/{n}.png", squares((0, 200)))
        save(f"made/{split}/{n}.png", squares((0, 1)))
        np.save(MINE / f"made/{n}.npy", squares((0, 1)))
    monkeypatch.setitem(blocks.PROPOSERS, "npy", lambda root: answer)


BLOCK = {"name": "folder", "root": str(MINE), "classes": ["a", "b"], "masks": "made/{split}", "channels": 1}


def test_the_block_of_what_is_read_as_it_is_is_printed_written_and_checked(monkeypatch, capsys):
    make_arrays(monkeypatch, BLOCK)
    assert explore() == 0
    text = capsys.readouterr().out
    assert text.startswith("root      data/mine\nfound     made/0.npy and 2 more: NumPy array, int64 24x32\n")
    assert proposal() == BLOCK and facts()["train"]["usable"] == 2
    (block,) = printed_blocks(text)
    assert build(block)[1] == [[0, 1]] * 3
    assert text.endswith("next      python train.py --config runs/check/mine/data.yaml\n")


def test_without_a_proposal_it_says_how_masks_are_made(monkeypatch):
    make_arrays(monkeypatch, None)
    with pytest.raises(DataError, match="no images with masks found in data/mine"):
        explore()


def test_flags_that_are_about_masks_leave_it_at_masks(monkeypatch):
    make_arrays(monkeypatch, BLOCK)
    with pytest.raises(DataError, match="no images with masks found in data/mine"):
        explore(classes=["a", "b"])


def coco_block(**options) -> dict:
    return {"name": "coco", "root": str(MINE), **options}


def check_proposed(block: dict, values: list[list[int]], capsys) -> str:
    """That the folder leads to this block, which reads these values image by image; what is printed."""
    code = explore()
    text = capsys.readouterr().out
    assert (proposal(), code) == (block, 0), text
    (printed,) = printed_blocks(text)
    assert build(printed)[1] == values
    return text


def test_outlines_of_coco_are_read_as_they_are(capsys):
    write_small(MINE)
    block = coco_block(train_annotations="train.json", val_annotations="val.json")
    text = check_proposed(block, [[0, 1, 2, 3]] * 3, capsys)
    assert (
        "found     train.json and 1 more: COCO annotations, 2 images, 3 categories, polygons and run lengths"
        in text
    )


def test_cocos_own_layout(capsys):
    for part, numbers in (("train2017", (1, 2)), ("val2017", (3,))):
        for n in numbers:
            save_image(MINE / f"{part}/{n}.jpg")
        images = [image_entry(n, f"{n}.jpg") for n in numbers]
        objects = [annotation(n, 1, [box(2, 2, 9, 9)]) for n in numbers]
        for kind in ("instances", "person_keypoints"):
            write_json(MINE / f"annotations/{kind}_{part}.json", coco(images, objects, ("cat",)))
        captions = [{"image_id": numbers[0], "id": 1, "caption": "a cat"}]
        write_json(MINE / f"annotations/captions_{part}.json", {"images": images, "annotations": captions})
    files = [f"annotations/instances_{part}2017.json" for part in ("train", "val")]
    check_proposed(coco_block(train_annotations=files[0], val_annotations=files[1]), [[0, 1]] * 3, capsys)


def test_a_category_that_only_stands_above_the_others_is_no_class(capsys):
    for part, n in (("train", 1), ("valid", 2)):
        save_image(MINE / f"{part}/{n}.jpg")
        content = coco([image_entry(n, f"{n}.jpg")], [annotation(n, 2, [box(2, 2, 9, 9)])], ("thing", "cat"))
        write_json(MINE / f"{part}/_annotations.coco.json", content)
    files = [f"{part}/_annotations.coco.json" for part in ("train", "valid")]
    block = coco_block(train_annotations=files[0], val_annotations=files[1], classes=["background", "cat"])
    check_proposed(block, [[0, 1]] * 2, capsys)


def test_one_file_is_divided_and_images_are_found_in_any_folder(capsys):
    for n in range(5):
        grey = np.random.default_rng(n).integers(0, 256, SIZE, dtype=np.uint8)
        save(f"somewhere/else/{n}.png", grey)
    objects = [annotation(n, 1, [box(2, 2, 9, 9)]) for n in range(5)]
    write_json(MINE / "result.json", coco([image_entry(n) for n in range(5)], objects, ("cat",)))
    block = coco_block(train_annotations="result.json", val_fraction=0.2, images="somewhere/else", channels=1)
    check_proposed(block, [[0, 1]] * 5, capsys)


def test_panoptic_files_are_read_as_they_are(capsys):
    write_panoptic(MINE)
    files = [f"annotations/panoptic_{part}.json" for part in ("train", "val")]
    block = {
        "name": "coco_panoptic",
        "root": str(MINE),
        "train_annotations": files[0],
        "val_annotations": files[1],
    }
    check_proposed(block, [[0, 1, 255]] * 3, capsys)


def test_of_panoptic_files_and_outlines_those_that_have_more_objects(capsys):
    write_panoptic(MINE)
    names = ("cat", "dog")
    for part, numbers in (("train", (1, 2)), ("val", (3,))):
        images = [image_entry(n, f"{n}.jpg") for n in numbers]
        for count, kind in ((2, "few"), (4, "instances")):
            objects = [annotation(n, 1, [box(m, m, m + 5, 9)]) for n in numbers for m in range(count)]
            write_json(MINE / f"annotations/{kind}_{part}.json", coco(images, objects, names))
    files = {f"{part}_annotations": f"annotations/instances_{part}.json" for part in ("train", "val")}
    check_proposed(coco_block(**files), [[0, 1]] * 3, capsys)
    for part in ("train", "val"):
        (MINE / f"annotations/instances_{part}.json").unlink()
    explore()
    assert proposal()["name"] == "coco_panoptic"


def test_annotations_that_are_wrong_are_listed(capsys):
    write_small(MINE)
    content = json.loads((MINE / "train.json").read_text())
    content["annotations"][0]["segmentation"] = [[1, 2, 3, 4]]
    write_json(MINE / "train.json", content)
    assert explore() == 3
    failure = facts()["train"]["failures"][0]["error"]
    assert failure.startswith("train.json: annotations[0] (id 100) of train/1.png: its polygon has 2 corners")
    assert "its polygon has 2 corners, expected at least 3" in capsys.readouterr().out


def test_a_damaged_file_says_where():
    write_small(MINE)
    text = (MINE / "train.json").read_text()
    (MINE / "train.json").write_text(
        text.replace('"annotations": [', '"annotations": [{"bbox" 1},' + " " * 5_000_000)
    )
    with pytest.raises(DataError, match=r"^not JSON: data/mine/train\.json:1:\d+: Expecting ':' delimiter"):
        explore()
