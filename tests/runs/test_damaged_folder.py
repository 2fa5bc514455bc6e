"""A run folder in which something is damaged: what is only beside the checkpoints never keeps a run from going on."""

import csv
import random
import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from segkit.runs.folder import read_status
from segkit.system.run_files import RunFiles
from tests.empty_plots import empty_plots
from tests.runs.planted_scores import TINY, only_run, run
from tests.scripts import run_script

SHORT = ("--config", "tiny.yaml", "log.every=1")


@pytest.fixture(scope="session")
def four(built_once):
    """A working folder with a run of 4 iterations."""

    def build(folder: Path) -> None:
        with chdir(folder), empty_plots():
            Path("tiny.yaml").write_text(TINY)
            assert run(*SHORT, "train.iterations=4") == 0

    return built_once("four", build)


@pytest.fixture
def folder(four, tmp_path, monkeypatch, quick_plots):
    shutil.copytree(four, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return only_run()


def rows(folder: Path) -> list[int]:
    return [
        int(row["iteration"]) for row in csv.DictReader((folder / "results.csv").read_text().splitlines())
    ]


def nuls(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 300 + b"\n")


def half_a_letter(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"5,0.5,\xc3\n")


def no_number(path: Path) -> None:
    path.write_text(path.read_text() + "5,abc\n")


def more_cells(path: Path) -> None:
    path.write_text(path.read_text() + "5" + ",1" * 99 + "\n")


def other_columns(path: Path) -> None:
    path.write_text("step,loss\n1,2\n")


def empty(path: Path) -> None:
    path.write_text("")


def no_bytes_of_text(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(999) + b"\n\x80")


def nor_a_line(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(999).replace(b"\n", b""))


def half_a_header(path: Path) -> None:
    path.write_text("iterat")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        *((damage, [1, 2, 3, 4]) for damage in (nuls, half_a_letter, no_number, more_cells)),
        *((damage, []) for damage in (other_columns, no_bytes_of_text, nor_a_line, a_folder)),
        *((damage, []) for damage in (empty, half_a_header)),
    ],
)
def test_a_damaged_table_is_set_aside_and_goes_on(folder, capsys, damage, kept):
    damage(folder / "results.csv")
    assert run(*SHORT, "--resume", str(folder), "train.iterations=6") == 0
    assert rows(folder) == [*kept, 5, 6]
    shown = capsys.readouterr().out
    if damage is a_folder:
        assert "aside     results.csv -> results.csv.aside: it is a folder, where a file should be\n" in shown
    elif damage in (empty, half_a_header):
        assert "results.csv" not in shown
    else:
        (line,) = [line for line in shown.splitlines() if "results.csv" in line]
        assert line.startswith("aside     results.csv -> results.csv.aside: ")
        assert line.endswith(f"; {len(kept)} rows could be read")


@pytest.mark.parametrize("damage", [Path.unlink, a_folder])
def test_a_run_that_had_ended_writes_what_is_known_of_a_lost_table(folder, damage):
    damage(folder / "results.csv")
    assert run(*SHORT, "--resume", str(folder), "train.iterations=4") == 0
    assert rows(folder) == [4], "of the last evaluation, which the checkpoint has"


def test_a_folder_in_the_place_of_the_status_is_named(folder, capsys):
    a_folder(folder / "status.json")
    assert run_script("compare", folder) == 4
    assert "status.json is damaged: Is a directory" in capsys.readouterr().err


def test_a_folder_in_the_place_of_any_file_is_set_aside(folder):
    """train.log too, which says so."""
    names = [entry.name for entry in RunFiles.entries().values() if "." in entry.name.lstrip(".")]
    replaced = [name for name in names if (folder / name).is_file() and name != RunFiles.config.name]
    for name in replaced:
        a_folder(folder / name)
    assert run(*SHORT, "--resume", str(folder), "train.iterations=6") == 0
    log = (folder / "train.log").read_text()
    for name in replaced:
        assert f"aside     {name} -> {name}.aside: it is a folder, where a file should be" in log
    assert len(replaced) > 10 and rows(folder) == [5, 6]


@pytest.mark.parametrize("text", ["[]", "null", "7", "{}", '{"state": "done"', "\0\0", ""])
def test_a_damaged_status_is_written_anew(folder, text):
    (folder / "status.json").write_text(text)
    with pytest.raises(ValueError):
        read_status(folder)
    assert run(*SHORT, "--resume", str(folder), "train.iterations=6") == 0
    assert read_status(folder)["state"] == "done"


@pytest.mark.parametrize("name", ["status.json", "examples.npz", "per_image.npz", "summary.json", "best.pt"])
def test_a_folder_where_a_file_should_be_is_set_aside(folder, capsys, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert run(*SHORT, "--resume", str(folder), "train.iterations=6") == 0
    assert (folder / name).is_file()
    assert name in capsys.readouterr().out.partition("aside     ")[2]


def test_a_link_to_a_checkpoint_that_is_gone(folder, capsys):
    (folder / "checkpoints/000009.pt").symlink_to("nowhere.pt")
    assert run(*SHORT, "--resume", str(folder), "train.iterations=6") == 0
    assert "000009.pt: cannot be read: No such file or directory" in capsys.readouterr().out
    link = folder / "checkpoints/000010.pt"
    link.symlink_to("nowhere.pt")
    assert run(*SHORT, "--resume", str(link)) == 4
    assert capsys.readouterr().err == (
        f"nothing to resume at {link}: a link to {folder}/checkpoints/nowhere.pt, which does not exist\n"
        f"   the newest run in runs/tiny is {folder}\n"
    )


def test_the_folder_around_a_run_names_it(folder, capsys):
    """As that of a variant and seed in an ablation, which has the runs below it."""
    assert run("--resume", str(folder.parent)) == 4
    assert capsys.readouterr().err == (
        f"nothing to resume at {folder.parent}: there is no run folder with a config.yaml\n"
        f"   -> give the run in it, {folder}\n"
    )


def test_a_run_without_its_configuration(folder, capsys):
    (folder / "config.yaml").unlink()
    assert run("--resume", str(folder)) == 4
    assert capsys.readouterr().err == (
        f"nothing to resume at {folder}: there is no run folder with a config.yaml\n"
        "   -> give a run folder or a checkpoint in one; if that file was lost: "
        f"--config FILE --resume {folder}\n"
    )
    assert run(*SHORT, "--resume", str(folder), "train.iterations=6") == 0
    assert (folder / "config.yaml").is_file()
