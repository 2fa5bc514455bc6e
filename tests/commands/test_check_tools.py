"""scripts/check_data.py ROOT for what annotation tools save: the block that is proposed reads it and trains."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from tests.commands import test_check_folder as folders
from tests.commands.test_check_folder import MINE, build, explore, printed_blocks, proposal
from tests.data.datasets.tools import test_cvat as cvat
from tests.data.datasets.tools import test_label_studio as label_studio
from tests.data.datasets.tools.tool_folders import box, save_image, save_labelme, save_yolo, shape
from tests.scripts import run_script

here = folders.here

SHAPES = [shape("road", box(0, 0, 32, 32)), shape("car", box(4, 8, 20, 16))]
ROWS = [(0, box(4, 8, 20, 16)), (1, box(0, 0, 32, 32))]
CLASSES = ["background", "car", "road"]


def labelme(place: str, *, shapes=SHAPES, image: str = "", **more) -> None:
    """A file of labelme and its image, which is beside it or where `image` says."""
    path = MINE / place
    save_image(path.parent / image if image else path.with_suffix(".png"), seed=len(place))
    save_labelme(path, shapes, **({"image": image} if image else {}), **more)


def yolo(image: str, text: str) -> None:
    save_image(MINE / image, seed=len(image))
    save_yolo(MINE / text, ROWS)


def check(capsys) -> dict:
    """The block, which is printed and written, and with which every sample can be read."""
    assert explore() == 0
    (block,) = printed_blocks(capsys.readouterr().out)
    found = proposal()
    train, ids = build(block)
    assert list(train.class_names) == found["classes"] and all(len(values) > 1 for values in ids)
    return found


def test_labelme_with_a_folder_for_each_part(capsys):
    labelme("train/a.json")
    labelme("val/b.json", shapes=[*SHAPES, shape("__ignore__", box(0, 0, 2, 2))])
    assert check(capsys) == {"name": "labelme", "root": str(MINE), "classes": CLASSES}


def test_labelme_in_one_folder_with_lines(capsys):
    for name in "abcd":
        labelme(f"{name}.json", shapes=[*SHAPES, shape("car", [[0, 0], [9, 9]], "line")])
    found = check(capsys)
    assert found == {
        "name": "labelme",
        "root": str(MINE),
        "val_fraction": 0.2,
        "line_width": 10,
        "classes": CLASSES,
    }


def test_labelme_whose_images_are_elsewhere_under_other_words(capsys):
    for part in ("training", "valid"):
        labelme(f"labels/{part}/x.json", image=f"../../pictures/{part}/x.png")
    assert check(capsys) == {
        "name": "labelme",
        "root": str(MINE),
        "labels": "labels/{split}",
        "train_split": "training",
        "val_split": "valid",
        "classes": CLASSES,
    }


def test_labelme_with_the_images_inside(capsys):
    for name in "ab":
        labelme(f"{name}.json")
        image = MINE / f"{name}.png"
        data = base64.b64encode(image.read_bytes()).decode()
        save_labelme(MINE / f"{name}.json", SHAPES, imageData=data)
        image.unlink()
    assert check(capsys)["name"] == "labelme"


def test_yolo_with_its_data_file(capsys):
    for part in ("train", "val"):
        yolo(f"images/{part}/a.png", f"labels/{part}/a.txt")
    (MINE / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames: {0: car, 1: road}\n"
    )
    assert check(capsys) == {"name": "yolo", "root": str(MINE), "classes": ["car", "road", "background"]}


def test_yolo_as_roboflow_exports_it(capsys):
    for part in ("train", "test"):
        yolo(f"{part}/images/a.png", f"{part}/labels/a.txt")
    (MINE / "mine.yaml").write_text(
        "train: ../train/images\ntest: ../test/images\nnc: 2\nnames: ['car', 'road']\n"
    )
    assert check(capsys) == {
        "name": "yolo",
        "root": str(MINE),
        "data_file": "mine.yaml",
        "val_split": "test",
        "classes": ["car", "road", "background"],
    }


def test_yolo_with_names_alone(capsys):
    for name in "abcd":
        yolo(f"images/{name}.png", f"labels/{name}.txt")
    (MINE / "classes.txt").write_text("car\nroad\n")
    assert check(capsys) == {
        "name": "yolo",
        "root": str(MINE),
        "val_fraction": 0.2,
        "classes": ["car", "road", "background"],
    }


DRAWN = cvat.BOX + cvat.element("polyline", "road", points="0,0;32,32")


def test_cvat_without_parts(capsys):
    names = {f"{name}.png": DRAWN for name in "abcd"}
    for name in names:
        save_image(MINE / "images" / name, seed=ord(name[0]))
    cvat.write(MINE / "annotations.xml", names)
    assert check(capsys) == {
        "name": "cvat",
        "root": str(MINE),
        "val_fraction": 0.2,
        "line_width": 0,
        "classes": ["background", "road", "car"],
    }


@pytest.mark.parametrize(
    ("files", "pattern"),
    [
        (("train/annotations.xml", "val/annotations.xml"), "{split}/annotations.xml"),
        (("train.xml", "val.xml"), "{split}.xml"),
        (("notes/train_set.xml", "notes/val_set.xml"), None),
    ],
)
def test_cvat_with_a_file_for_each_part(capsys, files, pattern):
    for file in files:
        save_image((MINE / file).parent / f"{Path(file).stem}.png", seed=len(file))
        cvat.write(MINE / file, {f"{Path(file).stem}.png": cvat.BOX})
    if pattern is None:  # no word by itself
        with pytest.raises(folders.DataError, match="no images with masks found"):
            explore()
        return
    found = check(capsys)
    assert found == {
        "name": "cvat",
        "root": str(MINE),
        "annotations": pattern,
        "classes": ["background", "road", "car"],
    }


def test_cvat_with_subsets(capsys):
    texts = []
    for subset in ("Train", "Validation"):
        save_image(MINE / f"images/{subset}/{subset}.png", seed=len(subset))
        texts.append(
            cvat.write(MINE / "annotations.xml", {f"{subset}.png": cvat.BOX}, subset=subset).read_text()
        )
    image = texts[0][texts[0].index("<image") : texts[0].index("</annotations>")]
    (MINE / "annotations.xml").write_text(texts[1].replace("</annotations>", f"{image}</annotations>"))
    assert check(capsys) == {
        "name": "cvat",
        "root": str(MINE),
        "train_split": "Train",
        "val_split": "Validation",
        "classes": ["background", "road", "car"],
    }


def test_label_studio(capsys):
    tasks = {}
    for name in "abcd":
        save_image(MINE / f"pictures/{name}.png", seed=ord(name))
        tasks[f"/data/upload/1/0fb81a6e-{name}.png"] = [label_studio.annotation([label_studio.POLYGON])]
    label_studio.write(MINE, tasks)
    assert check(capsys) == {
        "name": "label_studio",
        "root": str(MINE),
        "images": "pictures",
        "val_fraction": 0.2,
        "classes": ["background", "car"],
    }


def test_the_block_trains_and_the_run_can_be_used(capsys):
    for part in ("train", "val"):
        for name in "ab":
            yolo(f"images/{part}/{name}.png", f"labels/{part}/{name}.txt")
    (MINE / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [car, road]\n")
    check(capsys)
    options = (
        "model.width=8",
        "augment.crop_size=64",
        "train.iterations=10",
        "train.workers=0",
        "device=cpu",
    )
    cached = ("data.cache=ram", "data.classes=auto")
    assert run_script("train", "--config", "runs/check/mine/data.yaml", *options, *cached) == 0
    (run,) = Path("runs").glob("mine/*")
    assert json.loads((run / "summary.json").read_text())["iterations"] == 10
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["classes"] == [
        "car",
        "road",
        "background",
    ]
    assert run_script("evaluate", "--weights", run, "--device", "cpu") == 0
    source = ("--source", MINE / "images/val", "--output", "predicted", "--device", "cpu", "--save", "ids")
    assert run_script("predict", "--weights", run, *source) == 0
    assert len(list(Path("predicted").rglob("*.png"))) == 2
