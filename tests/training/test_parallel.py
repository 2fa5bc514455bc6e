"""What a sharded model refuses."""

import pytest
import torch

from segkit.config.load import config_from_mapping
from segkit.distributed.ranks import ALONE
from segkit.distributed.shard import ShardedModel
from segkit.errors import ConfigError
from segkit.training.build import build
from segkit.training.build_together import build_together
from segkit.training.parallel import refuse_shard_with

ADAMW = {"name": "adamw", "lr": 0.001}


def config(optimizer=ADAMW, **train):
    return config_from_mapping(
        {
            "name": "sharded",
            "device": "cpu",
            "data": {"name": "shapes", "size": 32, "train_size": 4, "val_size": 2},
            "model": {"name": "unet", "width": 4, "depth": 1},
            "loss": {"name": "ce"},
            "optimizer": optimizer,
            "train": {"iterations": 2, "batch_size": 2, "workers": 0, "shard": True, **train},
        },
        origin="test",
    )


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("train.ema", {"ema": 0.9}),
        ("train.compile", {"compile": True}),
        ("train.find_unused_parameters", {"find_unused_parameters": True}),
        ("optimizer.name", {"optimizer": {"name": "adafactor", "lr": 0.1}}),
        ("optimizer.name", {"optimizer": {"name": "rprop", "lr": 0.1}}),
        ("optimizer.fused", {"optimizer": {"name": "sgd", "lr": 0.1, "fused": True}}),
    ],
)
def test_what_needs_whole_weights_is_refused(key, changes):
    with pytest.raises(ConfigError, match=f"train.shard does not go together with {key}: "):
        build(config(**changes))
    refuse_shard_with(config(**changes, shard=False), torch.float16)


def test_loss_scaling_is_refused_with_parts_of_gradients():
    with pytest.raises(ConfigError, match=r"train\.shard does not go together with train\.amp: "):
        refuse_shard_with(config(), torch.float16)


def test_one_process_has_nothing_to_share_a_model_with_but_can_check_it():
    with pytest.raises(ConfigError, match="this run has one, which keeps all of it\n   -> torchrun"):
        build_together(config(), overfit=None, ranks=ALONE)
    trainer = build(config()).trainer(recorder=None, save=lambda *_: None)
    assert trainer.sharded is None


def test_a_parameter_without_a_dimension_is_named():
    model = torch.nn.Conv2d(3, 4, 3)
    model.temperature = torch.nn.Parameter(torch.ones(()))
    with pytest.raises(ConfigError, match="without a dimension cannot be cut: temperature"):
        ShardedModel(model, ALONE, torch.device("cpu"))
