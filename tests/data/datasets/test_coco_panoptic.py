"""`coco_panoptic`: a JSON file with the segments of PNG files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.datasets.coco_panoptic import CocoPanoptic
from segkit.errors import DataError
from tests.data.annotations.coco_files import SIZE, annotation, box, coco, image_entry, save_image, write_json

FILES = {
    "train_annotations": "annotations/panoptic_train.json",
    "val_annotations": "annotations/panoptic_val.json",
}
#: Ids that need all three bytes, and share the lower ones.
CAT, DOG, CROWD = 7, 7 + 256 * 3, 7 + 256 * 3 + 65536 * 200


def segments_of() -> np.ndarray:
    """The segments of every image (H, W); 0 in the first row."""
    segments = np.full(SIZE, DOG)
    segments[0] = 0
    segments[4:9, 5:20] = CAT
    segments[15:] = CROWD
    return segments


def save_segments(path: Path, segments: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = np.stack([segments % 256, segments // 256 % 256, segments // 65536], axis=2)
    Image.fromarray(channels.astype(np.uint8)).save(path)


def write_panoptic(root: Path, *, masks: str = "annotations/panoptic_{part}", change=None) -> Path:
    for part, numbers in (("train", (1, 2)), ("val", (3,))):
        entries = []
        for n in numbers:
            save_image(root / f"images/{part}/{n}.jpg")
            save_segments(root / masks.format(part=part) / f"{n}.png", segments_of())
            segments = [
                {"id": CAT, "category_id": 1, "iscrowd": 0},
                {"id": DOG, "category_id": 2, "iscrowd": 0},
                {"id": CROWD, "category_id": 1, "iscrowd": 1},
            ]
            entries.append({"image_id": n, "file_name": f"{n}.png", "segments_info": segments})
        content = coco([image_entry(n, f"{n}.jpg") for n in numbers], entries, ("cat", "dog"))
        if change is not None:
            change(content)
        write_json(root / f"annotations/panoptic_{part}.json", content)
    return root


def open_panoptic(root, split="train", **options):
    return CocoPanoptic(split, root=str(root), **{**FILES, **options})


def expected(cat, dog, crowd, void) -> np.ndarray:
    target = np.full(SIZE, dog, dtype=np.uint8)
    target[0] = void
    target[4:9, 5:20] = cat
    target[15:] = crowd
    return target


@pytest.mark.parametrize(
    ("options", "classes", "values"),
    [
        ({}, ("cat", "dog"), (0, 1, 0, 255)),
        ({"crowd": "ignore"}, ("cat", "dog"), (0, 1, 255, 255)),
        ({"background": "void"}, ("void", "cat", "dog"), (1, 2, 1, 0)),
        ({"classes": ["dog", "cat"]}, ("dog", "cat"), (1, 0, 1, 255)),
        ({"background": "void", "label_map": {"dog": "ignore"}}, ("void", "cat"), (1, 255, 1, 0)),
    ],
)
def test_segments_become_the_classes_of_their_categories(tmp_path, options, classes, values):
    write_panoptic(tmp_path)
    for split, count in (("train", 2), ("val", 1)):
        dataset = open_panoptic(tmp_path, split, **options)
        assert dataset.class_names == classes and len(dataset) == count
        for n in range(count):
            np.testing.assert_array_equal(dataset[n].target.numpy(), expected(*values))
        stem = "1" if split == "train" else "3"
        mask = tmp_path / f"annotations/panoptic_{split}/{stem}.png"
        source = tmp_path / f"annotations/panoptic_{split}.json"
        assert dataset.files(0) == (tmp_path / f"images/{split}/{stem}.jpg", source, mask)


@pytest.mark.parametrize("masks", ["annotations", ".", "png/{part}"])
def test_where_the_png_files_are_looked_for(tmp_path, masks):
    write_panoptic(tmp_path, masks=masks)
    options = {"masks": "png/{split}"} if masks.startswith("png") else {}
    np.testing.assert_array_equal(
        open_panoptic(tmp_path, **options)[0].target.numpy(), expected(0, 1, 0, 255)
    )


def refused(root, **options) -> str:
    with pytest.raises(DataError) as raised:
        open_panoptic(root, **options)[0]
    return str(raised.value)


def test_png_files_that_are_nowhere(tmp_path):
    write_panoptic(tmp_path, masks="png")
    assert refused(tmp_path) == (
        f"no PNG files of {tmp_path}/annotations/panoptic_train.json: 1.png is not in annotations/panoptic_train nor "
        "annotations nor .\n   -> data.masks=FOLDER, in which they lie as the file names them"
    )


def test_segments_that_nobody_explains(tmp_path):
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0]["segments_info"].pop(1))
    assert refused(tmp_path) == (
        f"segment without a category: annotations/panoptic_train/1.png has the segment {DOG} in "
        f"{(segments_of() == DOG).sum()} pixels, which segments_info of annotations/panoptic_train.json does not list\n"
        "   -> are the PNG files those of another JSON file?"
    )


def test_a_category_that_is_not_there(tmp_path):
    def change(content):
        content["annotations"][0]["segments_info"][1]["category_id"] = 9

    write_panoptic(tmp_path, change=change)
    assert refused(tmp_path) == (
        "annotations/panoptic_train.json: annotations[0] of images/train/1.jpg: there is no category with the id 9\n"
        "   -> list the category, or remove the annotation"
    )
    assert open_panoptic(tmp_path)[1].target.shape == SIZE


def test_a_segment_without_an_id(tmp_path):
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0]["segments_info"][0].pop("id"))
    assert refused(tmp_path) == (
        "annotations/panoptic_train.json: annotations[0] of images/train/1.jpg: a segment has no id "
        "-> write the file again"
    )


def change_segment(**changes):
    def change(content):
        content["annotations"][0]["segments_info"][0].update(changes)

    return change


@pytest.mark.parametrize("key", ["7", None, True, 7.5, -1, 256**3, float("nan")])
def test_ids_of_segments_that_are_none(tmp_path, key):
    write_panoptic(tmp_path, change=change_segment(id=key))
    assert refused(tmp_path) == (
        "annotations/panoptic_train.json: annotations[0] of images/train/1.jpg: a segment has the id "
        f"{key!r}, expected a whole number below 256 * 256 * 256"
    )


def test_two_segments_of_one_id(tmp_path):
    """Of one class they say the same, of two nobody knows which."""
    write_panoptic(tmp_path, change=change_segment(id=DOG))
    assert refused(tmp_path).endswith(
        f"images/train/1.jpg: two segments have the id {DOG}, and are of two classes -> number them anew"
    )
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0]["segments_info"].append(
        {"id": float(CAT), "category_id": 1}
    ))  # fmt: skip
    np.testing.assert_array_equal(open_panoptic(tmp_path)[0].target, expected(0, 1, 0, 255))


def test_a_png_file_in_which_all_is_void(tmp_path):
    write_panoptic(tmp_path)
    save_segments(tmp_path / "annotations/panoptic_train/1.png", np.zeros(SIZE, int))
    assert refused(tmp_path) == (
        "none of the 3 segments that segments_info of annotations/panoptic_train.json lists is in "
        "annotations/panoptic_train/1.png: every pixel is void -> are the PNG files those of another JSON file?"
    )
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0].update(segments_info=[]))
    save_segments(tmp_path / "annotations/panoptic_train/1.png", np.zeros(SIZE, int))
    assert (open_panoptic(tmp_path)[0].target == 255).all()


def test_one_png_file_for_two_images(tmp_path):
    write_panoptic(tmp_path, change=lambda content: content["annotations"][-1].update(file_name="1.png"))
    with pytest.raises(DataError) as raised:
        open_panoptic(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path}/annotations/panoptic_train.json: the segments of two images are in one PNG file, 1.png "
        "-> name each file with its folder"
    )


def test_png_files_that_were_made_smaller(tmp_path):
    """Few colours as a palette, in whatever order, and greys as one number, as lossless optimisers save them. Pillow
    writes them here."""
    write_panoptic(tmp_path)
    path = tmp_path / "annotations/panoptic_train/1.png"
    with Image.open(path) as image:
        smaller = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    smaller.save(path)
    with Image.open(path) as image:
        assert image.mode == "P"
    np.testing.assert_array_equal(open_panoptic(tmp_path)[0].target, expected(0, 1, 0, 255))
    # Places in the palette that are ids, too, of other segments.
    places = np.unique(np.asarray(smaller)).tolist()
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0]["segments_info"].extend(
        {"id": place, "category_id": 2} for place in places if place
    ))  # fmt: skip
    smaller.save(path)
    np.testing.assert_array_equal(open_panoptic(tmp_path)[0].target, expected(0, 1, 0, 255))

    grey = 0x010101
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0].update(segments_info=[
        {"id": 5 * grey, "category_id": 1}, {"id": 9 * grey, "category_id": 2}
    ]))  # fmt: skip
    numbers = np.where(np.arange(SIZE[1]) % 2, 5, 9) * np.ones((SIZE[0], 1), int)
    Image.fromarray(numbers.astype(np.uint8)).save(path)
    np.testing.assert_array_equal(open_panoptic(tmp_path)[0].target, np.where(numbers == 5, 0, 1))


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_ids_that_are_saved_as_numbers(tmp_path, mode):
    segments = [{"id": 5, "category_id": 1}, {"id": 9, "category_id": 2}]
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0].update(segments_info=segments))
    numbers = np.where(np.arange(SIZE[1]) % 2, 5, 9) * np.ones((SIZE[0], 1), int)
    image = Image.fromarray(numbers.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette([value for n in range(256) for value in (255 - n, n, 7)])
    image.save(tmp_path / "annotations/panoptic_train/1.png")
    np.testing.assert_array_equal(open_panoptic(tmp_path)[0].target, np.where(numbers == 5, 0, 1))
    segments.pop()
    write_panoptic(tmp_path, change=lambda content: content["annotations"][0].update(segments_info=segments))
    image.save(tmp_path / "annotations/panoptic_train/1.png")
    assert "1.png has the segment " in refused(tmp_path)


def test_what_cityscapes_own_script_writes(tmp_path):
    """In the layout and with the names of createPanopticImgs of cityscapesScripts 2.3.0, which calls an image
    CITY_..._gtFine_leftImg8bit.png: there is no such file."""
    for part in ("train", "val"):
        name = "bad-honnef_000000_000019"
        image = f"leftImg8bit/{part}/bad-honnef/{name}_leftImg8bit.png"
        save_image(tmp_path / image)
        save_segments(
            tmp_path / f"gtFine/cityscapes_panoptic_{part}/{name}_gtFine_panoptic.png", segments_of()
        )
        segments = [{"id": n, "category_id": 1 + (n == DOG), "iscrowd": 0} for n in (CAT, DOG, CROWD)]
        entry = {"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": segments}
        content = coco([image_entry(name, f"{name}_gtFine_leftImg8bit.png")], [entry], ("cat", "dog"))
        write_json(tmp_path / f"gtFine/cityscapes_panoptic_{part}.json", content)
    files = {f"{part}_annotations": f"gtFine/cityscapes_panoptic_{part}.json" for part in ("train", "val")}
    for part in ("train", "val"):
        dataset = open_panoptic(tmp_path, part, **files)
        assert dataset.notes == []
        assert dataset.files(0)[0] == tmp_path / f"leftImg8bit/{part}/bad-honnef/{name}_leftImg8bit.png"
        np.testing.assert_array_equal(dataset[0].target, expected(0, 1, 0, 255))


def test_an_image_without_segments(tmp_path):
    write_panoptic(tmp_path, change=lambda content: content["annotations"].pop())
    path = tmp_path / "annotations/panoptic_train.json"
    assert refused(tmp_path) == (
        f"{path}: images[1], 2.jpg, has 0 annotations, expected one, with its segments "
        "-> remove the image, or all but one"
    )


def test_png_files_of_another_size(tmp_path):
    write_panoptic(tmp_path)
    save_segments(tmp_path / "annotations/panoptic_train/1.png", segments_of()[:20])
    assert refused(tmp_path) == (
        "image and mask sizes differ: images/train/1.jpg 32x24, annotations/panoptic_train/1.png 32x20"
    )


def test_outlines_are_of_the_other_data_set(tmp_path):
    write_panoptic(tmp_path)
    path = write_json(
        tmp_path / "a.json", coco([image_entry(1, "1.jpg")], [annotation(1, 1, [box(0, 0, 4, 4)])])
    )
    assert refused(tmp_path, train_annotations="a.json") == (
        f"{path} has no segments_info: it is not panoptic -> data.name=coco"
    )
