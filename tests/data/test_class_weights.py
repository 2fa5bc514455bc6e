"""Class weights from labels, against counts by hand."""

import pytest
import torch

from segkit.config.load import config_from_mapping
from segkit.data.class_weights import ClassCounts, count_classes, weigh_classes
from segkit.data.sample import Sample
from segkit.errors import ConfigError, DataError
from segkit.training.build import build


class Labels:
    num_classes, ignore_index = 4, 255

    def __init__(self, *targets):
        self.targets = [torch.tensor(target, dtype=torch.uint8) for target in targets]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        target = self.targets[index]
        image = torch.zeros(3, *target.shape, dtype=torch.uint8)
        return Sample(image, target, name=f"no. {index}", index=index)


# 6, 3 and 1 valid pixels of classes 0, 1, 2; class 3 never; the second image has no class 2.
DATA = Labels([[0, 0, 0, 1], [2, 255, 255, 255]], [[0, 0, 0, 1], [1, 255, 255, 255]])


def test_counts_leave_out_ignored_pixels():
    assert count_classes(DATA) == ClassCounts(pixels=[6, 3, 1, 0], pixels_where_present=[10, 10, 5, 0])


@pytest.mark.parametrize("label", [9, 200])
def test_wrong_label_is_named(label):
    with pytest.raises(DataError) as caught:
        count_classes(Labels([[0, 1]], [[0, label]]))
    assert str(caught.value).startswith(f"label out of range: no. 1 has ids 0, {label} but ")


def test_balanced_weights_make_every_class_present_count_alike():
    weights = weigh_classes(count_classes(DATA), "balanced")
    assert weights == pytest.approx([10 / 18, 10 / 9, 10 / 3, 1.0])
    assert [weight * count for weight, count in zip(weights[:3], (6, 3, 1), strict=True)] == pytest.approx(
        [10 / 3] * 3
    )


def test_median_frequency_weights():
    frequency = [0.6, 0.3, 0.2]
    assert weigh_classes(count_classes(DATA), "median_frequency") == pytest.approx(
        [0.3 / f for f in frequency] + [1.0]
    )


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.999])
def test_effective_number_weights(beta):
    """By its sum: n pixels count as 1 + beta + ... + beta^(n - 1)."""
    inverse = [1 / sum(beta**i for i in range(n)) for n in (6, 3, 1)]
    expected = [3 * e / sum(inverse) for e in inverse] + [1.0]
    assert weigh_classes(count_classes(DATA), {"effective_number": beta}) == pytest.approx(expected)


def test_effective_number_of_millions_of_pixels_keeps_its_digits():
    """Where n (1 - beta) is small a pixel counts as one, where it is large as none: weights between 1/n and 1."""
    counts = ClassCounts([10**9, 10**4], [10**9, 10**9])
    common, rare = weigh_classes(counts, {"effective_number": 1 - 1e-7})
    assert rare / common == pytest.approx(1e7 / 1e4, rel=1e-3)


def test_an_effective_number_that_does_nothing_is_refused():
    counts = ClassCounts([10**9, 10**6, 2 * 10**6, 0], [10**9] * 4)
    with pytest.raises(ConfigError) as error:
        weigh_classes(counts, {"effective_number": 0.9999})
    assert str(error.value) == (
        "class_weights: {effective_number: 0.9999} gives every class the same weight: pixels beyond the first "
        "1 / (1 - beta) = 10,000 of a class hardly count, and the rarest has 1,000,000 -> effective_number: 0.999999"
    )
    assert len(set(weigh_classes(counts, {"effective_number": 0.999999})[:3])) == 3
    alike = ClassCounts([10**9, 10**9 + 10**7], [10**9] * 2)
    assert weigh_classes(alike, {"effective_number": 0.9}) == [1.0, 1.0]


def test_nothing_labelled_gives_ones_and_another_word_is_refused():
    nothing = ClassCounts([0, 0], [0, 0])
    assert weigh_classes(nothing, "balanced") == weigh_classes(nothing, "median_frequency") == [1.0, 1.0]
    with pytest.raises(ValueError, match="got 'inverse'"):
        weigh_classes(nothing, "inverse")


CONFIG = {
    "data": {"name": "shapes", "size": 32, "train_size": 6, "val_size": 2},
    "model": {"name": "unet", "width": 4, "depth": 1},
    "train": {"iterations": 2, "batch_size": 2, "workers": 0},
}


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "ce", "class_weights": "balanced"},
        {"name": "pixel", "criterion": {"name": "ce", "class_weights": "balanced"}},
    ],
    ids=["named loss", "criterion"],
)
def test_word_in_a_configuration_becomes_the_weights_of_the_training_labels(loss):
    config = config_from_mapping({**CONFIG, "loss": loss}, origin="test")
    experiment = build(config)
    expected = weigh_classes(count_classes(experiment.data.train), "balanced")
    assert experiment.loss.criterion.class_weights.tolist() == pytest.approx(expected, rel=1e-3)
    block = config.to_mapping()["loss"]
    assert "balanced" in (
        block["class_weights"] if loss["name"] == "ce" else block["criterion"]["class_weights"]
    )


def test_effective_number_in_a_configuration():
    block = {"name": "ohem_ce", "class_weights": {"effective_number": 0.9999}}
    experiment = build(config_from_mapping({**CONFIG, "loss": block}, origin="test"))
    expected = weigh_classes(count_classes(experiment.data.train), {"effective_number": 0.9999})
    assert len(set(expected)) > 1
    assert experiment.loss.criterion.class_weights.tolist() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"effective_number": 1.0}, "{effective_number: 1.0}"),
        ({"effective_number": 0}, "{effective_number: 0}"),
        ({"effective": 0.9}, "{effective: 0.9}"),
        ({}, "{}"),
    ],
)
def test_an_effective_number_out_of_range(given, shown):
    with pytest.raises(ConfigError) as error:
        config_from_mapping({**CONFIG, "loss": {"name": "ce", "class_weights": given}}, origin="test")
    assert (
        "loss.class_weights: expected a list of numbers >= 0, one of balanced, median_frequency or "
        f"{{effective_number: beta}} with beta in (0, 1) or null, got {shown}"
    ) in str(error.value)


def test_other_word_is_a_configuration_error():
    with pytest.raises(ConfigError, match="balanced, median_frequency"):
        config_from_mapping({**CONFIG, "loss": {"name": "ce", "class_weights": "balanxed"}}, origin="test")
