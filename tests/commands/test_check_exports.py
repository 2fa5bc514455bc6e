"""scripts/check_data.py ROOT on what Datumaro and CVAT export: a colour means what the list beside it says, if it does.

The forms are those of Datumaro 1.13, without the tool: it needs what segkit does not.
"""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.commands.check_folder import check_folder
from segkit.config.load import load_config
from segkit.data.palette import voc_color
from segkit.data.recognise import recognise_published
from segkit.training.build import build_data
from tests.data.datasets import published_layouts as layouts

ROOT, OUTPUT = Path("data/mine"), Path("report")
NAMES = ["background", "cat", "dog", "road"]
PARTS = ("train", "train", "train", "val")
#: The colours of the places in a list, where the list has none.
PALETTE = np.array([voc_color(place) for place in range(256)], dtype=np.uint8)
COLOURS = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255], [128, 0, 0]], dtype=np.uint8)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)


def drawn(n: int) -> np.ndarray:
    """What was drawn on image n (H, W): places in NAMES."""
    ids = np.zeros((24, 32), dtype=np.uint8)
    ids[2:10, 2 + n : 12 + n] = 1
    ids[12:22, 4 : 14 + n] = 2
    ids[4:20, 20:26] = 3
    return ids


def save(name: str, pixels: np.ndarray) -> None:
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(ROOT / name)


def export(image: str, mask: str, paint) -> None:
    random = np.random.default_rng(0)
    for n, part in enumerate(PARTS):
        save(image.format(n=n, part=part), random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        save(mask.format(n=n, part=part), paint(drawn(n)))


def export_voc(paint) -> None:
    export("JPEGImages/im{n}.jpg", "SegmentationClass/im{n}.png", paint)
    lists = ROOT / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("im0\nim1\nim2\n")
    (lists / "val.txt").write_text("im3\n")


def export_cityscapes(paint) -> None:
    image, mask = "leftImg8bit/{part}/im{n}_leftImg8bit.png", "gtFine/{part}/im{n}_gtFine_labelIds.png"
    export(image, mask, paint)
    export(image, mask.replace("labelIds", "color"), lambda ids: PALETTE[paint(ids)])


def export_camvid(paint) -> None:
    export("{part}/im{n}.jpg", "{part}annot/im{n}.png", paint)
    for part in ("train", "val"):
        lines = [f"/{part}/im{n}.jpg {part}annot/im{n}.png\n" for n in range(4) if PARTS[n] == part]
        (ROOT / f"{part}.txt").write_text("".join(lines))


def export_kitti(paint) -> None:
    export("{part}/image_2/im{n}.png", "{part}/semantic/im{n}.png", lambda ids: paint(ids).astype(np.uint16))
    export("{part}/image_2/im{n}.png", "{part}/semantic_rgb/im{n}.png", lambda ids: PALETTE[paint(ids)])
    instances = "{part}/instance/im{n}.png"
    export("{part}/image_2/im{n}.png", instances, lambda ids: paint(ids).astype(np.uint16) * 257)


def write_list(name: str, lines) -> None:
    (ROOT / name).write_text("".join(f"{line}\n" for line in lines))


def explore(*flags: str) -> int:
    classes, ignored = [], []
    for word in flags:
        if word.startswith("--"):
            chosen = {"--classes": classes, "--ignore": ignored}[word]
        else:
            chosen.append(word)
    return check_folder(ROOT, classes=classes, ignored=ignored, workers=0, output=OUTPUT)


def read_names() -> list[np.ndarray]:
    """The class names that the proposed block gives each pixel of images 0 to 3."""
    data = build_data(load_config(str(OUTPUT / "data.yaml"), []))
    found = {}
    for dataset in (data.train, data.val):
        names = np.array([*dataset.class_names, *["?"] * 256], dtype=object)
        for n, name in enumerate(dataset.names):
            found[name.rpartition("im")[2][0]] = names[dataset[n].target.numpy()]
    return [found[key] for key in "0123"]


def assert_read_as(names) -> None:
    for n, read in enumerate(read_names()):
        assert (read == np.array(names, dtype=object)[drawn(n)]).all()


def same(ids: np.ndarray) -> np.ndarray:
    return ids


FORMS = {
    "voc, colours": (export_voc, PALETTE.__getitem__),
    "voc, values": (export_voc, same),
    "cityscapes": (export_cityscapes, same),
    "camvid, colours": (export_camvid, PALETTE.__getitem__),
    "camvid, values": (export_camvid, same),
    "kitti": (export_kitti, same),
}


@pytest.mark.parametrize("form", FORMS)
def test_lists_without_colours(form, capsys):
    make, paint = FORMS[form]
    make(paint)
    if form.startswith("voc"):
        write_list("labelmap.txt", ["# label:color_rgb:parts:actions", *(f"{name}:::" for name in NAMES)])
    else:
        write_list("label_colors.txt", [f" {name}" for name in NAMES])
    assert explore() == 0
    assert_read_as(NAMES)
    output = capsys.readouterr().out
    assert "found  " not in output
    assert ("the list has no colours: those of the masks are Pascal VOC's for its places 0-3" in output) == (
        "colours" in form
    )


@pytest.mark.parametrize("form", FORMS)
def test_lists_with_colours(form):
    make, paint = FORMS[form]
    make(COLOURS.__getitem__ if "colours" in form else paint)
    entries = list(zip(COLOURS.tolist(), NAMES, strict=True))
    if form.startswith("voc"):
        write_list("labelmap.txt", [f"{name}:{r},{g},{b}::" for (r, g, b), name in entries])
    else:
        write_list("label_colors.txt", [f"{r} {g} {b} {name}" for (r, g, b), name in entries])
    assert explore() == 0
    assert_read_as(NAMES)


@pytest.mark.parametrize("form", FORMS)
def test_the_list_in_json(form):
    make, paint = FORMS[form]
    make(COLOURS.__getitem__ if "colours" in form else paint)
    data = {"labels": NAMES, "label_map": dict(enumerate(NAMES)), "segmentation_colors": COLOURS.tolist()}
    write_list("dataset_meta.json", [json.dumps(data)])
    assert explore() == 0
    assert_read_as(NAMES)


def test_names_stand_in_for_a_list_that_cannot_be_read():
    export_voc(same)
    write_list("labelmap.txt", ["background:0,0,0::", "cat:0,0,0::"])
    assert explore("--classes", *NAMES) == 0
    assert_read_as(NAMES)


def test_a_file_of_that_name_of_another_tool_is_passed_over():
    export_camvid(same)
    write_list("dataset_meta.json", ['{"version": 3}'])
    assert explore() == 0
    assert_read_as(["class_0", "class_1", "class_2", "class_3"])


LISTED = ["sky", "cat", "dog", "road"]


@pytest.mark.parametrize("form", ["cityscapes", "camvid, colours"])
def test_a_background_that_the_list_leaves_out_is_found_by_a_place_too_many(form, capsys):
    """Of sky, cat, dog and road the tool makes 1 to 4, and 0 the background; sky was not drawn."""
    make, paint = FORMS[form]
    make(lambda ids: paint(np.where(ids, ids + 1, 0)))
    write_list("label_colors.txt", [f" {name}" for name in LISTED])
    assert explore() == 0
    assert_read_as(["background", "cat", "dog", "road"])
    assert "the list leaves out 'background', place 0\n" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["cityscapes", "camvid, colours", "kitti"])
def test_what_0_means_is_asked_where_the_list_begins_with_no_background(form, capsys):
    make, paint = FORMS[form]
    make(paint)
    write_list("label_colors.txt", [f" {name}" for name in LISTED])
    assert explore() == 3
    zero = "black" if "colours" in form else "0"
    question = (
        f"does not begin with a background: is {zero} in the masks its first name, 'sky', or 'background'?\n"
    )
    assert question in capsys.readouterr().out
    flags = list(json.loads((OUTPUT / "check.json").read_text())["choices"])
    assert flags == ["--classes background sky cat dog road", "--classes sky cat dog road"]
    for flag, meaning in zip(flags, (["background", "sky", "cat", "dog"], LISTED), strict=True):
        assert explore(*shlex.split(flag)) == 0
        assert_read_as(meaning)


def test_black_that_a_list_with_colours_does_not_name(capsys):
    export_camvid(COLOURS.__getitem__)
    rows = zip(COLOURS[1:].tolist(), NAMES[1:], strict=True)
    write_list("label_colors.txt", [f"{r} {g} {b} {name}" for (r, g, b), name in rows])
    assert explore() == 3
    output = capsys.readouterr().out
    assert "does not name 1 of the values: '#000000'\n" in output
    assert (
        "--ignore '#000000' if they mean unknown, or a line for the background, black, in data/mine/"
        in output
    )
    assert explore("--ignore", "#000000") == 0
    assert_read_as(["?", "cat", "dog", "road"])


def test_colours_that_are_not_of_the_palette_are_not_guessed(capsys):
    export_voc(COLOURS.__getitem__)
    write_list("labelmap.txt", [f"{name}:::" for name in NAMES])
    assert explore() == 3
    assert (
        "problem   which colour is which class cannot be known from names alone\n" in capsys.readouterr().out
    )


def test_places_that_a_list_does_not_have(capsys):
    export_camvid(lambda ids: PALETTE[ids * 2])
    write_list("label_colors.txt", [f" {name}" for name in NAMES])
    assert explore() == 3
    assert "does not name 2 of the values: '#000080' '#008080'\n" in capsys.readouterr().out
    assert explore("--ignore", "#000080", "#008080") == 0
    assert_read_as(["background", "dog", "?", "?"])


@pytest.mark.parametrize("form", ["cityscapes", "camvid, colours"])
def test_255_is_the_border_in_a_list_without_colours(form):
    make, paint = FORMS[form]
    make(lambda ids: paint(np.where(ids == 3, 255, ids).astype(np.uint8)))
    write_list("label_colors.txt", [f" {name}" for name in NAMES])
    assert explore() == 0
    assert_read_as(["background", "cat", "dog", "?"])


PUBLISHED = {
    "camvid": lambda root: layouts.make_camvid_segnet(root),
    "cityscapes": lambda root: layouts.make_cityscapes(root),
    "voc": lambda root: layouts.make_voc(root),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_list_beside_it_makes_a_published_layout_a_folder(name):
    PUBLISHED[name](ROOT)
    source = recognise_published(ROOT)
    assert source is not None and source.name == name
    place = ROOT / "VOCdevkit/VOC2012/labelmap.txt" if name == "voc" else ROOT / "label_colors.txt"
    place.touch()
    assert recognise_published(ROOT) is None


def test_colours_in_segnets_layout_are_not_segnets():
    export_camvid(PALETTE.__getitem__)
    assert recognise_published(ROOT) is None
    assert explore() == 0
    assert_read_as(["class_0", "class_1", "class_2", "class_3"])
