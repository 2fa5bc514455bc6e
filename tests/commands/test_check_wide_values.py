"""scripts/check_data.py ROOT on masks of numbers that 8 bits do not hold, and on images of other bands."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.commands import test_check_folder as folders
from tests.commands.test_check_folder import build, explore, facts, make, printed_blocks, proposal, squares
from tests.scripts import run_script

here = folders.here
tifffile = pytest.importorskip("tifffile")


def write(values, dtype, *, nodata=None, image=None, photometric="minisblack"):
    """Five pairs as TIFF files; `image(n)` gives (H, W, S)."""
    make(values=(0, 1))
    extra = {} if nodata is None else {"extratags": [(42113, "s", 0, str(nodata), True)]}
    for n, split in enumerate(("train", "train", "train", "val", "val")):
        for kind in ("masks", "images"):
            if kind == "images" and image is None:
                continue
            (folders.MINE / kind / split / f"{n:03d}.png").unlink()
            path = folders.MINE / kind / split / f"{n:03d}.tif"
            if kind == "masks":
                tifffile.imwrite(path, squares(values).astype(dtype), photometric="minisblack", **extra)
            else:
                tifffile.imwrite(path, image(n), photometric=photometric, planarconfig="contig")


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "f4", "f8"])
def test_what_the_tag_calls_no_data_is_unknown(capsys, dtype):
    write((-9999, 0, 1, 2), dtype, nodata=-9999)
    assert explore() == 0
    output = capsys.readouterr().out
    assert (
        "meaning   -9999 means unknown: the files' tag for no data says so (--ignore none makes it a class)"
        in output
    )
    assert proposal()["label_map"] == {"-9999": "ignore"}
    assert build(printed_blocks(output)[0])[1] == [[0, 1, 2, 255]] * 5


def test_a_tag_that_names_a_usual_class_is_asked_about(capsys):
    write((0, 1, 2), "u1", nodata=0)
    assert explore() == 3
    output = capsys.readouterr().out
    assert "question  the files' tag for no data names 0: is it a class all the same, or unknown?\n" in output
    found = [build(block)[1][0] for block in printed_blocks(output)]
    assert found == [[0, 1, 2], [0, 1, 255]]
    assert list(facts()["choices"]) == ["--ignore none", "--ignore 0"]


def test_fewer_names_than_values_besides_no_data(capsys):
    write((0, 1, 2, 3), "u1", nodata=0)
    assert run_script("check_data", folders.MINE, "--workers", "0", "--classes", "a", "b") == 3
    output = capsys.readouterr().out
    assert "meaning   0 means unknown: the files' tag for no data says so" in output
    assert (
        "question  2 names but 3 values (1, 2, 3) besides 0, which the files' tag calls no data: "
        "which of them means unknown, too?\n" in output
    )
    assert "--ignore 1 0   1 means unknown, as 0\n" in output and "--ignore 3 0   3 means" in output
    assert [build(block)[1][0] for block in printed_blocks(output)] == [[0, 1, 255], [0, 1, 255]]


def test_far_fewer_names_than_values_besides_no_data(capsys):
    write((0, 1, 2, 3, 4), "u1", nodata=0)
    assert run_script("check_data", folders.MINE, "--workers", "0", "--classes", "a", "b") == 3
    assert (
        "2 names but 4 values (1, 2, 3, 4) besides 0, which the files' tag calls no data\n"
        "          -> as many --classes, or --ignore 0 and the other values that mean unknown\n"
    ) in capsys.readouterr().out


def test_values_below_0_are_asked_about_and_answered(capsys):
    write((-9999, 0, 1), "i4")
    assert explore() == 3
    output = capsys.readouterr().out
    assert "question  the masks hold -9999, 0, 1: is -9999 a class, or unknown?\n" in output
    assert [build(block)[1][0] for block in printed_blocks(output)] == [[0, 1, 2], [0, 1, 255]]
    assert run_script("check_data", folders.MINE, "--ignore", "-9999", "--workers", "0") == 0
    assert proposal()["label_map"] == {"-9999": "ignore"}
    assert run_script("check_data", folders.MINE, "--workers", "0", "--classes", "a", "b") == 0
    assert proposal()["label_map"] == {"-9999": "ignore"}


@pytest.mark.parametrize("value", [2**31, 2**40, -(2**40)])
def test_large_values_are_answered_as_they_are(value):
    write((0, 1, value), "i8")
    assert run_script("check_data", folders.MINE, "--ignore", str(value), "--workers", "0") == 0
    assert proposal()["label_map"] == {str(value): "ignore"}
    assert build((Path("runs/check/mine/data.yaml").read_text()).partition("\n\n")[2])[1] == [[0, 1, 255]] * 5


def test_masks_that_cannot_be_read_are_one_problem(capsys):
    write((0.25, 0.5), "f4")
    assert explore() == 3
    output = capsys.readouterr().out
    assert "masks     none that can be read\n" in output
    assert "problem   no mask could be read\n" in output
    assert output.count("problem   cannot use") == 1 and "(and 4 more files alike)" in output


def test_without_the_extra_every_mask_names_it(capsys, monkeypatch):
    write((0, 1), "i8")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert explore() == 3
    assert "pip install tifffile imagecodecs" in capsys.readouterr().out


@pytest.mark.parametrize("bands", [2, 4, 7])
def test_the_number_of_bands_is_proposed(capsys, bands):
    write(
        (0, 1), "u1", image=lambda n: np.random.default_rng(n).integers(0, 4096, (24, 32, bands)).astype("u2")
    )
    assert explore() == 0
    assert proposal()["channels"] == bands
    output = capsys.readouterr().out
    assert f"images    uint16 x {bands} TIFF" in output
    assert re.search(
        r"^note      images of more than 8 bits: \d+ becomes black and 4,09\d white", output, re.MULTILINE
    )


def test_one_image_with_another_number_of_bands_is_named(capsys):
    write((0, 1), "u1", image=lambda n: np.zeros((24, 32, 4 if n == 3 else 5), dtype="u1"))
    assert explore() == 3
    assert "wrong number of bands: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "nodata", "ids"),
    [
        ((-9999, 0, 1, 255), -9999, [0, 1, 255]),
        ((0, 1, 2, 65535), None, None),
        ((65535, 0, 1, 2), 65535, [0, 1, 2, 255]),
    ],
)
def test_other_values_are_judged_as_if_there_was_no_tag(capsys, values, nodata, ids):
    write(values, "i4", nodata=nodata)
    status = explore()
    output = capsys.readouterr().out
    if ids is None:
        assert status == 3 and "is 65535 a class, or unknown?" in output
        assert [build(block)[1][0] for block in printed_blocks(output)] == [[0, 1, 2, 3], [0, 1, 2, 255]]
    else:
        assert status == 0 and build(printed_blocks(output)[0])[1] == [ids] * 5


def test_no_data_beside_a_question_is_part_of_each_answer(capsys):
    write((-9999, 0, 255), "i4", nodata=-9999)
    assert explore() == 3
    output = capsys.readouterr().out
    assert "question  the masks hold 0, 255: is 255 a class, or unknown?" in output
    flags = list(facts()["choices"])
    assert flags == ["--ignore -9999", "--ignore 255 -9999"]
    for flag, expected in zip(flags, ([0, 1, 255], [0, 255]), strict=True):
        run_script("check_data", folders.MINE, *flag.split(), "--workers", "0")
        assert build((Path("runs/check/mine/data.yaml").read_text()).partition("\n\n")[2])[1][0] == expected


def test_names_for_values_that_begin_below_0(capsys):
    write((-1, 0, 1), "i4")
    assert run_script("check_data", folders.MINE, "--workers", "0", "--classes", "a", "b", "c") == 0
    assert proposal()["label_map"] == {"-1": 0, "0": 1, "1": 2}


def test_webp_with_loss_invents_no_class(capsys):
    make(
        (0, 100, 200),
        mask="masks/{split}/{stem}.webp",
        paint=lambda labels: np.repeat(labels[..., None], 3, axis=2),
    )
    assert explore() == 3
    output = capsys.readouterr().out
    assert "problem   5 of 5 masks are compressed as WebP, which changes labels near edges" in output
    keys = [key for key in proposal()["label_map"] if key != "*"]
    assert len(keys) == 3
    near = sorted(int(key[1:3], 16) for key in keys)
    assert all(abs(value - drawn) <= 4 for value, drawn in zip(near, (0, 100, 200), strict=True))
