"""The report of an ablation where its runs are logged."""

from pathlib import Path

import pytest

from segkit.ablation.plan.plan import load_plan
from segkit.ablation.publish import publish_report, read_table
from segkit.runs.recording.trackers import kinds
from tests.runs.recording.trackers.tracked import read_calls, use_stand_ins

AB = """\
name: ab
base: base.yaml
seeds: [0]
baseline: ce
variants:
  ce: {loss: {name: ce}}
  ohem: {loss: {name: ohem_ce}}
"""
TRACKED = ("log.wandb={mode: offline, tags: [mine]}", "log.mlflow={tracking_uri: http://there}")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """`plan(*overrides)`: an ablation in whose folder there is a report."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("loss: {name: ce}\ntrain: {iterations: 100}\n")
    Path("ab.yaml").write_text(AB)

    def make(*overrides: str):
        made = load_plan("ab.yaml", overrides)
        made.folder.mkdir(parents=True, exist_ok=True)
        made.files.page.write_text("<p>the report</p>")
        made.files.markdown.write_text("the report\n")
        made.files.csv.write_text("variant,seed,mIoU\nce,0,0.5\nohem,0,\n")
        made.files.differences_csv.write_text('variant,difference\nohem,0.25\n"a, b",\n')
        return made

    return make


def test_tables_and_files_are_logged_as_a_run_beside_the_others(plan, tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    lines = publish_report(plan(*TRACKED))
    folder = tmp_path / "runs" / "ab"
    assert lines == [f"wandb     {folder}/tracking/offline-run", "mlflow    http://there, run run-7"]
    (begun,) = read_calls(calls, "init offline")
    names = {key: begun[key] for key in ("name", "group", "job_type", "tags")}
    assert names == {"name": "ab report", "group": "ab", "job_type": "report", "tags": ["report"]}
    assert begun["config"]["variants"] == ["ce", "ohem"] and begun["config"]["ablation"] == "ab"
    tables, page = (row["values"] for row in read_calls(calls, "log"))
    assert tables["differences"] == "['variant', 'difference']: [['ohem', 0.25], ['a, b', None]]"
    assert tables["runs"] == "['variant', 'seed', 'mIoU']: [['ce', 0.0, 0.5], ['ohem', 0.0, None]]"
    assert page == {"report": "<p>the report</p>"}
    files = [str(folder / name) for name in ("report.html", "report.md", "report.csv", "differences.csv")]
    both = read_calls(calls, "log_artifact")  # wandb's together, MLflow's one by one
    assert {"files": files} in both
    assert [call for call in both if isinstance(call, list)] == [["run-7", file] for file in files]
    (made,) = read_calls(calls, "create_run")
    assert made[2] == "ab report" and made[1]["ablation"] == "ab" and made[1]["variant"] == "report"
    assert read_calls(calls, "finish") == [{"exit_code": 0}]


def test_a_report_that_is_written_anew_replaces_the_one_that_was_there(plan, tmp_path, monkeypatch):
    calls = use_stand_ins(monkeypatch, tmp_path)
    publish_report(plan(*TRACKED))
    publish_report(plan(*TRACKED))
    first, second = read_calls(calls, "init offline")
    assert first["id"] == second["id"] and len(read_calls(calls, "create_run")) == 1


def test_a_failure_is_a_line(plan, tmp_path, monkeypatch):
    use_stand_ins(monkeypatch, tmp_path, fails="all")
    assert publish_report(plan(*TRACKED)) == [
        "warning: wandb: RuntimeError: import fails",
        "warning: mlflow: RuntimeError: connect fails",
    ]
    monkeypatch.setattr(kinds, "is_installed", lambda package: False)
    (line,) = publish_report(plan(TRACKED[0]))
    assert line.startswith("warning: the report is not logged: log.wandb needs wandb, which is not installed")


def test_without_trackers_nothing_is_logged(plan):
    made = plan()
    assert publish_report(made) == [] and not made.files.tracking.exists()


def test_a_column_is_of_numbers_or_of_text(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,x,\n,2,\n")
    assert read_table(tmp_path / "t.csv") == (["a", "b", "c"], [[1.0, "x", None], [None, "2", None]])
