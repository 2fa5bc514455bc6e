"""The config diff shows every setting that differs and none that does not."""

import subprocess
import sys

import pytest

from segkit.ablation.study.config_diff import ABSENT, diff_configs, relevant_settings, show_value
from segkit.config.keys import covers, flatten
from segkit.config.load import load_config
from segkit.data.cache.settings import settings_text
from tests.ablation.run_folders import fake_run, study_of

CE = "loss={name: ce}"


def test_flatten_and_covers():
    tree = {"a": {"b": 1, "c": {}}, "d": [1, 2], "e": [{"f": 3}, {"f": 4}], "g": []}
    assert flatten(tree) == {"a.b": 1, "a.c": {}, "d": [1, 2], "e.0.f": 3, "e.1.f": 4, "g": []}
    assert covers("a", "a.b") and covers("a.b", "a.b") and covers("", "a")
    assert not covers("a", "ab.c") and not covers("a.b", "a")


def test_text_of_settings_has_one_order():
    one = {"b": {255: "ignore", "*": 0, 7: [{"y": 1, "x": None}]}, "a": (1, 2)}
    other = {"a": [1, 2], "b": {"*": 0, 7: [{"x": None, "y": 1}], 255: "ignore"}}
    assert settings_text(one) == settings_text(other)
    assert settings_text(one) != settings_text({**one, "a": [2, 1]})


def test_only_the_loss_differs():
    diff = diff_configs(study_of(fake_run("ohem"), fake_run("ce", 0, CE)))
    assert diff.variants == ("ohem", "ce")
    assert diff.differing["loss.name"] == {"ohem": "ohem_ce", "ce": "ce"}
    assert diff.differing["loss.thresh"] == {"ohem": 0.7, "ce": ABSENT}
    assert {key.partition(".")[0] for key in diff.differing} == {"loss"}
    assert diff.blocks == {"loss"} and diff.only_loss and diff.only_loss_and_weight_map


def test_differing_and_constant_settings_are_all_settings():
    runs = fake_run("ohem"), fake_run("ce", 0, CE)
    diff = diff_configs(study_of(*runs))
    keys = set(relevant_settings(runs[0].config)) | set(relevant_settings(runs[1].config))
    assert len(keys) == diff.constant + len(diff.differing)
    assert diff.sentence == (
        f"Only the loss differs; the other {diff.constant} settings are the same in all variants."
    )


def test_a_number_is_told_from_another_although_a_third_variant_has_a_schedule():
    moving = "loss.thresh={name: linear, from: 0.9, to: 0.6}"
    runs = fake_run("a"), fake_run("b", 0, "loss.thresh=0.6"), fake_run("c", 0, moving)
    diff = diff_configs(study_of(*runs))
    assert diff.differing["loss.thresh"] == {"a": 0.7, "b": 0.6, "c": ABSENT}
    assert diff.differing["loss.thresh.from"] == {"a": ABSENT, "b": ABSENT, "c": 0.9}
    mapped = fake_run("d", 0, "data.weight_map={name: boundary}")
    assert "data.weight_map" not in diff_configs(study_of(runs[0], mapped)).differing


def test_all_pixels_and_one_pixel_are_not_the_same():
    """1.0 equals 1."""
    one, all_of_them = (fake_run(value, 0, f"loss.n_min={value}") for value in ("1", "1.0"))
    assert diff_configs(study_of(one, all_of_them)).differing == {"loss.n_min": {"1": 1, "1.0": "100%"}}


def test_what_no_result_depends_on_is_no_difference():
    other = fake_run(
        "b",
        1,
        "name=other",
        "device=auto",
        "loss.backend=reference",
        "train.workers=3",
        "data.cache=disk",
        "train.keep_checkpoints=5",
        "train.checkpoint_every=10%",
        "eval.batch_size=2",
        "eval.images=3",
        "eval.calibration=true",
        "log.dir=elsewhere",
    )
    diff = diff_configs(study_of(fake_run("a"), other))
    assert diff.differing == {} and not diff.inconsistent and diff.only_loss
    assert diff.sentence == f"The variants do not differ: all {diff.constant} settings are the same."


@pytest.mark.parametrize(
    ("overrides", "blocks", "sentence"),
    [
        (
            [CE, "data.weight_map={name: boundary}"],
            {"loss", "data"},
            "Only the loss and the weight map that it reads (data.weight_map) differ; ",
        ),
        (
            [CE, "model.width=16", "train.batch_size=2"],
            {"loss", "model", "train"},
            "Not only the loss differs, but also model and train; ",
        ),
        ([CE, "model.width=16"], {"loss", "model"}, "Not only the loss differs, but also model; "),
        (
            [CE, "model.width=16", "data.weight_map={name: boundary}"],
            {"loss", "model", "data"},
            "Not only the loss differs, but also model and data.weight_map; ",
        ),
        (["model.width=16"], {"model"}, "The loss is the same; model differs; "),
        (
            ["data.size=32", "augment.crop_size=32"],
            {"data", "augment"},
            "The loss is the same; data and augment differ; ",
        ),
    ],
)
def test_the_sentence_says_what_differs(overrides, blocks, sentence):
    diff = diff_configs(study_of(fake_run("a"), fake_run("b", 0, *overrides)))
    assert diff.blocks == blocks
    rest = f"the other {diff.constant} settings are the same in all variants."
    assert diff.sentence == sentence + rest
    assert not diff.only_loss
    assert diff.only_loss_and_weight_map == (blocks == {"loss", "data"})


def test_a_block_instead_of_null_is_shown_once():
    diff = diff_configs(study_of(fake_run("a"), fake_run("b", 0, "data.weight_map={name: boundary}")))
    assert list(diff.differing) == [
        "data.weight_map.name",
        "data.weight_map.base",
        "data.weight_map.amplitude",
        "data.weight_map.sigma",
    ]
    assert diff.differing["data.weight_map.name"] == {"a": ABSENT, "b": "boundary"}


def test_keys_stand_in_the_order_of_the_configuration():
    diff = diff_configs(study_of(fake_run("a"), fake_run("b", 0, "train.batch_size=2", CE, "model.width=16")))
    keys = list(diff.differing)
    assert keys[0] == "model.width" and keys[-1] == "train.batch_size"
    assert all(key.startswith("loss.") for key in keys[1:-1])


def test_three_variants_have_a_value_each():
    runs = [fake_run("a"), fake_run("b", 0, "loss.thresh=0.6"), fake_run("c")]
    assert diff_configs(study_of(*runs)).differing == {"loss.thresh": {"a": 0.7, "b": 0.6, "c": 0.7}}


def test_a_variant_whose_runs_differ_is_reported():
    runs = [fake_run("a"), fake_run("b", 0), fake_run("b", 1, "optimizer.lr=0.2")]
    diff = diff_configs(study_of(*runs))
    assert diff.inconsistent == {"b": {"optimizer.lr": {0: 0.1, 1: 0.2}}}
    assert diff.differing == {}


def test_a_variant_without_a_run_is_left_out():
    study = study_of(fake_run("a"), variants=("a", "gone"))
    assert diff_configs(study).variants == ("a",)


def test_values_as_a_file_has_them():
    values = [None, True, 0.7, [90, 120], "off", "", ABSENT, ["a", None]]
    shown = ["null", "true", "0.7", "[90, 120]", "off", "''", "-", "[a, null]"]
    assert [show_value(value) for value in values] == shown


def test_every_ignored_setting_exists():
    from segkit.ablation.study.config_diff import IGNORED

    keys = flatten(load_config("debug.yaml").to_mapping())
    assert [rule for rule in IGNORED if not any(covers(rule, key) for key in keys)] == []


def test_neither_torch_nor_matplotlib_is_imported():
    code = (
        "import sys, segkit.ablation.study.config_diff, segkit.ablation.study.study; "
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
