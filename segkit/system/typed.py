"""How segkit's commands are called: the files train.py and scripts/NAME.py of a checkout, else `segkit NAME`."""

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
#: Where train.py and scripts/ are, if the package is used from a checkout.
CHECKOUT = _PACKAGE.parent


def typed(command: str) -> str:
    """What a person types in front of the arguments of a command: "python scripts/check_data.py" for check_data.

    In a checkout these are the files there, unless this process was itself started as `segkit ...`.
    """
    if _is_checkout() and not _started_as_segkit():
        return f"python {_file(command)}"
    return f"segkit {command.replace('_', '-')}"


def started(command: str) -> list[str]:
    """The arguments that start a command in a process of its own, from any folder."""
    if _is_checkout():
        return [sys.executable, str(CHECKOUT / _file(command))]
    return [sys.executable, "-P", "-m", "segkit", command.replace("_", "-")]


def program(command: str) -> str:
    """The name of the program in its help: "check_data.py", or "segkit check-data"."""
    return typed(command).rpartition("/")[2].removeprefix("python ")


def _file(command: str) -> str:
    return "train.py" if command == "train" else f"scripts/{command}.py"


def _is_checkout() -> bool:
    return (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / "train.py").is_file()


def _started_as_segkit() -> bool:
    path = Path(sys.argv[0] or ".")
    return path.stem == "segkit" or path.resolve() == _PACKAGE / "__main__.py"
