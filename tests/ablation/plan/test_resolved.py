"""What variants were resolved to: found again for the same settings and code, and for nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segkit.ablation.collect import keep_resolved, write_report_only
from segkit.ablation.plan import resolved
from segkit.ablation.plan.resolved import read_resolved
from segkit.config.checks import check_config
from segkit.config.schema import COMPONENTS

FILE = Path("runs/ab/resolved.json")


@pytest.fixture
def asked(monkeypatch):
    """The variants whose components were asked."""
    found = []

    def check(tree, variant, problems, *, checked=COMPONENTS):
        found.extend([variant] if checked else [])
        return check_config(tree, variant, problems, checked=checked)

    monkeypatch.setattr(resolved, "check_config", check)
    return found


@pytest.fixture
def kept(small, asked):
    """The small plan, of which the folder has what its variants are."""
    plan = small()
    plan.folder.mkdir(parents=True)
    keep_resolved(plan)
    asked.clear()
    return plan


def test_the_same_plan_asks_nobody(kept, small, asked):
    plan = small(recall=True)
    assert asked == []
    assert [run.config.to_mapping() for run in plan.runs] == [run.config.to_mapping() for run in kept.runs]
    assert (plan.folder, plan.resolved) == (kept.folder, kept.resolved)
    assert [run.name for run in small(recall=True, seeds=[7]).runs] == ["ce-seed7", "ohem-seed7"]
    assert asked == []


def test_training_asks_always(kept, small, asked):
    small()
    assert asked == ["ce", "ohem"]


def test_other_settings_are_asked_for(kept, small, asked):
    path = Path("ab.yaml")
    path.write_text(path.read_text().replace("{name: ohem_ce}", "{name: ohem_ce, thresh: 0.6}"))
    plan = small(recall=True)
    assert asked == ["ohem"]
    assert plan.run_of("ohem").config.loss.params["thresh"] == 0.6
    asked.clear()
    small("train.batch_size=2", recall=True)
    assert asked == ["ce", "ohem"]


def test_keys_that_are_numbers_stay_numbers(kept, small, asked):
    """As they would not in JSON."""
    data = "data={name: folder, root: x, classes: [a, b], label_map: {%s: 0, 1: 1}}"
    keep_resolved(small(data % "0"))
    asked.clear()
    assert small(data % "0", recall=True).runs[0].config.data.params["label_map"] == {0: 0, 1: 1}
    assert asked == []


@pytest.mark.parametrize("change", ["code", "torch"])
def test_other_code_is_asked(kept, small, asked, monkeypatch, tmp_path, change):
    resolved._identify_code.cache_clear()
    if change == "code":
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "loss.py").write_text("thresh = 0.6")
        monkeypatch.setattr(resolved, "_SEGKIT", tmp_path / "other")
    else:
        monkeypatch.setattr(resolved.importlib.metadata, "version", lambda package: "0.1")
    small(recall=True)
    resolved._identify_code.cache_clear()
    assert asked == ["ce", "ohem"]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": 1}', "loss: ce", "\xff", "not a mapping", "another block", "no YAML"]
)
def test_a_damaged_file_is_no_answer(kept, small, asked, content):
    damaged = {"not a mapping": "3", "another block": "train: {iterations: -1}", "no YAML": "{"}.get(content)
    if damaged is not None:
        content = json.dumps(dict.fromkeys(kept.resolved, damaged))
    FILE.write_text(content, encoding="latin-1")
    assert [run.config for run in small(recall=True).runs] == [run.config for run in kept.runs]
    assert asked == ["ce", "ohem"]


def test_a_report_keeps_what_it_had_to_ask(kept, small, asked, capsys):
    FILE.unlink()
    assert write_report_only(small(recall=True)) == 0
    assert asked == ["ce", "ohem"] and read_resolved(kept.folder) == kept.resolved


def test_code_of_a_users_own_is_not_kept(small):
    plan = small()
    plan.folder.mkdir(parents=True)
    keep_resolved(replace(plan, imports=("mine.py",)))
    assert not FILE.exists()


def test_no_folder_is_made_for_it(small):
    keep_resolved(small())
    assert not Path("runs").exists()
