"""scripts/check_data.py ROOT: what a folder holds, and the `data:` block that reads it."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.commands.check_folder import check_folder, data_block, parse_values
from segkit.config.load import load_config
from segkit.data.check.find_layout import find_layout
from segkit.data.check.propose import Answers, propose
from segkit.data.check.raw_values import read_raw_values
from segkit.data.palette import voc_color
from segkit.data.recognise import find_other_counts
from segkit.data.sources import SOURCES
from segkit.errors import ConfigError, DataError
from segkit.training.build import build_data
from tests.data.datasets import published_layouts as layouts
from tests.scripts import run_script

MINE = Path("data/mine")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)


def squares(values, size=(24, 32)):
    """A mask (H, W) in which each value has squares of its own."""
    height, width = size
    places = (np.arange(height)[:, None] // 4 + np.arange(width) // 4) % len(values)
    return np.array(values)[places]


def save(name: str, pixels, **options) -> Path:
    path = MINE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, dtype=np.uint8))
    image.save(path, **options)
    return path


def make(values=(0, 1, 2), *, image="images/{split}/{stem}.png", mask="masks/{split}/{stem}.png", paint=None):
    """A data set of 3 training and 2 validation images at those places."""
    random = np.random.default_rng(0)
    for n, split in enumerate(("train", "train", "train", "val", "val")):
        labels = squares(values)
        where = {"split": split, "stem": f"{n:03d}"}
        save(image.format(**where), random.integers(0, 256, (24, 32, 3)))
        save(mask.format(**where), labels if paint is None else paint(labels))


def explore(*, classes=(), ignored=()) -> int:
    return check_folder(MINE, classes=classes, ignored=ignored, workers=0, output=None)


def facts() -> dict:
    return json.loads(Path("runs/check/mine/check.json").read_text())


def proposal() -> dict:
    return facts()["data"]


def printed_blocks(text: str) -> list[str]:
    return re.findall(r"^data:\n(?:  .*\n)+", text, re.MULTILINE)


def build(block: str):
    """The data sets that a printed block leads to, every sample read."""
    Path("pasted.yaml").write_text(f"extends: ohem.yaml\n{block}")
    data = build_data(load_config("pasted.yaml", []))
    samples = [dataset[n] for dataset in (data.train, data.val) for n in range(len(dataset))]
    return data.train, [sorted(set(sample.target.flatten().tolist())) for sample in samples]


def test_a_clean_folder_needs_no_option(capsys):
    make()
    assert explore() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:9] == [
        "root      data/mine",
        "layout    images/{split} and masks/{split}   3 train / 2 val pairs",
        "images    RGB PNG",
        "masks     L PNG",
        "values    0  33.33 %  in 5 of 5 masks",
        "          1  33.33 %  in 5 of 5 masks",
        "          2  33.33 %  in 5 of 5 masks",
        "meaning   the values are the ids 0-2",
        "          if one of the values means unknown: --ignore VALUE",
    ]
    assert proposal() == {"name": "folder", "root": "data/mine", "classes": ["class_0", "class_1", "class_2"]}
    assert lines[-3:] == [
        "written   runs/check/mine: data.yaml, check.json, labels.png, masks.jpg",
        "result    1 warning: fine to train on",
        "next      python train.py --config runs/check/mine/data.yaml",
    ]
    assert [f["kind"] for f in facts()["findings"]] == ["small-set"]
    assert build_data(load_config("runs/check/mine/data.yaml", [])).train.num_classes == 3


#: Values of the masks, what the command line says, what comes out: class ids in every mask, and part of the block.
CASES = {
    "ids": ((0, 1, 2), {}, [0, 1, 2], {}),
    "ids and an unknown border": ((0, 1, 2, 255), {}, [0, 1, 2, 255], {}),
    "all ids are classes": (
        (0, 1, 2, 255),
        {"ignored": ["none"]},
        [0, 1, 2, 3],
        {"label_map": {"0": 0, "1": 1, "2": 2, "255": 3}},
    ),
    "an id means unknown": ((0, 1, 2), {"ignored": ["2"]}, [0, 1, 255], {"label_map": {"2": "ignore"}}),
    "ids from 1": ((1, 2, 3), {}, [0, 1, 2], {"label_map": {"1": 0, "2": 1, "3": 2}}),
    "0 is unlabelled": (
        (0, 1, 2),
        {"ignored": ["0"]},
        [0, 1, 255],
        {"label_map": {"1": 0, "2": 1, "0": "ignore"}},
    ),
    "0 and 255 are classes": ((0, 255), {"ignored": ["none"]}, [0, 1], {"label_map": {"0": 0, "255": 1}}),
    "0 is a class, 255 unknown": ((0, 255), {"ignored": ["255"]}, [0, 255], {"label_map": {"255": "ignore"}}),
    "two names for 0 and 255": (
        (0, 255),
        {"classes": ["cell", "no"]},
        [0, 1],
        {"classes": ["cell", "no"], "label_map": {"0": 0, "255": 1}},
    ),
    "names": ((0, 2), {"classes": ["a", "b", "c"]}, [0, 2], {"classes": ["a", "b", "c"]}),
    "names and 255": (
        (0, 1, 255),
        {"classes": ["a", "b"], "ignored": ["255"]},
        [0, 1, 255],
        {"classes": ["a", "b"]},
    ),
    "other values": ((10, 20, 30), {}, [0, 1, 2], {"label_map": {"10": 0, "20": 1, "30": 2}}),
    "16 bits": ((0, 300, 1000), {}, [0, 1, 2], {"label_map": {"0": 0, "300": 1, "1000": 2}}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_printed_block_builds(case, capsys):
    values, answers, expected, block = CASES[case]
    make(
        values,
        paint=lambda labels: Image.fromarray(labels.astype(np.uint16)) if max(values) > 255 else labels,
    )
    assert explore(**answers) == 0
    found = proposal()
    assert {key: found[key] for key in block} == block
    (printed,) = printed_blocks(capsys.readouterr().out)
    dataset, ids = build(printed)
    assert ids == [expected] * 5
    if "classes" in answers:
        assert list(dataset.class_names) == answers["classes"]


#: Values of the masks and what the command line says, and the flags that answer what remains.
QUESTIONS = {
    "0 and 255": ((0, 255), {}, ["--ignore none", "--ignore 255"]),
    "evenly spaced": ((0, 85, 170, 255), {}, ["--ignore none", "--ignore 255"]),
    "a name too few": ((0, 1, 2, 3), {"classes": ["a", "b", "c"]}, ["--ignore 0", "--ignore 3"]),
    "places and 255": ((1, 2, 3, 255), {"classes": list("abcd")}, ["--ignore 255", "--ignore none"]),
    "a name too few, and 255": ((5, 6, 255), {"classes": ["a", "b"]}, ["--ignore 255"]),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_what_cannot_be_known_is_asked_with_a_block_that_builds_for_each_answer(case, capsys):
    values, answers, flags = QUESTIONS[case]
    make(values)
    assert explore(**answers) == 3
    output = capsys.readouterr().out
    assert "\nquestion  " in output
    assert output.endswith("result    a question is open -> run again with the flag that answers it\n")
    assert list(facts()["choices"]) == flags
    blocks = printed_blocks(output)
    assert len(blocks) == len(flags)
    for flag, block in zip(flags, blocks, strict=True):
        _, before = build(block)
        assert explore(**answers, ignored=flag.split()[1:]) == 0
        (again,) = printed_blocks(capsys.readouterr().out)
        assert build(again)[1] == before


LAYOUTS = {
    "kind first": ("images/{split}/{stem}.png", "labels/{split}/{stem}.png", {}),
    "split first": ("{split}/images/{stem}.png", "{split}/masks/{stem}.png", {}),
    "other words": (
        "img/{split}/{stem}.jpg",
        "annotations/{split}/{stem}.png",
        {"images": "img/{split}", "masks": "annotations/{split}"},
    ),
    "one folder per split": (
        "{split}/{stem}.jpg",
        "{split}/{stem}_mask.png",
        {"images": "{split}", "masks": "{split}/{stem}_mask"},
    ),
    "words on both": (
        "{split}/{stem}_sat.jpg",
        "{split}/{stem}_mask.png",
        {"images": "{split}/{stem}_sat", "masks": "{split}/{stem}_mask"},
    ),
    "words in mask folders": (
        "images/{split}/{stem}.jpg",
        "masks/{split}/{stem}_gt.png",
        {"images": "images/{split}", "masks": "masks/{split}/{stem}_gt"},
    ),
    "splits with a year": (
        "img/{split}2017/{stem}.jpg",
        "gt/{split}2017/{stem}.png",
        {
            "images": "img/{split}",
            "masks": "gt/{split}",
            "train_split": "train2017",
            "val_split": "val2017",
        },
    ),
    "nnU-Net": (
        "imagesTr/{stem}_0000.png",
        "labelsTr/{stem}.png",
        {"images": "imagesTr/{stem}_0000", "masks": "labelsTr", "val_fraction": 0.2},
    ),
    "KITTI": (
        "training/image_2/{stem}.png",
        "training/semantic/{stem}.png",
        {
            "images": "{split}/image_2",
            "masks": "{split}/semantic",
            "train_split": "training",
            "val_fraction": 0.2,
        },
    ),
    "masks beside images": (
        "images/{split}/{stem}.jpg",
        "images/{split}/{stem}_mask.png",
        {"images": "images/{split}", "masks": "images/{split}/{stem}_mask"},
    ),
    "not divided": ("images/{stem}.jpg", "masks/{stem}.png", {"val_fraction": 0.2}),
    "one folder": (
        "{stem}.jpg",
        "{stem}_mask.png",
        {"images": "{stem}", "masks": "{stem}_mask", "val_fraction": 0.2},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, capsys):
    image, mask, options = LAYOUTS[layout]
    make(image=image, mask=mask)
    assert explore() == 0
    found = proposal()
    assert {key: value for key, value in found.items() if key not in ("name", "root", "classes")} == options
    (printed,) = printed_blocks(capsys.readouterr().out)
    assert build(printed)[1] == [[0, 1, 2]] * 5


def test_splits_of_another_name():
    make(image="images/{split}/{stem}.png", mask="masks/{split}/{stem}.png")
    for kind in ("images", "masks"):
        (MINE / kind / "train").rename(MINE / kind / "training")
        (MINE / kind / "val").rename(MINE / kind / "test")
    assert explore() == 0
    assert (proposal()["train_split"], proposal()["val_split"]) == ("training", "test")


@pytest.mark.parametrize(
    "mask", ["masks/{split}/{stem}.png", "images/{split}/{stem}_mask.png"], ids=["apart", "beside"]
)
def test_a_third_part_is_neither_trained_on_nor_scored(mask, capsys):
    """Though more images have a mask where nothing is divided, and more of the test part than of the validation."""
    for split in ("train", "val", *("test",) * 4):
        stem = f"{split}{len(list(MINE.rglob('*.png'))):03d}"
        save(f"images/{split}/{stem}.png", np.random.default_rng(0).integers(0, 256, (24, 32, 3)))
        save(mask.format(split=split, stem=stem), squares((0, 1, 2)))
    explore()
    assert {"val_fraction", "val_split"} & set(proposal()) == set()
    (printed,) = printed_blocks(capsys.readouterr().out)
    train, samples = build(printed)
    assert train.names == ["train000"] and len(samples) == 2


def test_lists_of_a_voc_folder():
    make(image="JPEGImages/{stem}.jpg", mask="SegmentationClass/{stem}.png")
    lists = MINE / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("000\n001\n002\n")
    (lists / "val.txt").write_text("003\n004\n")
    assert explore() == 0
    assert proposal()["train_list"] == "ImageSets/Segmentation/train.txt"
    assert (facts()["train"]["images"], facts()["val"]["images"]) == (3, 2)


def palette_file(labels):
    image = Image.new("P", labels.shape[::-1])
    image.putdata(labels.astype(int).flatten().tolist())
    colours = [channel for n in range(255) for channel in voc_color(n)] + [224, 224, 192]
    image.putpalette(colours)
    return image


def test_palette_files_keep_their_ids(capsys):
    make((0, 3, 15, 255), paint=palette_file)
    assert explore() == 0
    output = capsys.readouterr().out
    assert "masks     P PNG\n" in output
    assert re.search(r"^ +15 +\d+\.\d+ %  in 5 of 5 masks  #c08080$", output, re.MULTILINE)
    assert "255 means unknown: the colours of the palette are Pascal VOC's, where 255 is the border" in output
    assert build(printed_blocks(output)[0])[1] == [[0, 1, 2, 255]] * 5


def test_palette_files_made_grey_are_recognised(capsys):
    make((0, 2, 5, 15), paint=lambda labels: palette_file(labels).convert("L"))
    assert explore() == 3
    output = capsys.readouterr().out
    assert "problem   the values are greys of Pascal VOC's palette: the masks were palette files" in output
    assert "the ids probably were: 53 = 5, 75 = 2, 147 = 15\n" in output
    assert proposal()["classes"] == ["class_0", "class_2", "class_5", "class_15"]
    assert build(printed_blocks(output)[0])[1] == [[0, 1, 2, 3]] * 5


def test_greys_that_two_ids_share_are_not_guessed(capsys):
    make((0, 1, 2), paint=lambda labels: palette_file(labels).convert("L"))
    assert explore() == 3
    assert "the ids probably were: 38 = 1 or 16, 75 = 2\n" in (output := capsys.readouterr().out)
    assert proposal()["classes"] == ["class_0", "class_1_or_16", "class_2"]
    assert build(printed_blocks(output)[0])[1] == [[0, 1, 2]] * 5


COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 128, 64]], dtype=np.uint8)


def test_colours(capsys):
    make(paint=lambda labels: COLOURS[labels])
    assert explore() == 0
    output = capsys.readouterr().out
    assert "colours   #000000  33.33 %  in 5 of 5 masks\n" in output
    assert sorted(proposal()["label_map"]) == ["#000000", "#008040", "#ff0000"]
    assert build(printed_blocks(output)[0])[1] == [[0, 1, 2]] * 5
    assert explore(ignored=["#000000"]) == 0
    assert build(printed_blocks(capsys.readouterr().out)[0])[1] == [[0, 1, 255]] * 5


def test_names_alone_do_not_say_which_colour_is_which(capsys):
    make(paint=lambda labels: COLOURS[labels])
    assert explore(classes=["a", "b", "c"]) == 3
    output = capsys.readouterr().out
    assert "problem   which colour is which class cannot be known from names alone\n" in output
    (MINE / "class_dict.csv").write_text("name,r,g,b\nsky,255,0,0\nroad,0,0,0\ncar,0,128,64\n")
    assert explore() == 0
    assert proposal()["classes"] == "class_dict.csv"
    dataset, ids = build(printed_blocks(capsys.readouterr().out)[0])
    assert (dataset.class_names, ids) == (("sky", "road", "car"), [[0, 1, 2]] * 5)


def test_class_lists_are_found():
    make()
    (MINE / "classes.txt").write_text("sky\nroad\ncar\n")
    assert explore() == 0
    assert proposal()["classes"] == "classes.txt"
    assert [entry["class"] for entry in facts()["train"]["classes"]] == ["sky", "road", "car"]


def test_values_that_a_list_does_not_name(capsys):
    make((1, 5, 255))
    (MINE / "_classes.csv").write_text("Pixel Value, Class\n1, sky\n5, road\n")
    assert explore() == 3
    output = capsys.readouterr().out
    assert "problem   data/mine/_classes.csv does not name 1 of the values: 255\n" in output
    assert explore(ignored=["255"]) == 0
    assert build(printed_blocks(capsys.readouterr().out)[0])[1] == [[0, 1, 255]] * 5


def stripes(values):
    """A mask (24, 32) in which each value has one broad stripe."""
    return np.array(values)[np.arange(32) * len(values) // 32] * np.ones((24, 1), dtype=int)


def smoothed(labels):
    image = Image.fromarray(labels.astype(np.uint8))
    return image.resize((16, 12), Image.BILINEAR).resize((32, 24), Image.BILINEAR)


def test_smoothed_masks(capsys):
    make((0, 200), paint=lambda labels: smoothed(stripes((0, 200))))
    assert explore() == 3
    output = capsys.readouterr().out
    assert "problem   5 of 5 masks were smoothed or resized: " in output
    assert proposal()["label_map"] == {"0": 0, "200": 1, "*": "ignore"}
    assert re.search(
        r"^values    0    .*\n          200  .*\n          and \d+ on edges$", output, re.MULTILINE
    )
    assert output.count("smoothed") == 1
    dataset, ids = build(printed_blocks(output)[0])
    assert all(set(found) <= {*range(dataset.num_classes), 255} for found in ids)


def test_smoothed_colours(capsys):
    make(paint=lambda labels: smoothed(COLOURS[stripes((0, 1, 2))]))
    assert explore() == 3
    output = capsys.readouterr().out
    assert "problem   5 of 5 masks were smoothed or resized: " in output
    assert sorted(proposal()["label_map"]) == ["#000000", "#008040", "#ff0000", "*"]
    assert len(build(printed_blocks(output)[0])[1]) == 5


def test_masks_of_0_and_255_in_jpeg_files(capsys):
    rows = np.repeat([[0] * 20 + [255] * 12], 24, axis=0)
    rows[6:14, 4:15] = 255
    make(mask="masks/{split}/{stem}.jpg", paint=lambda labels: rows)
    assert explore() == 3
    output = capsys.readouterr().out
    assert "question  the masks hold 0, 255: is 255 a class, or unknown?\n" in output
    assert [set(ids) for ids in build(printed_blocks(output)[0])[1]] == [{0, 1, 255}] * 5
    assert explore(ignored=["none"]) == 3
    assert proposal()["label_map"] == {"0": 0, "255": 1, "*": "ignore"}


def test_ids_in_jpeg_files_are_no_ids(capsys):
    make(mask="masks/{split}/{stem}.jpg", paint=lambda labels: stripes((0, 1, 2)))
    assert explore() == 3
    assert (
        "problem   5 of 5 masks are compressed as JPEG, which changes labels near edges"
        in capsys.readouterr().out
    )


def test_ids_saved_as_colours():
    make((0, 1, 2), paint=lambda labels: np.repeat(labels[:, :, None], 3, axis=2))
    assert explore() == 0
    assert proposal()["label_map"] == {"#000000": 0, "#010101": 1, "#020202": 2}
    assert proposal()["classes"] == ["class_0", "class_1", "class_2"]


def test_images_without_mask_and_masks_without_image(capsys):
    make()
    (MINE / "masks/train/001.png").unlink()
    (MINE / "images/val/004.png").unlink()
    assert explore() == 3
    output = capsys.readouterr().out
    assert "problem   1 image has no mask: images/train/001.png\n" in output
    assert "warning   1 mask has no image: masks/val/004.png\n" in output


def test_broken_masks_are_all_listed():
    make()
    for n in (0, 2):
        (MINE / f"masks/train/00{n}.png").write_bytes(b"damaged")
    assert explore() == 3
    (found,) = [f for f in facts()["findings"] if f["kind"] == "cannot-read"]
    assert found["files"] == ["data/mine/masks/train/000.png", "data/mine/masks/train/002.png"]


def test_masks_of_one_value(capsys):
    make((7,))
    assert explore() == 3
    output = capsys.readouterr().out
    assert "problem   the masks hold 7, of which 1 can be a class: nothing to tell apart\n" in output
    assert output.endswith("result    no data: block can be proposed\n")


def test_colours_beside_values(capsys):
    make()
    save("masks/val/004.png", COLOURS[squares((0, 1, 2))])
    assert explore() == 3
    assert (
        "problem   1 masks hold colours where others hold values: data/mine/masks/val/004.png "
        in capsys.readouterr().out
    )


def test_a_published_data_set_is_recognised(capsys):
    layouts.make_pets(Path("data/mine"))
    assert explore() == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "found     Oxford-IIIT Pet, trimaps: pet and background, in its published layout "
    )
    assert "\nnext      python train.py --config pets/ohem.yaml data.root=data/mine\n" in output
    # What somebody says about the classes is about a folder of their own.
    with pytest.raises(DataError, match="no images with masks found in data/mine"):
        explore(classes=["pet", "background", "border"])


def test_data_in_the_layout_of_published_data_may_be_others(capsys, monkeypatch):
    """Many put their own classes into Pascal VOC's folders."""
    layouts.make_voc(Path("data/mine"))
    assert explore() == 0
    output = capsys.readouterr().out
    counts = re.search(r"train     (\d) of .*\nval       (\d) of", output)
    text = (
        f"warning   {counts[1]} train and {counts[2]} val images, and Pascal VOC 2012, segmentation was published with "
        "1,464 train and 1,449 val images: another data set in its layout has other classes\n"
        "          -> python scripts/check_data.py data/mine/VOCdevkit/VOC2012 --classes NAME NAME ...\n"
    )
    assert text in output
    whole = dataclasses.replace(SOURCES["voc"], counts=(int(counts[1]), int(counts[2])))
    assert find_other_counts(whole, Path("data/mine"), (int(counts[1]), int(counts[2]))) == []


def test_nothing_there():
    with pytest.raises(DataError, match="dataset folder not found: data/mine"):
        explore()
    save("photos/one.png", np.zeros((8, 8)))
    with pytest.raises(DataError, match="no images with masks found in data/mine"):
        explore()


def test_ignored_values():
    assert parse_values([]) is None
    assert parse_values(["none"]) == frozenset()
    assert parse_values(["11", "#0000ff"]) == {11, 255}
    with pytest.raises(ConfigError) as raised:
        parse_values(["void"])
    assert (
        str(raised.value)
        == "--ignore void: expected a value such as 255, a colour such as '#ff0000', or none"
    )


def test_a_list_of_more_classes_than_8_bits_count_gets_another_ignore_index():
    make(range(20))
    lines = ["Pixel Value, Class", *(f"{n}, class {n}" for n in range(300))]
    (MINE / "_classes.csv").write_text("\n".join(lines) + "\n")
    assert explore() == 0
    assert proposal()["ignore_index"] == 65535
    assert "label_map" not in proposal()


@pytest.mark.parametrize(
    ("values", "ignored", "options", "why"),
    [
        (range(300), None, {"ignore_index": 65535}, "so 255 is one of them"),
        (
            (*range(300), 65535),
            None,
            {"ignore_index": 65535, "label_map": {65535: "ignore"}},
            "65535 means unknown",
        ),
        ((*range(300), 65535), frozenset(), {"ignore_index": 65535}, "numbered in their order"),
        (range(256), frozenset(), {"ignore_index": 65535}, "the ids 0-255"),
    ],
)
def test_ids_beyond_8_bits_are_asked_nothing(values, ignored, options, why):
    # Neighbours at random: no value lies between two others only, as in smoothed masks.
    random = np.random.default_rng(0)
    for n, split in enumerate(("train", "val")):
        ids = np.resize(random.permutation(np.array(values)), (18, 18)).astype(np.uint16)
        save(f"images/{split}/{n}.png", np.zeros((72, 72, 3)))
        save(f"masks/{split}/{n}.png", Image.fromarray(np.kron(ids, np.ones((4, 4), dtype=np.uint16))))
    pairs = [pair for part in find_layout(MINE).pairs.values() for pair in part]
    found = propose(read_raw_values(pairs, workers=0), Answers(None, ignored))
    assert found.question is None and why in " ".join(found.why)
    known = {key: value for key, value in found.options.items() if key != "classes"}
    if ignored == frozenset() and 65535 in values:
        assert known.pop("label_map")[65535] == 300
    assert known == options
    assert len(found.options["classes"]) == len(values) - ("label_map" in options)


def test_names_that_yaml_would_take_for_something_else():
    names = ["no", "1e-4", "12", "null", "a: b", "#x", "ü"]
    Path("pasted.yaml").write_text(
        "extends: ohem.yaml\n" + data_block({"name": "folder", "root": "x", "classes": names})
    )
    assert load_config("pasted.yaml", []).data.params["classes"] == names


def test_many_classes_are_wrapped():
    names = [f"traffic light {n}" for n in range(40)]
    block = data_block({"name": "folder", "root": "x", "classes": names, "label_map": {"*": "ignore", 7: 1}})
    assert max(map(len, block.splitlines())) <= 100
    assert "traffic light 3, traffic light 4,\n    traffic light 5, " in block
    Path("pasted.yaml").write_text(f"extends: ohem.yaml\n{block}")
    params = load_config("pasted.yaml", []).data.params
    assert (params["classes"], params["label_map"]) == (names, {"*": "ignore", 7: 1})


def test_command(capsys):
    make((0, 255))
    arguments = ("data/mine", "--ignore", "none", "--classes", "membrane", "interior")
    assert run_script("check_data", *arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "  classes: [membrane, interior]\n  label_map: {0: 0, 255: 1}\n" in printed.out
    assert run_script("check_data") == 2
    assert "give a folder, or --config X" in capsys.readouterr().err
    assert run_script("check_data", "--config", "ce", "--ignore", "1") == 2
    assert "--classes and --ignore are for a folder" in capsys.readouterr().err


def test_camvid_has_12_values_and_11_means_nothing_until_somebody_says_so(real_data):
    layout = find_layout(real_data("camvid"))
    assert {part: len(pairs) for part, pairs in layout.pairs.items()} == {"train": 367, "val": 101}
    assert (layout.options, layout.without_mask, layout.without_image) == ({}, [], [])
    raw = read_raw_values([pair for pairs in layout.pairs.values() for pair in pairs[:40]], workers=0)
    assert raw.drawn_values() == list(range(12))
    assert raw.smoothed == []
    assert propose(raw, Answers()).options == {"classes": [f"class_{n}" for n in range(12)]}
    names = [f"name {n}" for n in range(11)]
    assert [choice.flag for choice in propose(raw, Answers(names)).choices] == ["--ignore 0", "--ignore 11"]
    assert propose(raw, Answers(names, frozenset([11]))).options == {
        "classes": names,
        "label_map": {11: "ignore"},
    }


def test_membranes_leave_a_question(real_data, capsys):
    root = real_data("membrane")
    assert check_folder(root, classes=[], ignored=[], workers=0, output=Path("report")) == 3
    output = capsys.readouterr().out
    assert "question  the masks hold 0, 255: is 255 a class, or unknown?\n" in output
    assert check_folder(root, classes=[], ignored=["none"], workers=0, output=Path("report")) == 0
    (block,) = printed_blocks(capsys.readouterr().out)
    assert "  channels: 1\n" in block and "  label_map: {0: 0, 255: 1}\n" in block
    assert json.loads(Path("report/check.json").read_text())["findings"] == []
