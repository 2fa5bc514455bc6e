"""Several data sets as one: classes joined by name, parts drawn by weight, and scores of each part."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from segkit.config.load import load_config
from segkit.data.augments.none import NoAugment
from segkit.data.datasets.folder import Folder
from segkit.data.datasets.mix import Mix, Part
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.bad_samples import describe_bad_sample, find_sources
from segkit.data.loading.draws import WeightedDraws
from segkit.data.loading.loader import train_batches, val_batches
from segkit.data.loading.sampler import EpochBatches
from segkit.data.loading.view import Subset
from segkit.data.scored_size import scored_size
from segkit.errors import ConfigError, DataError
from segkit.training.build_dataset import build_dataset, with_found

CLASSES = ["background", "line", "thing"]
#: shapes has background, circle, square, line, star.
SHAPES_MAP = {"circle": "thing", "square": "thing", "star": "ignore"}


@pytest.fixture
def root(tmp_path, save):
    """Three pairs per part of the classes sky, line, pole; sample n is all of class n, but for a corner to ignore."""
    for part in ("train", "val"):
        for n in range(3):
            mask = np.full((32, 32), n, dtype=np.uint8)
            mask[0, 0] = 255
            save(tmp_path / f"images/{part}/{n}.png", np.full((32, 32, 3), n, dtype=np.uint8))
            save(tmp_path / f"masks/{part}/{n}.png", mask)
    return tmp_path


def folder(root, split="train", **options):
    return Folder(split, root=str(root), **{"classes": ["sky", "line", "pole"], **options})


def mix(root, split="train", weights=(1.0, 1.0), **options):
    parts = [
        Part("shapes", Shapes(split, size=32, train_size=5, val_size=5), weights[0], SHAPES_MAP),
        Part("folder", folder(root, split), weights[1], {"sky": "background", "*": "ignore"}, "mine"),
    ]
    return Mix(split, **{"parts": parts, "classes": CLASSES, **options})


def test_classes_are_joined_by_name(root):
    data = mix(root)
    assert len(data) == 8 and data.part_names == ("shapes", "mine")
    assert [data.part_of(index) for index in range(8)] == ["shapes"] * 5 + ["mine"] * 3
    plain = Shapes("train", size=32, train_size=5, val_size=5)
    slow = {0: 0, 1: 2, 2: 2, 3: 1, 4: 255, 255: 255}
    for index in range(5):
        sample = data[index]
        assert sample.target.tolist() == [
            [slow[value] for value in row] for row in plain[index].target.tolist()
        ]
        assert (sample.name, sample.index) == (f"shapes/{plain[index].name}", index)
        assert torch.equal(sample.image, plain[index].image)
    for n, class_id in enumerate([0, 1, 255]):  # sky is the background, line a line, pole neither
        target = data[5 + n].target
        assert (
            target.dtype == torch.uint8 and target[0, 0] == 255 and (target.flatten()[1:] == class_id).all()
        )
        assert data[5 + n].name == f"mine/{n}" and data[5 + n].mask_path == root / f"masks/train/{n}.png"
    assert data.notes == [
        "mine has no class that is thing here: where its images show one, the label is that of another class, unless "
        "class_map ignores it"
    ]
    with pytest.raises(IndexError, match=r"^image 8 of 8$"):
        data[8]


def test_ids_beyond_a_byte(root):
    many = [f"c{n}" for n in range(300)]
    parts = [Part("folder", folder(root, classes=["c299", "c7", "c0"]))]
    data = Mix("train", parts=parts, classes=many, ignore_index=65535)
    assert [data[n].target[1, 1].item() for n in range(3)] == [299, 7, 0]
    assert data[0].target.dtype == torch.int64 and data[0].target[0, 0] == 65535
    wide = folder(root, classes=many, ignore_index=65535, label_map={255: "ignore"})
    back = Mix("train", parts=[Part("folder", wide, class_map={"*": "ignore"})], classes=["c2", "c1"])
    assert [back[n].target[1, 1].item() for n in range(3)] == [255, 1, 0] and back[
        0
    ].target.dtype == torch.uint8


@pytest.mark.parametrize(
    ("class_map", "message"),
    [
        (
            None,
            "parts[0] (folder): sky, pole are not in data.classes\n"
            "   -> class_map: {sky: CLASS} says what it is here, {sky: ignore} leaves it out, "
            '{"*": ignore} all such',
        ),
        ({"road": "line"}, "parts[0] (folder): class_map names 'road', but the classes are sky, line, pole"),
        (
            {"sky": "air"},
            "parts[0] (folder): class_map makes 'sky' 'air'; there are background, line, thing, ignore",
        ),
    ],
)
def test_classes_that_cannot_be_joined(root, class_map, message):
    with pytest.raises(ValueError) as raised:
        Mix("train", parts=[Part("folder", folder(root), class_map=class_map)], classes=CLASSES)
    assert str(raised.value) == message


def test_parts_that_do_not_fit_together(root):
    ignored = {"*": "ignore"}
    twice = [Part("folder", folder(root), class_map=ignored)] * 2
    grey = Part("folder", folder(root, channels=1), class_map=ignored, title="grey")
    for parts, message in (
        (twice, "two parts are called 'folder' -> give one another title"),
        (
            [twice[0], grey],
            "the images of folder have 3 channels, those of grey 1 -> channels: 3 in the block of the part",
        ),
    ):
        with pytest.raises(ValueError) as raised:
            Mix("train", parts=parts, classes=CLASSES)
        assert str(raised.value) == message
    with pytest.raises(ValueError, match="classes names 'a' twice"):
        Mix("train", parts=twice[:1], classes=["a", "a"])


def test_a_sample_that_cannot_be_used_names_its_part(root, save):
    path = root / "masks/train/1.png"
    path.write_bytes(b"no image")
    data = mix(root)
    with pytest.raises(DataError, match=f"^mine: cannot read {path}: "):
        data[6]
    save(path, np.full((32, 32), 7, dtype=np.uint8))
    with pytest.raises(DataError, match=r"^mine: label out of range: masks/train/1.png has ids 7 but"):
        data[6]


def test_files_and_parts_of_files_are_those_of_the_parts(root, tmp_path):
    own = folder(root)
    data = Mix("train", parts=[Part("folder", own, class_map={"*": "ignore"})], classes=CLASSES)
    assert data.files(1) == own.files(1) == tuple(find_sources(data, 1))
    part_by_part = mix(root)
    assert not hasattr(part_by_part, "files") and find_sources(part_by_part, 0) == ()
    assert find_sources(part_by_part, 6) == own.files(1)
    few = Subset(data, [2])
    assert few.files(0) == own.files(2) == tuple(find_sources(few, 0))


def test_bad_samples_are_called_by_their_files_and_those_without_by_their_part(root):
    """Each was "sample 6" where one of the parts has no files."""
    data, error = mix(root), DataError("broken")
    outer = Mix("train", parts=[Part("mix", data)], classes=CLASSES)
    for dataset, part in ((data, "shapes"), (outer, "mix/shapes")):
        assert describe_bad_sample(dataset, 6, error).file == str(root / "images/train/1.png")
        assert describe_bad_sample(dataset, 4, error).file == f"sample 4 ({part})"
        assert describe_bad_sample(Subset(dataset, [6, 4]), 1, error).file == f"sample 1 ({part})"
    assert describe_bad_sample(data.parts[0].dataset, 4, error).file == "sample 4"


# --- the order


@pytest.mark.parametrize(
    ("lengths", "weights"),
    [([5, 3], [1, 1]), ([5, 3], [1, 4]), ([40, 7, 1], [0.5, 3, 2]), ([1, 1], [1e-9, 1])],
)
def test_parts_are_drawn_by_weight_and_their_images_alike(lengths, weights):
    draws, total = WeightedDraws(lengths, weights), sum(lengths)
    epochs = 12
    orders = [draws.order(3, epoch) for epoch in range(epochs)]
    assert all(order.dtype == np.int64 and len(order) == total for order in orders)
    assert [order.tolist() for order in orders] == [
        WeightedDraws(lengths, weights).order(3, epoch).tolist() for epoch in range(epochs)
    ]
    assert orders[0].tolist() != draws.order(4, 0).tolist() or total == 2
    counts = Counter(np.concatenate(orders).tolist())
    start, expected = 0, sum(weight * length for weight, length in zip(weights, lengths, strict=True))
    for weight, length in zip(weights, lengths, strict=True):
        each = [counts[index] for index in range(start, start + length)]
        assert max(each) - min(each) <= 1
        assert abs(sum(each) - epochs * total * weight * length / expected) <= len(lengths)
        start += length


def test_equal_weights_show_each_image_once_an_epoch():
    order = WeightedDraws([5, 3, 9], [2.0, 2.0, 2.0]).order(0, 7)
    assert sorted(order.tolist()) == list(range(17))


def test_an_image_drawn_again_is_another_sample(root):
    data = mix(root, weights=(1.0, 9.0))
    order = EpochBatches(8, batch_size=4, seed=0, num_batches=4, draw=data.epoch_order)
    places = [place for batch in order for place in batch]
    assert len(set(places)) == 16, "none has the random numbers of another"
    assert [place[1] for place in places] == [*data.epoch_order(0, 0), *data.epoch_order(0, 1)]
    again = [place for place in places if len(place) == 3]
    assert again
    for epoch, index, times in again:
        assert [place[1] for place in places if place[0] == epoch].count(index) > times >= 1


def test_any_number_of_workers_and_any_start_give_the_same(root):
    data = mix(root, weights=(1.0, 2.5))

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
        return [name for batch in batches for name in batch["name"]]

    whole = names(0, 6)
    assert names(0, 6, workers=2) == whole and names(4, 2) == whole[16:]
    ranks = [names(0, 6, rank=rank, world=2) for rank in (0, 1)]
    assert sorted(ranks[0] + ranks[1]) == sorted(whole)


# --- parts in validation and in a configuration


def test_validation_says_of_which_part_an_image_is(root):
    data = mix(root, "val")
    batches = list(val_batches(data, batch_size=3))
    assert [part for batch in batches for part in batch["part"]] == ["shapes"] * 5 + ["mine"] * 3
    few = Subset(data, [7, 0])
    assert [few.part_of(n) for n in (0, 1)] == ["mine", "shapes"] and not hasattr(few, "epoch_order")
    assert list(few.files(0) if hasattr(few, "files") else []) == []


def overrides(root, *more):
    parts = [
        {"name": "shapes", "size": 32, "train_size": 5, "val_size": 5, "class_map": SHAPES_MAP},
        {
            "name": "folder",
            "root": str(root),
            "classes": ["sky", "line", "pole"],
            "class_map": {"sky": "background", "*": "ignore"},
            "title": "mine",
            "weight": 2.0,
        },
    ]
    return [f"data={json.dumps({'name': 'mix', 'classes': CLASSES, 'parts': parts})}", *more]


def test_a_configuration_builds_it(root):
    config = load_config("debug.yaml", overrides(root))
    built, plain = build_dataset(config, "train"), mix(root, weights=(1.0, 2.0))
    assert built.fingerprint() == plain.fingerprint() and built.part_names == plain.part_names
    assert built.epoch_order(0, 0).tolist() == plain.epoch_order(0, 0).tolist()
    for index in range(8):
        assert torch.equal(built[index].target, plain[index].target)


def test_mistakes_in_parts_are_named(root):
    for wrong, error, message in (
        (["data.parts[0].sise=3"], ConfigError, "sise"),
        (
            ["data.classes=[a, b]"],
            ConfigError,
            "data: mix: parts[0] (shapes): class_map makes 'circle' 'thing'",
        ),
        (
            ["data.parts=[]"],
            ConfigError,
            "data.parts: expected a list of dataset blocks, such as [{name: ...}]",
        ),
        (
            ["data.parts=[{name: folder, root: nowhere, classes: [a, b]}]"],
            DataError,
            "data.parts[0]: dataset folder",
        ),
        (["data.parts=[{name: shapes, size: many}]"], ConfigError, "data.parts[0].size"),
    ):
        with pytest.raises(error) as raised:
            build_dataset(load_config("debug.yaml", overrides(root, *wrong)), "train")
        assert message in str(raised.value), str(raised.value)


def test_resized_parts_are_not_scored_at_the_size_of_their_files(root):
    part = {"name": "folder", "root": str(root), "classes": ["a", "b", "c"], "resize": [16, 16]}
    data = json.dumps({"name": "mix", "classes": ["a", "b", "c"], "parts": [part]})
    with pytest.raises(
        ConfigError, match=r"^eval\.at=original cannot score data\.parts at the size of their files"
    ):
        build_dataset(load_config("debug.yaml", [f"data={data}", "eval.at=original"]), "val", scored=True)


def test_predictions_are_resized_as_all_parts_are(root):
    """Parts that differ say so, since then nobody knows; and what is said of scores tells it too."""

    def of(*sizes):
        block = {"name": "folder", "root": str(root), "classes": ["a", "b", "c"]}
        parts = [block | {"title": str(n), "resize": size} for n, size in enumerate(sizes)]
        nested = {"name": "mix", "classes": ["a", "b", "c"], "parts": parts[1:]}
        data = {**nested, "parts": [parts[0], nested]}
        config = load_config("debug.yaml", [f"data={json.dumps(data)}"])
        return build_dataset(config, "train"), scored_size(config.to_mapping())

    same, shown = of([16, 24], [16, 24])
    assert same.resize == (16, 24) and same.notes == [] and shown == "resized to 16 x 24"
    for sizes in (([16, 24], None), ([16, 24], [24, 16])):
        differing, shown = of(*sizes)
        assert differing.resize is None and "not resized alike" in differing.notes[-1]
        assert shown == "resized part by part"
    plain, shown = of(None, None)
    assert plain.resize is None and plain.notes == [] and shown == ""


def test_what_a_part_found_out_is_kept_in_its_block(root, save):
    for split in ("train", "val"):
        for n in range(3):
            save(root / f"images/{split}/{n}.png", np.full((32, 32), 1000 * n + 100, dtype=np.uint16))
    config = load_config("debug.yaml", overrides(root))
    data = build_dataset(config, "train")
    assert data.found_options == {"parts": [{}, {"value_range": [100.0, 2100.0]}]}
    kept = with_found(config.data.params, data.found_options)
    assert kept["parts"][1].params["value_range"] == [100.0, 2100.0]
    assert kept["parts"][0] == config.data.params["parts"][0] and kept["classes"] == CLASSES
    again = config.model_copy(update={"data": config.data.model_copy(update={"params": kept})})
    assert torch.equal(build_dataset(again, "train")[6].image, data[6].image)
