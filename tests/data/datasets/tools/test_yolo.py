"""`yolo`: polygons in text files, with the classes and the overlaps of Ultralytics' semantic segmentation."""

import numpy as np
import pytest

from segkit.data.loading.view import ValView
from segkit.errors import DataError
from tests.data.datasets.tools.tool_folders import SIZE, box, build, read_ids, save_image, save_yolo

CAR, ROAD = 0, 1
ROWS = [(CAR, box(4, 8, 20, 16)), (ROAD, box(0, 0, 32, 32))]
USUAL = "path: anywhere\ntrain: images/train\nval: images/val\nnc: 2\nnames: [car, road]\n"


@pytest.fixture
def root(tmp_path):
    """Two images for training, of which b has no text file, and one for validation."""
    for part, name in (("train", "a"), ("train", "b"), ("val", "c")):
        save_image(tmp_path / f"images/{part}/{name}.png", seed=ord(name))
    save_yolo(tmp_path / "labels/train/a.txt", ROWS)
    save_yolo(tmp_path / "labels/val/c.txt", ROWS[:1])
    (tmp_path / "data.yaml").write_text(USUAL)
    return tmp_path


def counts(ids: np.ndarray) -> list[int]:
    return np.bincount(ids.reshape(-1), minlength=3).tolist()


def test_numbers_stay_and_the_background_comes_last(root):
    dataset = build("yolo", root)
    assert dataset.class_names == ("car", "road", "background")
    assert dataset.names == ["train/a", "train/b"]
    assert counts(read_ids(dataset)) == [128, 32 * 32 - 128, 32 * 32]  # the smaller one is above
    assert counts(read_ids(build("yolo", root, overlap="order"))) == [0, 32 * 32, 32 * 32]
    assert build("yolo", root, "val").names == ["val/c"]


def test_an_image_without_a_text_file_is_background(root):
    dataset = build("yolo", root)
    assert counts(read_ids(dataset, 1)) == [0, 0, SIZE[0] * SIZE[1]]
    assert dataset.notes == ["1 image has no text file and nothing on them: no labels/train/b.txt"]
    assert dataset.files(0) == (root / "images/train/a.png", root / "labels/train/a.txt", root / "data.yaml")
    assert dataset.files(1) == (root / "images/train/b.png", root / "data.yaml")
    (root / "labels/train/b.txt").write_text("\n")
    dataset = build("yolo", root)
    assert counts(read_ids(dataset, 1)) == [0, 0, SIZE[0] * SIZE[1]] and dataset.notes == []


def test_text_files_that_are_elsewhere(root):
    (root / "labels/train/a.txt").rename(root / "a.txt")
    with pytest.raises(DataError) as raised:
        build("yolo", root)
    assert str(raised.value) == (
        "no image has a text file with polygons: images/train/a.png -> expected labels/train/a.txt"
    )


def test_a_single_class_is_1_beside_the_background(root):
    (root / "data.yaml").write_text(USUAL.replace("nc: 2\nnames: [car, road]", "names: {0: car}"))
    dataset = build("yolo", root, "val")
    assert dataset.class_names == ("background", "car") and counts(read_ids(dataset))[:2] == [1920, 128]


def test_other_orders_and_meanings_of_the_classes(root):
    dataset = build("yolo", root, classes=["background", "road", "car"])
    assert counts(read_ids(dataset)) == [1024, 896, 128]
    dataset = build("yolo", root, label_map={"car": "thing", "road": "thing"})
    assert dataset.class_names == ("background", "thing") and counts(read_ids(dataset))[:2] == [1024, 1024]
    dataset = build("yolo", root, background="ignore")
    assert dataset.class_names == ("car", "road") and (read_ids(dataset) == 255).sum() == 1024
    (root / "data.yaml").write_text(USUAL.replace("[car, road]", "[car, background]"))
    dataset = build("yolo", root)
    assert dataset.class_names == ("car", "background") and counts(read_ids(dataset))[:2] == [128, 1920]


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/val\nnames:\n  0: car\n  1: road\n",
        "path: .\ntrain: ./images/train\nval: [images/val]\nnames: [car, road]\n",
        "train: ../images/train\nval: ../images/val\nnc: 2\nnames: ['car', 'road']\n",
        "train: images/train\nval: val.txt\ntest:\nnames: [car, road]\ndownload: https://example.com/a.zip\n",
        "path: .\\images\\..\ntrain: .\\images\\train\nval: [images\\val]\nnames: [car, road]\n",
        "path: /no/such/folder\ntrain: images/train\nval: images/val/c.png\nnc: 2\nnames: [car, road]\n",
    ],
)
def test_forms_of_the_data_file(root, text):
    (root / "val.txt").write_text("./images/val/c.png\n")
    (root / "data.yaml").rename(root / "mine.yaml")
    (root / "mine.yaml").write_text(text)
    assert build("yolo", root).image_paths == [root / "images/train/a.png", root / "images/train/b.png"]
    dataset = build("yolo", root, "val")
    assert dataset.image_paths == [root / "images/val/c.png"] and counts(read_ids(dataset)) == [128, 0, 1920]


def test_parts_that_the_data_file_does_not_have(root):
    (root / "data.yaml").write_text("train: images\nnames: [car, road]\n")
    with pytest.raises(DataError) as raised:
        build("yolo", root, "val")
    assert str(raised.value) == (
        f"{root}/data.yaml has no 'val': it has train\n   -> data.val_fraction=0.2 divides what there is, or "
        "data.train_split and data.val_split name other parts"
    )
    names = [build("yolo", root, split, val_fraction=0.4).names for split in ("train", "val")]
    assert sorted(names[0] + names[1]) == ["train/a", "train/b", "val/c"] and all(names)


def test_folders_of_another_machine(root):
    (root / "data.yaml").write_text(
        "path: C:\\Users\\me\ntrain: C:\\Users\\me\\images\\train\nnames: [car, road]\n"
    )
    with pytest.raises(DataError) as raised:
        build("yolo", root)
    assert str(raised.value) == (
        f"no folder C:/Users/me/images/train, the train of {root}/data.yaml\n   -> mend it there: seen from that file, "
        "such as images/train; paths of another machine lead nowhere"
    )


def test_a_validation_part_that_was_never_exported(root):
    (root / "data.yaml").write_text("train: images/train\nval: ../valid/images\nnames: [car, road]\n")
    with pytest.raises(
        DataError, match=r"nowhere; data.val_fraction=0.2 divides the training images instead"
    ):
        build("yolo", root, "val")
    assert len(build("yolo", root, "val", val_fraction=0.5)) == 1


def test_text_files_beside_the_images(root):
    for part, name in (("train", "a"), ("val", "c")):
        place = root / "flat" / part
        save_image(place / f"{name}.png")
        save_yolo(place / f"{name}.txt", ROWS)
    (root / "data.yaml").write_text("train: flat/train\nval: flat/val\nnames: [car, road]\n")
    dataset = build("yolo", root)
    assert dataset.names == ["flat/train/a"] and counts(read_ids(dataset)) == [128, 896, 1024]


MEND = "\n   -> mend it in the tool that drew it and save again, or leave such images out: data.on_bad_sample=skip"
BAD = {
    "0 0.5 0.5 0.1 0.1": (
        "line 2 (car): 5 numbers are a box, which says nothing of the pixels in it\n   -> export the data set for "
        "segmentation, with polygons; a detector's labels are no masks"
    ),
    "0 0.5 0.5": f"line 2 (car): 3 numbers are no class and three or more points (7, 9, 11 ...){MEND}",
    "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4": (
        f"line 2 (car): 8 numbers are no class and three or more points (7, 9, 11 ...){MEND}"
    ),
    "1 0.1 0.1 nan 0.2 0.3 0.3": f"line 2 (road): a coordinate is nan{MEND}",
    "1 0.1 0.1 x 0.2 0.3 0.3": f"line 2 (road): 'x' is no number{MEND}",
    "1 4 8 20 8 20 16": f"line 2 (road): 4 is no share of the image, from 0 to 1: are these pixels?{MEND}",
    "1 -0.2 0.1 0.2 0.2 0.3 0.3": (
        f"line 2 (road): -0.2 is no share of the image, from 0 to 1: are these pixels?{MEND}"
    ),
    "2 0.1 0.1 0.2 0.2 0.3 0.3": (
        "line 2: there is no class 2\n   -> 2 have a name: add what is missing, or mend the line"
    ),
    "0.5 0.1 0.1 0.2 0.2 0.3 0.3": (
        "line 2: there is no class 0.5\n   -> 2 have a name: add what is missing, or mend the line"
    ),
}


@pytest.mark.parametrize("row", BAD)
def test_rows_that_cannot_be_drawn_are_named_and_can_be_skipped(root, row):
    (root / "labels/train/a.txt").write_text(f"0 0.1 0.1 0.2 0.1 0.2 0.2\n{row}\n")
    dataset = build("yolo", root)
    with pytest.raises(DataError) as raised:
        dataset[0]
    assert str(raised.value) == f"cannot draw labels/train/a.txt, {BAD[row]}"
    assert ValView(dataset, skip_bad=True).load(0).sample is None


def test_a_hundredth_outside_of_the_image_is_cut_off(root):
    (root / "labels/train/a.txt").write_text("0 -0.01 0 0.5 0 0.5 1.01 -0.01 1.01\n")
    assert counts(read_ids(build("yolo", root))) == [1024, 0, 1024]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: images/train\n", "expected names, a list of the classes or a map from their numbers"),
        ("names: {1: car, 2: road}\n", r"names should count from 0 without a gap, found \[1, 2\]"),
        ("nc: 3\nnames: [car, road]\n", "nc is 3, and names has 2"),
        ("train: 3\nnames: [car, road]\n", "train should be a folder, a text file or a list of them"),
        ("- car\n", "expected keys such as train, val and names"),
        ("names: [car\n", "data.yaml"),
    ],
)
def test_data_files_that_cannot_be_used(root, text, message):
    (root / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        build("yolo", root)


def test_no_data_file_or_several(root):
    (root / "data.yaml").rename(root / "b.yaml")
    (root / "a.yaml").write_text(USUAL)
    with pytest.raises(
        DataError, match=r"has a.yaml, b.yaml -> data.data_file names the file with train, val and"
    ):
        build("yolo", root)
    assert build("yolo", root, data_file="b.yaml").names == ["train/a", "train/b"]
    for name in ("a.yaml", "b.yaml"):
        (root / name).unlink()
    with pytest.raises(DataError, match=r"has no data.yaml -> data.data_file names the file"):
        build("yolo", root)
    with pytest.raises(DataError, match=r"no file .*/c.yaml -> data.data_file"):
        build("yolo", root, data_file="c.yaml")


def test_polygons_that_may_all_be_boxes_are_noted(root):
    """YOLO's oriented boxes are a class and four corners, as polygons of four corners are."""
    boxes = [(CAR, [[2, 2], [9, 3], [8, 12], [1, 11]])] * 20
    save_yolo(root / "labels/train/a.txt", boxes)
    assert build("yolo", root).notes[0] == (
        "all 20 polygons of the text files looked at have four corners: if they are boxes around objects, as of "
        "oriented detection, they say nothing of the pixels in them"
    )
    save_yolo(root / "labels/train/a.txt", [*boxes, (CAR, [[2, 2], [9, 3], [8, 12]])])
    assert len(build("yolo", root).notes) == 1
    save_yolo(root / "labels/train/a.txt", boxes[:19])
    assert len(build("yolo", root).notes) == 1


def test_a_list_of_names_in_which_one_may_be_a_comment(root):
    """A name that is left out would give the numbers after it to other classes."""
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("car\n\n#2 road\nsky\n")
    with pytest.raises(DataError) as raised:
        build("yolo", root)
    assert str(raised.value) == (
        f"cannot use {root}/classes.txt:3: #2 road may be a comment or the name of a class\n"
        "   -> remove it, or a YAML file with train, val and names says what the classes are"
    )
    (root / "classes.txt").write_text("car\n2# road\n")
    assert build("yolo", root).class_names == ("car", "2# road", "background")


def test_a_listed_image_that_is_missing_is_a_bad_sample(root):
    (root / "train.txt").write_text("./images/train/a.png\n./images/train/z.png\n")
    (root / "data.yaml").write_text(USUAL.replace("images/train", "train.txt"))
    dataset = build("yolo", root)
    with pytest.raises(DataError, match=r"cannot read .*images/train/z.png: no such file"):
        dataset[1]
    assert [ValView(dataset, skip_bad=True).load(n).sample is None for n in range(2)] == [False, True]
