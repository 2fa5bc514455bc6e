"""`coco`: which pixels are of which class, which images are of which part, and what is said of wrong files."""

import json
import pickle

import numpy as np
import pytest

from segkit.config.load import load_config
from segkit.data.datasets.coco import Coco
from segkit.data.loading.view import TrainView, ValView
from segkit.errors import ConfigError, DataError
from segkit.training.build import build_data
from tests.data.annotations.coco_files import (
    SIZE,
    annotation,
    box,
    coco,
    image_entry,
    runs_of,
    save_image,
    small_target,
    write_json,
    write_small,
)

FILES = {"train_annotations": "train.json", "val_annotations": "val.json"}
IGNORED = 255


def open_small(root, split="train", **options):
    write_small(root)
    return Coco(split, root=str(root), **{**FILES, **options})


def open_one(root, annotations, *, size=SIZE, names=("cat", "dog"), **options):
    """One image with these annotations, to be divided."""
    for n in (1, 2):
        save_image(root / f"{n}.png", size)
    write_json(root / "all.json", coco([image_entry(n, size=size) for n in (1, 2)], annotations, names))
    options = {"train_annotations": "all.json", "val_annotations": "all.json", **options}
    return Coco("train", root=str(root), **options)


def target_of(dataset, index=0) -> list:
    return dataset[index].target.numpy()


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_pixel_is_of_the_class_of_the_object_that_covers_it(tmp_path, split):
    dataset = open_small(tmp_path, split)
    assert dataset.class_names == ("background", "cat", "dog", "tree") and dataset.ignore_index == IGNORED
    assert len(dataset) == (2 if split == "train" else 1)
    for n in range(len(dataset)):
        sample = dataset[n]
        assert sample.target.dtype.is_signed is False and sample.image.shape == (3, *SIZE)
        np.testing.assert_array_equal(sample.target.numpy(), small_target())
    assert dataset.names == (["1", "2"] if split == "train" else ["3"])
    assert dataset.files(0) == (dataset.image_paths[0], tmp_path / f"{split}.json")


def test_of_overlapping_objects_the_smaller_is_above_or_the_later(tmp_path):
    objects = [annotation(1, 1, [box(4, 4, 8, 8)]), annotation(1, 2, [box(0, 0, 32, 24)])]
    assert set(target_of(open_one(tmp_path, objects))[4:8, 4:8].flat) == {1}
    assert set(target_of(open_one(tmp_path, objects, overlap="order")).flat) == {2}


def test_the_smaller_is_told_by_pixels_and_not_by_what_the_file_says(tmp_path):
    objects = [annotation(1, 1, [box(4, 4, 8, 8)], area=900), annotation(1, 2, [box(0, 0, 32, 24)], area=1)]
    assert set(target_of(open_one(tmp_path, objects))[4:8, 4:8].flat) == {1}


def test_a_crowd_is_of_its_class_unless_it_is_to_be_ignored(tmp_path):
    assert set(target_of(open_small(tmp_path))[20, ::2].tolist()) == {3}
    ignored = open_small(tmp_path, crowd="ignore")
    assert set(target_of(ignored)[20].tolist()) == {0, IGNORED} and ignored.num_classes == 4


def test_what_nothing_covers_may_be_ignored_or_of_a_class(tmp_path):
    ignored = open_small(tmp_path, background="ignore")
    assert ignored.class_names == ("cat", "dog", "tree")
    assert sorted(set(target_of(ignored).flat)) == [0, 1, 2, IGNORED] and target_of(ignored)[0, 0] == IGNORED
    dogs = open_small(tmp_path, background="dog")
    assert dogs.class_names == ("dog", "cat", "tree") and target_of(dogs)[0, 0] == 0


def test_a_category_called_background_is_what_nothing_covers(tmp_path):
    objects = [annotation(1, 1, [box(0, 0, 4, 4)]), annotation(1, 2, [box(8, 8, 12, 12)])]
    dataset = open_one(tmp_path, objects, names=("cat", "background"))
    assert dataset.class_names == ("background", "cat")
    assert target_of(dataset)[10, 10] == 0 and target_of(dataset)[2, 2] == 1


def test_categories_become_one_class_or_none(tmp_path):
    dataset = open_small(tmp_path, label_map={"cat": "animal", "dog": "animal", "tree": "ignore"})
    assert dataset.class_names == ("background", "animal")
    assert sorted(set(target_of(dataset).flat)) == [0, 1, IGNORED]
    rest = open_small(tmp_path, label_map={"dog": "dog", "*": "background"})
    assert rest.class_names == ("background", "dog") and target_of(rest)[4, 4] == 0


def test_listed_classes_have_their_ids_and_the_others_must_be_explained(tmp_path):
    dataset = open_small(
        tmp_path, classes=["tree", "background", "cat"], label_map={"*": "ignore"}, background="background"
    )
    assert (
        target_of(dataset)[20, 0] == 0
        and target_of(dataset)[0, 0] == 1
        and target_of(dataset)[5, 8] == IGNORED
    )
    with pytest.raises(DataError) as raised:
        open_small(tmp_path, classes=["background", "cat"])
    assert str(raised.value) == (
        f"category without a class: {tmp_path}/train.json has 2 annotations of 'dog', which is none of data.classes "
        "(background, cat), and of 1 more\n"
        '   -> add it to data.classes, or data.label_map={dog: CLASS or ignore}, or "*" for the rest'
    )


def test_supercategories(tmp_path):
    dataset = open_small(tmp_path, categories="supercategory")
    assert dataset.class_names == ("background", "thing")
    np.testing.assert_array_equal(target_of(dataset), small_target() > 0)


def test_validation_has_the_classes_of_training_by_name(tmp_path):
    write_small(tmp_path)
    other = coco([image_entry(3)], [annotation(3, 1, [box(2, 2, 4, 4)])], names=("dog",))
    write_json(tmp_path / "val.json", other)
    dataset = Coco("val", root=str(tmp_path), **FILES)
    assert dataset.class_names == ("background", "cat", "dog", "tree") and target_of(dataset)[2, 2] == 2
    assert dataset.found_options == {"classes": ["background", "cat", "dog", "tree"]}
    kept = Coco(
        "val", root=str(tmp_path), **{**FILES, "train_annotations": "gone.json"}, **dataset.found_options
    )
    assert target_of(kept)[2, 2] == 2


def test_polygons_of_several_parts_slightly_outside_and_run_lengths(tmp_path):
    mask = np.zeros(SIZE, dtype=bool)
    mask[5:9, 30:] = True
    objects = [
        annotation(1, 1, [box(-0.4, 20, 4, 24.3), box(28, 0, 32.6, 3)]),
        annotation(1, 2, {"size": list(SIZE), "counts": runs_of(mask)}),
    ]
    target = target_of(open_one(tmp_path, objects))
    expected = np.zeros(SIZE, dtype=np.uint8)
    expected[20:, :4] = expected[:3, 28:] = 1
    expected[5:9, 30:] = 2
    np.testing.assert_array_equal(target, expected)


def test_more_than_255_classes(tmp_path):
    names = [f"class {n}" for n in range(300)]
    with pytest.raises(ConfigError, match="data\\.ignore_index=255 is also the id of the class 'class 254'"):
        open_one(tmp_path, [], names=names)
    dataset = open_one(tmp_path, [annotation(1, 300, [box(2, 2, 4, 4)])], names=names, ignore_index=65535)
    assert target_of(dataset)[2, 2] == 300


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy
def test_files_are_drawn_as_pycocotools_draws_them(tmp_path):
    tools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    random = np.random.default_rng(0)
    objects = []
    for n in range(40):
        polygons = [
            random.uniform(-2, 25, 2 * int(random.integers(3, 9))).round(2).tolist() for _ in range(n % 3 + 1)
        ]
        blocks = np.repeat(np.repeat(random.random((6, 8)) < 0.3, 4, axis=0), 4, axis=1)
        runs = {"size": list(SIZE), "counts": runs_of(blocks)}
        if n % 8 == 7:
            packed = tools.maskUtils.frPyObjects(runs, *SIZE)
            runs = {"size": list(SIZE), "counts": packed["counts"].decode()}
        objects.append(
            {
                **annotation(n % 2 + 1, n % 2 + 1, runs if n % 4 == 3 else polygons, iscrowd=int(n % 4 == 3)),
                "id": n,
            }
        )
    dataset = open_one(tmp_path, objects, overlap="order")
    theirs = tools.COCO(str(tmp_path / "all.json"))
    for n in (1, 2):
        expected = np.zeros(SIZE, dtype=np.uint8)
        for item in theirs.imgToAnns[n]:
            expected[theirs.annToMask(item) > 0] = item["category_id"]
        np.testing.assert_array_equal(target_of(dataset, n - 1), expected)
        assert 0 < (expected == n).mean() < 1


def test_bad_samples_are_left_out_where_that_is_asked_for(tmp_path):
    write_small(tmp_path)
    for part in ("train", "val"):
        path = tmp_path / f"{part}.json"
        content = json.loads(path.read_text())
        content["annotations"][0]["segmentation"] = [[1, 2, 3]]
        if part == "val":
            save_image(tmp_path / "val/4.png")
            content["images"].append(image_entry(4))
        write_json(path, content)
    data = {"name": "coco", "root": str(tmp_path), **FILES, "on_bad_sample": "skip"}
    config = write_json(tmp_path / "config.yaml", json.dumps({"extends": "debug.yaml", "data": data}))
    built = build_data(load_config(config, []))
    train = TrainView(built.train, weight_map=None, augment=lambda sample: sample, seed=0, skip_bad=True)
    loaded = train.load((0, 0))
    assert loaded.sample["name"] == "2" and "annotations[0]" in loaded.bad[0].reason
    val = ValView(built.val, skip_bad=True)
    assert val.load(0).sample is None and val.load(1).sample["name"] == "4"


def test_data_sets_are_sent_to_other_processes(tmp_path):
    dataset = pickle.loads(pickle.dumps(open_small(tmp_path)))
    np.testing.assert_array_equal(target_of(dataset), small_target())
