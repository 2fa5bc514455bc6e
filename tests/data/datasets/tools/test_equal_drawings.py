"""The same drawing, in the files of several tools: the same class ids to the bit, and the same weights after training.

Corners lie on whole pixels of images whose sides are powers of two, of which shares and percents are exact. What
happens to others is at the end.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.data.annotations.polygons import polygon_mask
from tests.data.datasets.tools import test_cvat as cvat
from tests.data.datasets.tools import test_label_studio as label_studio
from tests.data.datasets.tools.tool_folders import (
    SIZE,
    build,
    read_ids,
    save_image,
    save_labelme,
    save_yolo,
    shape,
)
from tests.scripts import run_script

NAMES = ["car", "road"]
CLASSES = ["background", *NAMES]
PARTS = {"train": ("a", "b", "c"), "val": ("d",)}
OPTIONS = {
    "labelme": {},
    "yolo": {},
    "cvat": {"annotations": "{split}.xml", "images": "images"},
    "label_studio": {"annotations": "{split}.json", "images": "images"},
    "coco": {"train_annotations": "train.json", "val_annotations": "val.json"},
}


def drawing(name: str) -> list[tuple[str, list[list[int]]]]:
    """Labels and corners of what is drawn on an image, some of it over the rest and over the border."""
    random = np.random.default_rng(ord(name))
    found = []
    for place in range(6):
        middle, radii = random.uniform(8, (56, 24)), random.uniform(3, 12, 7)
        turns = np.sort(random.uniform(0, 2 * np.pi, 7))
        corners = middle + np.stack([radii * np.cos(turns), radii * np.sin(turns)], axis=1)
        found.append((NAMES[place % 2], np.rint(corners.clip(0, (SIZE[1], SIZE[0]))).astype(int).tolist()))
    return found


def write_all(root: Path) -> None:
    """All images, with the files of each tool in a folder of its own."""
    for part, names in PARTS.items():
        drawn = {name: drawing(name) for name in names}
        texts, tasks = {}, {}
        coco = {
            "images": [],
            "annotations": [],
            "categories": [{"id": n + 1, "name": name} for n, name in enumerate(NAMES)],
        }
        for name, shapes in drawn.items():
            for tool in OPTIONS:
                place = (
                    f"{part}/" if tool == "labelme" else f"images/{part}/" if tool == "yolo" else "images/"
                )
                save_image(root / tool / place / f"{name}.png", seed=ord(name))
            save_labelme(root / f"labelme/{part}/{name}.json", [shape(*item) for item in shapes])
            save_yolo(
                root / f"yolo/labels/{part}/{name}.txt",
                [(NAMES.index(label), points) for label, points in shapes],
            )
            texts[f"{name}.png"] = "\n".join(
                cvat.element("polygon", label, points=";".join(f"{x:.2f},{y:.2f}" for x, y in points))
                for label, points in shapes
            )
            percents = [
                label_studio.result(
                    "polygonlabels",
                    {"points": [[x * 100 / SIZE[1], y * 100 / SIZE[0]] for x, y in points]},
                    label,
                )
                for label, points in shapes
            ]
            tasks[f"{name}.png"] = [label_studio.annotation(percents)]
            number = ord(name)
            coco["images"].append(
                {"id": number, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
            )
            coco["annotations"] += [
                {
                    "id": 100 * number + n,
                    "image_id": number,
                    "category_id": NAMES.index(label) + 1,
                    "segmentation": [[value for point in points for value in point]],
                    "iscrowd": 0,
                }
                for n, (label, points) in enumerate(shapes)
            ]
        cvat.write(root / f"cvat/{part}.xml", texts)
        label_studio.write(root / "label_studio", tasks, name=f"{part}.json")
        (root / f"coco/{part}.json").write_text(json.dumps(coco))
    (root / "yolo/data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {NAMES}\n")


@pytest.fixture(scope="module")
def root(built_once) -> Path:
    return built_once("equal-drawings", write_all)


@pytest.mark.parametrize("overlap", ["order", "area"])
def test_the_same_ids_from_every_tool(root, overlap):
    for split, names in PARTS.items():
        for index, name in enumerate(names):
            expected = np.zeros(SIZE, np.uint8)
            covered = [
                (polygon_mask(np.array(points, float), SIZE), label) for label, points in drawing(name)
            ]
            if overlap == "area":
                covered.sort(key=lambda item: -item[0].sum())
            for inside, label in covered:
                expected[inside] = CLASSES.index(label)
            assert set(np.unique(expected)) == {0, 1, 2}
            for tool in OPTIONS:
                dataset = build(tool, root / tool, split, overlap=overlap, classes=CLASSES, **OPTIONS[tool])
                assert dataset.class_names == tuple(CLASSES)
                assert np.array_equal(read_ids(dataset, index), expected), tool


def test_the_same_weights_after_training(root, tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    weights = {}
    for tool in OPTIONS:
        data = {
            "name": tool,
            "root": str(root / tool),
            "classes": CLASSES,
            "overlap": "area",
            **OPTIONS[tool],
        }
        tiny = (
            "model.width=4",
            "model.depth=2",
            "augment.crop_size=32",
            "train.iterations=3",
            "train.batch_size=2",
        )
        quiet = ("train.workers=0", "device=cpu", f"log.dir=runs-{tool}")
        assert run_script("train", "--config", "ohem.yaml", f"data={json.dumps(data)}", *tiny, *quiet) == 0
        (best,) = Path(f"runs-{tool}").glob("*/*/checkpoints/*3.pt")
        weights[tool] = torch.load(best, weights_only=True)["trainer"]["model"]
    first = weights["coco"]
    for tool, found in weights.items():
        assert found.keys() == first.keys()
        assert all(torch.equal(found[key], first[key]) for key in first), tool


def differences(root: Path, size: tuple[int, int], points: np.ndarray, digits: int | None) -> int:
    """Pixels of a polygon that its shares of an image of `size` (H, W), written with so many digits, draw otherwise."""
    save_image(root / "images/a.png", size=size)
    (root / "classes.txt").write_text("car\n")
    (root / "labels").mkdir(exist_ok=True)
    shares = (points / size[::-1]).reshape(-1).tolist()
    text = " ".join(repr(share) if digits is None else f"{share:.{digits}f}" for share in shares)
    (root / "labels/a.txt").write_text(f"0 {text}\n")
    return int(((read_ids(build("yolo", root)) == 1) != polygon_mask(points, size)).sum())


@pytest.mark.parametrize(("digits", "survive"), [(None, True), (6, True), (3, True), (2, False)])
def test_whole_pixels_survive_as_shares_of_any_size_unless_these_are_cut_short(tmp_path, digits, survive):
    """COCO's rule rounds corners to a fifth of a pixel; a whole pixel is a tenth away from where it rounds over."""
    random = np.random.default_rng(0)
    drawn = [random.integers(0, (132, 98), (5, 2)).astype(float) for _ in range(20)]
    wrong = sum(differences(tmp_path, (97, 131), points, digits) for points in drawn)
    assert (wrong == 0) == survive


def test_edges_through_the_centres_of_pixels_do_not_survive_six_digits(tmp_path):
    points = np.array([[10.5, 10.5], [30.5, 10.5], [30.5, 20.5], [10.5, 20.5]])
    assert differences(tmp_path, (480, 640), points, None) == 0
    assert differences(tmp_path, (480, 640), points, 6) > 0
