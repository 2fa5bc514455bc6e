"""Which checkpoint `--resume` takes, what it says about the others, and which changed settings it accepts."""

import copy
import os
import re

import pytest
import torch

from segkit.errors import CheckpointError, ConfigError, RunFolderInUse
from segkit.runs.checkpoint import save_numbered
from segkit.runs.folder import RunFolder
from segkit.runs.resume import compare_configs, describe_nothing, describe_skipped, find_resume, run_folder_of


def make_run(runs, name, *iterations, written=0):
    """A run folder with these checkpoints, written `written` seconds after the others."""
    run = runs / name
    (run / "checkpoints").mkdir(parents=True)
    for iteration in iterations:
        path = save_numbered(
            run / "checkpoints", {"iteration": iteration, "run": name}, iteration=iteration, keep=9
        )
        os.utime(path, (1_000_000 + written, 1_000_000 + written))
    if not iterations:
        os.utime(run / "checkpoints", (1_000_000 + written, 1_000_000 + written))
    return run


def damage(path):
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-20])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_auto_takes_the_newest_checkpoint_of_the_run_written_last(tmp_path):
    make_run(tmp_path / "ohem", "20260101-000000", 100, 900, written=5)
    newest = make_run(tmp_path / "ohem", "20260102-000000", 100, 200, written=10)
    make_run(tmp_path / "ce", "20260103-000000", 700, written=99)
    path, state, skipped = find_resume("auto", runs_dir=tmp_path, name="ohem")
    assert path == newest / "checkpoints" / "000200.pt"
    assert (state["run"], state["iteration"]) == ("20260102-000000", 200)
    assert skipped == []


def test_an_older_folder_that_was_resumed_later_is_the_newest(tmp_path):
    resumed = make_run(tmp_path / "ohem", "20260101-000000", 100, written=50)
    make_run(tmp_path / "ohem", "20260102-000000", 200, written=10)
    assert find_resume("auto", runs_dir=tmp_path, name="ohem").path == resumed / "checkpoints" / "000100.pt"


def test_the_name_of_the_folder_decides_between_equal_times(tmp_path):
    make_run(tmp_path / "ohem", "20260101-000000", 100)
    newest = make_run(tmp_path / "ohem", "20260102-000000", 100)
    assert find_resume("auto", runs_dir=tmp_path, name="ohem").path.is_relative_to(newest)


def test_auto_says_what_it_skipped(tmp_path):
    good = make_run(tmp_path / "ohem", "20260101-000000", 100, 200, written=0)
    bad = make_run(tmp_path / "ohem", "20260102-000000", 300, written=10)
    empty = make_run(tmp_path / "ohem", "20260103-000000", written=20)
    damage(good / "checkpoints" / "000200.pt")
    damage(bad / "checkpoints" / "000300.pt")
    found = find_resume("auto", runs_dir=tmp_path, name="ohem")
    assert found.path == good / "checkpoints" / "000100.pt"
    lines = describe_skipped(found.skipped)
    assert lines[0] == f"skipped   {empty}: no checkpoint in it"
    expected = [bad / "checkpoints" / "000300.pt", good / "checkpoints" / "000200.pt"]
    assert [item.path for item in found.skipped[1:]] == expected
    for line, path in zip(lines[1:], expected, strict=True):
        assert line.startswith(f"skipped   {path}: ")
        assert line.count(str(path)) == 1
        assert "damaged, it is cut off" in line


def test_auto_is_for_a_new_run_only_where_no_checkpoint_was_written(tmp_path):
    assert find_resume("auto", runs_dir=tmp_path, name="ohem") is None
    assert describe_nothing(tmp_path / "ohem") == f"resume    no run in {tmp_path}/ohem yet: a new one"
    empty = make_run(tmp_path / "ohem", "20260102-000000")
    assert find_resume("auto", runs_dir=tmp_path, name="ohem") is None
    assert describe_nothing(tmp_path / "ohem").endswith("/ohem has a checkpoint yet: a new one")
    with RunFolder.reopen(empty), pytest.raises(RunFolderInUse) as in_use:
        find_resume("auto", runs_dir=tmp_path, name="ohem")
    assert str(in_use.value).startswith(f"run folder {empty} is in use by process {os.getpid()} on ")
    assert ", and has no checkpoint yet\n   -> wait for it or stop it" in str(in_use.value)
    (empty / "checkpoints").rmdir()
    run = make_run(tmp_path / "ohem", "20260101-000000", 100)
    damage(run / "checkpoints" / "000100.pt")
    with pytest.raises(CheckpointError) as caught:
        find_resume("auto", runs_dir=tmp_path, name="ohem")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"no usable checkpoint in {tmp_path}/ohem"
    assert lines[1].startswith(f"   {run}/checkpoints/000100.pt: damaged, it is cut off")
    assert lines[2] == (
        "   -> leave out --resume to start a new run, or give the PATH of another run or checkpoint"
    )


def test_a_path_is_a_run_its_checkpoints_or_one_file(tmp_path):
    run = make_run(tmp_path / "ohem", "20260101-000000", 100, 200)
    make_run(tmp_path / "ohem", "20260102-000000", 300, written=10)
    options = {"runs_dir": tmp_path, "name": "other"}
    assert find_resume(run, **options).state["iteration"] == 200
    assert find_resume(str(run / "checkpoints"), **options).state["iteration"] == 200
    assert find_resume(run / "checkpoints" / "000100.pt", **options).state["iteration"] == 100
    damage(run / "checkpoints" / "000200.pt")
    found = find_resume(run, **options)
    assert found.state["iteration"] == 100
    assert [item.path.name for item in found.skipped] == ["000200.pt"]
    with pytest.raises(CheckpointError, match=r"000200\.pt: damaged, "):  # asked for by name: no substitute
        find_resume(run / "checkpoints" / "000200.pt", **options)


def test_a_path_without_a_checkpoint(tmp_path):
    run = make_run(tmp_path / "ohem", "20260101-000000", 100)
    with pytest.raises(CheckpointError) as caught:
        find_resume(tmp_path / "ohem" / "2026", runs_dir=tmp_path, name="ohem")
    assert str(caught.value) == (
        f"nothing to resume at {tmp_path}/ohem/2026: no such file or folder\n"
        f"   the newest run in {tmp_path}/ohem is {run}"
    )
    with pytest.raises(CheckpointError) as caught:
        find_resume(tmp_path / "ohem", runs_dir=tmp_path, name="ohem")
    assert f"   {tmp_path}/ohem: no checkpoint in it\n" in str(caught.value)
    assert str(caught.value).endswith(f"the newest run in {tmp_path}/ohem is {run}")


def test_the_run_folder_of_a_checkpoint(tmp_path, monkeypatch):
    run = make_run(tmp_path / "ohem", "20260101-000000", 100)
    assert run_folder_of(run / "checkpoints" / "000100.pt") is None  # no config.yaml: not a run folder
    (run / "config.yaml").touch()
    assert run_folder_of(run / "checkpoints" / "000100.pt") == run
    assert run_folder_of(run / "best.pt") == run
    assert run_folder_of(tmp_path / "copied.pt") is None
    monkeypatch.chdir(run / "checkpoints")
    assert run_folder_of("000100.pt") == run
    monkeypatch.chdir(tmp_path)
    relative = run.relative_to(tmp_path)
    assert run_folder_of(relative / "checkpoints" / "000100.pt") == relative  # shown as it was given


def test_the_state_goes_where_it_is_asked_to(tmp_path):
    run = make_run(tmp_path / "ohem", "20260101-000000")
    save_numbered(run / "checkpoints", {"weight": torch.ones(2)}, iteration=1)
    found = find_resume(run, runs_dir=tmp_path, name="ohem", map_location="meta")
    assert found.state["weight"].device.type == "meta"


CONFIG = {
    "name": "ohem",
    "seed": 0,
    "device": "auto",
    "model": {"name": "unet", "width": 32},
    "data": {"name": "folder", "classes": ["a", "b"], "weight_map": None, "mean": None},
    "loss": {"name": "ohem_ce", "thresh": 0.7, "n_min": "1/16"},
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    "schedule": {"name": "poly", "power": 0.9, "warmup": 100},
    "augment": {"name": "standard", "flip": True},
    "train": {
        "iterations": 2000,
        "batch_size": 16,
        "accumulate": 1,
        "amp": "auto",
        "ema": None,
        "workers": 2,
    },
    "eval": {"every": "10%", "batch_size": None, "images": 8, "calibration": False},
    "log": {"dir": "runs", "every": 50},
}


def changed(**changes):
    """CONFIG with `a__b=value` set."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *blocks, last = key.split("__")
        place = config
        for block in blocks:
            place = place[block]
        place[last] = value
    return config


def test_the_same_configuration_resumes_without_a_word():
    assert compare_configs(CONFIG, copy.deepcopy(CONFIG)) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"model__width": 64}, "model.width: 32 -> 64"),
        ({"data__classes": ["a", "b", "c"]}, "data.classes: ['a', 'b'] -> ['a', 'b', 'c']"),
        ({"data__weight_map": {"name": "boundary"}}, "data.weight_map.name: (absent) -> boundary"),
        ({"loss__thresh": 0.6}, "loss.thresh: 0.7 -> 0.6"),
        ({"train__batch_size": 8}, "train.batch_size: 16 -> 8"),
        ({"train__accumulate": 2}, "train.accumulate: 1 -> 2"),
        ({"train__amp": "off"}, "train.amp: auto -> off"),
    ],
)
def test_another_experiment_is_refused_unless_allowed(change, line):
    with pytest.raises(CheckpointError) as caught:
        compare_configs(CONFIG, changed(**change), checkpoint="runs/a/000100.pt")
    text = str(caught.value)
    assert caught.value.exit_code == 4
    assert text.splitlines()[0] == "checkpoint runs/a/000100.pt is from another experiment:"
    assert f"   {line}" in text.splitlines()
    allowed = re.findall(r"--allow-change (\S+)", text.splitlines()[-1])
    assert allowed[0] == line.split(":")[0]
    warnings = compare_configs(CONFIG, changed(**change), allow=allowed)  # the advice works
    assert f"resumed with another configuration: {line} (allowed)" in warnings


def test_what_the_state_of_the_optimizer_does_not_fit_cannot_be_allowed():
    with pytest.raises(CheckpointError, match=r"\n   optimizer\.name: sgd -> adamw\n"):
        compare_configs(CONFIG, changed(optimizer__name="adamw"), allow=["optimizer.name"])
    groups = changed(optimizer__groups={"stem": [0.1, 1]}, optimizer__nesterov=True)
    with pytest.raises(CheckpointError) as caught:
        compare_configs(CONFIG, groups, allow=["optimizer"], checkpoint="runs/a/000100.pt")
    assert str(caught.value).splitlines() == [
        "what the optimizer keeps in runs/a/000100.pt is of no use with",
        "   optimizer.groups: {} -> {'stem': [0.1, 1]}",
        "   -> restore these values, or begin a new run with the weights alone: model.init_from=RUN",
    ]


def test_all_refused_changes_are_listed_at_once():
    with pytest.raises(CheckpointError) as caught:
        compare_configs(CONFIG, changed(loss__thresh=0.6, seed=3, optimizer__lr=0.1), allow=["model"])
    assert str(caught.value) == (
        "the checkpoint is from another experiment:\n"
        "   seed: 0 -> 3\n"
        "   loss.thresh: 0.7 -> 0.6\n"
        "   -> restore these values, start a new run without --resume, or accept the change:\n"
        "      --allow-change seed --allow-change loss.thresh"
    )


def test_another_component_is_one_change():
    other = {**CONFIG, "loss": {"name": "ce", "smoothing": 0.1}}
    with pytest.raises(CheckpointError) as caught:
        compare_configs(CONFIG, other)
    assert str(caught.value).splitlines()[1] == "   loss.name: ohem_ce -> ce"
    assert str(caught.value).splitlines()[-1] == "      --allow-change loss.name"
    expected = ["resumed with another configuration: loss.name: ohem_ce -> ce (allowed)"]
    assert compare_configs(CONFIG, other, allow=["loss.name"]) == expected
    assert compare_configs(CONFIG, other, allow=["loss"]) == expected


def test_a_change_inside_a_list_of_blocks_is_named_by_its_place():
    terms = [{"name": "ce", "weight": 1.0}, {"name": "dice", "weight": {"name": "linear", "from": 0.0}}]
    before = {**CONFIG, "loss": {"name": "sum", "terms": terms}}
    after = copy.deepcopy(before)
    after["loss"]["terms"][1]["weight"]["from"] = 0.5
    with pytest.raises(CheckpointError) as caught:
        compare_configs(before, after)
    assert str(caught.value).splitlines()[1] == "   loss.terms.1.weight.from: 0.0 -> 0.5"
    assert compare_configs(before, after, allow=["loss.terms.1"])[0].endswith("0.0 -> 0.5 (allowed)")
    other = copy.deepcopy(before)
    other["loss"]["terms"][0]["backend"] = "banded"
    line = "loss.terms.0.backend: (absent) -> banded"
    assert compare_configs(before, other) == [f"resumed with another configuration: {line}"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"train__iterations": 4000}, "train.iterations: 2000 -> 4000"),
        ({"optimizer__lr": 0.1}, "optimizer.lr: 0.05 -> 0.1"),
        ({"schedule__warmup": 0}, "schedule.warmup: 100 -> 0"),
        ({"augment__flip": False}, "augment.flip: True -> False"),
        ({"eval__every": 100}, "eval.every: 10% -> 100"),
        ({"train__ema": 0.99}, "train.ema: None -> 0.99"),
        ({"train__unheard_of": 1}, "train.unheard_of: (absent) -> 1"),
        ({"loss__backend": "banded"}, "loss.backend: (absent) -> banded"),
    ],
)
def test_what_changes_only_the_rest_of_the_run_is_warned_about(change, line):
    assert compare_configs(CONFIG, changed(**change)) == [f"resumed with another configuration: {line}"]


def test_the_same_number_of_images_per_update_is_only_warned_about():
    assert compare_configs(CONFIG, changed(train__batch_size=8, train__accumulate=2)) == [
        "resumed with another configuration: train.batch_size: 16 -> 8",
        "resumed with another configuration: train.accumulate: 1 -> 2",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"train__workers": 0},
        {"data__cache": "disk"},
        {"log__every": 1},
        {"log__dir": "x"},
        {"device": "cpu"},
        {"eval__batch_size": 1},
        {"eval__images": 2},
        {"eval__calibration": True},
        {"name": "b"},
    ],
)
def test_what_changes_nothing_is_silent(change):
    assert compare_configs(CONFIG, changed(**change)) == []


def test_an_allowed_key_that_does_not_exist_is_a_mistake():
    with pytest.raises(ConfigError) as caught:
        compare_configs(CONFIG, CONFIG, allow=["loss.tresh", "qqqq", "train"])
    assert caught.value.problems == [
        "--allow-change loss.tresh: no such key, did you mean 'loss.thresh'?",
        "--allow-change qqqq: no such key",
    ]
