"""`segkit COMMAND ...`, and `python -m segkit COMMAND ...`: every command under one name."""

import difflib
import sys
from collections.abc import Sequence

from segkit import __version__
from segkit.cli.run_command import run_named
from segkit.system.screen import guarded_screens

#: Command -> what it does. The file is segkit/cli/COMMAND.py, which is imported only when the command is called.
COMMANDS = {
    "train": "train a segmentation model",
    "ablate": "train variants with several seeds and compare them",
    "compare": "compare finished runs",
    "evaluate": "score trained weights",
    "predict": "segment images",
    "export": "write trained weights as a file for other programs",
    "pack": "write a run as one file to hand over",
    "check-data": "look for mistakes in a whole data set",
    "check-loss": "check a loss, your own included",
    "visualise": "see what training sees",
    "make-weights": "make weight maps as files",
    "prepare-data": "get a published data set, or convert any to files",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names with the others, and return the exit status."""
    with guarded_screens():
        return _run(sys.argv[1:] if arguments is None else list(arguments))


def _run(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"segkit {__version__}")
        return 0
    command = arguments[0].replace("_", "-")
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(COMMANDS)}"
        print(f"segkit: there is no command '{arguments[0]}'; {hint}", file=sys.stderr)
        return 2
    return run_named(command.replace("-", "_"), arguments[1:])


def _usage() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: segkit COMMAND ...",
            "",
            *rows,
            "",
            "segkit COMMAND --help says what a command takes; the first to try: segkit train --config ohem.yaml",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
