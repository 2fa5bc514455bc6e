"""`segkit COMMAND`: every command under one name."""

import ast

import pytest

from segkit import __version__
from segkit.__main__ import COMMANDS, main
from tests.paths import ROOT

FILES = {
    path.stem.replace("_", "-"): path
    for path in (ROOT / "segkit" / "cli").glob("*.py")
    if path.stem not in ("__init__", "parser", "run_command")
}


def test_every_command_is_listed_as_its_file_says():
    said = {name: ast.get_docstring(ast.parse(path.read_text())) for name, path in FILES.items()}
    assert said == {name: f"`segkit {name}`: {text}." for name, text in COMMANDS.items()}


def test_every_command_has_a_script_in_the_checkout():
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "scripts").glob("*.py")}
    assert {*scripts, "train"} == set(COMMANDS)
    assert (ROOT / "train.py").is_file()


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_lists_the_commands(arguments, capsys):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed and text in printed for name, text in COMMANDS.items())


def test_nothing_typed_is_a_mistake(capsys):
    assert main([]) == 2
    assert "usage: segkit COMMAND" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segkit {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("trian", "did you mean 'train'?"),
        ("check-dta", "did you mean 'check-data'?"),
        ("xyz", "there are: train, "),
    ],
)
def test_unknown_command(typed, hint, capsys):
    assert main([typed]) == 2
    assert f"segkit: there is no command '{typed}'; {hint}" in capsys.readouterr().err


@pytest.mark.parametrize("spelling", ["check-loss", "check_loss"])
def test_a_command_gets_the_other_arguments(spelling, capsys):
    assert main([spelling, "no_such_loss"]) == 2
    assert "no loss named 'no_such_loss'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit:
        main([spelling])
    assert exit.value.code == 2
