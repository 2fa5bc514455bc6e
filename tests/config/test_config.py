"""What a Config holds, where it is read from, and that it is frozen, copyable and loads back."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from segkit.config.load import config_from_mapping, load_config, load_data_config
from segkit.config.schema import Component, Params
from segkit.errors import ConfigError

GOOD = "loss: {name: ohem_ce}\ntrain: {iterations: 100}\n"


def test_defaults(folder):
    folder(run=GOOD)
    config = load_config("run.yaml")
    assert (config.name, config.seed, config.device) == ("run", 0, "auto")
    assert config.model.name == "unet" and config.data.name == "shapes" and config.augment.name == "standard"
    assert config.loss == Component(name="ohem_ce", params=dict(config.loss.params))
    assert config.loss.params["thresh"] == 0.7 and "num_classes" not in config.loss.params
    assert config.optimizer.name == "sgd"
    assert {key: config.optimizer.params[key] for key in ("lr", "momentum", "weight_decay")} == {
        "lr": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-4,
    }
    assert (config.schedule.name, config.schedule.warmup, config.schedule.warmup_factor) == ("poly", 0, 0.0)
    assert config.data.weight_map is None and config.data.mean is None
    assert config.train.model_dump() == {
        "iterations": 100,
        "epochs": None,
        "batch_size": 16,
        "accumulate": 1,
        "amp": "auto",
        "clip_norm": None,
        "ema": None,
        "aux_weight": 0.4,
        "compile": False,
        "channels_last": True,
        "workers": "auto",
        "checkpoint_every": "10%",
        "keep_checkpoints": 2,
        "determinism": "off",
        "sync_batchnorm": False,
        "find_unused_parameters": False,
        "shard": False,
    }
    assert config.eval.model_dump() == {
        "every": "10%",
        "batch_size": None,
        "images": 8,
        "calibration": False,
        "at": "network",
    }
    assert config.log.model_dump() == {
        "dir": "runs",
        "every": 50,
        "images_every": "25%",
        "tensorboard": True,
        "wandb": None,
        "mlflow": None,
    }


def test_optimizer_without_a_name_keeps_the_default_block(folder):
    folder(run=GOOD + "optimizer: {lr: 0.1}\n", named=GOOD + "optimizer: {name: SGD, lr: 0.1}\n")
    run, named = load_config("run").optimizer, load_config("named").optimizer
    assert (run.params["lr"], run.params["momentum"]) == (0.1, 0.9)
    assert (named.name, named.params["lr"], named.params["momentum"]) == ("sgd", 0.1, 0)


def test_frozen_and_copyable(folder):
    folder(run=GOOD)
    config = load_config("run")
    with pytest.raises(ValidationError):
        config.seed = 3
    with pytest.raises(ValidationError):
        config.train.batch_size = 3
    for change in (lambda p: p.update(a=1), lambda p: p.__setitem__("a", 1), lambda p: p.pop("thresh")):
        with pytest.raises(TypeError, match="a configuration is read-only"):
            change(config.loss.params)
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert twin == config and type(twin.loss.params) is Params
        assert twin.origin_of("loss.name") == "run.yaml:1"
    assert dict(**config.loss.params) == config.loss.params


def test_equality_is_about_settings(folder):
    folder(run=GOOD, other=GOOD + "name: run\n", third=GOOD + "name: run\nseed: 1\n")
    assert load_config("run") == load_config("other")
    assert load_config("run") != load_config("third")
    assert load_config("run") != load_config("run").to_mapping()


def test_mapping_round_trip(folder):
    folder(
        run=GOOD + "optimizer: {name: adam, betas: [0.8, 0.99]}\n"
        "data: {name: folder, root: 'no', classes: [a, '1e5'], label_map: {0: a, 255: ignore}, mean: [0.5]}\n"
    )
    config = load_config("run")
    assert config.optimizer.params["betas"] == (0.8, 0.99)
    mapping = config.to_mapping()
    assert mapping["optimizer"]["betas"] == [0.8, 0.99]
    assert mapping["data"]["label_map"] == {0: "a", 255: "ignore"}
    assert config_from_mapping(mapping, origin="test") == config
    assert yaml.safe_load(config.to_yaml()) == mapping
    Path("again.yaml").write_text(config.to_yaml())
    assert load_config("again.yaml") == config


def test_names_are_case_insensitive(folder):
    folder(run="loss: {name: OHEM_CE}\ntrain: {epochs: 2}\n")
    config = load_config("run")
    assert config.loss.name == "ohem_ce"
    assert config.train.epochs == 2.0


def test_path_bare_name_and_run_folder(folder, tmp_path):
    folder(run=GOOD)
    (tmp_path / "runs/a").mkdir(parents=True)
    (tmp_path / "runs/a/config.yaml").write_text(GOOD + "name: a\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/mine.yml").write_text(GOOD)
    assert load_config(tmp_path / "run.yaml") == load_config("run.yaml") == load_config("run")
    assert load_config("runs/a").name == load_config(tmp_path / "runs/a").name == "a"
    assert load_config("mine.yml").name == "mine"
    assert load_config("ohem").name == load_config("ohem.yaml").name == "ohem"
    assert load_config("camvid/ohem.yaml").name == "camvid-ohem"


def test_missing_file_names_the_nearest(folder, mistake, first_line):
    folder()
    lines = mistake("ohme.yaml").splitlines()
    assert lines[0] == "no configuration 'ohme.yaml', did you mean 'ohem.yaml'?"
    assert lines[1].startswith(
        "   in configs/: bootstrapped.yaml, ce.yaml, debug.yaml, ohem.yaml, weighted_mask.yaml, "
    )
    assert first_line("camvid/ohm") == "no configuration 'camvid/ohm', did you mean 'camvid/ohem.yaml'?"
    assert first_line("zzzzzz") == "no configuration 'zzzzzz'"


def test_folder_that_is_no_run(folder, tmp_path, mistake):
    folder()
    (tmp_path / "empty").mkdir()
    assert mistake("empty") == "empty is a folder without a config.yaml, so it is not a run folder"
    assert mistake(".") == ". is a folder without a config.yaml, so it is not a run folder"
    assert mistake("/") == "/ is a folder without a config.yaml, so it is not a run folder"


def test_the_run_folder_that_one_is_in(folder, tmp_path, monkeypatch):
    folder(**{"config": GOOD})
    assert load_config(".") == load_config("config.yaml")


def test_unusable_files(folder, mistake, first_line):
    folder(empty="# nothing\n", items="- a\n", word="loss")
    Path("bytes.yaml").write_bytes(b"seed: 1\nname: \xff\n")
    assert mistake("empty") == "empty.yaml: the file is empty\n   start with:  extends: ohem.yaml"
    expected = "items.yaml:1:1: expected blocks such as `train:`, one below the other\n      1 | - a"
    assert mistake("items") == expected
    assert first_line("word") == "word.yaml:1:1: expected blocks such as `train:`, one below the other"
    assert mistake("bytes") == "bytes.yaml: is not UTF-8 text: byte 0xff in line 2"


def test_syntax_error_and_bad_override_together(folder, mistakes):
    folder(run="loss: [ohem_ce\n")
    assert [line.splitlines()[0] for line in mistakes("run", "foo")] == [
        "run.yaml:2:1: YAML syntax: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        "command line: 'foo': expected key=value, such as train.batch_size=8",
    ]


def test_data_alone_are_checked_without_the_other_blocks(folder):
    folder(
        half="model: {name: unheard_of}\nloss: {name: ohem, thres: 2}\ntrain: {iterations: 5}\n"
        "data: {name: folder, root: mine, classes: [a, b], weight_map: {name: constant}}\n"
    )
    config = load_data_config("half.yaml", ["data.cache=disk"])
    assert (config.data.name, config.data.cache, config.data.params["root"]) == ("folder", "disk", "mine")
    assert config.data.weight_map.name == "constant" and config.train.iterations == 5
    assert (config.model.name, config.model.params, config.loss.params) == ("unheard_of", {}, {"thres": 2})
    assert config.origin_of("data.root") == "half.yaml:4" and config.origin_of("data.cache") == "command line"
    with pytest.raises(ConfigError, match="no model named 'unheard_of'"):
        load_config("half.yaml")
    for mistake in ("data.clases=[a, b]", "train.iterations=0"):
        with pytest.raises(ConfigError, match=re.escape(mistake.partition("=")[0].removeprefix("data."))):
            load_data_config("half.yaml", [mistake])
