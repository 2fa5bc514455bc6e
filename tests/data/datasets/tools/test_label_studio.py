"""`label_studio`: the JSON export, drawn."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.data.loading.view import ValView
from segkit.errors import ConfigError, DataError
from tests.data.annotations.tools.brush_writer import brush_picture, pack_brush
from tests.data.datasets.tools.tool_folders import SIZE, build, read_ids, save_image

HEIGHT, WIDTH = SIZE


def result(kind: str, value: Mapping[str, Any], label: str = "car", **more: Any) -> dict[str, Any]:
    """One region; lengths in `value` are percents."""
    return {
        "id": "Ab3",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {**value, kind: [label]},
        **more,
    }


def brush(inside: np.ndarray, label: str = "car", *, alpha: int = 255) -> dict[str, Any]:
    packed = pack_brush(brush_picture(inside, alpha=alpha))
    return result("brushlabels", {"format": "rle", "rle": list(packed)}, label)


def annotation(results: Sequence[Any], *, by: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": 10,
        "completed_by": by,
        "was_cancelled": False,
        "ground_truth": False,
        "result": list(results),
        **more,
    }


def write(root: Path, tasks: Mapping[str, Sequence[dict]], *, name: str = "project-1.json") -> None:
    """An export with a task for each address of an image, with these annotations."""
    listed = [
        {"id": number, "annotations": list(annotations), "data": {"image": address}}
        for number, (address, annotations) in enumerate(tasks.items(), start=1)
    ]
    (root / name).write_text(json.dumps(listed))


POLYGON = result("polygonlabels", {"points": [[25, 25], [50, 25], [50, 75], [25, 75]], "closed": True})
USUAL: dict[str, Any] = {"annotations": "{split}project-1.json", "train_split": "", "val_split": ""}


@pytest.fixture
def draw(tmp_path):
    """`draw(results, **options)`: the ids of an image with these regions."""

    def make(results, **options):
        save_image(tmp_path / "a.png")
        write(tmp_path, {"/data/upload/1/a.png": [annotation(results)]})
        return read_ids(
            build("label_studio", tmp_path, **{"classes": ["background", "car", "road"], **USUAL, **options})
        )

    return make


def where(ids: np.ndarray, value: int) -> tuple[int, int, int, int, int]:
    rows, columns = np.nonzero(ids == value)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max()), len(rows)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (POLYGON, (8, 23, 16, 31, 256)),
        (
            result("rectanglelabels", {"x": 25, "y": 25, "width": 25, "height": 50, "rotation": 0}),
            (8, 23, 16, 31, 256),
        ),
        # Turned about its first corner, and not about its middle.
        (
            result("rectanglelabels", {"x": 50, "y": 25, "width": 25, "height": 25, "rotation": 90}),
            (8, 23, 24, 31, 128),
        ),
        (
            result("ellipselabels", {"x": 50, "y": 50, "radiusX": 6.25, "radiusY": 12.5, "rotation": 0}),
            (12, 19, 28, 35, 52),
        ),
        (result("keypointlabels", {"x": 50, "y": 50, "width": 0.5}), (14, 17, 30, 33, 12)),
        (result("labels", {"points": [[25, 25], [50, 25], [50, 75]]}), (8, 22, 17, 31, 120)),
    ],
)
def test_every_kind_of_region(draw, drawn, expected):
    assert where(draw([drawn], line_width=4), 1) == expected


def test_the_brush_pixel_by_pixel(draw):
    inside = np.random.default_rng(0).random(SIZE) > 0.7
    ids = draw([brush(inside)])
    assert np.array_equal(ids == 1, inside)
    assert (
        np.array_equal(draw([brush(inside, alpha=128)]) == 1, inside)
        and not draw([brush(inside, alpha=127)]).any()
    )


def bitmask(inside: np.ndarray, label: str = "car", *, mode: str = "RGBA") -> dict[str, Any]:
    """Black on transparent, as the tool says of it."""
    picture = np.zeros((*inside.shape, 4), np.uint8)
    picture[inside, 3] = 255
    stream = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(stream, format="png")
    text = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    return result("bitmasklabels", {"imageDataURL": text}, label)


def test_a_bit_mask_pixel_by_pixel(draw):
    inside = np.random.default_rng(0).random(SIZE) > 0.7
    assert np.array_equal(draw([bitmask(inside)]) == 1, inside)


def test_regions_without_a_label_are_noted(tmp_path):
    """With a tag for areas and one for labels, an area is a result and its label another one of the same id."""
    save_image(tmp_path / "a.png")
    area = {**POLYGON, "type": "polygon", "value": {"points": POLYGON["value"]["points"]}}
    label = {**area, "type": "labels", "value": {**area["value"], "labels": ["car"]}}
    write(tmp_path, {"a.png": [annotation([area, label])]})
    dataset = build("label_studio", tmp_path, **USUAL)
    assert dataset.notes == [] and where(read_ids(dataset), 1)[-1] == 256
    write(tmp_path, {"a.png": [annotation([area, label, {**area, "id": "Cd4"}])]})
    dataset = build("label_studio", tmp_path, **USUAL)
    assert dataset.notes == ["1 region has no label and is left out: task 1, result[2] (polygon)"]
    assert where(read_ids(dataset), 1)[-1] == 256


def test_regions_on_several_images_of_a_task(tmp_path):
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png", size=(16, 16), seed=1)
    other = result(
        "polygonlabels",
        {"points": [[0, 0], [50, 0], [50, 50], [0, 50]]},
        "road",
        to_name="second",
        original_width=16,
        original_height=16,
    )
    task = {
        "id": 7,
        "data": {"image": "a.png", "after": "b.png"},
        "annotations": [annotation([other, POLYGON])],
    }
    (tmp_path / "project-1.json").write_text(json.dumps([task]))
    with pytest.raises(DataError) as raised:
        build("label_studio", tmp_path, **USUAL)
    assert str(raised.value) == (
        f"regions on several images: {tmp_path}/project-1.json, task 7, on second, image\n"
        "   -> data.to_name is the one of them that data.image_key is, in the labelling configuration"
    )
    first = build("label_studio", tmp_path, to_name="image", **USUAL)
    assert first.class_names == ("background", "car") and where(read_ids(first), 1)[-1] == 256
    second = build("label_studio", tmp_path, image_key="after", to_name="second", **USUAL)
    assert second.class_names == ("background", "road") and where(read_ids(second), 1)[-1] == 64
    with pytest.raises(
        ConfigError, match=r"data.to_name=img: no region of .* is on it; they are on image, second"
    ):
        build("label_studio", tmp_path, to_name="img", **USUAL)


def test_later_regions_are_above_and_what_is_no_region_is_left_out(draw):
    inside = np.zeros(SIZE, bool)
    inside[10:12, 20:24] = True
    choice = {"type": "choices", "value": {"choices": ["night"]}, "from_name": "time", "to_name": "image"}
    assert np.bincount(draw([choice, POLYGON, brush(inside, "road")]).ravel()).tolist() == [1792, 248, 8]
    assert np.bincount(draw([brush(inside, "road"), POLYGON]).ravel()).tolist() == [1792, 256]
    assert np.bincount(draw([brush(inside, "road"), POLYGON], overlap="area").ravel()).tolist() == [
        1792,
        248,
        8,
    ]


def test_classes_are_found_and_tasks_without_annotations_noted(tmp_path):
    for name in ("a", "b"):
        save_image(tmp_path / f"{name}.png")
    road = result("polygonlabels", POLYGON["value"] | {"polygonlabels": ["road"]})
    road["value"] = {**POLYGON["value"], "polygonlabels": ["road"]}
    cancelled = annotation([POLYGON], was_cancelled=True)
    write(
        tmp_path,
        {
            "a.png": [annotation([road]), cancelled],
            "b.png": [annotation([])],
            "c.png": [],
            "d.png": [cancelled],
        },
    )
    dataset = build("label_studio", tmp_path, **USUAL)
    assert dataset.class_names == ("background", "road") and dataset.names == ["a", "b"]
    assert dataset.notes == ["2 tasks have no annotation and are left out: task 3, c.png"]
    assert np.unique(read_ids(dataset)).tolist() == [0, 1] and not read_ids(dataset, 1).any()


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("/data/upload/3/0fb81a6e-street%201.png", "0fb81a6e-street 1.png"),
        ("/data/upload/3/0fb81a6e-street%201.png", "street 1.png"),
        ("/data/local-files/?d=town/street.png", "town/street.png"),
        ("s3://bucket/town/street.png", "street.png"),
        ("https://example.com/x/town/street.png?token=1", "town/street.png"),
    ],
)
def test_where_an_image_is(tmp_path, address, file):
    path = save_image(tmp_path / "pictures" / file)
    write(tmp_path, {address: [annotation([POLYGON])]})
    dataset = build("label_studio", tmp_path, images="pictures", **USUAL)
    assert dataset.image_paths == [path] and where(read_ids(dataset), 1)[-1] == 256


def test_several_annotations_of_one_image(tmp_path):
    save_image(tmp_path / "a.png")
    inside = np.zeros(SIZE, bool)
    inside[0, :9] = True
    both = [annotation([POLYGON], by={"id": 1, "email": "a@b.c"}), annotation([brush(inside)], by=2)]
    write(tmp_path, {"a.png": both})
    dataset = build("label_studio", tmp_path, **USUAL)
    with pytest.raises(DataError) as raised:
        dataset[0]
    assert str(raised.value) == (
        "2 annotations of one image: project-1.json, task 1, by 1, 2\n   -> data.completed_by names the person, or "
        "mark one as ground truth in Label Studio"
    )
    assert ValView(dataset, skip_bad=True).load(0).sample is None
    for person, pixels in ((1, 256), ("a@b.c", 256), (2, 9)):
        dataset = build("label_studio", tmp_path, completed_by=person, **USUAL)
        assert (read_ids(dataset) == 1).sum() == pixels
    write(tmp_path, {"a.png": [both[0], {**both[1], "ground_truth": True}]})
    assert (read_ids(build("label_studio", tmp_path, **USUAL)) == 1).sum() == 9


MEND = "\n   -> mend it in the tool that drew it and save again, or leave such images out: data.on_bad_sample=skip"
BAD = {
    "two points": (
        result("polygonlabels", {"points": [[1, 1], [2, 2]]}),
        "(polygonlabels, car): 2 points, where a polygon has 3 or more",
    ),
    "NaN": (
        result("rectanglelabels", {"x": float("nan"), "y": 1, "width": 3, "height": 3}),
        "(rectanglelabels, car): x is nan",
    ),
    "no place": (result("keypointlabels", {"x": 3}), "(keypointlabels, car): it has no y"),
    "no label": (
        {**POLYGON, "value": {"points": [[1, 1], [2, 2], [3, 3]]}},
        "(polygonlabels): it has no label",
    ),
    "two labels": (
        {**POLYGON, "value": {**POLYGON["value"], "polygonlabels": ["car", "road"]}},
        "(polygonlabels): it has 2 labels, and a pixel has one class",
    ),
    "turned": (
        {**POLYGON, "image_rotation": 90},
        "(polygonlabels): the image was turned by 90 degrees in the tool",
    ),
    "a brush of another image": (
        brush(np.zeros((4, 4), bool)),
        "(brushlabels, car): its rle cannot be unpacked: 64 values, expected 8192",
    ),
    "a picture of another size": (
        bitmask(np.zeros((4, 5), bool)),
        "(bitmasklabels, car): its picture is 5x4, the image 64x32",
    ),
    "a picture without transparency": (
        bitmask(np.zeros(SIZE, bool), mode="L"),
        "(bitmasklabels, car): its picture has no transparency, which says what is not drawn",
    ),
    "no picture": (
        result("bitmasklabels", {"imageDataURL": "data:image/png;base64,AAAA"}),
        "(bitmasklabels, car): its imageDataURL is no PNG file in base64: ",
    ),
    "vectors": (
        result("vectorlabels", {"vertices": [{"x": 1, "y": 1}], "closed": True}),
        "(vectorlabels): such regions are not read; there are polygonlabels, brushlabels, bitmasklabels, "
        "rectanglelabels, ellipselabels, keypointlabels, labels",
    ),
    "no bytes": (
        result("brushlabels", {"rle": [1, 2, 300]}),
        "(brushlabels, car): its rle is no list of bytes",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drawn_is_named_and_can_be_skipped(tmp_path, case):
    drawn, message = BAD[case]
    save_image(tmp_path / "a.png")
    write(tmp_path, {"a.png": [annotation([POLYGON, drawn])]})
    dataset = build("label_studio", tmp_path, classes=["background", "car"], **USUAL)
    with pytest.raises(DataError) as raised:
        dataset[0]
    text = str(raised.value)
    assert text.startswith(f"cannot draw project-1.json, task 1, result[1] {message}") and text.endswith(MEND)
    assert message.endswith(": ") or len(text) == len(
        f"cannot draw project-1.json, task 1, result[1] {message}{MEND}"
    )
    assert ValView(dataset, skip_bad=True).load(0).sample is None


def test_an_image_of_another_size(tmp_path):
    save_image(tmp_path / "a.png", size=(16, 16))
    write(tmp_path, {"a.png": [annotation([POLYGON])]})
    with pytest.raises(
        DataError, match=r"image of another size than its labels: a.png is 16x16, project-1.json says 64x32"
    ):
        build("label_studio", tmp_path, **USUAL).read(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "no JSON"),
        (
            '[{"image": "a.png", "label": []}]',
            "no export of Label Studio as `JSON`, a list of tasks with `annotations`",
        ),
        (
            '[{"id": 4, "data": {"img": "a.png"}, "annotations": []}]',
            "task 4 has no 'image', it has img -> data.image_key",
        ),
        (
            '[{"id": 4, "data": {"image": "data:image/png;base64,AA"}, "annotations": []}]',
            "task 4 has 'data:image/png;base64",
        ),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    (tmp_path / "project-1.json").write_text(content)
    with pytest.raises(DataError, match=rf"cannot read .*/project-1.json: {message}"):
        build("label_studio", tmp_path, **USUAL)


def test_which_images_validate_has_to_be_said(tmp_path):
    write(tmp_path, {"a.png": []})
    with pytest.raises(ValueError, match="Label Studio's export does not say which images validate"):
        build("label_studio", tmp_path)
    with pytest.raises(DataError, match=r"no annotated image in .*/project-1.json"):
        build("label_studio", tmp_path, **USUAL)
    write(tmp_path, {"a.png": []}, name="other.json")
    with pytest.raises(
        DataError, match=r"has other.json, project-1.json -> data.annotations names the export"
    ):
        build("label_studio", tmp_path, val_fraction=0.2)
