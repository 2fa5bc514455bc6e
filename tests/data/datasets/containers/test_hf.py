"""`hf`: tables that the library `datasets` itself writes, where it is installed."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from segkit.data.datasets.containers.hf import HuggingFace
from segkit.errors import ConfigError, DataError
from tests.data.containers.contained_folders import (
    CLASSES,
    IMAGES,
    LABELS,
    as_table,
    make_parquet,
    make_saved,
)


@pytest.fixture(autouse=True)
def library():
    found = pytest.importorskip("datasets", reason="the library datasets is not installed")
    found.disable_progress_bars()
    return found


def hf(root, split="train", **options):
    return HuggingFace(split, root=str(root), **options)


def refusal(error, call):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


def test_names_of_classes_and_shards(tmp_path):
    make_parquet(tmp_path)
    train, val = hf(tmp_path), hf(tmp_path, "val")
    assert (train.class_names, len(train), len(val)) == (tuple(CLASSES), 8, 2)
    assert (train.names[7], val.names[1]) == ("train_000007", "validation_000001")
    shard = tmp_path / "data/train-00001-of-00002.parquet"
    assert train.files(7) == (shard, tmp_path / "id2label.json")
    assert train[7].mask_path == shard.with_name(f"{shard.name}#label[7]")
    assert hf(tmp_path, classes=["a", "b", "c"]).class_names == ("a", "b", "c")


def test_names_of_classes_from_a_column_that_lists_them(tmp_path, library):
    features = library.Features(
        {
            "image": library.Image(),
            "annotation": library.Image(),
            "classes_on_image": library.Sequence(library.ClassLabel(names=CLASSES)),
            "scene": library.ClassLabel(names=["indoor", "outdoor"]),
        }
    )
    rows = [
        {
            "image": Image.fromarray(IMAGES[n]),
            "annotation": Image.fromarray(LABELS[n]),
            "classes_on_image": [0, 1, 2],
            "scene": 1,
        }
        for n in range(6)
    ]
    library.Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path))
    train, val = (hf(tmp_path, split, val_fraction=0.3, channels=1) for split in ("train", "val"))
    assert train.class_names == tuple(CLASSES)
    assert sorted([*train.names, *val.names]) == [f"train_{n:06}" for n in range(6)] and val.names
    for sample in val:
        np.testing.assert_array_equal(sample.target, LABELS[int(sample.name[-6:])])


def test_values_with_names_that_do_not_count_from_0(tmp_path):
    make_parquet(tmp_path)
    (tmp_path / "id2label.json").write_text(
        json.dumps({"0": "background", "2": "border", "1": "cell", "255": "x"})
    )
    dataset = hf(tmp_path)
    assert dataset.class_names == ("background", "cell", "border", "x")
    assert dataset.label_map.values[255] == 3
    (tmp_path / "id2label.json").write_text(json.dumps(["a"]))
    assert refusal(DataError, lambda: hf(tmp_path)) == (
        f'{tmp_path}/id2label.json: expected {{"0": NAME, "1": NAME ...}}'
    )


def test_cells_are_read_like_files(tmp_path, library):
    """16 bits, palettes and EXIF mean in a cell what they mean in a file."""
    import io

    def encoded(image, **options):
        file = io.BytesIO()
        image.save(file, **options)
        return {"bytes": file.getvalue(), "path": None}

    palette = Image.fromarray(LABELS[0]).convert("P")
    palette.frombytes(LABELS[0].tobytes())
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = IMAGES[0].astype(np.uint16) * 16
    rows = [
        {
            "image": encoded(Image.fromarray(deep), format="PNG"),
            "mask": encoded(palette, format="PNG"),
        },
        {
            "image": encoded(Image.fromarray(np.stack([IMAGES[1]] * 3, 2)), format="JPEG", exif=exif),
            "mask": encoded(Image.fromarray(np.rot90(LABELS[1], -1).copy()), format="PNG"),
        },
    ]
    features = library.Features({"image": library.Image(), "mask": library.Image()})
    library.Dataset.from_list(rows, features=features).to_parquet(
        str(tmp_path / "train-00000-of-00001.parquet")
    )
    train, val = (
        hf(
            tmp_path,
            split,
            classes=CLASSES,
            channels=1,
            val_fraction=0.5,
            split_seed=1,
            value_range=[0, 4080],
        )
        for split in ("train", "val")
    )
    first, second = sorted([*train, *val], key=lambda sample: sample.name)
    np.testing.assert_array_equal(first.image[0], IMAGES[0])
    np.testing.assert_array_equal(first.target, LABELS[0])
    assert second.image.shape == (1, 32, 24) and second.target.shape == (32, 24)


def test_columns_that_are_not_clear(tmp_path, library):
    table = as_table(slice(4)).rename_columns({"image": "a", "label": "b"})
    library.DatasetDict({"train": table, "test": table}).save_to_disk(str(tmp_path))
    assert refusal(DataError, lambda: hf(tmp_path, classes=CLASSES)) == (
        f"which columns of {tmp_path} are images, and which their labels? of images there are: a, b; others: none\n"
        "   -> data.image_column=NAME data.label_column=NAME"
    )
    assert len(hf(tmp_path, classes=CLASSES, image_column="a", label_column="b")) == 4
    assert refusal(DataError, lambda: hf(tmp_path, classes=CLASSES, image_column="c", label_column="b")) == (
        "data.image_column=c: is not there in train; columns of images: a, b"
    )


def test_what_is_missing(tmp_path):
    make_saved(tmp_path)
    assert refusal(ConfigError, lambda: hf(tmp_path)) == (
        f"nothing says what the classes are: {tmp_path} has no id2label.json, and no column lists them\n"
        "   -> data.classes=[NAME, NAME ...]"
    )
    assert refusal(DataError, lambda: hf(tmp_path, classes=CLASSES, train_split="all")) == (
        f"no split 'all' in {tmp_path}; there are: train, validation"
    )
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert refusal(ConfigError, lambda: hf(tmp_path, "val", classes=CLASSES)) == (
        "nothing says which rows validate: the splits are train -> data.val_split=NAME, or data.val_fraction=0.2"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(DataError, lambda: hf(empty)) == (
        f"no dataset_dict.json, state.json nor .parquet files in {empty}"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"0": "a", "1": null}', "'1': expected the name of a class, got None"),
        ('{"0": "a", "1": {"name": "b"}}', "'1': expected the name of a class, got {'name': 'b'}"),
        ('{"0": " ", "1": "b"}', "'0': expected the name of a class, got ' '"),
        ('{"0": "a", "00": "b", "1": "c"}', "expected at least 2 classes, each once"),
        ("{}", "expected at least 2 classes, each once"),
        ('["a", "b"]', 'expected {"0": NAME, "1": NAME ...}'),
    ],
)
def test_names_of_classes_that_are_none(tmp_path, content, message):
    make_parquet(tmp_path)
    (tmp_path / "id2label.json").write_text(content)
    assert refusal(DataError, lambda: hf(tmp_path)) == f"{tmp_path}/id2label.json: {message}"


#: What is done to a folder that save_to_disk wrote, and what is said of it.
SAVED = {
    "no splits": (
        lambda root: (root / "dataset_dict.json").write_text("{}"),
        '/dataset_dict.json: expected {"splits": [NAME, ...]}',
    ),
    "splits of text": (
        lambda root: (root / "dataset_dict.json").write_text('{"splits": "train"}'),
        '/dataset_dict.json: expected {"splits": [NAME, ...]}',
    ),
    "no list of files": (
        lambda root: (root / "train/state.json").write_text("{}"),
        "/train/state.json lists no files: damaged, or not of save_to_disk",
    ),
    "an empty list": (
        lambda root: (root / "validation/state.json").write_text('{"_data_files": []}'),
        "/validation was saved empty",
    ),
    "a file that is missing": (
        lambda root: (root / "train/data-00001-of-00002.arrow").unlink(),
        "/train/data-00001-of-00002.arrow, and there is no such file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAVED)
def test_saved_folders_that_are_damaged(tmp_path, case):
    change, message = SAVED[case]
    make_saved(tmp_path)
    change(tmp_path)
    found = refusal(DataError, lambda: hf(tmp_path, classes=CLASSES))
    assert f"{tmp_path}{message}" in found


def test_tables_without_rows_or_labels(tmp_path, library):
    make_parquet(tmp_path)
    path = tmp_path / "data/validation-00000-of-00001.parquet"
    as_table(slice(2)).remove_columns("label").to_parquet(str(path))
    assert refusal(DataError, lambda: hf(tmp_path, "val")) == (
        "data.label_column=label: is not there in validation; columns of images: image"
    )
    as_table(slice(2)).select([]).to_parquet(str(path))
    assert refusal(DataError, lambda: hf(tmp_path, "val")) == f"no rows: a table of {tmp_path} is empty"
    assert refusal(DataError, lambda: hf(tmp_path, image_column="label", label_column="label")) == (
        "data.image_column and data.label_column are both label: images cannot be their labels"
    )


def test_several_data_sets_in_a_folder(tmp_path):
    for name in ("fine", "coarse"):
        (tmp_path / name).mkdir()
        as_table(slice(4)).to_parquet(str(tmp_path / name / "train.parquet"))
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: fine\n  data_files: fine/*.parquet\n"
        "- config_name: coarse\n  data_files: coarse/*.parquet\n---\n"
    )
    options = {"classes": CLASSES, "val_fraction": 0.3, "channels": 1}
    assert refusal(DataError, lambda: hf(tmp_path, **options)) == (
        f"{tmp_path} holds several data sets: 'fine', 'coarse' -> data.config=NAME"
    )
    assert hf(tmp_path, config="coarse", **options).images[0].file == tmp_path / "coarse/train.parquet"


def test_another_table_of_the_same_time_is_read(tmp_path):
    """As `rsync -t` and archives make them; the library takes its copy of the earlier one."""
    path = tmp_path / "train.parquet"
    options = {"classes": CLASSES, "val_fraction": 0.3, "channels": 1}
    found = []
    for rows in (slice(0, 4), slice(5, 10)):
        as_table(rows).to_parquet(str(path))
        os.utime(path, (10**9, 10**9))
        dataset = hf(tmp_path, **options)
        row = int(dataset.names[0][-6:])
        np.testing.assert_array_equal(dataset[0].image[0], IMAGES[rows][row])
        found.append(dataset[0].image)
    assert not np.array_equal(*found)


def test_cells_that_hold_nothing(tmp_path):
    """Written by pyarrow alone, so that nothing says that the columns hold images."""
    parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    Image.fromarray(IMAGES[0]).save(tmp_path / "there.png")
    there, gone = ({"bytes": None, "path": name} for name in ("there.png", "gone.png"))
    content = {"bytes": (tmp_path / "there.png").read_bytes(), "path": None}
    rows = [
        {"image": there, "label": None},
        {"image": gone, "label": there},
        {"image": content, "label": content},
    ]
    shard = tmp_path / "train-00000-of-00001.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), shard)
    options = {"classes": CLASSES, "label_map": {"*": 0}, "channels": 1, "val_fraction": 0.4}
    found = {}
    for split in ("train", "val"):
        dataset = hf(tmp_path, split, **options)
        for n, name in enumerate(dataset.names):
            try:
                found[name] = dataset[n].image.shape
            except DataError as error:
                found[name] = str(error)
    assert found == {
        "train_000000": f"cannot read {shard}#label[0]: the cell is empty",
        "train_000001": f"cannot read {shard}#image[1]: it names {tmp_path}/gone.png, and there is no such file",
        "train_000002": (1, 24, 32),
    }


def test_without_the_library_it_is_said_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refusal(DataError, lambda: hf(tmp_path)) == (
        f"cannot read {tmp_path}: a data set of Hugging Face's\n"
        "   -> pip install datasets   (the extra `hf`) reads it"
    )


def test_a_damaged_table(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing more")
    assert refusal(DataError, lambda: hf(tmp_path, classes=CLASSES)).startswith(f"cannot read {tmp_path}: ")
