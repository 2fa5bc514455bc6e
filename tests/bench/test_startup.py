"""Starts are measured in turns, and what each is compared with. No test here looks at how long something took."""

import sys
from pathlib import Path

import pytest

from scripts.bench.bars import PASS, SHORT, UNMEASURED, judge
from scripts.bench.measure.process import MeasurementFailed
from scripts.bench.measure.settings import Settings
from scripts.bench.training import startup


@pytest.fixture
def started(monkeypatch):
    """The commands that would have been started: (folder, what was asked of it)."""
    calls: list[tuple[Path, str]] = []

    def run(command, folder, *, until):
        calls.append((folder, command[2]))
        seconds = 2.0 if command[1] == "-c" else 0.5 if folder == startup.ROOT else 4.0
        return startup.Taken(seconds, busy=3.0)

    monkeypatch.setattr(startup, "run", run)
    return calls


def test_a_start_is_compared_with_a_number_an_import_and_another_checkout(started, tmp_path):
    rows = startup.bench_startup(Settings(rounds=2, baseline=tmp_path))
    found = {(row.entry, row.baseline): row for row in rows}
    assert found["--check", "baseline"].ratio == found["first update", "baseline"].ratio == 0.125
    assert found["--check", "import torch, torchvision"].ratio == 0.25
    for command in ("--help", "--list losses", "--print-config"):
        row = found.pop((command, "0.6 s"))
        assert (row.ratio, row.value, row.note) == (pytest.approx(0.5 / 0.6), 500, "3.00 s of processors")
    assert len(found) == 4
    assert {verdict.word for verdict in judge(rows, benches=("startup",))} == {PASS}
    assert len(started) == 3 * (3 + 2 * 2 + 1), "a first turn and two that count"
    assert all(folder == startup.ROOT for folder, word in started if word not in ("--check", "--config"))


def test_without_another_checkout_starting_has_no_verdict(started):
    rows = startup.bench_startup(Settings(rounds=1))
    verdicts = {verdict.bar.text: verdict.word for verdict in judge(rows, benches=("startup",))}
    assert list(verdicts.values()) == [PASS, UNMEASURED, UNMEASURED]
    assert {row.baseline for row in rows} == {"0.6 s", "import torch, torchvision"}


def test_showing_that_takes_longer_is_short(monkeypatch):
    monkeypatch.setattr(startup, "run", lambda *arguments, until: startup.Taken(0.7, 0.7))
    rows = startup.bench_startup(Settings(rounds=1))
    assert judge(rows, benches=("startup",))[0].word == SHORT


def test_a_command_that_fails_or_shows_no_update_is_no_measurement(tmp_path):
    taken = startup.run([sys.executable, "-c", "print('iter 1')"], tmp_path, until="iter")
    assert taken.seconds > 0
    with pytest.raises(MeasurementFailed, match="status 3"):
        startup.run([sys.executable, "-c", "exit(3)"], tmp_path, until=None)
    with pytest.raises(MeasurementFailed, match=r"status 0:\nnothing"):
        startup.run([sys.executable, "-c", "print('nothing')"], tmp_path, until="iter")
