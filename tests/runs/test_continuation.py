"""What `--resume` chooses when others write meanwhile, where there is nothing yet, and what `--check` says of it."""

import shutil
from pathlib import Path

import pytest

from segkit.config.load import load_config
from segkit.runs.checkpoint import Found, load_checkpoint
from segkit.runs.continuation import Continuation
from segkit.runs.folder import RunFolder
from segkit.runs.resume import compare_configs
from tests.runs.planted_scores import TINY, only_run, run

SHORT = ("--config", "tiny.yaml", "eval.every=0", "log.images_every=0", "log.every=0")


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    return monkeypatch


@pytest.fixture
def overtaken(tiny):
    """The folder of a run with 8 iterations, which seems to have 4 until somebody asks for its lock."""
    assert run(*SHORT) == 0
    folder = only_run()
    for name in ("000006.pt", "000008.pt"):
        (folder / "checkpoints" / name).rename(name)
    take = RunFolder._take.__func__

    def take_later(cls, path: Path) -> RunFolder:
        for name in ("000006.pt", "000008.pt"):
            if Path(name).exists():
                shutil.move(
                    name, path / "checkpoints" / name
                )  # another process trained until it let go of the lock
        return take(cls, path)

    tiny.setattr(RunFolder, "_take", classmethod(take_later))
    return folder


@pytest.mark.parametrize("target", ["auto", "folder"])
def test_a_run_that_went_on_meanwhile_is_not_overtaken(overtaken, capsys, target):
    resume = "auto" if target == "auto" else str(overtaken)
    assert run(*SHORT, "--resume", resume, "train.iterations=10") == 0
    assert "resumed from 000008.pt" in capsys.readouterr().out
    assert not list(overtaken.rglob("*.aside"))


def test_what_was_chosen_under_the_lock_is_checked_as_well(overtaken, capsys):
    assert run(*SHORT, "--resume", "auto", "train.iterations=6") == 2
    assert (
        "000008.pt has 8 iterations and the run is to have 6: nothing is left to do"
        in capsys.readouterr().err
    )


def test_a_newer_run_that_came_meanwhile_is_the_one_that_goes_on(overtaken, tiny, capsys):
    """While the lock of the first was asked for, another process trained in a folder of its own."""
    newer = overtaken.with_name("30000101-000000")
    take = RunFolder._take.__func__

    def take_later(cls, path: Path) -> RunFolder:
        folder = take(cls, path)
        if not newer.exists():
            shutil.copytree(overtaken, newer, ignore=shutil.ignore_patterns(".lock"))
        return folder

    tiny.setattr(RunFolder, "_take", classmethod(take_later))
    assert run(*SHORT, "--resume", "auto", "train.iterations=10") == 0
    assert f"run       {newer}   resumed from 000008.pt" in capsys.readouterr().out
    RunFolder.reopen(overtaken).close()  # the lock of the first is free again


def test_a_checkpoint_that_was_just_removed_is_named(overtaken, tiny, capsys):
    take = RunFolder._take.__func__

    def take_later(cls, path: Path) -> RunFolder:
        (path / "checkpoints/000002.pt").unlink(missing_ok=True)
        return take(cls, path)

    tiny.setattr(RunFolder, "_take", classmethod(take_later))
    assert run(*SHORT, "--resume", f"{overtaken}/checkpoints/000002.pt") == 4
    assert "000002.pt: no such file or folder" in capsys.readouterr().err


def test_one_command_starts_and_goes_on(tiny, capsys):
    command = (*SHORT, "--resume", "auto")
    assert run(*command, "train.iterations=4") == 0
    assert "resume    no run in runs/tiny yet: a new one\n" in capsys.readouterr().out
    assert run(*command) == 0
    assert "resumed from 000004.pt" in capsys.readouterr().out
    assert load_checkpoint(only_run() / "checkpoints/000008.pt")["trainer"]["iteration"] == 8


def test_a_run_that_was_killed_before_its_first_checkpoint_is_begun_anew(tiny, capsys):
    RunFolder.create("runs", "tiny").close()
    assert run(*SHORT, "--resume", "auto", "train.iterations=1") == 0
    assert "resume    no run in runs/tiny has a checkpoint yet: a new one\n" in capsys.readouterr().out


def test_a_run_that_is_before_its_first_checkpoint_is_in_use(tiny, capsys):
    with RunFolder.create("runs", "tiny") as folder:
        assert run(*SHORT, "--resume", "auto", "train.iterations=1") == 6
    assert f"run folder {folder} is in use by process" in capsys.readouterr().err
    only_run()


def test_a_new_run_that_another_process_began_meanwhile_is_seen(tiny, capsys):
    """Two jobs with the same first command: the slower one finds the run of the other."""
    from segkit.runs import run as module

    build, folders = module.build_together, []

    def build_slowly(*arguments, **options):
        folders.append(RunFolder.create("runs", "tiny"))
        return build(*arguments, **options)

    tiny.setattr(module, "build_together", build_slowly)
    assert run(*SHORT, "--resume", "auto") == 6
    folders[0].close()


def test_a_path_is_never_begun_anew(tiny, capsys):
    for target in ("runs/tiny/2026", "atuo"):
        assert run(*SHORT, "--resume", target) == 4
        assert f"nothing to resume at {target}: no such file or folder" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_damaged_checkpoints_are_not_begun_anew(tiny, capsys):
    assert run(*SHORT, "train.iterations=2") == 0
    (only_run() / "checkpoints/000002.pt").write_bytes(b"")
    assert run(*SHORT, "--resume", "auto") == 4
    assert "no usable checkpoint in runs/tiny" in capsys.readouterr().err
    only_run()


def test_check_looks_at_what_would_be_resumed(tiny, capsys):
    check = (*SHORT, "--check", "--resume")
    assert run(*check, "/nonexistent") == 4
    assert "nothing to resume at /nonexistent: no such file or folder" in capsys.readouterr().err
    assert run(*check, "auto") == 0
    assert "resume    no run in runs/tiny yet: a new one\n" in capsys.readouterr().out
    assert not Path("runs").exists()
    assert run(*SHORT, "train.iterations=4") == 0
    assert run(*check, "auto") == 0
    assert f"resume    {only_run()}/checkpoints/000004.pt\n" in capsys.readouterr().out
    assert run(*check, "auto", "loss.thresh=0.5") == 4
    assert run(*check, "auto", "train.iterations=2") == 2
    assert run(*check, "auto", "data.val_size=3") == 4
    assert run(*check, "auto", "loss.thresh=0.5", "--allow-change", "loss.thresh") == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ("model.width=8", "--allow-change", "model"),
            "its tensors are not of the model as it is built now: ",
        ),
        (
            ("model.freeze=[stem.3]", "--allow-change", "model"),
            "is of no use with\n   model.freeze: [] -> ['stem.3']",
        ),
    ],
    ids=["another model", "other frozen parts"],
)
def test_a_checkpoint_that_does_not_fit_what_was_allowed_leaves_the_run_as_it_is(
    tiny, capsys, changes, message
):
    """Nothing goes back to an earlier moment for a run that cannot go on from there."""
    assert run(*SHORT, "train.keep_checkpoints=8") == 0
    folder = only_run()
    early = str(folder / "checkpoints" / "000004.pt")
    before = {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir()}
    for check in ([], ["--check"]):
        assert run(*SHORT, "--resume", early, *changes, *check) == 4
        error = capsys.readouterr().err
        assert message in error and "model.init_from" in error and "Traceback" not in error
    assert {path: path.stat().st_mtime_ns for path in (folder / "checkpoints").iterdir()} == before
    assert not list(folder.rglob("*.aside"))


def test_what_data_sets_in_a_data_set_found_out_is_kept_too(tiny):
    """A run in parts would otherwise be refused its own checkpoint by the file that it was started with."""
    part = "{name: folder, root: a, classes: classes.txt, value_range: RANGE}"
    parts = f"data={{name: mix, classes: [x, y], parts: [{part}, {part.replace('root: a', 'root: b')}]}}"
    asked = load_config("tiny.yaml", [parts.replace("RANGE", "auto")])
    trained = load_config("tiny.yaml", [parts.replace("RANGE", "[0, 4000]")])
    found = Found(Path("000002.pt"), {"config": trained.to_mapping()}, [])
    kept = Continuation(asked, "runs").with_found_options(found)
    assert kept.config.to_mapping() == {**trained.to_mapping(), "name": asked.name}
    assert compare_configs(trained.to_mapping(), kept.config.to_mapping()) == []
