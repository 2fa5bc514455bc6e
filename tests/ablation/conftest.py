"""A small ablation in an empty working directory, trained by `fake_train.py` in milliseconds."""

from pathlib import Path

import pytest
import torch

from segkit.ablation.plan.plan import AblationPlan, load_plan

BASE = "loss: {name: ce}\ntrain: {iterations: 20}\n"
ABLATION = """\
name: ab
base: base.yaml
seeds: [0, 1]
baseline: ce
variants:
  ce: {loss: {name: ce}}
  ohem: {loss: {name: ohem_ce}}
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """`small(*overrides)`: the plan of two variants and two seeds; its folder is runs/ab below an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Path("base.yaml").write_text(BASE)
    Path("ab.yaml").write_text(ABLATION)

    def load(*overrides: str, **options) -> AblationPlan:
        return load_plan("ab.yaml", overrides, **options)

    return load
