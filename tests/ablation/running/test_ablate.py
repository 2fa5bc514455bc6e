"""scripts/ablate.py from end to end: once with real training, and its parts with a fake train.py."""

import csv
import errno
import json
import os
import shutil
import signal
import sys
import threading
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from segkit.ablation import collect, launch
from segkit.ablation.plan.plan import load_plan
from segkit.ablation.running import execute
from segkit.ablation.running.estimate import Cost, assign, count_iterations, read_seconds, remaining
from segkit.ablation.running.execute import Launcher, _describe_score
from segkit.ablation.running.state import RunState, inspect_plan
from segkit.cli import train
from segkit.cli.run_command import run_command
from segkit.config.load import load_config
from segkit.errors import ConfigError
from segkit.system.files import cannot_write
from tests.paths import ROOT
from tests.processes import wait_until
from tests.scripts import run_script

FAKE_TRAIN = Path(__file__).with_name("fake_train.py")
HALTING_TRAIN = ROOT / "tests" / "halting_train.py"
TINY = """\
name: ab
base: base.yaml
seeds: [0]
baseline: ce
settings:
  data: {size: 32, train_size: 16, val_size: 4}
  model: {width: 4, depth: 2}
  augment: {crop_size: 32}
  train: {iterations: 100, batch_size: 2, workers: 0, checkpoint_every: 40}
  eval: {every: 50}
  log: {every: 5, images_every: 100, tensorboard: false}
variants:
  ce: {loss: {name: ce}}
  ohem: {loss: {name: ohem_ce}}
"""


@pytest.fixture
def ablate():
    """`ablate(*arguments)`: the exit status of scripts/ablate.py, in this process."""
    return partial(run_script, "ablate")


def read_iterations(folder: Path) -> list[int]:
    return [
        int(row["iteration"]) for row in csv.DictReader((folder / "results.csv").read_text().splitlines())
    ]


@pytest.fixture(scope="session")
def finished(built_once):
    """A folder with a real ablation: its first run was trained by itself, as a task of a job array does, its second
    was interrupted and then continued. In `outcome.json` are the exit statuses, and the kind and iteration of the runs
    at the interruption."""

    def build(folder):
        with chdir(folder):
            Path("base.yaml").write_text("loss: {name: ce}\ndevice: cpu\n")
            Path("ab.yaml").write_text(TINY)
            Path("ce.yaml").write_text(load_plan("ab.yaml").runs[0].config.to_yaml())
            assert run_command(train.main, ["--config", "ce.yaml"]) == 0
            Path("outcome.json").write_text(json.dumps(interrupt_and_continue()))

    return built_once("ablation", build)


def interrupt_and_continue() -> dict[str, list]:
    ended = threading.Event()

    def interrupt():
        wait_until(Path("halted").exists, ended.is_set)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            launch, "Launcher", partial(Launcher, train=[sys.executable, str(HALTING_TRAIN)], poll=0.02)
        )
        patch.setattr(launch, "make_report", lambda plan, **options: [])  # a test of its own makes it
        for name, value in {"AFTER": "12", "MARK": "halted", "ONLY": "ohem-seed0"}.items():
            patch.setenv(f"HALT_{name}", value)
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            first = run_script("ablate", "--config", "ab.yaml")
        finally:
            ended.set()
            thread.join()
        states = inspect_plan(load_plan("ab.yaml"))
        patch.setattr(launch, "Launcher", partial(Launcher, poll=0.02))
        second = run_script("ablate", "--config", "ab.yaml")
    return {"codes": [first, second], "states": [(state.kind, state.iteration) for state in states]}


@pytest.fixture
def trained(finished, tmp_path, monkeypatch):
    """A copy of the ablation in the working folder: the folder of its runs."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs/ab"


def test_interrupted_ablation_continues_and_ends(trained):
    outcome = json.loads(Path("outcome.json").read_text())
    assert outcome == {"codes": [143, 0], "states": [["finished", 100], ["resumes", 12]]}
    (run,) = (trained / "ohem-seed0").iterdir()
    assert (run / "config.yaml").is_file() and "resumed from" in (run / "train.log").read_text()
    assert read_iterations(run) == list(range(5, 101, 5))
    assert len(list((trained / "ce-seed0").iterdir())) == 1


def test_run_of_an_ablation_is_the_run_of_its_configuration(trained):
    for run in load_plan("ab.yaml").runs:
        (path,) = (trained / run.name).iterdir()
        assert load_config(path) == run.config


def test_again_nothing_is_trained_and_the_report_is_written(trained, ablate, capsys):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*seed0/*/*")}
    assert ablate("--config", "ab.yaml", "--report") == 0
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*seed0/*/*")} == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "report    runs/ab/report.html" and (trained / "report.html").is_file()
    rows = [line.split() for line in lines]
    header = rows.index(next(row for row in rows if row[:3] == ["variant", "mIoU,", "%"]))
    assert rows[header + 1][0] == "ce" and rows[header + 1][2] == "baseline"
    assert rows[header + 2][0] == "ohem"
    assert any(line.startswith("ohem: ") and "ce" in line for line in lines[header:])


def test_a_finished_run_that_cannot_be_read_says_how_to_get_it_back(trained, ablate, capsys):
    """The same command does not train it: it is finished."""
    (run,) = Path("runs/ab/ohem-seed0").iterdir()
    (run / "per_image.npz").write_bytes(b"no archive")
    assert ablate("--config", "ab.yaml", "--report") == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        f"missing   ohem-seed0: {run}/per_image.npz is damaged: it is no archive of arrays -> python "
        f"scripts/evaluate.py --weights {run} --per-image, or train again; the run is trained again once {run} "
        "is deleted"
    )


def test_dry_run_times_what_is_left_and_writes_nothing(trained, ablate, capsys):
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    assert ablate("--config", "ab.yaml", "--seeds", "0", "1", "--dry-run", "--devices", "cpu", "cpu") == 0
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before
    out = capsys.readouterr().out
    assert "ablation  ab  2 variants x 2 seeds = 4 runs: 2 finished, 2 new   runs/ab\n" in out
    assert "timing    ohem: 3 updates and a batch of validation\n" in out, (
        "it was resumed: its record is partial"
    )
    assert "timing    ce:" not in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if "-seed" in line}
    assert rows["ce-seed0"][1:3] == ["100", "finished"] and rows["ce-seed0"][-2:] == ["-", "-"]
    assert rows["ce-seed1"][1:4] == ["100", "new", "cpu"] and "~" not in rows["ce-seed1"]
    assert rows["ohem-seed1"][1:5] == ["100", "new", "cpu", "~"]
    assert out.splitlines()[-1] == "dry run   nothing was written"


@pytest.fixture
def fake(small, monkeypatch):
    """The small ablation with data that is built in an instant, trained by fake_train.py, without a report."""
    small()
    text = "loss: {name: ce}\ntrain: {iterations: 20, batch_size: 2}\naugment: {crop_size: 32}\n"
    Path("base.yaml").write_text(
        text + "data: {size: 32, train_size: 4, val_size: 2}\nmodel: {width: 2, depth: 1}\n"
    )
    monkeypatch.setattr(
        launch, "Launcher", partial(Launcher, train=[sys.executable, str(FAKE_TRAIN)], poll=0.02)
    )
    for module in (launch, collect):
        monkeypatch.setattr(
            module, "make_report", lambda plan, *, pdf, pack: [f"report    here{' with PDF' * pdf}"]
        )
    return small


def test_failures_are_listed_last_and_are_the_exit_status(fake, ablate, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_CE", "fail")
    assert ablate("--config", "ab.yaml", "--seeds", "0") == 5
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "report    here"
    assert captured.err == (
        "\n1 of 2 runs failed:\n  ce-seed0  exit status 5\n     training ce-seed0 with None threads, new\n"
        "     first words\n     the loss is nan\n        -> a lower optimizer.lr\n"
    )
    missing = collect.collect_study(fake(seeds=[0, 1]), inspect_plan(fake(seeds=[0, 1]))).missing
    assert (
        missing[0]
        == "ce-seed0: failed: the loss is nan in the update after iteration 3; nothing of it was saved"
    )
    assert missing[1].startswith("ohem-seed0: ")  # the fake's per_image.npz is empty
    assert missing[2:] == ("ce-seed1: not trained yet", "ohem-seed1: not trained yet")


def test_failures_are_listed_when_the_disk_ends_the_ablation(fake, ablate, monkeypatch, capsys):
    """A run whose lock cannot be written ends it, some time after another failed."""
    monkeypatch.setenv("FAKE_CE", "fail")
    take_lock = execute.take_lock

    def fill_the_disk(path, what, advice):
        if path.name != "ohem-seed0.lock":
            return take_lock(path, what, advice)
        raise cannot_write(path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(execute, "take_lock", fill_the_disk)
    assert ablate("--config", "ab.yaml", "--seeds", "0") == 7
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == [
        *("", "1 of 1 runs failed:", "  ce-seed0  exit status 5"),
        "     training ce-seed0 with None threads, new",
    ]
    assert "cannot write runs/ab/locks/ohem-seed0.lock: the disk is full" in lines[4:]


@pytest.mark.parametrize("what", [(), ("--report",)])
def test_pdf_is_for_the_report(fake, ablate, capsys, what):
    assert ablate("--config", "ab.yaml", "--seeds", "0", "--pdf", *what) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "report    here with PDF"


def test_too_little_for_a_report(small):
    assert collect.make_report(small(seeds=[0])) == [
        "missing   ce-seed0: not trained yet",
        "missing   ohem-seed0: not trained yet",
        "report    none yet: there is no finished run of the baseline ce",
    ]


def test_a_report_says_which_seeds_it_leaves_out(trained):
    """One of other seeds takes the place of the one before it."""
    plan = load_plan("ab.yaml", seeds=[1, 7])
    assert collect.make_report(plan)[-1] == (
        "left out  seed 0: finished with this configuration, and not in this plan -> --seeds 0 1 7 for a report of all"
    )
    (trained / "ce-seed00").mkdir()
    (trained / "ce-seedling").mkdir()
    assert not any("left out" in line for line in collect.make_report(load_plan("ab.yaml")))
    other = load_plan("ab.yaml", ["optimizer.lr=0.5"], seeds=[1])
    assert not any("left out" in line for line in collect.make_report(other))


def test_a_report_says_which_setting_makes_a_finished_run_another(trained):
    plan = load_plan("ab.yaml", ["optimizer.lr=0.5"])
    missing = collect.collect_study(plan).missing
    assert [line.partition(": ")[0] for line in missing] == ["ce-seed0", "ohem-seed0"]
    assert all("not trained yet: configuration changed (optimizer.lr: " in line for line in missing)


def test_one_run(fake, ablate, capsys):
    assert ablate("--config", "ab.yaml", "--run", "ohem-seed1", "--devices", "cpu") == 0
    assert [path.name for path in sorted(Path("runs/ab").glob("*-seed*"))] == ["ohem-seed1"]
    assert ablate("--config", "ab.yaml", "--run", "ohem-seed1") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ohem-seed1 is finished t")
    assert ablate("--config", "ab.yaml", "--run", "ohem-seed3") == 2


def test_second_ablation_of_the_same_folder_is_refused(fake, ablate, capsys):
    from segkit.system.locks import take_lock

    lock = take_lock(Path("runs/ab/.lock"), "", "")
    assert ablate("--config", "ab.yaml") == 6
    message = capsys.readouterr().err
    assert message.startswith(f"the ablation runs/ab is in use by process {os.getpid()} on ")
    assert message.endswith("\n   -> wait for it or stop it; the same command then continues\n")
    os.close(lock)
    assert ablate("--config", "ab.yaml") == 0
    assert ablate("--config", "ab.yaml") == 0, "the lock is let go of"


def test_variant_that_cannot_be_built_is_found_before_anything_is_trained(fake, ablate, capsys):
    path = Path("ab.yaml")
    path.write_text(
        path.read_text() + "  boot: {loss: {name: bootstrapped_ce, start_warm: 30, end_warm: 40}}\n"
    )
    assert ablate("--config", "ab.yaml") == 2
    assert capsys.readouterr().err.startswith("variant boot: ")
    assert not Path("runs").exists()


def test_mistake_of_all_variants_is_said_once(fake, ablate, capsys):
    assert ablate("--config", "ab.yaml", "data={name: folder, root: nowhere, classes: [a, b]}") == 3
    assert capsys.readouterr().err.startswith("variant ce, ohem: ")


@pytest.mark.parametrize("every", ["0", "0%"])
def test_runs_that_would_never_be_scored_are_refused(fake, every):
    """Each would be trained to its end, taken for unfinished, and trained anew by the next command."""
    plan = fake(f"eval.every={every}")
    with pytest.raises(ConfigError, match="no run would have a score") as caught:
        count_iterations(plan, inspect_plan(plan))
    assert str(caught.value).startswith("variant ce, ohem: eval.every=0: ")


def test_a_metric_of_a_class_that_there_is_not_is_found_before_anything_is_trained(fake, ablate, capsys):
    """It was said when all was trained, and of the main metric instead of a report."""
    path = Path("ab.yaml")
    path.write_text(path.read_text() + "metrics: [miou, iou/stars]\n")
    assert ablate("--config", "ab.yaml") == 2
    told = capsys.readouterr().err
    assert told.startswith(
        "variant ce, ohem: metrics: iou/stars: there is no class 'stars', did you mean 'star'?"
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        (
            "'^(.*)_frame'",
            "'^(.*)_frame' captures nothing in the image name 'val_00000' and 1 more -> change the expression so that "
            "it fits every image",
        ),
        ("'^(val)_'", "'^(val)_' makes 1 group(s) of 2 images; "),
        ("4", "4 makes 1 group(s) of 2 images; "),
    ],
)
def test_groups_that_do_not_fit_the_images_are_found_before_anything_is_trained(
    fake, ablate, capsys, group_by, message
):
    """It was said when all was trained, instead of a report."""
    path = Path("ab.yaml")
    path.write_text(path.read_text() + f"group_by: {group_by}\n")
    assert ablate("--config", "ab.yaml") == 2
    assert capsys.readouterr().err.startswith(f"variant ce, ohem: group_by: {message}")
    assert not Path("runs").exists()


VALIDATED = {
    "data: {val_size: 3}": "validation images: others (3 instead of 2, with val_00002) in other than in ce, so no "
    "report can compare them -> validate all on the same images",
    "data: {size: 48}": "validation labels: others (of 48 x 48 instead of 32 x 32 pixels) in other than in ce, so no "
    "report can compare them -> score all against the same labels, at the same size",
    "data: {seed: 1}": "validation labels: others in other than in ce, so no report can compare them -> score all "
    "against the same labels, at the same size",
    "data: {train_size: 6}": "",
}


@pytest.mark.parametrize(("settings", "warning"), VALIDATED.items(), ids=VALIDATED)
def test_variants_that_no_report_can_compare_are_told_before_they_are_trained(
    fake, ablate, capsys, settings, warning
):
    """It was said when all was trained, instead of a report."""
    path = Path("ab.yaml")
    path.write_text(path.read_text() + f"  other: {{{settings}}}\n")
    for option in ("--dry-run", "--devices=cpu"):
        assert ablate("--config", "ab.yaml", "--seeds", "0", option) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.startswith("warning")] == [f"warning   {warning}"] * bool(
            warning
        )
        assert not warning or lines.index(f"warning   {warning}") < 6


def test_a_single_validation_image_is_refused(fake):
    """There would be no report: an interval over images needs two. It was said when all was trained."""
    plan = fake("data.val_size=1")
    with pytest.raises(ConfigError) as caught:
        count_iterations(plan, inspect_plan(plan))
    assert str(caught.value) == (
        "variant ce, ohem: data: there is one validation image, and an interval over images needs at least 2 -> "
        "validate on more"
    )


def test_a_place_that_is_a_file_cannot_be_written_to(fake, ablate, capsys):
    assert ablate("--config", "ab.yaml", "log.dir=base.yaml") == 7
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "cannot write base.yaml/ab/.lock: a file is where a folder should be"


def test_images_that_are_left_out_may_be_in_no_group(fake):
    """Which those are shows when they are read."""
    plan = replace(fake("data.on_bad_sample=skip"), group_by="^(.*)_frame")
    assert len(count_iterations(plan, inspect_plan(plan))) == 4


def test_lengths_in_epochs(fake):
    plan = fake("train.iterations=null", "train.epochs=3")
    assert set(count_iterations(plan, inspect_plan(plan)).values()) == {6}


def test_assignment_is_that_of_the_launcher():
    places, total = assign({"a": 10.0, "b": 2.0, "c": 3.0, "d": 4.0}, 2)
    assert (places, total) == ({"a": 0, "b": 1, "c": 1, "d": 1}, 10.0)


def test_what_is_left_of_a_run():
    run = None
    assert remaining(RunState(run, "resumes", iteration=300), 100.0, 400) == 25.0
    assert remaining(RunState(run, "finished", iteration=400), 100.0, 400) == 0.0
    assert Cost(3.0, True).measured


def test_record_of_a_resumed_run_is_not_its_time(tmp_path):
    assert read_seconds(tmp_path) == []
    (tmp_path / "summary.json").write_text(json.dumps({"seconds": 12.5}))
    (tmp_path / "train.log").write_text("run       runs/a/b\n")
    assert read_seconds(tmp_path) == [12.5]
    assert _describe_score(tmp_path) == ""
    for damaged in ("[1]", '{"seconds": [], "last": []}', '{"seconds": "x", "last": {"mIoU": "x"}}'):
        (tmp_path / "summary.json").write_text(damaged)
        assert read_seconds(tmp_path) == [] and _describe_score(tmp_path) == ""
    (tmp_path / "summary.json").write_text('{"last": {"mIoU": 0.604}}')
    assert _describe_score(tmp_path) == "mIoU 60.4"
    (tmp_path / "train.log").write_text("run       runs/a/b   resumed from 000100.pt\n")
    assert read_seconds(tmp_path) == []
