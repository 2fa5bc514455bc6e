"""Several runs scored one after the other, of which some fail; a single one is in tests/runs/test_run.py."""

from pathlib import Path

import pytest

from segkit.commands import evaluate_per_image as module
from segkit.commands.evaluate_per_image import evaluate_per_image
from segkit.errors import CheckpointError, ConfigError, DataError, SegkitError
from segkit.evaluation.objects.request import ObjectRequest


def score_all(runs, **changes):
    options = {"split": "val", "device": "cpu", "output": None}
    return evaluate_per_image(runs, ["eval.batch_size=1"], **{**options, **changes})


@pytest.fixture
def plan(monkeypatch):
    """Errors by run, raised instead of scoring it; `scored` has the others, with their options."""
    errors, scored = {}, []

    def score_run(run, overrides, *, device, **options):
        if run in errors:
            raise errors[run]
        scored.append((run, *overrides, str(device), options))

    monkeypatch.setattr(module, "score_run", score_run)
    errors["scored"] = scored
    return errors


def test_every_run_is_scored(plan, capsys):
    further = {"boundary": 2.0, "calibration": True, "objects": ObjectRequest(("cell",), 20)}
    assert score_all(["a", "b"], **further) == 0
    options = {"output": None, **further}
    assert plan["scored"] == [
        ("a", "eval.batch_size=1", "cpu", options), ("b", "eval.batch_size=1", "cpu", options),
    ]  # fmt: skip
    printed = capsys.readouterr()
    assert printed.out == "\nrun 1 of 2   a\n\nrun 2 of 2   b\n" and printed.err == ""


def test_a_run_that_fails_does_not_keep_the_others_from_being_scored(plan, capsys):
    plan["b"] = CheckpointError("it is broken\n   -> mend it")
    with pytest.raises(SegkitError) as caught:
        score_all(["a", "b", "c"])
    assert [run for run, *_ in plan["scored"]] == ["a", "c"]
    assert str(caught.value) == (
        "1 of 3 runs failed:\n  b  exit status 4\n     it is broken\n        -> mend it"
    )
    assert caught.value.exit_code == 4 and caught.value.__cause__ is plan["b"]
    assert capsys.readouterr().err == "failed, see the end: b\n"
    assert SegkitError.exit_code == 1


def test_runs_that_fail_for_different_reasons(plan):
    plan["a"], plan["b"] = CheckpointError("it is broken"), DataError("no images")
    with pytest.raises(SegkitError) as caught:
        score_all(["a", "b", "c"])
    assert str(caught.value).splitlines() == [
        "2 of 3 runs failed:", "  a  exit status 4", "     it is broken", "  b  exit status 3", "     no images",
    ]  # fmt: skip
    assert caught.value.exit_code == 1 and [run for run, *_ in plan["scored"]] == ["c"]


def test_a_single_run_fails_with_its_own_error(plan):
    plan["a"] = CheckpointError("it is broken")
    with pytest.raises(CheckpointError) as caught:
        score_all(["a"])
    assert caught.value is plan["a"]


def test_a_bug_is_not_kept_for_later(plan):
    plan["a"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        score_all(["a", "b"])
    assert plan["scored"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "train"}, "--per-image is of the validation set, got --split train -> leave --split out"),
        ({"boundary": 0.5}, "--boundary is a distance of at least 1 pixel, got 0.5 -> --boundary 3"),
        ({"output": Path("x")}, "--output is for the scores of one run, got 2 runs -> leave it out"),
    ],
)
def test_what_is_wrong_for_all_runs_is_said_once(plan, options, message):
    with pytest.raises(ConfigError) as caught:
        score_all(["a", "b"], **options)
    assert str(caught.value) == message and plan["scored"] == []
