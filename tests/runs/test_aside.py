"""A run that goes on from an earlier checkpoint has in its folder what is of its own history; the rest is set aside."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from segkit.errors import CannotWrite
from segkit.runs.aside import remove_set_aside, set_aside, set_aside_later
from segkit.runs.checkpoint import load_checkpoint
from segkit.system.run_files import RunFiles, list_set_aside
from segkit.training.trainer import Trainer
from tests.runs.planted_scores import TINY, run, train_with_scores

SCORES = {2: 0.1, 4: 0.2, 6: 0.3, 8: 0.4}


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    return monkeypatch


def halt(trainer: Trainer) -> bool:
    raise ZeroDivisionError("killed before the first update")


def moments(folder: Path) -> dict[str, int]:
    """The iteration that each file of a run is of, for those that say so or are written with one that does."""
    files = RunFiles(folder)
    found = {
        str(path.relative_to(folder)): int(path.stem)
        for path in folder.rglob("*")
        if path.stem.isdigit() and path.suffix in (".pt", ".jpg")
    }
    for lead, others in {
        files.per_image: (files.confusion_matrix, files.confusion_matrix_plot),
        files.examples: (files.val_predictions, files.loss_pixels),
    }.items():
        if lead.exists():
            with np.load(lead) as arrays:
                found[lead.name] = int(arrays["iteration"])
        found |= {path.name: found.get(lead.name, 99) for path in others if path.exists()}
    if files.summary.exists():
        found[files.summary.name] = json.loads(files.summary.read_text())["iterations"]
    for path in (files.model_card, files.best_images, files.worst_images):
        if path.exists():
            found[path.name] = found.get(files.summary.name, 99)
    found[files.results.name] = max(
        int(row["iteration"]) for row in csv.DictReader(files.results.read_text().splitlines())
    )
    if files.results_plot.exists():
        found[files.results_plot.name] = 8
    if files.best.exists():
        found[files.best.name] = load_checkpoint(files.best)["iteration"]
    return found


def give_up(patch, folder: Path, iteration: int) -> None:
    """Go on from a checkpoint, and be killed before the first update."""
    with patch.context() as inner:
        inner.setattr(Trainer, "fit", halt)
        with pytest.raises(ZeroDivisionError):
            run("--resume", f"{folder}/checkpoints/{iteration:06d}.pt")


def test_nothing_of_a_later_moment_is_left(tiny, capsys):
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    before = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert max(moments(folder).values()) == 8
    capsys.readouterr()
    give_up(tiny, folder, 4)
    assert {name: moment for name, moment in moments(folder).items() if moment > 4} == {}
    gone = before - {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert {Path("checkpoints/000006.pt"), Path("per_image.npz"), Path("summary.json")} < gone
    for name in {*gone, Path("results.csv"), Path("best.pt")}:
        assert (folder / f"{name}.aside").is_file(), f"{name} is neither there nor aside"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "of after iteration 4" in line]
    assert line == (
        "aside     checkpoints/000008.pt, checkpoints/000006.pt, per_image.npz, confusion_matrix.csv, "
        "confusion_matrix.png, examples.npz, val_batch0_pred.jpg, loss_pixels.jpg, summary.json, README.md, best8.jpg, "
        "worst8.jpg, results.png, 4 pictures in examples: of after iteration 4; kept as *.aside until this run has a "
        "checkpoint as late"
    )
    # A run that was killed so early goes on from there, and says nothing of it again.
    train_with_scores(tiny, {6: 0.1, 8: 0.1}, "--resume", str(folder))
    shown = capsys.readouterr().out
    assert "resumed from 000004.pt" in shown and "aside     " not in shown
    assert {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} == before


def test_what_was_set_aside_stays_until_the_run_is_as_far_again(tiny):
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    old = (folder / "checkpoints/000008.pt").read_bytes()
    scored = (folder / "per_image.npz").read_bytes()
    train_with_scores(tiny, {6: 0.1}, "--resume", f"{folder}/checkpoints/000004.pt", "train.iterations=6")
    assert (folder / "checkpoints/000008.pt.aside").read_bytes() == old, (
        "a run that ended earlier loses nothing"
    )
    assert (folder / "per_image.npz.aside").read_bytes() == scored
    assert (folder / "best.pt.aside").is_file()
    train_with_scores(tiny, {8: 0.1}, "--resume", str(folder), "train.iterations=8")
    assert list_set_aside(RunFiles(folder)) == []
    assert (folder / "checkpoints/000008.pt").read_bytes() != old


def test_giving_up_twice_keeps_both(tiny):
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    give_up(tiny, folder, 6)
    train_with_scores(tiny, {7: 0.5}, "--resume", f"{folder}/checkpoints/000006.pt", "train.iterations=7")
    give_up(tiny, folder, 4)
    best = [load_checkpoint(path)["iteration"] for path in sorted(folder.glob("best.pt*.aside"))]
    assert sorted(best) == [7, 8]
    assert {path.name for path in (folder / "checkpoints").glob("*.aside")} == {
        f"00000{n}.pt.aside" for n in (6, 7, 8)
    }


def test_a_run_that_ends_where_it_was_resumed_has_all_files_of_that_moment(tiny):
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    expected = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    train_with_scores(tiny, SCORES, "--resume", f"{folder}/checkpoints/000004.pt", "train.iterations=4")
    there = {
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".aside"
    }
    assert {str(path) for path in expected - there if path.stem not in ("000006", "000008")} == set()
    assert max(moment for name, moment in moments(folder).items() if name != "results.png") == 4


def test_a_run_that_was_killed_after_its_checkpoint_sets_aside_what_came_after(tiny, capsys):
    """Only the checkpoint is lost, as if the process was killed between the evaluation and it."""
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    (folder / "checkpoints/000008.pt").unlink()
    give_up(tiny, folder, 6)
    assert {name: moment for name, moment in moments(folder).items() if moment > 6} == {}
    assert load_checkpoint(folder / "best.pt")["iteration"] == 6
    assert "best      best.pt made again from checkpoints/000006.pt" in capsys.readouterr().out


@pytest.mark.parametrize("left", ["all but the end", "nothing"])
def test_files_that_cannot_be_read_are_set_aside_and_written_anew(tiny, left):
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    for name in ("per_image.npz", "examples.npz"):
        (folder / name).write_bytes(b"" if left == "nothing" else (folder / name).read_bytes()[:-200])
    (folder / "summary.json").write_text("[]")
    train_with_scores(tiny, {10: 0.1}, "--resume", str(folder), "train.iterations=10")
    found = moments(folder)
    assert found["per_image.npz"] == found["examples.npz"] == found["summary.json"] == 10


def test_setting_aside_that_fails_says_so(tmp_path, monkeypatch):
    (tmp_path / "best.pt").touch()
    monkeypatch.setattr(Path, "rename", lambda path, place: (_ for _ in ()).throw(OSError(30, "read-only")))
    with pytest.raises(CannotWrite, match=r"best\.pt\.aside: the disk is mounted read-only"):
        set_aside(tmp_path / "best.pt")


def test_an_empty_folder_has_nothing_to_set_aside(tmp_path):
    assert set_aside_later(RunFiles(tmp_path), 4) == []
    remove_set_aside(RunFiles(tmp_path), 4)
