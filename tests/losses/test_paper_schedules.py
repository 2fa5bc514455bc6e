"""Every number of the pixel losses from papers may follow a schedule, given in a configuration."""

import pytest
import torch

from segkit.config.load import config_from_mapping
from segkit.registry import LOSSES
from segkit.training.build_component import build_component
from tests.losses.cases import make_batch

#: loss, option, from, to
OPTIONS = [
    ("poly_ce", "epsilon", -1.0, 3.0),
    ("generalized_ce", "q", 0.1, 0.9),
    ("symmetric_ce", "alpha", 1.0, 0.2),
    ("symmetric_ce", "beta", 0.0, 2.0),
    ("symmetric_ce", "log_zero", -9.0, -1.0),
    ("logit_adjusted_ce", "tau", 0.0, 2.0),
    ("loss_max_pooling", "p", 3.0, 1.4),
    ("loss_max_pooling", "ratio", 0.9, 0.1),
    ("border_relaxed_ce", "radius", 4, 0),
    ("margin_smoothing_ce", "margin", 9.0, 1.0),
    ("margin_smoothing_ce", "strength", 0.0, 1.0),
    ("spatial_smoothing_ce", "sigma", 3.0, 0.5),
    ("spatial_smoothing_ce", "radius", 0, 2),
]


@pytest.mark.parametrize(("name", "option", "before", "after"), OPTIONS)
def test_a_number_may_be_a_schedule(name, option, before, after):
    more = {"priors": [0.7, 0.2, 0.1]} if name == "logit_adjusted_ce" else {}
    more |= {"margin": 1.0} if option == "strength" else {}
    way = {"name": "linear", "from": before, "to": after, "start": 0, "end": 4}
    config = config_from_mapping(
        {"loss": {"name": name, option: way, **more}, "train": {"iterations": 10}}, origin="test"
    )
    loss = build_component(LOSSES, config.loss, "loss", total=10, num_classes=3, ignore_index=255)
    loss.check_run(iterations=10, pixels_per_batch=70)
    batch = make_batch(ignored=True)
    values = []
    for iteration in (0, 1, 2, 8):
        number = before + (after - before) * min(iteration, 4) / 4
        number = round(number) if option == "radius" else number
        fixed = LOSSES.get(name)(3, **{option: number}, **more)
        value, report = loss(batch.logits, batch.target, iteration=iteration)
        expected, _ = fixed(batch.logits, batch.target, iteration=iteration)
        torch.testing.assert_close(value, expected)
        assert report[f"schedule_{option}"] == pytest.approx(number)
        values.append(value.item())
    assert len(set(values)) > 1
