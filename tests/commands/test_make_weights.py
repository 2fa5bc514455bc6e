"""`scripts/make_weights.py`: every map is there in the end, made once, and nothing of anybody else is touched."""

import json
import os
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.commands.weights.make import make_weights
from segkit.commands.weights.maker import WeightMaker
from segkit.config.load import config_from_mapping
from segkit.data.loading.view import read_sample
from segkit.errors import CannotWrite, ConfigError, DataError
from segkit.registry import WEIGHT_MAPS
from segkit.training.build import build_data
from tests.paths import ROOT
from tests.processes import run_python
from tests.scripts import run_script

CLASSES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path_factory.mktemp("caches")))


@pytest.fixture
def made(monkeypatch):
    """The names of the maps that are made in this process, in order."""
    names = []
    make = WeightMaker.__call__

    def call(self, index):
        names.append(self.dataset.names[index])
        return make(self, index)

    monkeypatch.setattr(WeightMaker, "__call__", call)
    return names


def config_of(root, *, weight_map=None, **data):
    block = {"name": "folder", "root": str(root), "classes": CLASSES, **data}
    block["weight_map"] = {"name": "boundary"} if weight_map is None else weight_map
    return config_from_mapping(
        {
            "device": "cpu",
            "data": block,
            "loss": {"name": "weighted_mask_ce"},
            "model": {"name": "unet", "width": 4, "depth": 1},
            "train": {"iterations": 1, "batch_size": 2, "workers": 0},
        },
        origin="test",
    )


def run(root, *, output=None, workers=0, suffix=".png", overwrite=False, **config):
    return make_weights(
        config_of(root, **config),
        source="test",
        output=output,
        workers=workers,
        suffix=suffix,
        overwrite=overwrite,
    )


def check_maps(root, *, weight_map, exact, output=None):
    """The maps in the files are those that are made while training."""
    here, there = (
        build_data(config_of(root, weight_map=w)) for w in (weight_map, {"name": "file", "root": output})
    )
    for part in ("train", "val"):
        dataset = getattr(here, part)
        for index in range(len(dataset)):
            expected = read_sample(dataset, index, here.weight_map).weight
            found = read_sample(dataset, index, there.weight_map).weight
            step = 0 if exact else float(expected.max()) / 65535
            assert (found - expected).abs().max() <= 0.501 * step


@pytest.mark.parametrize("suffix", [".png", ".npy"])
@pytest.mark.parametrize("workers", [0, 2])
def test_files_hold_what_would_be_computed(make_folder, suffix, workers, capsys):
    root = make_folder()
    weight_map = {"name": "unet_border", "sigma": 3.0}
    assert run(root, weight_map=weight_map, suffix=suffix, workers=workers) == 0
    check_maps(root, weight_map=weight_map, exact=suffix == ".npy")
    assert sorted(p.name for p in (root / "weights/train").iterdir()) == sorted(
        [*(f"00{n}{suffix}" for n in range(4)), "make_weights.jpg", "make_weights.json", "make_weights.jsonl"]
    )


def test_label_map_of_numbers_and_the_rest(make_folder, made):
    root, label_map = make_folder(), {0: 0, "*": 1}
    assert run(root, label_map=label_map) == 0 == run(root, label_map=dict(reversed(label_map.items())))
    assert len(made) == 6


def test_what_is_printed_and_noted(make_folder, capsys):
    root = make_folder(train=2, val=1, ids=(0, 1))
    weight_map = {"name": "class_balanced", "class_weights": [1.0, 3.0, 0.0]}
    run(root, weight_map=weight_map)
    counts = np.bincount(build_data(config_of(root)).val[0].target.flatten(), minlength=2)
    weight = counts * [1, 3]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "weights   class_balanced   (test)"
    assert lines[-8:] == [
        f"val       1 maps, 1 of them made now, in {root}/weights/val",
        f"          weights 1 to 3, mean {weight.sum() / counts.sum():.4g}, in steps of at most 4.6e-05",
        "          class  of the pixels  of the weight",
        f"          b     {100 * counts[1] / counts.sum():12.2f} % {100 * weight[1] / weight.sum():12.2f} %",
        f"          a     {100 * counts[0] / counts.sum():12.2f} % {100 * weight[0] / weight.sum():12.2f} %",
        f"          c     {0:12.2f} % {0:12.2f} %",
        f"          pictures in {root}/weights/val/make_weights.jpg",
        "use them  data.weight_map='{name: file}'",
    ]
    summary = json.loads((root / "weights/val/make_weights.json").read_text())
    assert summary["weight_map"] == weight_map
    assert (summary["maps"], summary["lowest"], summary["highest"]) == (1, 1.0, 3.0)
    assert summary["classes"]["b"]["share_of_weight"] == pytest.approx(weight[1] / weight.sum())


def test_second_run_makes_nothing(make_folder, made, capsys):
    root = make_folder()
    run(root)
    assert made == ["000", "001", "002", "003", "000", "001"]
    before = {path: path.stat().st_mtime_ns for path in (root / "weights").rglob("*.png")}
    first = capsys.readouterr().out
    run(root)
    assert len(made) == 6
    assert capsys.readouterr().out == first.replace("4 of them made", "0 of them made").replace(
        "2 of them made", "0 of them made"
    )
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_changed_mask_other_options_or_a_lost_file_make_maps_anew(make_folder, made, save):
    root = make_folder()
    run(root)
    made.clear()
    save(root / "masks/train/002.png", np.ones((24, 32), np.uint8))
    (root / "weights/val/001.png").unlink()
    run(root)
    assert made == ["002", "001"]
    check_maps(root, weight_map={"name": "boundary"}, exact=False)
    made.clear()
    run(root, weight_map={"name": "boundary", "sigma": 1.0})
    assert len(made) == 6
    check_maps(root, weight_map={"name": "boundary", "sigma": 1.0}, exact=False)
    assert len((root / "weights/train/make_weights.jsonl").read_text().splitlines()) == 4


def test_maps_of_other_labels_are_not_used(make_folder, save):
    root = make_folder()
    run(root)
    mask = save(root / "masks/train/002.png", np.ones((24, 32), np.uint8))
    data = build_data(config_of(root, weight_map={"name": "file"}))
    assert read_sample(data.train, 1, data.weight_map).weight is not None
    with pytest.raises(DataError) as caught:
        read_sample(data.train, 2, data.weight_map)
    assert str(caught.value) == (
        f"{root}/weights/train/002.png was made from other labels than {mask} has now\n"
        "   -> python scripts/make_weights.py, with the configuration of these maps, makes those anew that need it;\n"
        "      data.weight_map.any_labels=true uses them as they are"
    )
    data = build_data(config_of(root, weight_map={"name": "file", "any_labels": True}))
    assert read_sample(data.train, 2, data.weight_map).weight.max() > 1
    data = build_data(config_of(root, weight_map={"name": "file"}, resize=[12, 16]))
    assert read_sample(data.train, 1, data.weight_map).weight.shape == (12, 16)
    run(root)
    check_maps(root, weight_map={"name": "boundary"}, exact=False)


@pytest.mark.parametrize("cache", ["off", "ram", "disk"])
@pytest.mark.parametrize("is_mix", [False, True])
def test_maps_of_other_labels_are_not_used_for_resized_images_either(make_folder, save, cache, is_mix):
    """What a map was made from are labels of the size of the file."""
    root = make_folder()
    folder = {"name": "folder", "root": str(root), "classes": CLASSES}

    def of(weight_map, **options):
        part = {**folder, "title": "mine", "class_map": {"b": "c", "c": "b"}, **options}
        mix = {"name": "mix", "classes": CLASSES, "parts": [part]}
        data = {**(mix if is_mix else {**folder, **options}), "weight_map": weight_map, "cache": cache}
        mapping = {
            "device": "cpu",
            "loss": {"name": "ce"},
            "train": {"iterations": 1, "batch_size": 1},
            "data": data,
        }
        return config_from_mapping(mapping, origin="test")

    made = of({"name": "boundary"})
    assert make_weights(made, source="test", output=None, workers=0, suffix=".png", overwrite=False) == 0
    save(root / "masks/train/002.png", np.ones((24, 32), np.uint8))
    data = build_data(of({"name": "file"}, resize=[12, 16]))
    for _ in range(2):
        assert read_sample(data.train, 1, data.weight_map).weight.shape == (12, 16)
        with pytest.raises(DataError, match=r"train/002\.png was made from other labels"):
            read_sample(data.train, 2, data.weight_map)


def test_class_weights_of_other_labels_make_all_maps_anew(make_folder, made, save):
    root = make_folder()
    weight_map = {"name": "class_balanced"}
    run(root, weight_map=weight_map)
    made.clear()
    save(root / "masks/train/002.png", np.ones((24, 32), np.uint8))
    run(root, weight_map=weight_map)
    assert len(made) == 6
    check_maps(root, weight_map=weight_map, exact=False)


def test_other_format_replaces_the_maps(make_folder, made):
    root = make_folder()
    run(root)
    run(root, suffix=".npy")
    assert len(made) == 12
    assert not list((root / "weights").rglob("*.png"))
    check_maps(root, weight_map={"name": "boundary"}, exact=True)


def test_record_that_was_cut_short(make_folder, made):
    """As if the machine had stopped while a line was written: that map is made again, the others are known."""
    root = make_folder()
    run(root)
    record = root / "weights/train/make_weights.jsonl"
    record.write_bytes(record.read_bytes()[:-20])
    (root / "weights/train/003.png").unlink()
    made.clear()
    run(root)
    assert made == ["003"]
    made.clear()
    run(root)
    assert made == []


def test_noted_but_not_written(make_folder, made):
    """As if the machine had stopped between the line and the file: the older map is still known as made here."""
    root = make_folder()
    run(root)
    record = root / "weights/train/make_weights.jsonl"
    entry = json.loads(record.read_text().splitlines()[0])
    with record.open("a") as file:
        file.write(json.dumps({**entry, "sha256": "0", "made_by": "other"}) + "\n")
    made.clear()
    run(root)
    assert made == []


def files_of(root):
    return {p: p.read_bytes() for p in (root / "weights").rglob("*") if p.suffix in (".png", ".npy")}


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_weights_of_somebody_else_are_left_alone(make_folder, made, save, suffix):
    root = make_folder()
    own = root / f"weights/train/001{suffix}"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    (root / f"weights/train/002{suffix}").write_bytes(b"mine")
    with pytest.raises(ConfigError) as caught:
        run(root)
    assert str(caught.value) == (
        f"{own} (and 1 more) is there, and was not made by this script\n"
        "   -> --output FOLDER writes elsewhere, --overwrite replaces all maps"
    )
    assert made == [] and set(files_of(root).values()) == {b"mine"}
    run(root, overwrite=True)
    assert len(made) == 6
    assert {path.suffix for path in files_of(root)} == {".png"}
    check_maps(root, weight_map={"name": "boundary"}, exact=False)


def test_map_that_somebody_changed_is_left_alone(make_folder):
    root = make_folder()
    run(root)
    (root / "weights/val/000.png").write_bytes(b"mine")
    with pytest.raises(ConfigError) as caught:
        run(root, weight_map={"name": "constant"})
    assert str(caught.value).startswith(
        f"{root}/weights/val/000.png is there, and was not made by this script"
    )


def test_output_elsewhere(make_folder, tmp_path_factory, capsys):
    root, output = make_folder(), tmp_path_factory.mktemp("read here")
    run(root, output=output)
    assert not (root / "weights").exists()
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"use them  data.weight_map='{{name: file, root: \"{output}\"}}'"
    )
    check_maps(root, weight_map={"name": "boundary"}, exact=False, output=str(output))


def test_two_samples_never_get_one_file(tmp_path, save, capsys):
    """Where the split comes first, what tells both parts apart lies above what `--output` keeps."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        save(tmp_path / f"data/{split}/images/0.png", np.zeros((9, 9, 3), dtype=np.uint8))
        save(tmp_path / f"data/{split}/masks/0.png", random.integers(0, 3, (9, 9)).astype(np.uint8))
    output = tmp_path / "else"
    with pytest.raises(ConfigError) as caught:
        run(tmp_path / "data", output=output, suffix=".npy")
    assert str(caught.value) == (
        f"the maps of two samples would be one file, {output}/weights/0: 0 ({tmp_path}/data/train/weights/0) and "
        f"0 ({tmp_path}/data/val/weights/0)\n"
        "   -> data.weights='weights/{split}' keeps them apart, here and in training"
    )
    assert not output.exists()
    apart = {"weights": "weights/{split}"}
    assert run(tmp_path / "data", output=output, suffix=".npy", **apart) == 0
    here, there = (
        build_data(config_of(tmp_path / "data", weight_map=block, **apart))
        for block in (None, {"name": "file", "root": str(output)})
    )
    for split in ("train", "val"):
        samples = [read_sample(getattr(data, split), 0, data.weight_map) for data in (here, there)]
        assert torch.equal(samples[0].weight, samples[1].weight)
    assert run(tmp_path / "data", suffix=".npy") == 0, "beside the images they are apart"


def test_parts_of_a_mix_never_share_a_file(make_folder, tmp_path, save, capsys):
    """Neither below one output, nor if they read the same files and mean other classes by them."""
    roots = [str(make_folder()), str(tmp_path / "other")]
    for split in ("train", "val"):
        save(tmp_path / f"other/images/{split}/000.png", np.zeros((9, 9, 3), dtype=np.uint8))
        save(tmp_path / f"other/masks/{split}/000.png", np.eye(9, dtype=np.uint8))

    def make(places, output, **options):
        parts = [
            {
                "name": "folder",
                "root": root,
                "classes": CLASSES,
                "title": title,
                "class_map": {"b": other, "c": "c"},
            }
            | {name: value.format(title=title, split="{split}") for name, value in options.items()}
            for root, title, other in zip(places, ("one", "two"), ("b", "a"), strict=True)
        ]
        block = {"name": "mix", "classes": CLASSES, "parts": parts, "weight_map": {"name": "boundary"}}
        mapping = {"loss": {"name": "ce"}, "train": {"iterations": 1, "batch_size": 1}, "data": block}
        config = config_from_mapping(mapping, origin="test")
        return make_weights(config, source="test", output=output, workers=0, suffix=".npy", overwrite=False)

    for places, output in ((roots, tmp_path / "else"), ((roots[0], roots[0]), None)):
        with pytest.raises(
            ConfigError, match=r"would be one file.*\n.*weights/\{split\}/NAME\" in each part"
        ):
            make(places, output)
        assert make(places, output, weights="weights/{split}/{title}") == 0


def test_where_nothing_can_be_written(make_folder):
    root = make_folder()
    (root / "weights").write_text("a file")
    with pytest.raises(CannotWrite) as caught:
        run(root)
    problem, disk, advice = str(caught.value).splitlines()
    assert problem == f"cannot write {root}/weights/train: a file is where a folder should be"
    assert disk.startswith("   disk ")
    assert advice == "   -> --output FOLDER writes elsewhere"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"weight_map": {"name": "file"}},
            "data.weight_map.name=file reads maps, and makes none\n   -> data.weight_map='{name: unet_border}'",
        ),
        (
            {"weight_map": None},
            "data.weight_map is not set, so there is nothing to make\n   -> data.weight_map='{name: unet_border}'",
        ),
    ],
)
def test_nothing_to_make(make_folder, changes, text):
    config = config_of(make_folder(), **changes)
    if changes["weight_map"] is None:
        config = config.model_copy(update={"data": config.data.model_copy(update={"weight_map": None})})
    with pytest.raises(ConfigError) as caught:
        make_weights(config, source="test", output=None, workers=0, suffix=".png", overwrite=False)
    assert str(caught.value) == text


def test_generated_images_have_no_place_for_maps():
    config = config_from_mapping(
        {
            "data": {"name": "shapes", "size": 32, "weight_map": {"name": "boundary"}},
            "loss": {"name": "weighted_mask_ce"},
            "train": {"iterations": 1},
        },
        origin="test",
    )
    with pytest.raises(ConfigError) as caught:
        make_weights(config, source="test", output=None, workers=0, suffix=".png", overwrite=False)
    assert str(caught.value) == (
        "data.name=shapes has no files that maps could lie beside\n"
        "   -> train with this weight map as it is: it is made while images are loaded"
    )


def test_resized_masks_are_refused(make_folder):
    root = make_folder()
    with pytest.raises(DataError) as caught:
        run(root, resize=[48, 64])
    assert str(caught.value) == (
        f"{root}/masks/train/000.png has 32x24 pixels, and data.resize changes that; a weight file has "
        "the size of the mask\n   -> data.resize=null here; in training, maps are resized with the masks"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_mask_stops_it_or_is_left_out(make_folder, save, workers, capsys):
    root = make_folder()
    save(root / "masks/train/001.png", np.full((24, 32), 9, np.uint8))
    with pytest.raises(DataError) as caught:
        run(root, workers=workers)
    reason = "label out of range: masks/train/001.png has ids 9"
    assert str(caught.value).startswith(reason)
    assert (root / "weights/train/000.png").exists()
    assert run(root, workers=workers, on_bad_sample="skip") == 0
    assert f"\n          1 left out: {reason}" in capsys.readouterr().out
    assert sorted(p.name for p in (root / "weights/train").glob("*.png")) == ["000.png", "002.png", "003.png"]


class Interrupted:
    """A weight map during whose third the user presses Ctrl-C."""

    def __call__(self, sample):
        if sample.index == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return torch.full(tuple(sample.target.shape), 2.0)


def test_interrupted_run_says_so_and_the_next_one_goes_on(make_folder, made, monkeypatch, capsys):
    WEIGHT_MAPS.names()
    monkeypatch.setitem(WEIGHT_MAPS._constructors, "interrupted", Interrupted)
    root = make_folder(train=6)
    assert run(root, weight_map={"name": "interrupted"}) == 130
    assert made == ["000", "001", "002"]
    assert capsys.readouterr().out.splitlines()[-1] == (
        "stopped   3 maps are there -> the same command makes the others"
    )
    monkeypatch.setattr(Interrupted, "__call__", lambda self, sample: torch.ones(sample.target.shape))
    assert run(root, weight_map={"name": "interrupted"}) == 0
    assert made[3:] == ["003", "004", "005", "000", "001"]


USER_MAP = '''
import os
import signal

import torch

from segkit.registry import WEIGHT_MAPS
from segkit.types import PositiveFloat


@WEIGHT_MAPS.register("ramp")
class Ramp:
    """Heavier to the right; when the fourth map is made for the first time, the user presses Ctrl-C."""

    def __init__(self, *, slope: PositiveFloat, pressed: str):
        self.slope, self.pressed = slope, pressed

    def __call__(self, sample):
        if sample.index == 3 and not os.path.exists(self.pressed):
            open(self.pressed, "x").close()
            os.kill(os.getppid(), signal.SIGINT)
        height, width = sample.target.shape
        return (1 + self.slope * torch.arange(width)).expand(height, width).float()
'''


@pytest.fixture
def forgotten(monkeypatch):
    """What the user's file registers and imports is gone after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    WEIGHT_MAPS._constructors.pop("ramp", None)
    sys.modules.pop("ramp", None)


def test_user_map_with_workers_stopped_and_continued(forgotten, make_folder, tmp_path_factory, capsys):
    """Ctrl-C while maps are made by other processes: no traceback, whole files only, and the next run goes on."""
    root, folder = make_folder(train=30), tmp_path_factory.mktemp("user")
    (folder / "ramp.py").write_text(USER_MAP)
    (folder / "c.yaml").write_text(
        json.dumps(config_of(root).to_mapping() | {"name": "c"}).replace('"boundary"', '"constant"')
    )
    weight_map = json.dumps({"name": "ramp", "slope": 2.0, "pressed": str(folder / "pressed")})
    arguments = ("--config", folder / "c.yaml", "--import", folder / "ramp.py", "--workers", "2")
    done = run_python(ROOT / "scripts/make_weights.py", *arguments, f"data.weight_map={weight_map}")
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    there = {path: path.stat().st_mtime_ns for path in (root / "weights").rglob("*.png")}
    assert 1 <= len(there) < 32
    assert done.stdout.splitlines()[-1] == (
        f"stopped   {len(there)} maps are there -> the same command makes the others"
    )
    assert not list((root / "weights").rglob("*.tmp"))
    assert run_script("make_weights", *arguments, f"data.weight_map={weight_map}") == 0
    made_now = f"\ntrain     30 maps, {30 - len(there)} of them made now, in "
    assert made_now in capsys.readouterr().out
    assert len(list((root / "weights").rglob("*.png"))) == 32
    assert all(path.stat().st_mtime_ns == time for path, time in there.items())
    assert np.asarray(Image.open(root / "weights/val/001.png")).max() == 65535


def test_wrong_number_of_workers(capsys):
    assert run_script("make_weights", "--config", "c.yaml", "--workers", -1) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("error: --workers must be at least 0, got -1")
