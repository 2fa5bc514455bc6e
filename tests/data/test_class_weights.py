"""Class weights from labels, against counts by hand."""

from types import SimpleNamespace

import pytest
import torch

from segkit.config.load import config_from_mapping
from segkit.data.class_weights import ClassCounts, count_classes, weigh_classes
from segkit.errors import ConfigError, DataError
from segkit.training.build import build


class Labels:
    num_classes, ignore_index = 4, 255

    def __init__(self, *targets):
        self.targets = [torch.tensor(target, dtype=torch.uint8) for target in targets]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return SimpleNamespace(target=self.targets[index], mask_path=None, name=f"no. {index}")


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


def test_other_word_is_a_configuration_error():
    with pytest.raises(ConfigError, match="balanced, median_frequency"):
        config_from_mapping({**CONFIG, "loss": {"name": "ce", "class_weights": "balanxed"}}, origin="test")
