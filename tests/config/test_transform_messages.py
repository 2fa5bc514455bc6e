"""Mistakes in `augment.transforms`, each answered at its line before any data are read."""

import pytest

from segkit.config.json_schema import json_schema
from segkit.config.listing import list_components
from segkit.config.load import config_from_mapping, load_config
from segkit.errors import ConfigError

START = "loss: {name: ce}\ntrain: {iterations: 9}\naugment:\n  name: compose\n  transforms:\n"


def mistakes(folder, *lines):
    folder(run=START + "".join(f"    {line}\n" for line in lines))
    with pytest.raises(ConfigError) as caught:
        load_config("run")
    return [problem.splitlines() for problem in caught.value.problems]


def test_an_unknown_transform(folder):
    (found,) = mistakes(folder, "- {name: quarter_turns}", "- {name: RandomHorizontalFlp}")
    assert found[0] == (
        "run.yaml:7:14: no transform named 'RandomHorizontalFlp', did you mean 'RandomHorizontalFlip'?"
    )
    assert found[1] == "      7 |     - {name: RandomHorizontalFlp}"
    assert found[2].startswith("   there are: cut_out, photometric, ")
    assert found[-1] == "   (python train.py --list transforms)"


def test_a_wrong_parameter_and_a_wrong_value(folder):
    unknown, value = mistakes(
        folder, "- {name: RandomRotation, degres: 10}", "- {name: GaussianBlur, kernel_size: 4}"
    )
    assert unknown == [
        "run.yaml:6:30: unknown key 'augment.transforms[0].degres', did you mean 'degrees'?",
        "      6 |     - {name: RandomRotation, degres: 10}",
        "   RandomRotation takes: degrees, interpolation, expand, center, fill   (python train.py --list transforms)",
    ]
    assert value == [
        "run.yaml:7:41: augment.transforms[1].kernel_size: expected an odd integer, got 4",
        "      7 |     - {name: GaussianBlur, kernel_size: 4}",
    ]


def test_a_transform_that_would_spoil_the_labels(folder):
    first, second = mistakes(
        folder,
        "- {name: RandomErasing, p: 0.3}",
        "- {name: RandomApply, transforms: [{name: randaugment}]}",
    )
    assert first == [
        "run.yaml:6:14: RandomErasing cannot be a transform: it erases parts of the image and keeps their labels",
        "      6 |     - {name: RandomErasing, p: 0.3}",
        "   -> {name: cut_out}, which makes the labels ignored and the weights 0",
        "   (python train.py --list transforms)",
    ]
    assert second[0] == (
        "run.yaml:7:47: randaugment cannot be a transform: its policies move the image and leave the labels where "
        "they were"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "- {name: scale_crop, scale: [2, 1]}",
            "augment.transforms[0].scale: expected [lowest, highest], got [2.0, 1.0]",
        ),
        (
            "- {name: RandomRotation, degrees: 9, interpolation: cubic}",
            "augment.transforms[0].interpolation: expected one of nearest, bilinear, got 'cubic'",
        ),
        (
            "- {name: RandomPhotometricDistort, hue: [0.2, 0.1]}",
            "augment.transforms[0].hue: expected [lowest, highest], got [0.2, 0.1]",
        ),
        (
            "- {name: Pad, padding: 3, fill: 256}",
            "augment.transforms[0].fill: expected an integer in [0, 255] or a non-empty list of integers in "
            "[0, 255], got 256",
        ),
        (
            "- {name: RandomCrop}",
            "'augment.transforms[0].size' is missing: RandomCrop needs an integer >= 1 or a list of 2 integers >= 1",
        ),
        ("- {name: rotate, ignore_index: 3}", "'augment.transforms[0].ignore_index' is set by segkit"),
        ("- RandomInvert", "augment.transforms[0]: expected a block with a name, got 'RandomInvert'"),
    ],
)
def test_other_slips(folder, line, message):
    ((first, *_),) = mistakes(folder, line)
    assert first.startswith("run.yaml:6:") and message in first


def test_a_transform_in_the_place_of_an_augmentation(folder):
    folder(run="loss: {name: ce}\ntrain: {iterations: 9}\naugment: {name: RandomCrop, size: 3}\n")
    with pytest.raises(ConfigError) as caught:
        load_config("run")
    assert "-> {name: compose, transforms: [{name: RandomCrop, ...}]}" in str(caught.value)


def test_names_load_back_as_they_are_spelled():
    blocks = [{"name": "randomAPPLY", "transforms": [{"name": "jpeg", "quality": [30, 90]}]}]
    mapping = {"loss": {"name": "ce"}, "augment": {"name": "compose", "transforms": blocks}}
    config = config_from_mapping({**mapping, "train": {"iterations": 9}}, origin="test")
    assert config.to_mapping()["augment"]["transforms"] == [
        {"name": "RandomApply", "transforms": [{"name": "JPEG", "quality": [30, 90]}], "p": 0.5}
    ]
    assert config_from_mapping(config.to_mapping(), origin="test") == config


def test_the_list_and_the_schema_know_them():
    text = list_components("transforms")
    assert text.startswith("transforms: the values of augment.name, ")
    assert (
        "\ntransforms: the values of transform.name, " in text and "\nRandomCrop          A window " in text
    )
    names = [part["properties"]["name"]["const"] for part in json_schema()["$defs"]["transform"]["anyOf"]]
    assert {"cut_out", "RandomCrop", "RandomChoice"} <= set(names) and "RandomErasing" not in names
