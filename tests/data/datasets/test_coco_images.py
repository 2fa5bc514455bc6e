"""`coco`: which images belong to which part, and where they are looked for."""

import pytest
from PIL import Image

from segkit.data.datasets.coco import Coco
from segkit.errors import DataError
from tests.data.annotations.coco_files import (
    SIZE,
    annotation,
    box,
    coco,
    image_entry,
    save_image,
    write_json,
)
from tests.data.datasets.test_coco import open_one, target_of


def test_images_without_annotations_are_background_or_left_out(tmp_path):
    objects = [annotation(1, 1, [box(2, 2, 4, 4)])]
    kept = open_one(tmp_path, objects)
    assert len(kept) == 2 and not target_of(kept, 1).any()
    assert open_one(tmp_path, objects, unannotated="skip").names == ["1"]
    with pytest.raises(DataError) as raised:
        open_one(tmp_path, [], unannotated="skip")
    assert str(raised.value) == f"no image of {tmp_path}/all.json has annotations -> data.unannotated=keep"


def test_a_share_of_one_file_validates(tmp_path):
    for n in range(20):
        save_image(tmp_path / f"images/{n}.png")
    write_json(tmp_path / "all.json", coco([image_entry(n) for n in range(20)], []))
    options = {"root": str(tmp_path), "train_annotations": "all.json", "val_fraction": 0.3}
    parts = [Coco(split, **options).names for split in ("train", "val")]
    assert sorted(parts[0] + parts[1]) == sorted(str(n) for n in range(20)) and 3 <= len(parts[1]) <= 9
    assert parts[1] != Coco("val", **options, split_seed=1).names


@pytest.mark.parametrize("source", ["annotations/instances_test.json", "annotations/test.json"])
@pytest.mark.parametrize("folder", ["images/{}", "{}"])
def test_a_file_of_another_part_has_that_parts_images(tmp_path, source, folder):
    """Names that each part numbers from 1, and the test file in the place of the validation file."""
    for part in ("train", "val", "test"):
        save_image(tmp_path / folder.format(part) / "1.png", (*SIZE[:1], 20 + len(part)))
    size = (SIZE[0], 24)
    write_json(tmp_path / source, coco([image_entry(1, size=size)], []))
    options = {"train_annotations": source, "val_annotations": source}
    dataset = Coco("val", root=str(tmp_path), **options)
    assert dataset.image_paths == [tmp_path / folder.format("test") / "1.png"]


def test_outlines_that_are_boxes_are_noted(tmp_path):
    """As files have them that were made for detection."""
    boxes = [annotation(1, 1, [box(2, 2, 4 + n, 9)], bbox=[2, 2, 2 + n, 7]) for n in range(20)]
    text = (
        "all 20 outlines looked at are the boxes of their objects, which say nothing of the pixels in them: "
    )
    assert open_one(tmp_path, boxes).notes == [f"{text}{tmp_path}/all.json"]
    closed = [{**each, "segmentation": [[*each["segmentation"][0], 2, 2]]} for each in boxes]
    assert len(open_one(tmp_path, closed).notes) == 1
    for other in (
        [annotation(1, 1, [[2, 2, 9, 3, 8, 9, 1, 8]], bbox=[1, 2, 8, 7])],
        [annotation(1, 1, [box(2, 2, 4, 9), box(6, 6, 8, 8)], bbox=[2, 2, 6, 7])],
        [annotation(1, 1, [box(2, 2, 4, 9)])],
        [annotation(1, 1, [[]], bbox=[2, 2, 6, 7])],
    ):
        assert open_one(tmp_path, [*boxes, *other]).notes == []
    assert open_one(tmp_path, boxes[:19]).notes == []


def test_other_files_of_the_same_names_are_refused(tmp_path):
    """Masks beside the JSON file, called like the images."""
    save_image(tmp_path / "images/1.png")
    Image.new("L", SIZE[::-1]).save(write_json(tmp_path / "annotations/all.json", "").with_name("1.png"))
    write_json(tmp_path / "annotations/all.json", coco([image_entry(1)], []))
    options = {"train_annotations": "annotations/all.json", "val_annotations": "annotations/all.json"}
    with pytest.raises(DataError) as raised:
        Coco("train", root=str(tmp_path), **options)
    assert str(raised.value) == (
        f"images of {tmp_path}/annotations/all.json in two folders: annotations and images have files of their names, "
        "which are not the same\n   -> data.images=images, or annotations"
    )
    assert Coco("train", root=str(tmp_path), images="images", **options)[0].image.any()
    # A copy may lie anywhere.
    (tmp_path / "annotations/1.png").write_bytes((tmp_path / "images/1.png").read_bytes())
    assert Coco("train", root=str(tmp_path), **options)[0].image.any()


@pytest.mark.parametrize(
    ("source", "name", "place", "options"),
    [
        ("train.json", "a.png", "a.png", {}),
        ("train/_annotations.coco.json", "a.png", "train/a.png", {}),
        ("annotations/instances_train2017.json", "a.png", "train2017/a.png", {}),
        ("annotations/instances_train2017.json", "a.png", "images/train2017/a.png", {}),
        ("annotations/instances_default.json", "b/a.png", "images/b/a.png", {}),
        ("annotations/instances_default.json", "a.png", "images/default/a.png", {}),
        ("labels.json", "a.png", "data/a.png", {}),
        ("labels.json", "C:\\photos\\a.png", "images/a.png", {}),
        ("labels.json", "/home/somebody/a.png", "images/train/a.png", {}),
        ("labels.json", "a.png", "photos/train_set/a.png", {"images": "photos/{split}_set"}),
    ],
)
def test_where_images_are_looked_for(tmp_path, source, name, place, options):
    save_image(tmp_path / place)
    write_json(tmp_path / source, coco([image_entry(1, name)], []))
    dataset = Coco("train", root=str(tmp_path), train_annotations=source, val_annotations=source, **options)
    assert dataset.image_paths == [tmp_path / place] and dataset.notes == []
    assert dataset[0].image.shape == (3, *SIZE)


def test_images_that_are_named_by_the_place_they_are_fetched_from(tmp_path):
    save_image(tmp_path / "images/train2017/0001.png")
    entry = {"id": 1, "coco_url": "http://images.example.org/train2017/0001.png"}
    write_json(tmp_path / "lvis_v1_train.json", coco([entry], []))
    options = {"train_annotations": "lvis_v1_train.json", "val_annotations": "lvis_v1_train.json"}
    dataset = Coco("train", root=str(tmp_path), **options)
    assert dataset.image_paths == [tmp_path / "images/train2017/0001.png"]
    assert dataset.names == ["train2017/0001"]


def test_images_that_are_nowhere(tmp_path):
    write_json(tmp_path / "all.json", coco([image_entry(1, "a.png")], []))
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError) as raised:
        Coco("train", root=str(tmp_path), train_annotations="all.json", val_fraction=0.5)
    assert str(raised.value) == (
        f"no images of {tmp_path}/all.json: a.png is not in ., images\n"
        "   -> data.images=FOLDER, in which they lie as the file names them"
    )


def test_one_file_is_never_two_images(tmp_path):
    """Where folders that tell names apart are gone, one image would have the labels of another."""
    save_image(tmp_path / "images/1.png")
    entries = [image_entry(1, "left/1.png"), image_entry(2, "right\\1.png")]
    write_json(tmp_path / "all.json", coco(entries, [annotation(2, 1, [box(2, 2, 4, 4)])]))
    with pytest.raises(DataError) as raised:
        Coco("train", root=str(tmp_path), train_annotations="all.json", val_annotations="all.json")
    assert str(raised.value) == (
        f"two images of {tmp_path}/all.json are one file: left/1.png and right\\1.png are both images/1.png\n"
        "   -> data.images=FOLDER, in which they lie as the file names them"
    )


def test_two_files_of_one_stem_have_names_of_their_own(tmp_path):
    for name in ("a.png", "a.bmp"):
        save_image(tmp_path / name)
    write_json(tmp_path / "all.json", coco([image_entry(1, "a.png"), image_entry(2, "a.bmp")], []))
    dataset = Coco("train", root=str(tmp_path), train_annotations="all.json", val_annotations="all.json")
    assert dataset.names == ["a.png", "a.bmp"]
