"""What the runs of an ablation are called by `log.wandb` and `log.mlflow`."""

from pathlib import Path

from segkit.ablation.plan.plan import load_plan
from segkit.config.schema import Mlflow, Wandb

AB = """\
name: ab
base: base.yaml
seeds: [0, 1]
baseline: ce
variants:
  ce: {loss: {name: ce}}
  ohem: {loss: {name: ohem_ce}}
"""


def plan(tmp_path, monkeypatch, *overrides: str):
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("loss: {name: ce}\ntrain: {iterations: 100}\n")
    Path("ab.yaml").write_text(AB)
    return load_plan("ab.yaml", overrides)


def test_the_runs_of_an_ablation_are_found_together(tmp_path, monkeypatch):
    runs = plan(tmp_path, monkeypatch, "log.wandb=true", "log.mlflow={experiment: e}").runs
    log = next(run.config.log for run in runs if run.name == "ohem-seed1")
    assert log.wandb == Wandb(name="ohem-seed1", group="ab", job_type="ohem", tags=["ohem", "seed1"])
    tags = {"ablation": "ab", "variant": "ohem", "seed": "1"}
    assert log.mlflow == Mlflow(experiment="e", run_name="ohem-seed1", tags=tags)


def test_what_the_file_says_stays(tmp_path, monkeypatch):
    given = "log.wandb={name: n, group: g, job_type: j, tags: [t]}"
    runs = plan(tmp_path, monkeypatch, given, "log.mlflow={run_name: r, tags: {variant: v, k: w}}").runs
    log = runs[0].config.log
    assert log.wandb == Wandb(name="n", group="g", job_type="j", tags=["t", "ce", "seed0"])
    tags = {"ablation": "ab", "variant": "v", "seed": "0", "k": "w"}
    assert log.mlflow == Mlflow(run_name="r", tags=tags)


def test_without_trackers_nothing_is_named(tmp_path, monkeypatch):
    log = plan(tmp_path, monkeypatch).runs[0].config.log
    assert log.wandb is None and log.mlflow is None
