"""Names and paths in arrays: nothing but their size tells them from lists."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from segkit.data.files.compact import CHUNK, Paths, Texts

TEXTS = ["a", "", "dir/öl", "건물", os.fsdecode(b"\xff_0"), "a\nb", "", "x" * 300]
LISTS = {
    "mixed": [
        Path("/data/images/train/b/1.jpg"),
        Path("/data/images/train/0.png"),
        Path("/data/images/0.png"),
    ],
    "one": [Path("/data/a.png")],
    "root": [Path("/a.png"), Path("/b/c.png")],
    "relative": [Path("a.png"), Path("b/c.png"), Path("bc.png")],
    "alike": [Path("/data/ab/1.png"), Path("/data/abc/1.png")],
    "file beside folder": [Path("/data/ab"), Path("/data/ab/1.png")],
    "above": [Path("../a.png"), Path("../b/c.png")],
    "none": [],
    "twice": [Path("/d/a.png"), Path("/d/a.png")],
}


def check_is_list(compact, items):
    assert compact == items and items == compact and list(compact) == items
    assert len(compact) == len(items) and bool(compact) == bool(items)
    assert [compact[place] for place in range(-len(items), len(items))] == items + items
    assert compact[1:] == items[1:] and compact[::-2] == items[::-2] and isinstance(compact[:], list)
    assert compact + items == items + compact == items + items
    assert compact != [*items, "more"] and compact != "text" and (compact != items[:-1] or not items)
    assert sorted(compact) == sorted(items) and list(reversed(compact)) == items[::-1]
    assert all(item in compact for item in items)
    for place in (len(items), -len(items) - 1):
        with pytest.raises(IndexError, match=f"^item {place} of {len(items)}$"):
            compact[place]
    with pytest.raises(TypeError, match="unhashable"):
        hash(compact)
    assert pickle.loads(pickle.dumps(compact)) == items


@pytest.mark.parametrize("texts", [TEXTS, [], ["only"], [str(n) for n in range(2 * CHUNK + 1)]])
def test_texts_are_the_list(texts):
    compact = Texts.of(iter(texts))
    check_is_list(compact, texts)
    assert Texts.of(compact) is compact
    places = np.random.default_rng(0).permutation(len(texts))[: len(texts) // 2 + 1]
    assert compact.take(places) == [texts[place] for place in places]
    assert compact.take(np.zeros(0, dtype=np.int64)) == []


@pytest.mark.parametrize("paths", LISTS.values(), ids=LISTS)
def test_paths_are_the_list(paths):
    compact = Paths.of(paths)
    check_is_list(compact, paths)
    assert list(compact.texts()) == [str(path) for path in paths]
    assert Paths.of(compact) is compact and Paths.of(iter(paths)) == paths
    assert compact.take(np.arange(len(paths))[::-1]) == paths[::-1]


def test_paths_of_a_pattern():
    stems = Texts.of(["0", "b/{stem}", "b/c/2"])
    codes = np.array([1, 0, 1], dtype=np.uint8)
    paths = Paths("/d", stems, file="x_{stem}/{stem}_m", endings=[".png", ".JPG"], codes=codes)
    expected = ["/d/x_0/0_m.JPG", "/d/b/x_{stem}/{stem}_m.png", "/d/b/c/x_2/2_m.JPG"]
    check_is_list(paths, [Path(text) for text in expected])
    assert paths.take(np.array([2, 0])) == [Path(expected[2]), Path(expected[0])]


def test_it_is_small():
    paths = [Path(f"/data/set/images/train/{n:06d}.jpg") for n in range(1000)]
    compact = Paths.of(paths)
    assert compact.folder == "/data/set/images/train" and compact.stems.nbytes == 1000 * (
        len("000000.jpg") + 4
    )
    assert repr(compact).endswith("... 1,000 in all]") and repr(Texts.of(["a"])) == "['a']"
