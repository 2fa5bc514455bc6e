"""How segkit's commands are called: the files train.py and scripts/NAME.py of a checkout, else `segkit NAME`."""

import os
import shlex
import sys
from pathlib import Path

from segkit.system.printable import printable

_PACKAGE = Path(__file__).resolve().parents[1]
#: Where train.py and scripts/ are, if the package is used from a checkout.
CHECKOUT = _PACKAGE.parent

#: The commands that share their work among the processes that torchrun starts.
IN_SEVERAL_PROCESSES = ("train", "evaluate", "predict")


def typed(command: str, *words: object) -> str:
    """What a person types to call a command: "python scripts/check_data.py data" for check_data and Path("data").

    In a checkout these are the files there, unless this process was itself started as `segkit ...`. The `words` are
    quoted as `quote` does it, so that the whole can be pasted into a shell.
    """
    launcher = _launcher() if command == "train" else ""
    if not launcher:
        start = _start(command)
    elif _as_files():
        start = f"{launcher} {_file(command)}"
    else:
        start = f"{launcher} -m segkit {command.replace('_', '-')}"
    return " ".join([start, *map(quote, words)])


def _start(command: str) -> str:
    return f"python {_file(command)}" if _as_files() else f"segkit {command.replace('_', '-')}"


def _as_files() -> bool:
    return _is_checkout() and not _started_as_segkit()


def launched_processes() -> int:
    """How many processes torchrun has started, of which this is one; 1 if it did not start it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def _launcher() -> str:
    """The start of torchrun's command line where it started this process with others, else nothing."""
    if launched_processes() == 1:
        return ""
    machines = os.environ.get("GROUP_WORLD_SIZE", "1")
    nodes = "" if machines == "1" else f" --nnodes {machines}"
    return f"torchrun{nodes} --nproc-per-node {os.environ.get('LOCAL_WORLD_SIZE', '1')}"


def quote(word: object) -> str:
    """A word of a command as a shell wants it: in quotes where it needs them.

    A path (a `Path`, not text) that begins with a dash would be read as an option, and gets `./`. Line breaks and
    control characters are written as escapes between $'...', which bash and zsh read.
    """
    text = os.fspath(word) if isinstance(word, os.PathLike) else str(word)
    if isinstance(word, os.PathLike) and text.startswith("-"):
        text = f"./{text}"
    if printable(text, keep="") == text:
        return shlex.quote(text)
    return f"$'{''.join(map(_in_dollar_quotes, text))}'"


def _in_dollar_quotes(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if printable(char, keep="") == char:
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def started(command: str) -> list[str]:
    """The arguments that start a command in a process of its own, from any folder."""
    if _is_checkout():
        return [sys.executable, str(CHECKOUT / _file(command))]
    return [sys.executable, "-P", "-m", "segkit", command.replace("_", "-")]


def program(command: str) -> str:
    """The name of the program in its help: "check_data.py", or "segkit check-data"."""
    return _start(command).rpartition("/")[2].removeprefix("python ")


def _file(command: str) -> str:
    return "train.py" if command == "train" else f"scripts/{command}.py"


def _is_checkout() -> bool:
    return (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / "train.py").is_file()


def _started_as_segkit() -> bool:
    path = Path(sys.argv[0] or ".")
    return path.stem == "segkit" or path.resolve() == _PACKAGE / "__main__.py"
