"""Tar files of samples: they read as the files they were made of, in an order that stays near their own."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.data.augments.none import NoAugment
from segkit.data.containers import shards
from segkit.data.datasets.containers.shards import ShardedFiles
from segkit.data.datasets.folder import Folder
from segkit.data.loading.loader import train_batches
from segkit.data.loading.windows import windowed_order
from segkit.errors import ConfigError, DataError

CLASSES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path_factory.mktemp("caches")))
    monkeypatch.setattr(shards, "MANY", 1)


def encoded(values, form="png", **options):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, format=form, **options)
    return stream.getvalue()


def put(path, members, form=tarfile.GNU_FORMAT):
    """Write a tar file of names and bytes; None is a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def sample(key, n, *, image="jpg", mask="seg.png"):
    random = np.random.default_rng(n)
    pixels = random.integers(0, 255, (12, 16, 3)).astype(np.uint8)
    ids = random.integers(0, 3, (12, 16)).astype(np.uint8)
    ids[0, 0] = 255
    form = "jpeg" if image.lower() == "jpg" else "png"
    return [(f"{key}.{image}", encoded(pixels, form)), (f"{key}.{mask}", encoded(ids))]


def put_parts(root, counts=(3, 2)):
    number = 0
    for shard, count in enumerate(counts):
        members = []
        for _ in range(count):
            members += [*sample(f"s{number:04d}", number), (f"s{number:04d}.json", b"{}")]
            number += 1
        put(root / f"train-{shard:03d}.tar", members)
    put(root / "val-000.tar", sample("v", 99))
    return root


def sharded(root, split="train", **options):
    return ShardedFiles(split, root=str(root), **{"classes": CLASSES, **options})


def refusal(error, call):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


def test_shards_read_as_their_files(tmp_path):
    root = put_parts(tmp_path / "shards")
    for path in root.glob("*.tar"):
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "files" / path.name.partition("-")[0], filter="data")
    patterns = {"images": "{split}/{stem}.jpg", "masks": "{split}/{stem}.seg.png"}
    for split in ("train", "val"):
        files = Folder(split, root=str(tmp_path / "files"), classes=CLASSES, **patterns)
        found = sharded(root, split)
        assert found.names == files.names and len(found) == len(files)
        for index in range(len(files)):
            plain, read = files[index], found[index]
            assert torch.equal(plain.image, read.image) and torch.equal(plain.target, read.target)
            assert read.name == plain.name and read.target.dtype == torch.uint8
    train = sharded(root)
    assert train.files(3) == (root / "train-001.tar",)
    assert train[3].mask_path == Path(f"{root}/train-001.tar#s0003.seg.png")
    assert str(train.image_paths[0]) == f"{root}/train-000.tar#s0000.jpg"
    assert train[4].weight_path == root / "weights/train/s0004"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_counts_as_a_sample(tmp_path, form):
    deep = "x" * 90 + "/y/0001"
    put(
        tmp_path / "train.tar",
        [
            ("__index__.json", b"{}"),
            ("folder", None),
            ("README", b"no ending"),
            (".hidden.png", b""),
            *sample("v1.5/0", 0, image="PNG", mask="MASK.png"),
            ("only.json", b"{}"),
            *sample(deep, 1),
            *reversed(sample("turned", 2, image="png", mask="mask.png")),
        ],
        form,
    )
    put(tmp_path / "val.tar", sample("v", 3))
    data = sharded(tmp_path)
    assert data.names == ["v1.5/0", deep, "turned"]
    for index in range(3):
        expected = np.asarray(Image.open(io.BytesIO(sample("", index)[1][1])))
        assert np.array_equal(data[index].target.numpy(), expected)


def heads_of(path):
    with path.open("rb") as file:
        return shards.read_heads(file)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("mtime", [0, 1.5])
def test_heads_are_read_as_python_reads_them(tmp_path, form, mtime):
    path, names = tmp_path / "a.tar", ["a.jpg", "b/c.png", "ö.jpg", "x" * 90 + "/" + "y" * 60, "z" * 120]
    with tarfile.open(path, "w", format=form) as tar:
        for n, name in enumerate(names[: 4 if form == tarfile.USTAR_FORMAT else 5]):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 200 * n, mtime
            tar.addfile(info, io.BytesIO(bytes(200 * n)))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    expected = list(shards.members_of(path))
    # GNU has a member of its own for a long name.
    assert heads_of(path) == (None if form == tarfile.GNU_FORMAT else expected)
    assert [name for name, _, _ in expected] == names[: len(expected)] and len(expected) >= 4


def test_what_heads_alone_do_not_tell_is_left_to_python(tmp_path):
    path = put(tmp_path / "a.tar", sample("a", 0))
    raw = path.read_bytes()
    assert heads_of(path) == list(shards.members_of(path)) != []
    for changed in (raw[:1000], raw[:600], b"", b"\1" + raw[1:], raw[:156] + b"2" + raw[157:]):
        path.write_bytes(changed)
        assert heads_of(path) is None
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "b.jpg"
        tar.addfile(link)
    assert heads_of(path) is None and list(shards.members_of(path)) == []
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "one for all"}) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    assert heads_of(path) is None and [name for name, _, _ in shards.members_of(path)] == ["a.jpg"]


def test_keys_that_two_shards_have(tmp_path):
    for number in (0, 1):
        put(tmp_path / f"train-{number}.tar", sample("a", number))
    assert sharded(tmp_path).names == ["train-0/a", "train-1/a"]


def test_patterns(tmp_path):
    root = put_parts(tmp_path, counts=(1, 1, 1))
    assert sharded(root, train="train-{000..001}.tar").names == ["s0000", "s0001"]
    assert sharded(root, train="train-{002..002}.tar").names == ["s0002"]
    assert sharded(root, train="**/train-00?.tar").names == ["s0000", "s0001", "s0002"]
    assert refusal(DataError, lambda: sharded(root, train="train-{000..003}.tar")) == (
        f"data.train=train-{{000..003}}.tar: no shard train-003.tar in {root}"
    )


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            sample("a", 0)[:1],
            "a has no labels (mask.png, seg.png, label.png, labels.png, segmentation.png, gt.png)\n"
            "   -> data.masks=[ENDING] for other endings, or data.unlabelled=skip leaves such images out",
        ),
        (sample("a", 0)[1:], "a has labels and no image (jpg, jpeg, png, webp, tif, tiff, bmp)"),
        (
            [*sample("a", 0), ("a.png", b"")],
            "a has two images, jpg and png -> name the ending of one",
        ),
        (
            [*sample("a", 0), *sample("b", 1), *sample("a", 2)],
            "two samples are called a, or its files are not next to each other",
        ),
    ],
)
def test_samples_that_cannot_be_used(tmp_path, members, text):
    path = put(tmp_path / "train.tar", members)
    assert refusal(DataError, lambda: sharded(tmp_path)) == f"{path}: {text}"


def test_other_endings_and_images_without_mask(tmp_path):
    put(tmp_path / "train.tar", [*sample("a", 0, mask="labels.tif"), *sample("b", 1)[:1]])
    data = sharded(tmp_path, masks=[".labels.TIF"], unlabelled="skip")
    assert data.names == ["a"]
    assert refusal(ConfigError, lambda: sharded(tmp_path, masks=["png"])) == (
        "data.images and data.masks have the same ending: png"
    )
    put(tmp_path / "train.tar", [("a.txt", b"")])
    assert refusal(DataError, lambda: sharded(tmp_path)).startswith(
        f"no samples in 1 shards: {tmp_path}/train.tar"
    )


def test_files_that_are_no_shard(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(b"no tar file" * 100)
    assert refusal(DataError, lambda: sharded(tmp_path)).startswith(f"cannot read the shard {path}: ")
    with tarfile.open(path, "w:gz"):
        pass
    assert refusal(DataError, lambda: sharded(tmp_path)).endswith(
        " -> gunzip it: samples are read in any order, which a compressed file does not allow"
    )
    put(path, [*sample("a", 0), *sample("b", 1)])
    raw = path.read_bytes()
    path.write_bytes(raw[: raw.rindex(b"IEND") - 10])
    assert (
        refusal(DataError, lambda: sharded(tmp_path))
        == f"cannot read the shard {path}: unexpected end of data"
    )


def test_a_shard_that_was_cut_since_and_a_damaged_image_are_named(tmp_path):
    path = put(tmp_path / "train.tar", [*sample("a", 0), ("b.jpg", b"no image"), sample("b", 1)[1]])
    data = sharded(tmp_path)
    assert refusal(DataError, lambda: data[1]).startswith(f"cannot read {path}#b.jpg: not a PNG, ")
    os.truncate(path, 600)
    assert "the shard ends in the middle of it" in refusal(DataError, lambda: data[0])


# --- what is kept


def test_where_samples_lie_is_read_once(tmp_path, monkeypatch):
    root, read, make = put_parts(tmp_path), [], shards._make_index

    def noted(path, *arguments, **options):
        read.append(path.name)
        return make(path, *arguments, **options)

    monkeypatch.setattr(shards, "_make_index", noted)
    first, second = sharded(root), sharded(root)
    assert read == ["train-000.tar", "train-001.tar"]
    assert second.names == first.names and second.fingerprint() == first.fingerprint()
    assert all(torch.equal(first[n].target, second[n].target) for n in range(5))
    # A shard that changed, other endings, and what is kept but damaged.
    put(root / "train-001.tar", [*sample("s0003", 7), *sample("new", 8), *sample("last", 9)])
    third = sharded(root)
    assert read[2:] == ["train-001.tar"] and third.names[3:] == ["s0003", "new", "last"]
    assert third.fingerprint() != first.fingerprint()
    assert third[3].target.tolist() == np.asarray(Image.open(io.BytesIO(sample("", 7)[1][1]))).tolist()
    sharded(root, images=["jpg"])
    assert len(read) == 5
    for file in (Path(os.environ["SEGKIT_CACHE"]) / shards.FOLDER).iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert sharded(root, images=["jpg"]).names == third.names and len(read) == 7


def test_a_place_that_cannot_be_written_is_no_trouble(tmp_path, monkeypatch):
    place = tmp_path / "full"
    place.write_text("a file where the folder should be")
    monkeypatch.setenv("SEGKIT_CACHE", str(place))
    assert len(sharded(put_parts(tmp_path / "shards"))) == 5


# --- the order


@pytest.mark.parametrize(
    ("lengths", "window"), [([50, 50, 50], 10), ([1, 1, 1], 5), ([7, 0, 30], 4), ([20], 1)]
)
def test_an_order_near_that_of_the_shards(lengths, window):
    total = sum(lengths)
    starts = np.cumsum([0, *lengths]).tolist()
    seen = set()
    for epoch in range(20):
        order = windowed_order(lengths, window, 0, epoch)
        assert order.dtype == np.int64 and sorted(order.tolist()) == list(range(total))
        assert order.tolist() == windowed_order(lengths, window, 0, epoch).tolist()
        files = sorted(
            (file for file, length in enumerate(lengths) if length),
            key=lambda file: np.mean(
                [np.flatnonzero(order == n)[0] for n in range(starts[file], starts[file + 1])]
            ),
        )
        plain = [n for file in files for n in range(starts[file], starts[file + 1])]
        moved = [abs(place - plain.index(n)) for place, n in enumerate(order.tolist())]
        if min(lengths) > 3 * window or len(lengths) == 1:
            assert max(moved) < 1.5 * window + 1
        seen.add(tuple(order.tolist()))
    assert len(seen) == (1 if window == 1 and len(lengths) == 1 else len(seen)) and (
        len(seen) > 3 or total == 20
    )
    assert windowed_order([40, 40], 20, 1, 0).tolist() != windowed_order([40, 40], 20, 2, 0).tolist()


def test_any_start_workers_and_processes_give_the_same_batches(tmp_path):
    data = sharded(put_parts(tmp_path, counts=(4, 3, 5)), shuffle=3)

    def names(start, count, workers=0, **options):
        batches = train_batches(
            data,
            augment=NoAugment(),
            batch_size=4,
            seed=1,
            start_batch=start,
            num_batches=count,
            workers=workers,
            **options,
        )
        return [
            (name, float(image.float().mean()))
            for batch in batches
            for name, image in zip(batch["name"], batch["image"], strict=True)
        ]

    whole = names(0, 6)
    assert [name for name, _ in whole[:12]] == [data.names[n] for n in data.epoch_order(1, 0)]
    assert names(0, 6, workers=2) == whole and names(4, 2) == whole[16:]
    ranks = [names(0, 6, rank=rank, world=2) for rank in (0, 1)]
    assert [each for n in range(6) for rank in ranks for each in rank[2 * n : 2 * n + 2]] == whole
    assert not hasattr(sharded(tmp_path, shuffle=None), "epoch_order")
