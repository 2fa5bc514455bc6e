"""`coco`: what is said of files and annotations that are wrong."""

import pytest
from PIL import Image

from segkit.data.datasets.coco import Coco
from segkit.errors import ConfigError, DataError
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
from tests.data.datasets.test_coco import FILES, open_one, open_small, target_of

#: What is wrong with an annotation of the image 1.png, and what is said of it after its place.
WRONG = {
    "no segmentation": (
        {},
        "has no segmentation, but nothing\n   -> outline the object, or remove the annotation",
    ),
    "a box alone": (
        {"segmentation": [], "bbox": [0, 0, 4, 4]},
        "has no segmentation, but a box alone\n   -> outline the object, or remove the annotation",
    ),
    "two corners": (
        {"segmentation": [box(0, 0, 4, 4), [1, 1, 2, 2]]},
        "polygon 2 of 2 has 2 corners, expected at least 3\n   -> draw it again, or remove it",
    ),
    "an odd number": (
        {"segmentation": [[1, 1, 2, 2, 3, 3, 4]]},
        "its polygon has 7 numbers, expected x and y of each corner\n   -> draw it again",
    ),
    "not a number": (
        {"segmentation": [[1, 1, 2, float("nan"), 3, 3]]},
        "its polygon has nan, expected numbers\n   -> draw it again",
    ),
    "a text": (
        {"segmentation": [[1, 1, 2, "2", 3, 3]]},
        "its polygon has '2', expected numbers\n   -> draw it again",
    ),
    "a flat list": (
        {"segmentation": [1, 1, 2, 2, 3, 3]},
        "polygon 1 of 6 is 1, expected a list [x, y, x, y, ...]\n   -> [[x, y, ...]]",
    ),
    "outside": (
        {"segmentation": [box(100, 2, 120, 9)]},
        "its polygon lies outside of the image: x 100 to 120, y 2 to 9, the image is 32x24\n"
        "   -> is it of another image, or were its coordinates scaled?",
    ),
    "runs of another size": (
        {"segmentation": {"size": [32, 24], "counts": [768]}},
        "its run lengths are of an image of 24x32, this one is 32x24\n"
        "   -> the image was changed after it was labelled: put the one that was labelled back",
    ),
    "runs that end too soon": (
        {"segmentation": {"size": [24, 32], "counts": [100, 20]}},
        "its run lengths are damaged: its runs are 120 pixels, 32x24 has 768\n   -> write them again",
    ),
    "runs that are no text": (
        {"segmentation": {"size": [24, 32], "counts": "5z"}},
        "its run lengths are damaged: 'z' is no character of compressed run lengths\n   -> write them again",
    ),
    "runs that str() wrote": (
        {"segmentation": {"size": [24, 32], "counts": str(b"PSl0")}},
        "counts of its run lengths is Python's notation of bytes, b'PSl0'...\n"
        "   -> write counts.decode() to the file instead of str(counts)",
    ),
    "runs of no kind": (
        {"segmentation": {"size": [24, 32], "counts": 5}},
        "counts of its run lengths is neither a text nor a list of whole numbers",
    ),
    "runs without size": (
        {"segmentation": {"counts": [768]}},
        "size of its run lengths is None, expected [height, width]",
    ),
    "neither": ({"segmentation": "x"}, "segmentation is 'x', expected polygons or run lengths"),
    "no such category": (
        {"category_id": 99, "segmentation": [box(0, 0, 4, 4)]},
        "there is no category with the id 99\n   -> list the category, or remove the annotation",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_annotation_that_cannot_be_drawn_is_an_error_of_its_image(tmp_path, case):
    change, rule = WRONG[case]
    wrong = {"id": 7, "image_id": 1, "category_id": 1, **change}
    sound = annotation(2, 2, [box(0, 0, 4, 4)])
    dataset = open_one(tmp_path, [sound, wrong])
    with pytest.raises(DataError) as raised:
        dataset[0]
    assert str(raised.value) == f"all.json: annotations[1] (id 7) of 1.png: {rule}"
    assert target_of(dataset, 1)[0, 0] == 2
    assert dataset.notes == (
        [f"1 annotation has a category that is not there, so that their images cannot be used: "
         f"{tmp_path}/all.json: annotations[1]"] if case == "no such category" else []
    )  # fmt: skip


#: What a file holds that cannot be used at all, and what is said of it, where PATH is its name.
PATH = "PATH"
ONE = [image_entry(1)]
CUT = '{"images": [{"id": 1, "file_name": "1.p'
BOXES = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "segmentation": []}
SEGMENTS = {"image_id": 1, "file_name": "1.png", "segments_info": []}
NO_IMAGE = [annotation(1, 1, [box(0, 0, 4, 4)]), annotation(5, 1, []), annotation(5, 1, [])]


def with_categories(*categories):
    return {**coco(ONE, []), "categories": list(categories)}


def twice(first, second, key, value):
    return (
        f"PATH: {first} and {second} have one {key}, {value}\n   -> make them one, or give one another {key}"
    )


REFUSED = {
    "cut short": (
        CUT,
        "not JSON: PATH:1:36: it ends in the middle -> get the file again, which was cut short",
    ),
    "cut between": (
        '{"licenses": [1,',
        "not JSON: PATH:1:17: it ends in the middle -> get the file again, which was cut short",
    ),
    "damaged": ('{"licenses": [1 2]}', "not JSON: PATH:1:17: expected ',', found '2'"),
    "damaged within": ('{"images": [{"id" 2}]}', "not JSON: PATH:1:19: Expecting ':' delimiter"),
    "no JSON": ("images: []", "not JSON: PATH:1:1: expected an object, which begins with {, found 'i'"),
    "a list": ('[{"id": 1}]', "not COCO's JSON: PATH holds a list, expected an object of lists"),
    "labelme": (
        {"version": "5", "shapes": [], "imagePath": "a.png"},
        "not COCO's JSON: PATH has no images and no annotations and no categories; it has imagePath, shapes, version\n"
        "   it looks like labelme's, one file for each image -> data.name=labelme",
    ),
    "images alone": (
        {"info": {}, "images": [], "categories": []},
        "not COCO's JSON: PATH has no annotations; it has categories, images, info\n"
        "   it looks like COCO's of images to be tested on, whose annotations are not published",
    ),
    "an empty object": (
        {},
        "not COCO's JSON: PATH has no images and no annotations and no categories; it is empty",
    ),
    "no images": (coco([], []), "no images: the list of them in PATH is empty"),
    "an image without a name": (coco([{"id": 1}], []), "PATH: images[0]: has no file_name"),
    "an image without an id": (coco([{"file_name": "1.png"}], []), "PATH: images[0]: has no id"),
    "a size that is none": (
        coco([{**image_entry(1), "height": "24"}], []),
        "PATH: images[0]: height is '24', expected a number of pixels",
    ),
    "an image id twice": (
        coco([image_entry(1), image_entry(2), image_entry(1, "b.png")], []),
        twice("images[0]", "images[2]", "id", 1),
    ),
    "an image twice": (
        coco([image_entry(1, "a.png"), image_entry(2, "a.png")], []),
        twice("images[0]", "images[1]", "file_name", "'a.png'"),
    ),
    "a category id twice": (
        with_categories({"id": 1, "name": "a"}, {"id": 1, "name": "b"}),
        twice("categories[0]", "categories[1]", "id", 1),
    ),
    "a category twice": (
        coco(ONE, [], names=("cat", "cat")),
        twice("categories[0]", "categories[1]", "name", "'cat'"),
    ),
    "a category without a name": (with_categories({"id": 1}), "PATH: categories[0]: has no name"),
    "an empty name": (
        with_categories({"id": 1, "name": " "}),
        "PATH: categories[0]: name is ' ', expected a text",
    ),
    "annotations of no image": (
        coco(ONE, NO_IMAGE),
        "PATH: annotations[1]: there is no image with the id 5 (2 annotations are of such)\n"
        "   -> list the image, or remove the annotation",
    ),
    "an annotation without an image": (
        coco(ONE, [{"category_id": 1}]),
        "PATH: annotations[0]: has no image_id",
    ),
    "an annotation without a category": (
        coco(ONE, [{"image_id": 1}]),
        "PATH: annotations[0]: has no category_id",
    ),
    "an id that is none": (
        coco(ONE, [{"image_id": [1], "category_id": 1}]),
        "PATH: annotations[0]: an id is [1], expected a number or a text",
    ),
    "an annotation that is none": (
        coco(ONE, [5]),
        "PATH: annotations[0]: expected an object, found int",
    ),
    "boxes": (
        coco(ONE, [BOXES]),
        "PATH has boxes alone, no outlines, and says of no pixel what it is\n"
        "   -> export it with segmentation, or outline the objects",
    ),
    "panoptic": (
        coco(ONE, [SEGMENTS]),
        "PATH is panoptic: its labels are in PNG files -> data.name=coco_panoptic",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_used(tmp_path, case):
    content, message = REFUSED[case]
    save_image(tmp_path / "1.png")
    path = write_json(tmp_path / "all.json", content)
    with pytest.raises(DataError) as raised:
        Coco("train", root=str(tmp_path), train_annotations="all.json", val_annotations="all.json")
    assert str(raised.value) == message.replace(PATH, str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=f"no file all\\.json in {tmp_path}, nor here"):
        Coco("train", root=str(tmp_path), train_annotations="all.json", val_fraction=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"val_annotations": None},
            "data.val_annotations and data.val_fraction: one of the two says which images validate\n"
            "   -> data.val_annotations=FILE, or data.val_fraction=0.2 to divide the file",
        ),
        ({"split_seed": 2}, "data.split_seed does nothing without data.val_fraction"),
        (
            {"classes": ["cat", "dog", "tree"]},
            "data.background=background is none of data.classes (cat, dog, tree)\n"
            "   -> add it to data.classes, or data.background=ignore for pixels that nothing covers",
        ),
        ({"classes": ["background", "cat", "cat"]}, "data.classes names 'cat' twice"),
        (
            {"classes": ["background", "cat"], "label_map": {"dog": "hund"}},
            "data.label_map: 'dog': there is no class 'hund', there are: background, cat, ignore",
        ),
        (
            {"label_map": {"dgo": "ignore"}},
            "data.label_map: ROOT/train.json has no category 'dgo', did you mean 'dog'?",
        ),
        (
            {"background": "ignore", "label_map": {"*": "thing"}},
            "data.classes: expected at least 2, there are thing",
        ),
    ],
)
def test_options_that_contradict_each_other(tmp_path, options, message):
    with pytest.raises(ConfigError) as raised:
        open_small(tmp_path, **options)
    assert str(raised.value) == message.replace("ROOT", str(tmp_path))


def test_an_image_that_is_not_there_is_noted_and_an_error_where_it_is_read(tmp_path):
    write_small(tmp_path)
    (tmp_path / "train/2.png").unlink()
    dataset = Coco("train", root=str(tmp_path), **FILES)
    assert dataset.notes == ["1 image is not there: train/2.png"]
    with pytest.raises(DataError, match=r"cannot read .*/train/2\.png: no such file"):
        dataset[1]


def test_an_image_of_another_size_than_the_file_says(tmp_path):
    write_small(tmp_path)
    save_image(tmp_path / "train/1.png", (20, 32))
    with pytest.raises(DataError) as raised:
        Coco("train", root=str(tmp_path), **FILES)[0]
    assert str(raised.value) == (
        "image of another size than its labels: train/1.png is 32x20, train.json says 32x24\n"
        "   -> the image was changed after it was labelled: put the one that was labelled back, or label this one"
    )


def test_an_image_that_exif_turns(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save_image(tmp_path / "a.jpg", exif=exif)
    for size, turned in ((SIZE, False), (SIZE[::-1], True)):
        write_json(tmp_path / "all.json", coco([image_entry(1, "a.jpg", size)], []))
        dataset = Coco("train", root=str(tmp_path), train_annotations="all.json", val_annotations="all.json")
        if turned:
            assert dataset[0].target.shape == SIZE[::-1]
            continue
        with pytest.raises(DataError) as raised:
            dataset[0]
        assert str(raised.value) == (
            "image of another size than its labels: a.jpg is 24x32 (after EXIF), all.json says 32x24\n"
            "   -> what was drawn lies on the image as it is stored, before EXIF turns it: turn the file itself, "
            "or draw anew"
        )


def test_a_file_that_says_no_size(tmp_path):
    save_image(tmp_path / "a.png")
    entry = {"id": "a", "file_name": "a.png", "width": None}
    write_json(tmp_path / "all.json", coco([entry], [annotation("a", 1, [box(0, 0, 4, 4)])]))
    dataset = Coco("train", root=str(tmp_path), train_annotations="all.json", val_annotations="all.json")
    assert target_of(dataset).sum() == 16


def test_a_file_that_is_changed_while_it_is_used(tmp_path):
    dataset = open_small(tmp_path)
    path = tmp_path / "train.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(DataError) as raised:
        dataset[0]
    assert str(raised.value) == f"{path} was changed since it was opened -> start again"
