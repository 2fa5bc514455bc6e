"""What people read when a configuration is wrong, word for word."""

from pathlib import Path

import pytest

from segkit.config.load import config_from_mapping, load_config
from segkit.errors import ConfigError
from segkit.registry import LOSSES

GOOD = "loss: {name: ohem_ce}\ntrain: {iterations: 100}\n"


def test_the_message_for_an_unknown_key(folder, mistake):
    folder(run="train: {iterations: 9}\nloss:\n  name: ohem_ce\n  treshold: 0.7\n")
    assert mistake("run") == (
        "run.yaml:4:3: unknown key 'loss.treshold', did you mean 'thresh'?\n"
        "      4 |   treshold: 0.7\n"
        "   ohem_ce takes: thresh, n_min, class_weights, scope, allow_inactive, backend\n"
        "      (python train.py --list losses)"
    )


def test_the_message_for_an_unknown_name(folder, mistake, monkeypatch):
    monkeypatch.setattr(LOSSES, "names", lambda: ["ce", "ohem_ce"])
    folder(run="train: {iterations: 9}\nloss:\n  name: ohm_ce\n  thresh: 0.7\n")
    assert mistake("run") == (
        "run.yaml:3:9: no loss named 'ohm_ce', did you mean 'ohem_ce'?\n"
        "      3 |   name: ohm_ce\n"
        "   there are: ce, ohem_ce\n"
        "   (python train.py --list losses)"
    )


def test_everything_wrong_is_said_at_once(folder, mistakes):
    folder(
        run="seed: -1\n"
        "device: gpu\n"
        "modle: {}\n"
        "loss: {name: ohem_ce, thresh: abc, num_classes: 4}\n"
        "train: {iters: 300, amp: fp32}\n"
        "augment: {scale: [1, x]}\n"
        "schedule: {name: ploy}\n"
    )
    assert [problem.splitlines()[0] for problem in mistakes("run", "train.batch_size=0")] == [
        "run.yaml:1:7: seed: expected an integer in [0, 4294967295], got -1",
        "run.yaml:2:9: device: expected one of auto, cpu, mps, cuda, cuda:0, cuda:1, ..., got 'gpu'",
        "run.yaml:3:1: unknown key 'modle', did you mean 'model'?",
        "run.yaml:4:31: loss.thresh: expected a number in (0, 1], got 'abc'",
        "run.yaml:4:36: 'loss.num_classes' is set by segkit from the data, remove it",
        "run.yaml:5:9: unknown key 'train.iters', did you mean 'iterations'?",
        "run.yaml:5:26: train.amp: expected one of auto, off, bf16, fp16, got 'fp32'",
        "run.yaml:6:22: augment.scale[1]: expected a number > 0, got 'x'",
        "run.yaml:7:18: no schedule named 'ploy', did you mean 'poly'?",
        "command line: 'train.batch_size=0': train.batch_size: expected an integer >= 1, got 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {batch_size: '3'}",
            "train.batch_size: expected an integer >= 1, got '3'\n   -> 3 without quotes",
        ),
        ("train: {batch_size: true}", "train.batch_size: expected an integer >= 1, got true"),
        ("train: {batch_size: 1e1}", "train.batch_size: expected an integer >= 1, got 10.0\n   -> 10"),
        ("train: {batch_size: }", "train.batch_size: expected an integer >= 1, got null"),
        ("train: {batch_size: [4]}", "train.batch_size: expected an integer >= 1, got [4]"),
        ("train: {compile: no}", "train.compile: expected true or false, got 'no'\n   -> false"),
        ("train: {compile: 1}", "train.compile: expected true or false, got 1"),
        ("train: {ema: 1.0}", "train.ema: expected a number in [0, 1) or null, got 1.0"),
        ("train: {epochs: .inf, iterations: null}", "train.epochs: expected a number > 0 or null, got .inf"),
        ("train: {keep_checkpoints: 1}", "train.keep_checkpoints: expected an integer >= 2, got 1"),
        (
            "train: {checkpoint_every: 110%}",
            "train.checkpoint_every: expected a number of iterations or a share of the run such as 10%, got '110%'",
        ),
        ("eval: {every: -3}", "eval.every must not be negative, got -3"),
        (
            "eval: {every: [1]}",
            "eval.every: expected a number of iterations or a share of the run such as 10%, got [1]",
        ),
        ("log: {dir: 3}", "log.dir: expected a string, got 3"),
        ("log: 3", "log: expected a block, got 3"),
        (
            "name: a/b",
            "name: expected a name for a folder, without / and not starting with a dot, got 'a/b'",
        ),
        (
            "name: " + "\u65e5" * 90,
            "name must have at most 255 bytes to name a folder, got 270 (in 90 characters)",
        ),
        (
            r'name: "\ud800"',
            r"name: expected text that a file can be named after, got '\ud800'",
        ),
        ("data: {mean: [0.1, a, b]}", "data.mean[1]: expected a number, got 'a'; and 1 more in it"),
        ("data: {std: [0]}", "data.std[0]: expected a number > 0, got 0"),
        (
            "data: {name: folder, root: x, classes: [a, b], label_map: {1.5: a}}",
            "data.label_map.1.5: a key must be an integer or a string",
        ),
        (
            "data: {weight_map: boundary}",
            "data.weight_map: expected a block with a name, got 'boundary'\n   -> weight_map: {name: boundary}",
        ),
        (
            "data: {weight_map: {sigma: 3}}",
            "'data.weight_map.name' is missing\n   there are: boundary, class_balanced, constant, file, unet_border\n"
            "   (python train.py --list weight_maps)",
        ),
        (
            "data: {weight_map: {name: 3}}",
            "data.weight_map.name: expected a string, got 3\n   (python train.py --list weight_maps)",
        ),
        (
            "data: {weight_map: {name: boundary, sigma: 0}}",
            "data.weight_map.sigma: expected a number > 0, got 0",
        ),
        ("data: {name: folder, classes: [a, b]}", "'data.root' is missing: folder needs a string"),
        ("data: {split: train}", "'data.split' is set by segkit, remove it"),
        ("optimizer: {params: []}", "'optimizer.params' is set by segkit from the model, remove it"),
        ("model: [1]", "model: expected a block with a name, got [1]\n   -> model: {name: ...}"),
        (
            "model: width 4",
            "model: expected a block with a name, got 'width 4'\n   -> width: 4   (with a colon and a space behind it)",
        ),
        (
            "train: epochs:5",
            "train: expected a block, got 'epochs:5'\n   -> epochs: 5   (with a colon and a space behind it)",
        ),
        (
            "loss: {name:ce}",
            "unknown key 'loss.name:ce'\n   -> name: ce   (with a colon and a space behind it)",
        ),
        (
            "schedule: null",
            "schedule: expected a block with a name, got null\n   -> schedule: {name: ...}\n"
            "   there are: constant, cosine, linear, poly, step\n   (python train.py --list schedules)",
        ),
        (
            "schedule: {name: }",
            "'schedule.name' is missing\n   there are: constant, cosine, linear, poly, step\n"
            "   (python train.py --list schedules)",
        ),
        (
            "loss: {name: pixel, selection: {name: null}}",
            "'loss.selection.name' is missing\n   there are: all, loss_max, ohem, top_k, top_share\n"
            "   (python train.py --list selections)",
        ),
        (
            "train:",
            "train: expected a block, got null\n   -> write its keys below it, or leave `train` out",
        ),
        (
            "optimizer: {name: adam, betas: [0.9]}",
            "optimizer.betas: expected a list of 2 numbers, got [0.9]",
        ),
    ],
)
def test_messages_for_values(folder, text, message, mistake):
    folder(base="loss: {name: ce}\ntrain: {iterations: 9}\n", run=f"extends: base\n{text}\n")
    place, _, rest = mistake("run").partition(": ")
    first, _, hints = message.partition("\n")
    assert place.startswith("run.yaml:2:")
    assert rest == "\n".join(part for part in (first, f"      2 | {text}", hints) if part)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("batch_size: 3", "'train.batch_size' or 'eval.batch_size'"),
        ("lr: 3", "'optimizer.lr'"),
        ("thresh: 3", "'loss.thresh'"),
        ("train: {images_every: 3}", "'log.images_every'"),
        ("train: {warmup: 3}", "'schedule.warmup'"),
        ("train: {device: cpu}", "'device' at the top level"),
        ("train: {acumulate: 3}", "'accumulate'"),
        ("optimiser: {}", "'optimizer'"),
    ],
)
def test_keys_that_belong_elsewhere(folder, text, meant, first_line):
    folder(base=GOOD, run=f"extends: base\n{text}\n")
    assert first_line("run").endswith(f", did you mean {meant}?")


def test_missing_loss_and_length(folder, mistakes, first_line, monkeypatch):
    monkeypatch.setattr(LOSSES, "names", lambda: ["ce", "ohem_ce"])
    folder(run="seed: 3\n", loss="loss: {thresh: 0.7}\ntrain:\n  iterations: 3\n")
    assert mistakes("run") == [
        "run.yaml: 'loss' is missing\n   loss: {name: ...} with one of ce, ohem_ce",
        "run.yaml: the length of the run is missing: set train.iterations or train.epochs",
    ]
    assert first_line("loss") == "loss.yaml:1:1: 'loss.name' is missing"
    assert first_line("loss", "loss.n_min=3") == "loss.yaml:1:1: 'loss.name' is missing", (
        "where the block stands"
    )


def test_two_lengths(folder, mistake, first_line):
    folder(
        base=GOOD,
        run="extends: base\ntrain:\n  epochs: 3\n",
        null="extends: run\ntrain: {iterations: null}\n",
    )
    assert mistake("run") == (
        "run.yaml:3:3: train.iterations and train.epochs are both set; a run has one length\n"
        "      3 |   epochs: 3\n"
        "   the other is set at base.yaml:2:9; remove one, or set it to null (train.iterations=null)"
    )
    assert first_line("base", "train.epochs=3") == (
        "command line: 'train.epochs=3': train.iterations and train.epochs are both set; a run has one length"
    )
    assert load_config("base", ["train.epochs=3", "train.iterations=null"]).train.epochs == 3
    assert load_config("null").train.iterations is None


def test_a_misspelt_length_is_one_mistake(folder, first_line):
    folder(run="loss: {name: ce}\ntrain: {iters: 300}\n")
    assert first_line("run") == "run.yaml:2:9: unknown key 'train.iters', did you mean 'iterations'?"


def test_duplicate_keys_and_values_are_reported_together(folder, mistakes):
    folder(run="loss: {name: ce}\ntrain: {iterations: 9, batch_size: x}\nseed: 1\nseed: 2\n")
    assert [problem.splitlines()[0] for problem in mistakes("run")] == [
        "run.yaml:2:36: train.batch_size: expected an integer >= 1, got 'x'",
        "run.yaml:4:1: the key 'seed' appears twice; the first is on line 3",
    ]


def test_a_hint_for_several_mistakes_stands_once(folder, mistakes):
    folder(run=GOOD + "eval: {a1: 1, b2: 2}\n")
    first, second = mistakes("run")
    assert first.endswith("\n   eval takes: every, batch_size, images, calibration, at")
    assert "takes" not in second


def test_a_file_name_that_cannot_name_a_run(folder, mistake):
    Path(".hidden.yaml").write_text(GOOD)
    assert mistake(".hidden.yaml") == "the file's name '.hidden' cannot name a run; add `name: ...` to it"


def test_mistakes_in_a_mapping_name_its_origin():
    mapping = {"loss": {"name": "ce"}, "train": {"iterations": 3, "batch": 4}}
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(mapping, origin="checkpoint a.pt")
    assert caught.value.problems[0].startswith(
        "checkpoint a.pt: unknown key 'train.batch', did you mean 'batch_size'?"
    )
    with pytest.raises(ConfigError, match=r"a\.pt: expected a mapping of settings, got list"):
        config_from_mapping([], origin="a.pt")


def test_a_component_cannot_take_the_key_of_a_block():
    @LOSSES.register("clashing_test_loss")
    def clashing_test_loss(*, name: str = "x"): ...

    try:
        with pytest.raises(
            TypeError, match="a parameter cannot be called 'name', which is a key of every loss block"
        ):
            config_from_mapping({"loss": {"name": "clashing_test_loss"}}, origin="test")
    finally:
        del LOSSES._constructors["clashing_test_loss"]


def test_colour_without_quotes_is_explained(folder, mistake):
    folder(run="loss: {name: ce}\ndata: {label_map: { #ff0000: 1}}\ntrain: {iterations: 9}\n")
    text = mistake("run")
    assert ": YAML syntax: " in text and text.endswith('   a # starts a comment; quote a colour: "#ff0000"')


@pytest.mark.parametrize("value", ["{split}/{stem}.png", "[{stem}.png]", "{stem}_mask.png"])
def test_pattern_without_quotes_is_explained(folder, mistake, value):
    folder(run=f"loss: {{name: ce}}\ndata:\n  images: {value}\ntrain: {{iterations: 9}}\n")
    text = mistake("run")
    assert ": YAML syntax: " in text
    assert text.endswith('   quote a value that begins with {, such as "{split}/{stem}.png"')
