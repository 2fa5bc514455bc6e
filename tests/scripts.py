"""Commands run in the process of the tests: an interpreter that imports torch takes seconds to start.

That each starts as a program of its own is tested in tests/cli.
"""

import importlib

from segkit.cli.run_command import run_command


def run_script(name: str, *arguments: object) -> int:
    """The exit status of scripts/`name`.py with these arguments."""
    main = importlib.import_module(f"segkit.cli.{name}").main
    try:
        return run_command(main, [str(argument) for argument in arguments])
    except SystemExit as usage_error:  # argparse's
        return usage_error.code
