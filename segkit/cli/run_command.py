"""What every command shares: user code by `--import`, errors as one screen, exit codes."""

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from segkit.distributed.lost_ranks import EndedElsewhere
from segkit.errors import ConfigError, SegkitError
from segkit.system.files import refuse_name
from segkit.system.memory import lack_of_memory_explained
from segkit.system.screen import guarded_screens
from segkit.system.typed import IN_SEVERAL_PROCESSES, launched_processes, program


def run_command(main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Run `main(arguments)` and return the exit status of the process.

    A SegkitError is shown as its message alone; with `--debug` among the arguments, and for anything else (a
    bug), the traceback is shown. That nobody reads what is printed (`... | head`), or that it cannot be written,
    changes neither what is done nor the exit status.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with guarded_screens():
        try:
            with lack_of_memory_explained():
                return main(arguments)
        except SegkitError as error:
            if "--debug" in arguments:
                traceback.print_exc()
            if not getattr(error, "silent", False):  # else another process of the run says it
                print(error, file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except (OSError, RuntimeError) as error:
            reason = _explain_path(error)
            if reason is None or "--debug" in arguments:
                raise
            print(reason, file=sys.stderr)
            return ConfigError.exit_code


def run_named(name: str, arguments: Sequence[str] | None = None) -> int:
    """`run_command` of the command in segkit/cli/`name`.py, which is imported where an interruption is one line."""

    def main(words: Sequence[str]) -> int:
        if name not in IN_SEVERAL_PROCESSES:
            refuse_launcher(program(name))
        return importlib.import_module(f"segkit.cli.{name}").main(words)

    return run_command(main, arguments)


def refuse_launcher(what: str) -> None:
    """Raises ConfigError if torchrun has started this process with others, each of which would do the same; in all but
    the first EndedElsewhere, with which they end well."""
    if launched_processes() == 1:
        return
    error = ConfigError(f"{what} is for one process -> start it without torchrun")
    # torchrun kills all as soon as one fails: the first, which says it, may not be there yet.
    raise error if os.environ["RANK"] == "0" else EndedElsewhere(str(error), exit_code=0)


def _explain_path(error: OSError | RuntimeError) -> str | None:
    """What to say of a path that no system can follow, wherever it is tried first; None if it is something else."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        path = os.fsdecode(error.filename or "")
        name = max(path.split("/"), key=lambda part: len(os.fsencode(part)))
        # One of its parts, or the whole, has more bytes than a system takes.
        name = name if refuse_name(name) is not None else path
        size = f"{len(os.fsencode(name)):,} bytes"
        return f"a name is too long for a file: {name[:40]}...{name[-20:]} ({size}) -> a shorter one"
    # pathlib's words until Python 3.12, for what it resolves.
    if (isinstance(error, OSError) and error.errno == errno.ELOOP) or str(error).startswith("Symlink loop"):
        return (
            f"a symbolic link leads back to itself: {getattr(error, 'filename', None) or error} -> remove it"
        )
    return None


def import_user_code(names: Sequence[str]) -> None:
    """Import files (`my_models.py`) or modules (`package.module`), whose decorators register components.

    This is the only way that code from outside segkit gets in. Raises ConfigError for a file that is not there or
    whose name is taken by another module.
    """
    for name in names:
        path = Path(name)
        if path.suffix == ".py" or name.startswith("."):
            _import_file(path)
            continue
        sys.path.insert(0, os.getcwd())
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name != missing and not name.startswith(f"{missing}."):
                raise  # the module is there; what it imports is not
            raise ConfigError(f"--import {name}: there is no such file or module") from error


def _import_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"--import {path}: there is no such file")
    if "." in path.stem:
        raise ConfigError(
            f"--import {path}: a dot in its name makes '{path.stem}' no module; rename the file"
        )
    present = sys.modules.get(path.stem)
    if present is not None:
        if Path(getattr(present, "__file__", None) or "").resolve() == path.resolve():
            return
        raise ConfigError(f"--import {path}: a module named '{path.stem}' is loaded already; rename the file")
    # On the path rather than loaded by location, so that data workers started afresh can import it by name.
    sys.path.insert(0, str(path.parent.resolve()))
    module = importlib.import_module(path.stem)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise ConfigError(f"--import {path}: '{path.stem}' means {module.__file__} here; rename the file")
