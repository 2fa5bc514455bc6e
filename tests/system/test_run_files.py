"""Where the files of a run are, and which folders are those of runs."""

import os
from pathlib import Path

from segkit.system.entries import Entry, NamedFolder
from segkit.system.run_files import (
    RunFiles,
    checkpoint_path,
    folder_around,
    iteration_of,
    list_misplaced_folders,
    list_numbered,
    list_runs_below,
    list_runs_in,
    list_set_aside,
    name_runs_below,
    number_of_set_aside,
    path_set_aside,
)


class Shelf(NamedFolder):
    book = Entry("book.txt", "To read.")


class Rack(Shelf):
    lamp = Entry("lamp", "To see.")


def make(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_an_entry_is_a_path_of_a_folder_and_a_name_of_its_kind():
    assert Rack("x/y").book == Path("x/y/book.txt")
    assert (Rack.book.name, Rack.book.content) == ("book.txt", "To read.")
    assert list(Rack.entries()) == ["book", "lamp"] and list(Shelf.entries()) == ["book"]


def test_a_named_folder_will_do_where_a_path_is_expected():
    folder = Shelf(Shelf("x/y"))
    assert os.fspath(folder) == str(folder) == "x/y"
    assert folder.path == Path("x/y")


def test_a_run_folder_is_one_with_a_configuration(tmp_path):
    assert not RunFiles(tmp_path / "nowhere").is_run
    make(RunFiles(tmp_path).status)
    assert not RunFiles(tmp_path).is_run
    make(RunFiles(tmp_path).config)
    assert RunFiles(tmp_path).is_run


def test_the_folder_around_a_checkpoint():
    run = RunFiles("runs/ohem/1")
    assert folder_around(run.best) == folder_around(checkpoint_path(run.checkpoints, 7)) == run.path
    assert folder_around(Path("elsewhere/000007.pt")) == Path("elsewhere")


def test_the_names_of_checkpoints_tell_their_iteration():
    assert checkpoint_path("x", 7) == Path("x/000007.pt")
    assert checkpoint_path("x", 12345678) == Path("x/12345678.pt")
    assert [iteration_of(checkpoint_path("x", count)) for count in (0, 7, 12345678)] == [0, 7, 12345678]
    assert path_set_aside(Path("x/000007.pt")) == Path("x/000007.pt.aside")


def test_files_that_were_set_aside_are_found_in_all_folders_of_the_run(tmp_path):
    run = RunFiles(tmp_path)
    aside = [checkpoint_path(run.checkpoints, 8), run.example_picture(8), run.moment_picture(12), run.best]
    make(*map(path_set_aside, aside), checkpoint_path(run.checkpoints, 6), run.predictions / "mine.aside")
    assert list_set_aside(run) == sorted(map(path_set_aside, aside))
    assert [number_of_set_aside(path_set_aside(path)) for path in aside] == [8, 8, 12, None]


def test_files_with_an_iteration_in_their_name_are_listed_newest_first(tmp_path):
    run = RunFiles(tmp_path)
    numbered = {run.moment_picture(12): 12, checkpoint_path(run.checkpoints, 8): 8, run.example_picture(6): 6}
    make(*numbered, run.best, run.example_pictures / "mine.jpg", tmp_path / "000099.pt")
    assert list(list_numbered(run).items()) == list(numbered.items())


def test_folders_in_the_place_of_files_are_found(tmp_path):
    run = RunFiles(tmp_path)
    for path in (
        run.best,
        run.results,
        run.checkpoints,
        run.tensorboard,
        run.predictions,
        run.moments,
        tmp_path / "mine",
    ):
        path.mkdir(parents=True)
    assert set(list_misplaced_folders(run)) == {run.best, run.results}


def test_pictures_of_moments_are_listed_in_the_order_of_training(tmp_path):
    run = RunFiles(tmp_path)
    assert run.list_moment_pictures() == {}
    make(*(run.moment_picture(moment) for moment in (1000000, 999999, 5)), run.moments / "mine.jpg")
    assert list(run.list_moment_pictures().items()) == [
        (moment, run.moment_picture(moment)) for moment in (5, 999999, 1000000)
    ]


def test_runs_are_found_in_a_folder_and_below_it(tmp_path):
    started, failed, deep, other = (tmp_path / name for name in ("b", "a", "c/deep/1", "d"))
    for run in (started, failed, deep, other):
        make(RunFiles(run).config)
    RunFiles(started).checkpoints.mkdir()
    make(RunFiles(failed).status, RunFiles(deep).status)
    assert sorted(list_runs_in(tmp_path)) == [failed, started, other]
    assert list_runs_below(tmp_path) == [failed, started, deep]
    assert list_runs_in(tmp_path / "nowhere") == list_runs_below(tmp_path / "nowhere") == []
    assert name_runs_below(tmp_path) == f"\n   -> give one of the 3 runs in it, such as {deep}"
    assert name_runs_below(deep.parent) == f"\n   -> give the run in it, {deep}"
    assert name_runs_below(tmp_path / "nowhere") == ""


def test_the_folder_around_a_checkpoint_named_from_anywhere(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "ohem"
    (run / "checkpoints").mkdir(parents=True)
    assert folder_around(run / "checkpoints" / "000004.pt") == run
    assert folder_around(run / "best.pt") == run
    monkeypatch.chdir(run)
    assert folder_around(Path("best.pt")) == Path()
    assert folder_around(Path("checkpoints/000004.pt")) == Path()
    monkeypatch.chdir(run / "checkpoints")
    assert folder_around(Path("000004.pt")) == run
    assert folder_around(Path("../best.pt")).resolve() == run
