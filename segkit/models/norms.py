"""The normalisation layers that a model of ours can be built with."""

from typing import Literal

from torch import nn

Norm = Literal["batch", "group", "none", "sync"]


def build_norm(norm: Norm, channels: int) -> nn.Module:
    """The normalisation layer of that name. Group: 8 groups if each gets at least 2 channels, else one."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "sync":
        return nn.SyncBatchNorm(channels)
    if norm == "group":
        return nn.GroupNorm(8 if channels >= 16 and channels % 8 == 0 else 1, channels)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm must be batch, group or none, got {norm!r}")
