"""The list of the files of a large data set, kept on disk: it equals what is there, or it is made anew."""

import os

import numpy as np
import pytest

from segkit.data.cache import kept_pairs
from segkit.data.cache.place import on_disk
from segkit.data.datasets.folder import Folder
from segkit.data.files.layout import Layout

NAMES = [f"{name}.png" for name in ("0", "1", "b/2", "b/3", "c/ö")]
LISTED = {"train_list": "train.txt", "val_fraction": 0.4}
LAYOUTS = {
    "folders": {},
    "patterns": {"images": "images/{split}/{stem}.png", "masks": "masks/{split}"},
    "divided": {"images": "images/train", "val_fraction": 0.4, "masks": "masks/train"},
    "names": {**LISTED, "images": "images/train", "masks": "masks/train"},
    "pairs": LISTED,
}


@pytest.fixture
def root(tmp_path, save):
    for name in NAMES:
        save(tmp_path / "images/train" / name, np.zeros((2, 3, 3), dtype=np.uint8))
        save(tmp_path / "masks/train" / name, np.zeros((2, 3), dtype=np.uint8))
    return tmp_path


@pytest.fixture
def place(tmp_path_factory, monkeypatch):
    """A cache in which any list is worth a file, and any time of change can be relied on."""
    monkeypatch.setattr(kept_pairs, "MANY", 1)
    monkeypatch.setattr(kept_pairs, "SETTLED", -(10**12))
    return on_disk(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def searched(monkeypatch):
    """The parts that were searched for, one after the other."""
    parts, find = [], Layout.find

    def noted(self, root, part, *arguments):
        parts.append(part)
        return find(self, root, part, *arguments)

    monkeypatch.setattr(Layout, "find", noted)
    return parts


def list_pairs(root, kind):
    lines = [name.removesuffix(".png") for name in NAMES]
    if kind == "pairs":
        lines = [f"images/train/{name}\tmasks/train/{name}" for name in NAMES]
    (root / "train.txt").write_text("\n".join(lines))


def as_lists(pairs):
    return [list(each) for each in (pairs.names, pairs.images, pairs.masks, pairs.weights)] + [pairs.notes]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_second_time_nothing_is_searched_and_all_is_equal(root, place, searched, kind):
    list_pairs(root, kind)
    layout = Layout(**LAYOUTS[kind])
    plain = as_lists(layout.find(root, "train"))
    del searched[:]
    first, second = (kept_pairs.find_pairs(layout, root, "train", place=place) for _ in range(2))
    assert as_lists(first) == as_lists(second) == plain and searched == ["train"]
    if layout.val_fraction is not None:
        assert as_lists(kept_pairs.find_pairs(layout, root, "val", place=place)) == as_lists(
            layout.find(root, "val")
        )


def test_few_files_and_fresh_folders_are_not_kept(root, place, searched, monkeypatch):
    def find_twice():
        return [len(kept_pairs.find_pairs(Layout(), root, "train", place=place).names) for _ in range(2)]

    monkeypatch.setattr(kept_pairs, "MANY", len(NAMES) + 1)
    assert find_twice() == [5, 5] and not os.listdir(place.folder)
    monkeypatch.setattr(kept_pairs, "MANY", 1)
    monkeypatch.setattr(kept_pairs, "SETTLED", 10**12)
    assert find_twice() == [5, 5] and not os.listdir(place.folder)
    # A file system that keeps no times.
    monkeypatch.setattr(kept_pairs, "SETTLED", -(10**12))
    monkeypatch.setattr(kept_pairs, "_state", lambda path: (1, 0, 0))
    assert find_twice() == [5, 5] and not os.listdir(place.folder)
    assert searched == ["train"] * 6


def add_pair(root, save):
    for kind in ("images", "masks"):
        save(root / kind / "train/b/9.png", np.zeros((2, 3), dtype=np.uint8))


def rename_pair(root, save):
    for kind in ("images", "masks"):
        (root / kind / "train/c/ö.png").rename(root / kind / "train/c/o.png")


def change_ending(root, save):
    (root / "masks/train/0.png").rename(root / "masks/train/0.PNG")


def link_folder(root, save):
    for kind in ("images", "masks"):
        save(root / kind / "other/z.png", np.zeros((2, 3), dtype=np.uint8))
        (root / kind / "train/link").symlink_to(root / kind / "other")


def swap_folders(root, save):
    for kind in ("images", "masks"):
        save(root / kind / "new/z.png", np.zeros((2, 3), dtype=np.uint8))
        (root / kind / "train").rename(root / kind / "old")
        (root / kind / "new").rename(root / kind / "train")


@pytest.mark.parametrize("change", [add_pair, rename_pair, change_ending, link_folder, swap_folders])
def test_a_change_of_the_folders_is_noticed(root, place, searched, save, change):
    layout = Layout()
    before = kept_pairs.find_pairs(layout, root, "train", place=place)
    change(root, save)
    after = kept_pairs.find_pairs(layout, root, "train", place=place)
    assert searched == ["train", "train"]
    assert as_lists(after) == as_lists(layout.find(root, "train")) != as_lists(before)


def test_a_folder_that_would_be_taken_instead_is_noticed(root, place, save):
    (root / "images/train").rename(root / "train")
    (root / "train").rename(root / "moved")
    (root / "train").mkdir()
    (root / "moved").rename(root / "train/images")
    before = kept_pairs.find_pairs(Layout(), root, "train", place=place)
    save(root / "images/train/0.png", np.zeros((2, 3, 3), dtype=np.uint8))
    after = kept_pairs.find_pairs(Layout(), root, "train", place=place)
    assert len(before.names) == 5 and after.images == [root / "images/train/0.png"]


def test_a_list_that_is_edited_is_noticed(root, place):
    list_pairs(root, "pairs")
    layout = Layout(train_list="train.txt", val_fraction=0.5)
    before = kept_pairs.find_pairs(layout, root, "train", place=place)
    (root / "train.txt").write_text("\n".join((root / "train.txt").read_text().split("\n")[:3]))
    after = kept_pairs.find_pairs(layout, root, "train", place=place)
    assert as_lists(after) == as_lists(layout.find(root, "train")) != as_lists(before)


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:20], lambda raw: raw[:-1] + b"\xff"]
)
def test_a_damaged_file_is_made_anew(root, place, searched, damage):
    plain = as_lists(Layout().find(root, "train"))
    kept_pairs.find_pairs(Layout(), root, "train", place=place)
    (path,) = (place.folder / "file_lists").iterdir()
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    del searched[:]
    assert as_lists(kept_pairs.find_pairs(Layout(), root, "train", place=place)) == plain
    assert searched == ["train"] and path.read_bytes() == sound
    kept_pairs.find_pairs(Layout(), root, "train", place=place)
    assert searched == ["train"]


def test_where_nothing_can_be_kept_a_note_says_so(root, place):
    place.folder.rmdir()
    place.folder.write_text("a file where the folder should be")
    pairs = kept_pairs.find_pairs(Layout(), root, "train", place=place)
    assert len(pairs.names) == 5
    assert pairs.notes == [
        "the list of 5 files is not kept, so the next start makes it again: "
        f"cannot write {place.folder / 'file_lists'}: a file is where a folder should be"
    ]


def test_a_data_set_is_opened_from_the_list(root, place, searched, monkeypatch):
    monkeypatch.setenv("SEGKIT_CACHE", str(place.folder))
    first, second = (Folder("train", root=str(root), classes=["a", "b"]) for _ in range(2))
    assert searched == ["train"]
    assert second.names == first.names and second.fingerprint() == first.fingerprint()
    assert [sample.name for sample in second] == [name.removesuffix(".png") for name in NAMES]
