"""scripts/check_data.py ROOT on masks that number objects: asked about, never proposed as hundreds of classes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.commands.check_folder import check_folder
from segkit.config.load import load_config
from segkit.data.check.propose import Answers, propose
from segkit.data.check.raw_values import RawValues
from segkit.training.build import build_data

ROOT, OUTPUT = Path("data/mine"), Path("report")
SIZE = (32, 48)
PARTS = ("train", "train", "train", "train", "val", "val")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)


def blocks(values) -> np.ndarray:
    """A mask (H, W) of 0 with a block of 4 x 4 pixels for each of the values."""
    mask = np.zeros(SIZE, dtype=np.int64)
    for n, value in enumerate(values):
        row, column = divmod(n, 8)
        mask[1 + 6 * row : 5 + 6 * row, 1 + 6 * column : 5 + 6 * column] = value
    return mask


def save(name: str, pixels: np.ndarray) -> None:
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(ROOT / name)


def make(masks, *, colours: bool = False) -> None:
    random = np.random.default_rng(0)
    for n, (part, mask) in enumerate(zip(PARTS, masks, strict=True)):
        save(f"images/{part}/{n}.jpg", random.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        shifts = (mask, mask >> 8, mask >> 16)
        pixels = (
            np.stack([part & 0xFF for part in shifts], 2).astype(np.uint8)
            if colours
            else mask.astype(np.uint16)
        )
        save(f"masks/{part}/{n}.png", pixels)


def explore(*, classes=(), ignored=()) -> int:
    return check_folder(ROOT, classes=classes, ignored=ignored, workers=0, output=OUTPUT)


def flags() -> list[str]:
    return list(json.loads((OUTPUT / "check.json").read_text())["choices"])


def targets() -> list[np.ndarray]:
    data = build_data(load_config(str(OUTPUT / "data.yaml"), []))
    return [sample.target.numpy() for dataset in (data.train, data.val) for sample in dataset]


#: Objects in each mask, whether they are colours, and what is said of them.
COUNTED = [range(1, n + 1) for n in (12, 5, 9, 3, 10, 6)]
UNIQUE = [range(100 * n + 3, 100 * n + 9) for n in range(6)]
SEGMENTS = [[(n * 37 + m) * 5_557 % 0xFFFFFF for m in range(6)] for n in range(1, 7)]
OBJECTS = {
    "counted": (
        COUNTED,
        False,
        "13 values number objects, .* count from 1, up to 12, each as far as it has objects",
    ),
    "unique": (UNIQUE, False, "37 values number objects, .* 100% of the 36 values are in one mask only"),
    "colours": (SEGMENTS, True, "37 colours number objects, .* 100% of the 36 colours are in one mask only"),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_objects_are_asked_about(case, capsys):
    objects, colours, text = OBJECTS[case]
    masks = [blocks(values) for values in objects]
    make(masks, colours=colours)
    assert explore() == 3
    assert re.search(f"^question  do the {text}$", capsys.readouterr().out, re.MULTILINE)
    assert flags() == ["--classes background object", "--ignore none"]
    assert explore(classes=["background", "object"]) == 0
    for target, mask in zip(targets(), masks, strict=True):
        np.testing.assert_array_equal(target, mask > 0)
    assert explore(classes=["paper", "ink"]) == 0
    assert build_data(load_config(str(OUTPUT / "data.yaml"), [])).train.class_names == ("paper", "ink")
    assert explore(ignored=["none"]) == 0
    assert len(np.unique(np.concatenate(targets()))) == len(np.unique(masks))


@pytest.mark.parametrize("name", ["classes.txt", "_classes.csv", "label_colors.txt", "three names"])
def test_a_list_of_fewer_classes_than_objects(name, capsys):
    make([blocks(values) for values in COUNTED])
    texts = {"classes.txt": "a\nb\nc\n", "_classes.csv": "Pixel Value, Class\n0, a\n1, b\n2, c\n"}
    texts["label_colors.txt"] = "background\nb\nc\n"
    if name in texts:
        (ROOT / name).write_text(texts[name])
    assert explore(classes=[] if name in texts else ["a", "b", "c"]) == 3
    output = capsys.readouterr().out
    assert (
        "note      the values seem to number objects, and are no classes: the masks count from 1, up to 12"
        in output
    )
    assert "-> --classes background object makes all objects one class\n" in output
    assert explore(classes=["background", "object"]) == 0


def test_a_border_beside_objects(capsys):
    masks = [blocks(values) for values in COUNTED]
    for mask in masks:
        mask[0] = 255
    make(masks)
    assert explore() == 3
    assert flags() == ["--classes background object", "--ignore none"]
    assert explore(classes=["background", "object"]) == 0
    expected = np.stack([np.where(mask == 255, 255, mask > 0) for mask in masks])
    np.testing.assert_array_equal(np.stack(targets()), expected)
    assert explore(ignored=["255"]) == 3
    assert flags() == ["--classes background object --ignore 255"]
    assert explore(classes=["background", "object"], ignored=["255"]) == 0
    np.testing.assert_array_equal(np.stack(targets()), expected)


@pytest.mark.parametrize("divisor", [1000, 256])
def test_class_and_number_in_one_value(divisor, capsys):
    classes = [[26] * n + [24] * 3 + [7] for n in (4, 6, 3, 5, 4, 7)]
    numbered = [[c * divisor + n for n, c in enumerate(row)] for row in classes]
    if divisor == 1000:
        numbered = [[*row[:-1], 7] for row in numbered]  # the road is not counted
    make([blocks(row) for row in numbered])
    assert explore() == 3
    output = capsys.readouterr().out
    assert (
        f"number objects, rather than classes? the values fit class * {divisor} + number of the object\n"
        in output
    )
    assert f"classes   value // {divisor} is the class; lines that make masks of it:\n" in output
    assert flags() == ["--ignore none"]
    (code,) = re.findall(r"^python - <<'END'\n(.*)\nEND$", output, re.MULTILINE | re.DOTALL)
    exec(compile(code, "script", "exec"), {})
    assert explore() == 0
    assert "class_" in capsys.readouterr().out
    places = {0: 0, 7: 1, 24: 2, 26: 3}
    for target, row in zip(targets(), classes, strict=True):
        np.testing.assert_array_equal(target, blocks([places[c] for c in row]))


def test_panoptic_colours_with_their_json(capsys):
    make([blocks(values) for values in SEGMENTS], colours=True)
    entries = [
        {"file_name": f"{n}.png", "segments_info": [{"id": v, "category_id": 1 + v % 2} for v in values]}
        for n, values in enumerate(SEGMENTS)
    ]
    names = [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}]
    text = json.dumps({"images": [], "annotations": entries, "categories": names})
    (ROOT / "panoptic.json").write_text(text)
    assert explore() == 3
    assert "classes   the panoptic JSON says the class of each colour; lines that make masks of it:\n" in (
        capsys.readouterr().out
    )


def test_panoptic_colours_whose_json_lists_the_images_are_read_by_it():
    make([blocks(values) for values in SEGMENTS], colours=True)
    for part in ("train", "val"):
        numbers = [n for n, other in enumerate(PARTS) if other == part]
        entries = [
            {
                "image_id": n,
                "file_name": f"{n}.png",
                "segments_info": [{"id": v, "category_id": 1 + v % 2} for v in SEGMENTS[n]],
            }
            for n in numbers
        ]
        content = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in numbers],
            "annotations": entries,
            "categories": [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}],
        }
        (ROOT / f"{part}.json").write_text(json.dumps(content))
    assert explore() == 0
    proposal = json.loads((OUTPUT / "check.json").read_text())["data"]
    assert proposal == {
        "name": "coco_panoptic",
        "root": str(ROOT),
        "train_annotations": "train.json",
        "val_annotations": "val.json",
        "masks": "masks/{split}",
    }
    for target, values in zip(targets(), SEGMENTS, strict=True):
        classes = {0: 255} | {value: value % 2 for value in values}
        np.testing.assert_array_equal(target, np.vectorize(classes.get)(blocks(values)))


def test_more_colours_than_classes_can_be_are_a_problem_or_objects():
    many = [[(n * 97 + m) * 5_557 % 0xFFFFFF for m in range(40)] for n in range(1, 7)]
    make([blocks(values) for values in many], colours=True)
    assert explore() == 3
    assert flags()[0] == "--classes background object"


def counts_of(masks) -> RawValues:
    raw = RawValues()
    for mask in masks:
        values, pixels = np.unique(mask, return_counts=True)
        raw.count += 1
        raw.pixels.update(dict(zip(values.tolist(), pixels.tolist(), strict=True)))
        raw.masks.update(values.tolist())
    return raw


RANDOM = np.random.default_rng(0)
#: Masks of classes that a careless rule would take for objects.
CLASSES = {
    "every class in every mask": [range(1, 20)] * 6,
    "classes in any order": [RANDOM.choice(np.arange(1, 15), 7, replace=False).tolist() for _ in range(30)],
    "150 classes": [RANDOM.choice(np.arange(1, 151), 40, replace=False).tolist() for _ in range(60)],
    "two masks": [[1, 2, 3, 4, 5, 6, 7, 8], [1]],
    "few classes": [[1, 2, 3], [1, 2], [1], [1]],
    "16 bits": [[300, 1000]] * 4,
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_are_not_taken_for_objects(case):
    raw = counts_of([np.array([0, *values]) for values in CLASSES[case]])
    proposal = propose(raw, Answers())
    assert (proposal.question, proposal.divisor) == (None, None)
    assert proposal.options is not None
    count = len({value for values in CLASSES[case] for value in values})
    assert len(proposal.options["classes"]) == count + 1
