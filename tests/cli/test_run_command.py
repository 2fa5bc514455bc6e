"""What every command shares: `--import`, one screen per error, exit codes."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segkit import errors
from segkit.cli.run_command import import_user_code, run_command
from tests.paths import ROOT
from tests.processes import finish, run_python


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder; modules imported and paths added meanwhile are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return path


def refusal(*names: str) -> str:
    with pytest.raises(errors.ConfigError) as caught:
        import_user_code(names)
    return str(caught.value)


def test_file_is_imported_from_any_folder(here):
    import_user_code([write("code/of mine/cli_one.py", "value = 1"), write("cli_two.py", "value = 2")])
    assert (sys.modules["cli_one"].value, sys.modules["cli_two"].value) == (1, 2)


def test_file_can_import_its_neighbours(here):
    write("code/cli_helper.py", "value = 3")
    import_user_code([write("code/cli_main.py", "from cli_helper import value")])
    assert sys.modules["cli_main"].value == 3


def test_file_imported_by_a_worker_that_starts_afresh(here):
    """Data workers may be spawned: what they unpickle must be importable by name."""
    import_user_code([write("code/cli_spawned.py", "class Thing: pass")])
    assert sys.modules["cli_spawned"].Thing.__module__ == "cli_spawned"
    assert str(here / "code") in sys.path


def test_module_and_package_are_imported_by_name(here):
    write("cli_package/__init__.py", "value = 4")
    write("cli_package/inner.py", "value = 5")
    import_user_code(["cli_package.inner", "cli_package"])
    assert (sys.modules["cli_package"].value, sys.modules["cli_package.inner"].value) == (4, 5)


@pytest.mark.parametrize("again", ["cli_twice.py", "./cli_twice.py", "code/../cli_twice.py", "cli_twice"])
def test_same_file_twice_is_imported_once(here, again):
    Path("code").mkdir()
    write("cli_twice.py", "import builtins\nbuiltins.cli_twice = getattr(builtins, 'cli_twice', 0) + 1")
    import builtins

    try:
        import_user_code(["cli_twice.py", again])
        assert builtins.cli_twice == 1
    finally:
        del builtins.cli_twice


def test_missing_file(here):
    assert refusal("nowhere/my_models.py") == "--import nowhere/my_models.py: there is no such file"
    assert refusal("my_models.py") == "--import my_models.py: there is no such file"
    assert refusal("../my_models") == "--import ../my_models: there is no such file"


@pytest.mark.parametrize(
    "name", ["no_such_module", "no_such_package.models", "json.no_such_part", "no/such/folder"]
)
def test_missing_module(here, name):
    assert refusal(name) == f"--import {name}: there is no such file or module"


def test_folder_is_no_file(here):
    Path("models.py").mkdir()
    assert refusal("models.py") == "--import models.py: there is no such file"


@pytest.mark.parametrize("stem", ["json", "torch", "cli_earlier"])
def test_taken_module_name_is_refused(here, stem):
    write("other/cli_earlier.py", "")
    import_user_code(["other/cli_earlier.py"])
    import torch  # noqa: F401

    message = refusal(write(f"{stem}.py", "raise SystemExit('this must not run')"))
    assert message == f"--import {stem}.py: a module named '{stem}' is loaded already; rename the file"


def test_dot_in_a_file_name_is_refused(here):
    message = refusal(write("my.models.py", ""))
    assert message == "--import my.models.py: a dot in its name makes 'my.models' no module; rename the file"


@pytest.mark.parametrize("name", ["cli_broken.py", "cli_broken"])
def test_error_inside_user_code_keeps_its_traceback(here, capsys, name):
    write("cli_broken.py", "import no_such_dependency")

    def main(arguments):
        import_user_code([name])

    with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
        run_command(main, [])
    assert caught.traceback[-1].path == here / "cli_broken.py"


def test_dependency_named_like_the_start_of_the_module_keeps_its_traceback(here):
    write("cli_extra_models.py", "import cli_extra")
    with pytest.raises(ModuleNotFoundError, match="No module named 'cli_extra'"):
        import_user_code(["cli_extra_models"])


def test_error_in_registering_keeps_its_traceback(here):
    text = "from segkit.registry import MODELS\n@MODELS.register('unet')\ndef build(num_classes): ..."
    write("cli_taken.py", f"import segkit.models.unet\n{text}")
    with pytest.raises(ValueError, match=r"the model name 'unet' is taken by segkit\.models\.unet\.UNet"):
        import_user_code(["cli_taken.py"])


CODES = {
    errors.SegkitError: 1,
    errors.ConfigError: 2,
    errors.DataError: 3,
    errors.CheckpointError: 4,
    errors.NotFiniteError: 5,
    errors.RunFolderInUse: 6,
    errors.CannotWrite: 7,
    errors.OutOfMemory: 8,
}


@pytest.mark.parametrize(
    ("kind", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", str(value))
)
def test_error_is_its_message_and_its_exit_code(capsys, kind, code):
    def main(arguments):
        raise kind("what is wrong\n   -> what to do")

    assert run_command(main, ["--config", "x"]) == code
    captured = capsys.readouterr()
    assert captured.err == "what is wrong\n   -> what to do\n"
    assert captured.out == ""


def test_debug_shows_the_traceback_too(capsys):
    def main(arguments):
        raise errors.DataError("a broken file")

    assert run_command(main, ["--debug"]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert any("raise errors.DataError" in line for line in lines)
    assert lines[-1] == "a broken file"


def test_all_configuration_errors_are_shown(capsys):
    def main(arguments):
        raise errors.ConfigError(["one", "two"])

    assert run_command(main, []) == 2
    assert capsys.readouterr().err == "one\ntwo\n"


def test_ctrl_c_before_training(capsys):
    def main(arguments):
        raise KeyboardInterrupt

    assert run_command(main, []) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_bug_keeps_its_traceback():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main, [])


def test_exit_status_and_arguments_are_passed_on(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--check"])
    assert run_command(lambda arguments: len(arguments)) == 1
    assert run_command(lambda arguments: len(arguments), ["a", "b", "c"]) == 3
    assert run_command(lambda arguments: len(arguments), []) == 0


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "scripts").glob("*.py")))
def test_script_starts_from_any_folder_without_installing(here, name):
    done = run_python(ROOT / "scripts" / f"{name}.py", "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {name}.py"), done.stderr


def test_a_closed_pipe_changes_nothing():
    """As in `python train.py --list losses | head -1`."""
    program = (
        "import sys; from segkit.cli.run_command import run_command\n"
        "def main(arguments):\n"
        "    for _ in range(1000): print('x' * 1000)\n"
        "    return 5\n"
        "sys.exit(run_command(main, []))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "x" * 1000 + "\n"
    process.stdout.close()
    process.stdout = None  # read no more
    assert finish(process)[1] == ""
    assert process.returncode == 5


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--config", "x" * 300],
        ["train", "--config", "debug.yaml", "--resume", "x" * 300],
        ["train", "--config", "debug.yaml", "--import", "x" * 300 + ".py"],
        ["evaluate", "--weights", "x" * 300],
        ["check_data", "x" * 300],
        ["compare", "x" * 300],
    ],
)
def test_a_name_too_long_is_said_without_a_traceback(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    command = importlib.import_module(f"segkit.cli.{words[0]}")
    assert run_command(command.main, words[1:]) == 2
    assert re.fullmatch(
        r"a name is too long for a file: x{40}\.\.\..* -> a shorter one\n", capsys.readouterr().err
    )


def test_the_size_of_a_name_too_long_is_that_of_the_part_in_bytes(tmp_path, monkeypatch, capsys):
    """Characters outside ASCII have several, and the folders above it none to do with it."""
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    assert run_command(lambda words: len(list(Path("a", "\u65e5" * 90).iterdir())), []) == 2
    name = f"{chr(0x65E5) * 40}...{chr(0x65E5) * 20}"
    message = f"a name is too long for a file: {name} (270 bytes) -> a shorter one\n"
    assert capsys.readouterr().err == message


def test_a_link_that_leads_back_to_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    command = importlib.import_module("segkit.cli.check_data")
    assert run_command(command.main, ["loop"]) == 2
    assert "a symbolic link leads back to itself: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words", "after"),
    [
        ("predict", ["--weights", "", "--source", "a"], "--weights"),
        ("predict", ["--weights", "a", "--source", ""], "--source"),
        ("train", ["--config", "debug.yaml", "--resume", ""], "--resume"),
        ("check_data", [""], "the first"),
    ],
)
def test_an_empty_argument_is_refused(capsys, command, words, after):
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(f"segkit.cli.{command}").main(words)
    assert caught.value.code == 2
    assert f"an argument is empty, after {after}: is a variable not set?" in capsys.readouterr().err


#: Python that runs train.py and is interrupted when it first imports anything but Python's own and segkit's.
INTERRUPTED_IMPORT = """
import runpy, sys
sys.argv = sys.argv[1:]

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "segkit"}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_ctrl_c_while_packages_are_imported_is_one_line():
    done = run_python("-S", "-c", INTERRUPTED_IMPORT, ROOT / "train.py", "--list", "loss")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(
    "script", [ROOT / "train.py", *(ROOT / "scripts").glob("*.py")], ids=lambda path: path.name
)
def test_scripts_import_their_command_where_that_holds(script):
    imports = re.findall(r"^ *(?:from|import) +segkit.*", script.read_text(), re.MULTILINE)
    assert imports == ["from segkit.cli.run_command import run_named"]
