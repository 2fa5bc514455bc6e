"""The layers of a configuration: `extends` and overrides."""

import pytest

from segkit.config.load import load_config
from segkit.config.schema import Component

GOOD = "loss: {name: ohem_ce}\ntrain: {iterations: 100}\n"


def test_extends_merges_mappings_and_replaces_the_rest(folder):
    folder(
        base=GOOD + "name: base\naugment: {scale: [0.5, 1.0], hflip: 0.1}\nlog: {every: 7}\n",
        run="extends: base.yaml\naugment: {scale: [1.0, 1.5]}\nseed: 2\ntrain: {batch_size: 3}\n",
    )
    config = load_config("run")
    assert (config.name, config.seed) == ("run", 2), "the name belongs to one file"
    assert (config.train.iterations, config.train.batch_size, config.log.every) == (100, 3, 7)
    assert (config.augment.params["scale"], config.augment.params["hflip"]) == ([1.0, 1.5], 0.1)


def test_no_option_survives_into_another_loss(folder):
    folder(
        base="loss: {name: ohem_ce, thresh: 0.9, class_weights: [1, 2, 3, 4, 5]}\ntrain: {iterations: 9}\n",
        run="extends: base\nloss: {name: ce}\n",
        same="extends: base\nloss: {name: OHEM_CE, n_min: 5}\n",
        deep="extends: run\nloss: {label_smoothing: 0.1}\n",
    )
    run, deep = load_config("run").loss.params, load_config("deep").loss.params
    assert "thresh" not in run and (run["class_weights"], run["label_smoothing"]) == (None, 0.0)
    assert "thresh" not in deep and (deep["class_weights"], deep["label_smoothing"]) == (None, 0.1)
    same = load_config("same").loss.params
    assert (same["thresh"], same["n_min"], same["class_weights"]) == (0.9, 5, [1, 2, 3, 4, 5])


def test_a_default_name_counts_as_a_name(folder):
    folder(base=GOOD + "schedule: {power: 0.5, warmup: 5}\n", run="extends: base\nschedule: {name: cosine}\n")
    assert load_config("base").schedule.params["power"] == 0.5
    run = load_config("run").schedule
    assert (run.params, run.warmup) == ({"final": 0.0}, 0)


def test_saying_the_name_that_a_block_has_changes_nothing_else(folder):
    folder(
        base=GOOD + "optimizer: {lr: 0.1}\n",
        run="extends: base\noptimizer: {name: SGD}\n",
        other="extends: base\noptimizer: {name: adamw}\n",
    )
    base = load_config("base")
    assert (base.optimizer.params["momentum"], base.optimizer.params["lr"]) == (0.9, 0.1)
    assert load_config("run").optimizer == base.optimizer
    assert load_config("base", ["optimizer.name=sgd"]).optimizer == base.optimizer
    assert load_config("run").origin_of("optimizer.momentum") == "default"
    assert load_config("other").optimizer.params["lr"] != 0.1


def test_nested_block_is_replaced_alone(folder):
    folder(
        base=GOOD + "data: {size: 64, weight_map: {name: boundary, sigma: 2.0}}\n",
        run="extends: base\ndata: {weight_map: {name: constant}}\n",
        none="extends: base\ndata: {weight_map: null}\n",
    )
    data = load_config("run").data
    assert data.params["size"] == 64
    assert data.weight_map == Component(name="constant", params={"value": 1.0})
    assert load_config("none").data.weight_map is None


def test_extends_is_relative_to_its_file_then_configs(folder, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/base.yaml").write_text(GOOD + "seed: 1\n")
    (tmp_path / "sub/run.yaml").write_text("extends: base.yaml\n")
    folder(base=GOOD + "seed: 2\n", ohem="extends: ohem.yaml\nseed: 5\n")
    assert load_config("sub/run.yaml").seed == 1
    mine = load_config("ohem.yaml")
    assert (mine.seed, mine.loss.name) == (5, "ohem_ce"), "a file of the same name extends the shipped one"


def test_extends_mistakes(folder, mistake, first_line):
    folder(
        a="extends: b.yaml\n",
        b="seed: 1\nextends: a.yaml\n",
        itself="extends: itself.yaml\n",
        missing="extends: ohme.yaml\n",
        many="extends: [a, b]\n",
        here="extends: .\n",
        nothing="extends:\nseed: 1\n",
    )
    assert mistake("a") == (
        "b.yaml:2:10: extends goes round in a circle: a.yaml -> b.yaml -> a.yaml\n      2 | extends: a.yaml"
    )
    assert first_line("itself") == (
        "itself.yaml:1:10: extends goes round in a circle: itself.yaml -> itself.yaml"
    )
    assert (
        first_line("missing") == "missing.yaml:1:10: extends: no file 'ohme.yaml', did you mean 'ohem.yaml'?"
    )
    assert first_line("here") == "here.yaml:1:10: extends: no file '.'"
    assert first_line("many") == "many.yaml:1:10: extends: expected the name of one file, got [a, b]"
    nothing = "nothing.yaml:1:9: extends: expected the name of one file, got null\n      1 | extends:\n   in configs/: "
    assert mistake("nothing").startswith(nothing)


def test_mistakes_in_a_base_file_name_the_base_file(folder, first_line):
    folder(base=GOOD + "sed: 1\n", run="extends: base\n")
    assert first_line("run") == "base.yaml:3:1: unknown key 'sed', did you mean 'seed'?"


def test_overrides_are_yaml(folder):
    folder(run=GOOD)
    config = load_config(
        "run",
        [
            "loss.thresh=1e-1",
            "augment.scale=[1, 2]",
            "train.clip_norm=null",
            "name=x=y",
            "train={batch_size: 4}",
        ],
    )
    assert config.loss.params["thresh"] == 0.1
    assert config.augment.params["scale"] == [1.0, 2.0]
    assert (config.name, config.train.batch_size, config.train.iterations) == ("x=y", 4, 100)


def test_later_overrides_win(folder):
    folder(run=GOOD)
    assert load_config("run", ["seed=1", "seed=2"]).seed == 2


def test_overrides_reach_entries_of_a_mapping(folder):
    folder(run=GOOD + "data: {name: folder, root: x, classes: [a, b], label_map: {0: a}}\n")
    config = load_config("run", ["data.label_map.255=ignore", "data.label_map.0=b"])
    assert config.data.params["label_map"] == {0: "b", 255: "ignore"}


@pytest.mark.parametrize("turn", [1, -1])
def test_a_changed_name_replaces_the_block_whatever_the_order(folder, turn):
    folder(run="loss: {name: ohem_ce, thresh: 0.9}\ntrain: {iterations: 9}\n")
    overrides = ["loss.label_smoothing=0.1", "loss.name=ce"][::turn]
    params = load_config("run", overrides).loss.params
    assert "thresh" not in params and params["label_smoothing"] == 0.1
    overrides = ["loss.label_smoothing=0.1", "loss={name: ce, label_smoothing: 0.2}"][::turn]
    assert load_config("run", overrides).loss.params["label_smoothing"] == 0.1


@pytest.mark.parametrize("turn", [1, -1])
def test_outer_blocks_are_named_before_inner_ones(folder, turn):
    folder(run=GOOD + "data: {size: 64}\n")
    overrides = ["data.weight_map.name=boundary", "data.name=folder", "data.root=x", "data.classes=[a, b]"]
    data = load_config("run", overrides[::turn]).data
    assert (data.name, data.weight_map.name) == ("folder", "boundary")


@pytest.mark.parametrize("turn", [1, -1])
def test_a_list_is_replaced_before_what_reaches_into_it(folder, turn):
    """Else one of the two would be gone, and nothing would say so."""
    folder(run="loss: {name: sum, terms: [{name: ce}, {name: dice}]}\ntrain: {iterations: 9}\n")
    terms = "loss.terms=[{name: ce}, {name: dice, weight: 3}]"
    (_, named) = load_config("run", [terms, "loss.terms.1.name=lovasz"][::turn]).loss.params["terms"]
    assert named.name == "lovasz"
    (first, second) = load_config("run", [terms, "loss.terms.0.weight=2"][::turn]).loss.params["terms"]
    assert (first.params["weight"], second.params["weight"]) == (2.0, 3.0)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_name_within_a_block_of_an_override_comes_first_too(folder, turn):
    folder(run="loss: {name: pixel, criterion: {name: ce}}\ntrain: {iterations: 9}\n")
    block = "loss={criterion: {name: focal}, selection: {name: ohem}, scope: image}"
    overrides = [block, "loss.criterion.gamma=3", "loss.selection.thresh=0.5"][::turn]
    params = load_config("run", overrides).loss.params
    assert params["criterion"].params["gamma"] == 3.0
    assert params["selection"].params["thresh"] == 0.5
    assert params["scope"] == "image"


def test_what_an_override_reaches_in_a_list_is_of_the_command_line(folder):
    folder(run=GOOD + "data: {mean: [0.1, 0.2, 0.3]}\n")
    config = load_config("run", ["data.mean.0=0.9"])
    assert (config.data.mean, config.origin_of("data.mean")) == ([0.9, 0.2, 0.3], "command line")


def test_the_same_name_replaces_nothing(folder):
    folder(run="loss: {name: ohem_ce, thresh: 0.9}\ntrain: {iterations: 9}\n")
    assert load_config("run", ["loss.name=ohem_ce"]).loss.params["thresh"] == 0.9


@pytest.mark.parametrize("text", ["model.init_from=", " model.init_from= "])
def test_an_override_without_a_value_is_none(folder, mistake, text):
    """`model.init_from=$WEIGHTS` without such a variable would train from scratch."""
    folder(run=GOOD)
    assert mistake("run", text) == (
        f"command line: '{text}': nothing stands behind the =: is a variable not set? -> model.init_from=null, if that "
        "is meant"
    )


def test_override_mistakes(folder, mistakes):
    folder(run=GOOD)
    problems = mistakes(
        "run", "train", "=3", "a..b=1", "extends=ce", "seed='", "train.iters=3", "loss.thresh=x"
    )
    assert [problem.splitlines()[0] for problem in problems] == [
        "command line: 'train': expected key=value, such as train.batch_size=8",
        "command line: '=3': expected key=value, such as train.batch_size=8",
        "command line: 'a..b=1': expected key=value, such as train.batch_size=8",
        "command line: 'extends=ce': extends belongs in a file; --config chooses the file",
        "command line: 'seed='': YAML syntax: while scanning a quoted scalar, found unexpected end of stream",
        "command line: 'train.iters=3': unknown key 'train.iters', did you mean 'iterations'?",
        "command line: 'loss.thresh=x': loss.thresh: expected a number in (0, 1], got 'x'",
    ]


def test_option_of_the_old_loss_after_a_change(folder, mistake):
    folder(run=GOOD)
    assert mistake("run", "loss.name=ce", "loss.thresh=0.6") == (
        "command line: 'loss.thresh=0.6': unknown key 'loss.thresh'\n"
        "   ce takes: class_weights, label_smoothing, scope, backend   (python train.py --list losses)"
    )
