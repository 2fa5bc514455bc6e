"""`labelme`: what its files say, drawn."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from segkit.data.annotations.polygons import polygon_mask
from segkit.data.loading.view import ValView
from segkit.errors import ConfigError, DataError
from tests.data.datasets.tools.tool_folders import SIZE, box, build, read_ids, save_image, save_labelme, shape

CLASSES = ["background", "car", "road"]


@pytest.fixture
def draw(tmp_path):
    """`draw(shapes, **options)`: the ids of an image with these shapes."""

    def make(shapes, more=None, **options):
        save_image(tmp_path / "train/a.png")
        save_labelme(tmp_path / "train/a.json", shapes, **(more or {}))
        return read_ids(build("labelme", tmp_path, **{"classes": CLASSES, **options}))

    return make


def png(inside: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(inside).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def where(ids: np.ndarray, value: int) -> tuple[int, int, int, int, int]:
    """First and last row, first and last column of a value, and its pixels."""
    rows, columns = np.nonzero(ids == value)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max()), len(rows)


def test_a_number_is_a_label(draw):
    ids = draw(
        [shape(7, box(0, 0, 4, 4)), shape("car", box(8, 8, 12, 12))], classes=["background", "7", "car"]
    )
    assert where(ids, 1) == (0, 3, 0, 3, 16) and where(ids, 2) == (8, 11, 8, 11, 16)


def test_a_polygon_is_filled_by_cocos_rule(draw):
    points = [[3.3, 4.6], [20.2, 2.1], [28.7, 25.9], [9.4, 18.8]]
    ids = draw([shape("car", points)])
    assert ids.dtype == np.uint8 and ids.shape == SIZE
    assert np.array_equal(ids == 1, polygon_mask(np.array(points), SIZE)) and (ids == 1).sum() == 327


@pytest.mark.parametrize(
    ("kind", "points", "expected"),
    [
        ("rectangle", [[20, 16], [4, 8]], (8, 15, 4, 19, 128)),
        ("rectangle", box(4, 8, 20, 16), (8, 15, 4, 19, 128)),
        ("oriented_rectangle", [[10, 4], [16, 10], [10, 16], [4, 10]], (4, 14, 4, 15, 72)),
        ("circle", [[10.5, 12.5], [10.5, 15.5]], (9, 15, 7, 13, 29)),
        ("line", [[4, 10], [20, 10]], (8, 11, 2, 21, 76)),
        ("linestrip", [[4, 10], [20, 10], [20, 20]], (8, 21, 2, 21, 115)),
        ("point", [[10, 10]], (8, 11, 8, 11, 12)),
        ("points", [[10, 10], [30, 10]], (8, 11, 8, 31, 24)),
    ],
)
def test_other_shapes(draw, kind, points, expected):
    assert where(draw([shape("car", points, kind)], line_width=4), 1) == expected


def test_a_mask_lies_in_its_box(draw):
    inside = np.zeros((3, 5), bool)
    inside[0, 1:] = inside[2, 0] = True
    for pixels in (inside, inside.astype(np.uint8), inside.astype(np.uint8) * 255):
        ids = draw([shape("road", [[7, 4], [11, 6]], "mask", mask=png(pixels))])
        assert np.argwhere(ids == 2).tolist() == [[4, 8], [4, 9], [4, 10], [4, 11], [6, 7]]


def test_files_of_the_first_versions(draw):
    """Without shape_type, flags and the size of the image, with colours of lines."""
    old = {"label": "car", "points": box(4, 8, 20, 16), "line_color": None, "fill_color": [0, 255, 0, 128]}
    ids = draw(
        [old], {"version": "3.4.1", "imageHeight": None, "imageWidth": None, "lineColor": [0, 255, 0, 128]}
    )
    assert where(ids, 1) == (8, 15, 4, 19, 128)


def test_which_of_two_shapes_a_pixel_has(draw):
    large, small = shape("car", box(0, 0, 20, 20)), shape("road", box(5, 5, 10, 10))
    assert where(draw([large, small]), 2)[-1] == 25
    assert (draw([small, large]) == 2).sum() == 0
    assert where(draw([small, large], overlap="area"), 2)[-1] == 25
    # The two parts of one road are larger than the car.
    parts = [shape("road", box(5, 5, 10, 10), group_id=1), shape("road", box(0, 22, 64, 32), group_id=1)]
    assert (draw([*parts, large], overlap="area") == 2).sum() == 640
    assert (draw([parts[0], large, parts[1]], overlap="area") == 2).sum() == 640


def test_labels_are_mapped_and_labelmes_own_names_known(draw):
    shapes = [shape("van", box(0, 0, 8, 8)), shape("tree", box(8, 0, 16, 8))]
    assert np.bincount(draw(shapes, label_map={"van": "car", "tree": "ignore"}).ravel())[
        [1, 255]
    ].tolist() == [64, 64]
    own = [
        shape("car", box(0, 0, 8, 8)),
        shape("_background_", box(0, 0, 4, 8)),
        shape("__ignore__", box(0, 0, 4, 4)),
    ]
    assert np.bincount(draw(own).ravel())[[1, 255]].tolist() == [32, 16]
    assert (
        draw(own, classes=["car", "road"], background="ignore", label_map={"*": "road"}) == 255
    ).sum() == 32 * 64 - 48


def test_classes_that_nobody_lists_are_those_of_both_parts(tmp_path):
    for part, label in (("train", "road"), ("val", "car")):
        save_image(tmp_path / part / "a.png")
        save_labelme(
            tmp_path / part / "a.json", [shape(label, box(0, 0, 4, 4)), shape("__ignore__", box(0, 0, 2, 2))]
        )
    for split, value in (("train", 2), ("val", 1)):
        dataset = build("labelme", tmp_path, split)
        assert dataset.class_names == ("background", "car", "road") and dataset.ignore_index == 255
        assert np.unique(read_ids(dataset)).tolist() == [0, value, 255]


def test_what_was_found_is_kept_with_the_run_and_is_of_the_training_images(tmp_path):
    for n, part in enumerate(("train", "val"), start=1):
        wide = np.linspace(0, 1000 * n, SIZE[0] * SIZE[1]).reshape(SIZE).astype(np.uint16)
        save_labelme(tmp_path / part / "a.json", [shape("car", box(0, 0, 4, 4))])
        Image.fromarray(wide).save(tmp_path / part / "a.png")
    found = {"classes": ["background", "car"], "value_range": [0, 1000]}
    assert [build("labelme", tmp_path, split).found_options for split in ("train", "val")] == [found, found]
    given = build("labelme", tmp_path, classes=CLASSES, value_range=[0, 500])
    assert given.found_options == {} and given.read(0).image.max() == 255
    with pytest.raises(ValueError, match=r"value_range: expected \[low, high\], got \[5, 5\]"):
        build("labelme", tmp_path, value_range=[5, 5])


def test_an_image_is_where_the_file_says(tmp_path):
    save_image(tmp_path / "images/x.png")
    save_image(tmp_path / "images/y.png", seed=1)
    save_image(tmp_path / "images/z.png", seed=2)
    for name, image in (("a", "../images/x.png"), ("b", "..\\images\\y.png")):
        save_labelme(tmp_path / "labels" / f"{name}.json", [shape("car", box(0, 0, 4, 4))], image=image)
    parts = {
        split: build("labelme", tmp_path, split, labels="labels", val_fraction=0.5)
        for split in ("train", "val")
    }
    found = {
        name: path for part in parts.values() for name, path in zip(part.names, part.image_paths, strict=True)
    }
    assert found == {"a": tmp_path / "images/x.png", "b": tmp_path / "images/y.png"}
    assert parts["train"].notes == [
        "1 image has no JSON file and is left out: z.png -> data.unlabelled=background if nothing is on them"
    ]
    with_all = build("labelme", tmp_path, labels="labels", val_fraction=0.01, unlabelled="background")
    index = with_all.names.index("z")
    assert with_all.notes == ["1 image has no JSON file and is background throughout: z.png"]
    assert not read_ids(with_all, index).any()
    assert with_all.files(index) == (tmp_path / "images/z.png",)


def test_the_label_background_is_the_background_whatever_it_is_called(tmp_path):
    save_image(tmp_path / "train/a.png")
    shapes = [shape("car", box(0, 0, 8, 8)), shape("_background_", box(0, 0, 4, 8))]
    save_labelme(tmp_path / "train/a.json", shapes)
    (tmp_path / "val").mkdir()
    dataset = build("labelme", tmp_path, background="rest")
    assert dataset.class_names == ("rest", "car") and (read_ids(dataset) == 1).sum() == 32


def test_images_of_the_other_part_are_no_backgrounds(tmp_path):
    """JSON files in a folder for each part, all images in one."""
    for seed, (part, name) in enumerate({"a": "train", "b": "train", "c": "val", "d": ""}.items()):
        save_image(tmp_path / f"images/{part}.png", seed=seed)
        if name:
            notes = tmp_path / f"labels/{name}/{part}.json"
            save_labelme(notes, [shape("car", box(0, 0, 4, 4))], image=f"../../images/{part}.png")
    options = {"labels": "labels/{split}", "classes": CLASSES}
    for part, names in (("train", ["a", "b"]), ("val", ["c"])):
        dataset = build("labelme", tmp_path, part, unlabelled="background", **options)
        assert dataset.names == names and all(read_ids(dataset, n).any() for n in range(len(names)))
        assert dataset.notes == [
            "1 image has no JSON file and is in neither part, since their folder has images of both: d.png\n"
            "   -> a JSON file without shapes for each, in the folder of its part"
        ]
        assert build("labelme", tmp_path, part, **options).notes == [
            "1 image has no JSON file and is left out: d.png -> data.unlabelled=background if nothing is on them"
        ]
    # In a folder of the part's own, it is clear which part they are of.
    save_image(tmp_path / "labels/val/e.png", seed=9)
    dataset = build("labelme", tmp_path, "val", unlabelled="background", **options)
    assert dataset.names == ["c", "e"] and not read_ids(dataset, 1).any()


def test_an_image_of_a_folder_on_another_machine_lies_beside_the_file(tmp_path):
    image = save_image(tmp_path / "train/street.png")
    save_labelme(tmp_path / "train/a.json", [], image="C:\\Users\\me\\street.png")
    assert build("labelme", tmp_path, classes=CLASSES).image_paths == [image]


def test_the_embedded_image_is_read_only_where_there_is_no_other(tmp_path):
    image = save_image(tmp_path / "train/a.png", seed=5)
    pixels = np.moveaxis(np.asarray(Image.open(image)), 2, 0)
    other = base64.b64encode(save_image(tmp_path / "other.png", seed=6).read_bytes()).decode()
    notes = save_labelme(tmp_path / "train/a.json", [shape("car", box(0, 0, 4, 4))], imageData=other)
    dataset = build("labelme", tmp_path, classes=CLASSES)
    assert np.array_equal(dataset.read(0).image, pixels) and dataset.notes == []
    assert dataset.files(0) == (image, notes)
    image.unlink()
    dataset = build("labelme", tmp_path, classes=CLASSES)
    expected = np.moveaxis(np.asarray(Image.open(tmp_path / "other.png")), 2, 0)
    assert np.array_equal(dataset.read(0).image, expected) and (dataset.read(0).target == 1).sum() == 16
    assert dataset.files(0) == (notes,)
    assert dataset.notes == [
        "1 image file is not there: the copies inside of the JSON files are read, as of train/a.json"
    ]
    save_labelme(tmp_path / "train/a.json", [], imageData=base64.b64encode(b"no image").decode())
    with pytest.raises(DataError, match=r"cannot read imageData in train/a\.json: not a PNG"):
        build("labelme", tmp_path, classes=CLASSES).read(0)


def test_an_image_that_is_nowhere(tmp_path):
    save_labelme(tmp_path / "train/a.json", [])
    with pytest.raises(DataError, match=r"cannot read .*train/a\.png: no such file"):
        build("labelme", tmp_path, classes=CLASSES).read(0)


def test_an_image_of_another_size(tmp_path):
    save_image(tmp_path / "train/a.png", size=(30, 64))
    save_labelme(tmp_path / "train/a.json", [])
    with pytest.raises(DataError) as raised:
        build("labelme", tmp_path, classes=CLASSES).read(0)
    assert str(raised.value) == (
        "image of another size than its labels: train/a.png is 64x30, train/a.json says 64x32\n   -> the image was "
        "changed after it was labelled: put the one that was labelled back, or label this one"
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    save_image(tmp_path / "train/a.jpg", exif=exif)
    (tmp_path / "train/a.png").unlink()
    with pytest.raises(DataError) as raised:
        build("labelme", tmp_path, classes=CLASSES).read(0)
    assert str(raised.value).startswith(
        "image of another size than its labels: train/a.jpg is 32x64 (after EXIF), train/a.json says 64x32\n   -> what "
        "was drawn lies on the image as it is stored"
    )


def test_two_files_for_one_image_and_two_images_for_one_file(tmp_path):
    save_image(tmp_path / "train/a.png")
    save_labelme(tmp_path / "train/a.json", [])
    save_labelme(tmp_path / "train/b.json", [], image="a.png")
    with pytest.raises(DataError) as raised:
        build("labelme", tmp_path, classes=CLASSES)
    assert str(raised.value) == (
        "one image is labelled twice: train/a.png in train/a.json and train/b.json\n   -> remove one of them"
    )
    save_image(tmp_path / "train/b.png")
    with pytest.raises(DataError) as raised:
        build("labelme", tmp_path, classes=CLASSES).read(1)
    assert str(raised.value) == (
        "two images for one file: train/b.json names train/a.png, and train/b.png has its name\n   -> remove or rename "
        "the one that was not labelled"
    )


MEND = "\n   -> mend it in the tool that drew it and save again, or leave such images out: data.on_bad_sample=skip"
BAD = {
    "two points": (
        shape("car", [[0, 0], [4, 4]]),
        f"cannot draw train/a.json, shapes[1] (car): 2 points, where a polygon has 3 or more{MEND}",
    ),
    "three corners": (
        shape("car", [[0, 0], [4, 4], [8, 0]], "rectangle"),
        f"cannot draw train/a.json, shapes[1] (car): 3 points, where a rectangle has 2 or 4{MEND}",
    ),
    "too many": (
        shape("car", [[0, 0], [4, 4], [8, 0]], "circle"),
        f"cannot draw train/a.json, shapes[1] (car): 3 points, where a circle has 2{MEND}",
    ),
    "NaN": (
        shape("car", [[0, 0], [float("nan"), 4], [8, 0]]),
        f"cannot draw train/a.json, shapes[1] (car): a coordinate is nan{MEND}",
    ),
    "far": (
        shape("car", [[0, 0], [1e300, 4], [8, 0]]),
        "cannot draw train/a.json, shapes[1] (car): a coordinate is 1e+300, farther than 1,000,000 pixels from the "
        f"image{MEND}",
    ),
    "very far": (
        shape("car", [[0, 0], [10**400, 4], [8, 0]]),
        f"cannot draw train/a.json, shapes[1] (car): a coordinate is 1{39 * '0'}, farther than 1,000,000 pixels from "
        f"the image{MEND}",
    ),
    "text": (
        shape("car", [[0, 0], ["4", 4], [8, 0]]),
        f"cannot draw train/a.json, shapes[1] (car): '4' is no number{MEND}",
    ),
    "no points": (
        {"label": "car"},
        f"cannot draw train/a.json, shapes[1] (car): its points are no list of [x, y]{MEND}",
    ),
    "unknown": (
        shape("car", [[0, 0], [4, 4]], "spline"),
        "cannot draw train/a.json, shapes[1] (car): the shape type 'spline' is not known; there are polygon, "
        f"rectangle, oriented_rectangle, circle, line, linestrip, point, points, mask{MEND}",
    ),
    "a type that is no word": (
        shape("car", [[0, 0], [4, 4]], ["spline"]),
        "cannot draw train/a.json, shapes[1] (car): the shape type ['spline'] is not known; there are polygon, "
        f"rectangle, oriented_rectangle, circle, line, linestrip, point, points, mask{MEND}",
    ),
    "beside the image": (
        shape("car", box(200, 8, 240, 16)),
        "cannot draw train/a.json, shapes[1] (car): it lies outside of the image: x 200 to 240, y 8 to 16, the image "
        f"is {SIZE[1]}x{SIZE[0]}\n   -> is it of another image, or was this one made smaller? put the one that was "
        "labelled back, or delete the shape",
    ),
    "no label": (
        shape("", box(0, 0, 4, 4)),
        "cannot draw train/a.json, shapes[1]: it has no label\n   -> give it one in labelme, or delete the shape",
    ),
    "no shape": (["car"], f"cannot draw train/a.json, shapes[1]: it is no shape{MEND}"),
    "a line": (
        shape("car", [[0, 0], [4, 4]], "line"),
        "cannot draw train/a.json, shapes[1] (car): a line or a point, which covers no pixel by itself\n   -> "
        "data.line_width=10 draws it so many pixels wide, data.line_width=0 leaves such shapes out",
    ),
    "a mask without pixels": (
        shape("car", [[0, 0], [4, 4]], "mask"),
        "cannot draw train/a.json, shapes[1] (car): a mask without its pixels, which `mask` has as a PNG file in "
        f"base64{MEND}",
    ),
    "a mask of another size": (
        shape("car", [[0, 0], [4, 4]], "mask", mask=png(np.ones((4, 5), bool))),
        f"cannot draw train/a.json, shapes[1] (car): its mask is 5x4, its box 5x5{MEND}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drawn_is_named_and_can_be_skipped(tmp_path, case):
    wrong, message = BAD[case]
    for name, shapes in (("a", [shape("road", box(0, 0, 4, 4)), wrong]), ("b", [])):
        save_image(tmp_path / f"train/{name}.png", seed=len(shapes))
        save_labelme(tmp_path / f"train/{name}.json", shapes)
    dataset = build("labelme", tmp_path, classes=CLASSES)
    with pytest.raises(DataError) as raised:
        dataset[0]
    assert str(raised.value) == message
    loaded = ValView(dataset, skip_bad=True).load(0)
    assert loaded.sample is None and loaded.bad[0].reason == message.partition("\n")[0]


def test_lines_are_left_out_where_that_is_asked_for(draw):
    assert not draw(
        [shape("car", [[0, 0], [9, 9]], "line"), shape("car", [[5, 5]], "point")], line_width=0
    ).any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ("[" * 50_000, "no JSON"),
        ('{"images": []}', "no file of labelme, which has a list `shapes`"),
        (b"\xff\xfe\x00", "no JSON"),
    ],
)
def test_a_file_that_is_none_of_labelmes(tmp_path, content, message):
    save_image(tmp_path / "train/a.png")
    (tmp_path / "train/a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"cannot read .*train/a\.json: {message}"):
        build("labelme", tmp_path, classes=CLASSES).read(0)


def test_a_damaged_file_is_a_bad_sample_and_not_left_out(tmp_path):
    for name in ("a", "b"):
        save_image(tmp_path / f"images/{name}.png")
        save_labelme(tmp_path / f"train/{name}.json", [], image=f"../images/{name}.png")
    (tmp_path / "train/a.json").write_text('{"shapes": [')
    dataset = build("labelme", tmp_path, classes=CLASSES)
    assert dataset.names == ["a", "b"]
    with pytest.raises(DataError, match=r"cannot read .*train/a\.json: no JSON"):
        dataset[0]
    assert [ValView(dataset, skip_bad=True).load(n).sample is None for n in range(2)] == [True, False]


def test_names_that_no_file_can_have(tmp_path):
    save_labelme(tmp_path / "train/a.json", [], image="x" * 5000)
    with pytest.raises(DataError, match=r"cannot read .*: File name too long"):
        build("labelme", tmp_path, classes=CLASSES).read(0)
    save_labelme(tmp_path / "train/a.json", [], image="a\0.png")
    with pytest.raises(DataError, match=r"a\\x00.png is no name of a file"):
        build("labelme", tmp_path, classes=CLASSES)


def test_other_json_files_are_left_out_and_noted(tmp_path):
    save_image(tmp_path / "train/a.png")
    save_labelme(tmp_path / "train/a.json", [])
    (tmp_path / "train/dataset_meta.json").write_text(json.dumps({"labels": ["car"]}))
    dataset = build("labelme", tmp_path, classes=CLASSES)
    assert dataset.names == ["a"]
    assert dataset.notes == ["1 JSON file is none of labelme's and left out: dataset_meta.json"]


def test_options_that_do_not_fit(tmp_path):
    for name in ("a", "b"):
        save_image(tmp_path / f"{name}.png")
        save_labelme(tmp_path / f"{name}.json", [])
    with pytest.raises(
        ValueError, match=r"labels='' is the same for both parts -> \{split\} in it, or data.val_frac"
    ):
        build("labelme", tmp_path, classes=CLASSES, labels="")
    with pytest.raises(
        DataError, match=r"no folder .*/train\n   -> data.labels says where the annotations are"
    ):
        build("labelme", tmp_path, classes=CLASSES)
    with pytest.raises(ConfigError, match=r"data\.background: there is no class 'background'"):
        build("labelme", tmp_path, classes=["car", "road"], labels="", val_fraction=0.5)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"no JSON files of labelme in .*/train"):
        build("labelme", tmp_path, classes=CLASSES)
