"""`cvat`: what "CVAT for images 1.1" says, drawn."""

from pathlib import Path

import numpy as np
import pytest

from segkit.data.loading.view import ValView
from segkit.errors import DataError
from tests.data.datasets.tools.tool_folders import SIZE, build, read_ids, save_image

META = """\
<version>1.1</version>
<meta><task><id>7</id><name>streets</name><labels>
<label><name>road</name><color>#804080</color><type>any</type><attributes></attributes></label>
<label><name>car</name><color>#00008e</color><type>any</type>
<attributes><attribute><name>model</name><values>a b</values></attribute></attributes></label>
</labels></task><dumped>2024-05-01</dumped></meta>
"""
BOX = '<box label="car" source="manual" occluded="1" xtl="4.00" ytl="8.00" xbr="20.00" ybr="16.00" z_order="0"></box>'


def element(kind: str, label: str = "car", **attributes: object) -> str:
    text = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return f'<{kind} label="{label}" source="manual" occluded="0" {text}></{kind}>'


def write(path: Path, images: dict[str, str], *, subset: str = "", meta: str = META) -> Path:
    """A file with images of the usual size, by their names, and what is drawn on each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = f' subset="{subset}"' if subset else ""
    listed = [
        f'<image id="{n}" name="{name}"{part} width="{SIZE[1]}" height="{SIZE[0]}">\n{drawn}\n</image>\n'
        for n, (name, drawn) in enumerate(images.items())
    ]
    body = "".join(listed)
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n{meta}{body}</annotations>\n')
    return path


@pytest.fixture
def draw(tmp_path):
    """`draw(text, **options)`: the ids of an image on which that is drawn."""

    def make(text: str, **options):
        save_image(tmp_path / "images/a.png")
        save_image(tmp_path / "images/b.png", seed=1)
        write(tmp_path / "annotations.xml", {"a.png": text, "b.png": text})
        return read_ids(build("cvat", tmp_path, val_fraction=0.5, **options))

    return make


def where(ids: np.ndarray, value: int) -> tuple[int, int, int, int, int]:
    rows, columns = np.nonzero(ids == value)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max()), len(rows)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (BOX, (8, 15, 4, 19, 128)),
        (element("box", xtl=4, ytl=8, xbr=20, ybr=16, rotation="90.00"), (4, 19, 8, 15, 128)),
        (element("polygon", points="4.00,8.00;20.00,8.00;20.00,16.00;4.00,16.00"), (8, 15, 4, 19, 128)),
        (element("ellipse", cx=10.5, cy=12.5, rx=3, ry=3), (9, 15, 7, 13, 29)),
        (element("polyline", points="4,10;20,10"), (8, 11, 2, 21, 76)),
        (element("points", points="10,10;30,10"), (8, 11, 8, 31, 24)),
        (element("mask", rle="1, 4, 5, 1, 4", left=7, top=4, width=5, height=3), (4, 6, 7, 11, 5)),
    ],
)
def test_every_kind_of_shape(draw, drawn, expected):
    assert where(draw(drawn, line_width=4), 2) == expected


def test_classes_and_colours_are_those_of_the_task(tmp_path, draw):
    draw(BOX)
    dataset = build("cvat", tmp_path, val_fraction=0.5)
    assert dataset.class_names == ("background", "road", "car")
    assert dataset.palette == [(0, 0, 0), (128, 64, 128), (0, 0, 142)]
    assert build("cvat", tmp_path, val_fraction=0.5, classes=["car", "background", "road"]).palette == [
        (0, 0, 142),
        (0, 0, 0),
        (128, 64, 128),
    ]
    dataset = build(
        "cvat",
        tmp_path,
        val_fraction=0.5,
        label_map={"road": "ignore"},
        background="ignore",
        classes=["x", "car"],
    )
    assert (dataset.palette, np.unique(read_ids(dataset)).tolist()) == (None, [1, 255])


def test_the_higher_z_order_is_above_and_then_the_later_shape(draw):
    low = element("box", "road", xtl=0, ytl=0, xbr=32, ybr=32, z_order=1)
    assert where(draw(low + element("box", xtl=4, ytl=8, xbr=20, ybr=16, z_order=1)), 2)[-1] == 128
    assert (draw(low + BOX) == 2).sum() == 0
    assert (draw(low + BOX, overlap="area") == 2).sum() == 128


def test_tags_and_attributes_say_nothing_of_pixels(draw):
    inner = BOX.replace("></box>", '><attribute name="model">a</attribute></box>')
    assert where(draw('<tag label="night" source="manual"></tag>' + inner), 2)[-1] == 128
    assert not draw("").any()


def test_parts_are_subsets_of_a_project(tmp_path):
    save_image(tmp_path / "images/Train/a.png")
    save_image(tmp_path / "images/Validation/deep/b.png")
    train = write(tmp_path / "t.xml", {"a.png": BOX}, subset="Train").read_text()
    val = write(tmp_path / "v.xml", {"deep/b.png": ""}, subset="Validation").read_text()
    image = val[val.index("<image") : val.index("</annotations>")]
    (tmp_path / "annotations.xml").write_text(train.replace("</annotations>", f"{image}</annotations>"))
    options = {"train_split": "Train", "val_split": "Validation"}
    assert [build("cvat", tmp_path, split, **options).names for split in ("train", "val")] == [
        ["a"],
        ["deep/b"],
    ]
    with pytest.raises(DataError) as raised:
        build("cvat", tmp_path)
    assert str(raised.value) == (
        f"no image in {tmp_path}/annotations.xml is of the subset 'train': its subsets are Train, Validation\n"
        "   -> data.train_split and data.val_split name them, or data.val_fraction=0.2 divides all images"
    )


def test_an_image_lies_in_the_folder_of_its_subset(tmp_path):
    """Its name may be that of an image of another subset, seen from the folder above."""
    save_image(tmp_path / "images/train/a.png")
    path = save_image(tmp_path / "images/val/train/a.png", seed=1)
    write(tmp_path / "annotations.xml", {"a.png": BOX}, subset="train")
    text = (tmp_path / "annotations.xml").read_text()
    write(tmp_path / "annotations.xml", {"train/a.png": BOX}, subset="val")
    listed = text.partition("<image")[2].partition("</annotations>")[0]
    text = (
        (tmp_path / "annotations.xml").read_text().replace("</annotations>", f"<image{listed}</annotations>")
    )
    (tmp_path / "annotations.xml").write_text(text)
    assert build("cvat", tmp_path, "val").image_paths == [path]


def test_frames_of_a_video_are_named_without_suffix(tmp_path):
    paths = [save_image(tmp_path / f"images/frame_00000{n}.PNG", seed=n) for n in range(3)]
    write(tmp_path / "annotations.xml", {path.stem: BOX for path in paths})
    parts = [build("cvat", tmp_path, part, val_fraction=0.4) for part in ("train", "val")]
    found = [path for dataset in parts for path in dataset.image_paths]
    assert sorted(found) == paths and where(read_ids(parts[0]), 2) == (8, 15, 4, 19, 128)


def test_parts_are_files_of_their_own(tmp_path):
    for part in ("train", "val"):
        save_image(tmp_path / part / f"{part}.png")
        write(tmp_path / part / "labels.xml", {f"{part}.png": BOX})
    for part in ("train", "val"):
        dataset = build("cvat", tmp_path, part, annotations="{split}/labels.xml")
        assert dataset.names == [part] and dataset.class_names == ("background", "road", "car")


def test_several_files_of_one_part(tmp_path):
    """Images of two jobs that have one name are two images, each with what is drawn in its own file."""
    for n, text in enumerate((BOX, "")):
        save_image(tmp_path / f"job_{n}/images/a.png", seed=n)
        save_image(tmp_path / f"job_{n}/images/b.png", seed=2 + n)
        write(tmp_path / f"job_{n}/annotations.xml", {"a.png": text, "b.png": text})
    options = {"annotations": "job_*/annotations.xml", "val_fraction": 0.5}
    parts = [build("cvat", tmp_path, part, **options) for part in ("train", "val")]
    names = [name for part in parts for name in part.names]
    assert sorted(names) == ["job_0/a", "job_0/b", "job_1/a", "job_1/b"]
    for part in parts:
        for n, name in enumerate(part.names):
            assert part.image_paths[n] == tmp_path / f"{name.replace('/', '/images/')}.png"
            assert bool(part[n].target.any()) == name.startswith("job_0")


MEND = "\n   -> mend it in the tool that drew it and save again, or leave such images out: data.on_bad_sample=skip"
BAD = {
    "two points": (
        element("polygon", points="0,0;4,4"),
        "(polygon, car): 2 points, where a polygon has 3 or more",
    ),
    "no points": (element("polygon"), "(polygon, car): 0 points, where a polygon has 3 or more"),
    "a half point": (
        element("polygon", points="0,0;4;5,5"),
        "(polygon, car): its points are not written as x,y;x,y",
    ),
    "NaN": (element("polygon", points="0,0;nan,4;5,5"), "(polygon, car): a coordinate is nan"),
    "no number": (element("polygon", points="0,0;a,4;5,5"), "(polygon, car): 'a' is no number"),
    "an empty box": (
        element("box", xtl=4, ytl=8, xbr=4, ybr=16),
        "(box, car): a box from (4, 8) to (4, 16) covers nothing",
    ),
    "half a box": (element("box", xtl=4, ytl=8, xbr=20), "(box, car): it has no ybr"),
    "a cuboid": (
        element("cuboid"),
        "(cuboid): a cuboid is no area; there are polygon, box, ellipse, mask, polyline, points",
    ),
    "no label": ('<box xtl="1" ytl="1" xbr="2" ybr="2"/>', "(box): it has no label"),
    "runs": (
        element("mask", rle="1, 4", left=7, top=4, width=5, height=3),
        "(mask, car): its runs are 5 pixels long, its box has 5x3",
    ),
    "a huge mask": (
        element("mask", rle=10**12, left=0, top=0, width=10**6, height=10**6),
        "(mask, car): its runs are 1000000000000 pixels long, its box has 1000000x1000000",
    ),
    "no runs": (
        element("mask", rle="1, x", left=7, top=4, width=5, height=3),
        "(mask, car): its rle is no list of run lengths",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drawn_is_named_and_can_be_skipped(tmp_path, case):
    drawn, message = BAD[case]
    for name in ("a", "b"):
        save_image(tmp_path / f"images/{name}.png")
    write(tmp_path / "annotations.xml", {"a.png": f"{BOX}\n{drawn}", "b.png": BOX})
    dataset = build("cvat", tmp_path, annotations="annotations.xml{split}", train_split="", val_split="")
    line = (tmp_path / "annotations.xml").read_text().split(drawn)[0].count("\n") + 1
    with pytest.raises(DataError) as raised:
        dataset[0]
    assert str(raised.value) == f"cannot draw annotations.xml, line {line} {message}{MEND}"
    assert [ValView(dataset, skip_bad=True).load(n).sample is None for n in range(2)] == [True, False]


def test_lines_need_a_width_and_labels_a_class(draw):
    with pytest.raises(
        DataError, match=r"line 13 \(polyline, car\): a line or a point, which covers no pixel by itself"
    ):
        draw(element("polyline", points="0,0;9,9"))
    assert not draw(element("polyline", points="0,0;9,9"), line_width=0).any()
    with pytest.raises(
        DataError, match=r"label not among the classes: annotations.xml, line 13 \(box, cra\), is 'cra'"
    ):
        draw(BOX.replace("car", "cra"))


def test_images_of_another_size_twice_or_nowhere(tmp_path):
    path = tmp_path / "annotations.xml"
    write(path, {"a.png": BOX, "./a.png": BOX})
    save_image(tmp_path / "a.png", size=(8, 8))
    options = {"annotations": "annotations.xml{split}", "train_split": "", "val_split": ""}
    with pytest.raises(DataError, match=r"one image is labelled twice: a.png in annotations.xml, twice\n"):
        build("cvat", tmp_path, **options)
    write(path, {"a.png": BOX})
    with pytest.raises(
        DataError, match=r"image of another size than its labels: a.png is 8x8, annotations.xml says 64x32"
    ):
        build("cvat", tmp_path, **options).read(0)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError) as raised:
        build("cvat", tmp_path, **options)
    assert str(raised.value) == (
        f"no image of {path} is there: a.png\n   looked in {tmp_path}/images and {tmp_path} -> export with "
        "`Save images`, or data.images says where they are"
    )


ENTITY = '<!DOCTYPE annotations [<!ENTITY e SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f'<?xml version="1.0"?>\n{ENTITY}\n<annotations>&e;</annotations>',
            ":2: it declares a document type, which may name other files and which no export has\n   -> export the "
            "annotations from CVAT again",
        ),
        (
            "<annotations>\n<track/></annotations>",
            ":2: this is `CVAT for video`\n   -> export the task as `CVAT for images",
        ),
        ("<annotation/>", ":1: no file of CVAT, which begins with <annotations>, not <annotation>"),
        ("<annotations>\n<image>", ":2: an image without a name"),
        ('<?xml version="1.0" encoding="none"?><annotations/>', ": unknown encoding: none"),
        ("<annotations>\n", ":2: no element found"),
        ("", ":1: no element found"),
    ],
)
def test_files_that_are_none_of_cvats_or_unsafe(tmp_path, text, message):
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DataError) as raised:
        build("cvat", tmp_path, val_fraction=0.5)
    assert str(raised.value).startswith(f"cannot read {tmp_path}/annotations.xml{message}")


def test_another_name_of_the_file(tmp_path):
    write(tmp_path / "mine.xml", {"a.png": BOX})
    with pytest.raises(
        DataError, match=r"no file .*/annotations.xml; there is mine.xml -> data.annotations names the"
    ):
        build("cvat", tmp_path)
