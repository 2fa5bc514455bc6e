"""Masks as run lengths, in numbers and in text."""

import numpy as np
import pytest

from segkit.data.annotations.run_lengths import decode_runs, runs_patch


def encode_runs(runs: list[int]) -> str:
    """The compressed text of runs, number by number."""
    text = ""
    for n, run in enumerate(runs):
        number = run - runs[n - 2] if n > 2 else run
        while True:
            digit, number = number & 31, number >> 5
            is_last = number == (-1 if digit & 16 else 0)
            text += chr(48 + digit + (0 if is_last else 32))
            if is_last:
                break
    return text


def runs_of(mask: np.ndarray) -> list[int]:
    """The runs of a mask (H, W), down the columns, counted pixel by pixel."""
    runs, inside = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != inside:
            runs.append(0)
            inside = pixel
        runs[-1] += 1
    return runs


def make_masks(count: int):
    random = np.random.default_rng(0)
    for n in range(count):
        size = tuple(int(length) for length in random.integers(1, 40, 2))
        blocks = random.random(size) < (0.02, 0.5, 0.98)[n % 3]
        yield np.repeat(np.repeat(blocks, n % 7 + 1, axis=0), n % 5 + 1, axis=1)


def drawn(runs, size) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    runs_patch(np.array(runs, dtype=np.int64), size).fill(mask, True)
    return mask


def test_runs_go_down_the_columns_and_begin_outside():
    assert drawn([2, 2, 1, 1], (3, 2)).tolist() == [[False, True], [False, False], [True, True]]


def test_masks_come_back_from_their_runs_and_from_the_text_of_them():
    for mask in make_masks(200):
        runs = runs_of(mask)
        assert np.array_equal(drawn(runs, mask.shape), mask)
        assert decode_runs(encode_runs(runs)).tolist() == runs
        assert runs_patch(decode_runs(encode_runs(runs)), mask.shape).area == mask.sum()


def test_empty_runs_change_nothing():
    assert drawn([0, 0, 0, 4], (2, 2)).all() and not drawn([4], (2, 2)).any()
    assert drawn([1, 1, 0, 1, 1], (2, 2)).tolist() == [[False, True], [True, False]]
    assert not drawn([0, 0, 4], (2, 2)).any() and drawn([0, 4, 0, 0], (2, 2)).all()


def test_large_numbers():
    runs = [123_456_789, 1, 2_000_000_000, 30, 31, 32, 15, 16, 17, 0, 1_000_000]
    assert decode_runs(encode_runs(runs)).tolist() == runs and decode_runs("").tolist() == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("52z", "'z' is no character of compressed run lengths"),
        ("5\n", "'\\n' is no character of compressed run lengths"),
        ("5é", "it has characters beyond ASCII"),
        ("52o", "it ends within a number"),
        ("oooooooooo0", "it has a number of more than 32 bits"),
    ],
)
def test_texts_that_are_none(text, rule):
    with pytest.raises(ValueError) as raised:
        decode_runs(text)
    assert str(raised.value) == rule


@pytest.mark.parametrize(
    ("runs", "rule"),
    [
        ([1, 2], "its runs are 3 pixels, 2x2 has 4"),
        ([], "its runs are 0 pixels, 2x2 has 4"),
        ([5, -1], "a run of -1 pixels"),
    ],
)
def test_runs_that_do_not_fit(runs, rule):
    with pytest.raises(ValueError) as raised:
        drawn(runs, (2, 2))
    assert str(raised.value) == rule


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy
def test_cocos_own_tools_write_the_same_text_and_draw_the_same_pixels():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    for mask in make_masks(100):
        text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert text == encode_runs(runs_of(mask))
        runs = decode_runs(text)
        height, width = mask.shape
        same = coco.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
        assert same["counts"].decode() == text
        assert np.array_equal(coco.decode(same).astype(bool), drawn(runs, mask.shape))
