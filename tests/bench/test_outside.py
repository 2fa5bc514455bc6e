"""The parts of a run add up, and are compared with those of another checkout. Nothing looks at how long they took."""

import pytest

from scripts.bench.bars import PASS, UNMEASURED, judge
from scripts.bench.measure.process import MeasurementFailed
from scripts.bench.measure.settings import Settings
from scripts.bench.training import outside
from scripts.bench.training.outside_worker import METHODS, Clock
from segkit.training.trainer import Trainer

PARTS = {"start": 2.0, "updates": 5.0, "validation": 1.0, "panels": 0.0, "checkpoints": 0.5, "rest": 0.5}


@pytest.fixture
def launched(monkeypatch):
    """The checkouts that would have been run; another one takes twice as long, and has no checkpoints."""
    calls = []

    def launch(checkout, iterations, overrides):
        calls.append(checkout)
        if checkout == outside.ROOT:
            return dict(PARTS)
        return {part: 2 * seconds for part, seconds in PARTS.items()} | {"checkpoints": 0.0, "rest": 2.0}

    monkeypatch.setattr(outside, "launch", launch)
    return calls


def test_each_part_is_a_share_of_the_run(launched):
    rows = {row.entry: row for row in outside.bench_outside(Settings())}
    assert len(launched) == 1
    assert (rows["outside"].value, rows["after start"].value, rows["whole run"].value) == (4000, 2000, 9000)
    assert rows["start"].ratio == pytest.approx(2 / 9) and rows["start"].baseline == "whole run"
    verdicts = judge(list(rows.values()), benches=("outside",))
    assert [verdict.word for verdict in verdicts] == [UNMEASURED]


def test_each_part_is_compared_with_the_same_of_another_checkout(launched, tmp_path):
    rows = outside.bench_outside(Settings(processes=2, baseline=tmp_path))
    assert launched == [outside.ROOT, tmp_path] * 2
    beside = {row.entry: row.ratio for row in rows if row.baseline == "baseline"}
    assert beside["start"] == beside["updates"] == 0.5 and beside["panels"] == 0
    assert beside["outside"] == 4 / 8
    assert [verdict.word for verdict in judge(rows, benches=("outside",))] == [PASS]


def test_only_the_innermost_part_counts_and_only_from_the_first_update_on(monkeypatch):
    now = iter([0.0, 9.0, 10.0, 11.0, 14.0, 16.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    clock = Clock()
    save = clock.timed("checkpoints", lambda: None)
    save()  # 0 to 9, before the first update
    clock.timed("updates", save)()  # 10 to 16, of which 11 to 14 are in save
    assert clock.seconds == {"updates": 3.0, "checkpoints": 3.0}
    assert clock.first is not None


def test_the_loop_has_the_methods_that_are_timed():
    assert all(callable(getattr(Trainer, name)) for name in METHODS)
    assert set(METHODS.values()) <= set(outside.PARTS)


def test_a_run_that_fails_is_no_measurement(tmp_path):
    (tmp_path / "segkit").mkdir()
    (tmp_path / "segkit" / "__init__.py").write_text("raise SystemExit('cannot run')\n")
    with pytest.raises(MeasurementFailed, match="status 1:\ncannot run"):
        outside.launch(tmp_path, 1, [])
