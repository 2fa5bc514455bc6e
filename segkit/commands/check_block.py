"""The `data:` block that reads a folder: printed, written as a configuration, and checked with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit.commands.check_data import check_all, make_folder, report
from segkit.config.load import load_data_config
from segkit.config.yaml_source import dump_inline
from segkit.data.check.contents import describe_contents
from segkit.data.check.report_files import CheckFiles
from segkit.system.files import write_text
from segkit.system.typed import typed

#: Characters of a line of the block.
LINE = 100


def check_block(root: Path, data: Mapping[str, Any], folder: Path, *, workers: int | None) -> int:
    """Say what is in the folder `root`, print the block `data` that reads it as it is, and check all of it.

    The report goes into `folder`. Returns the exit status: 0, or 3 if there are problems.
    """
    print(f"root      {root}")
    for line in describe_contents(root)[0]:
        print(f"found     {line}")
    config = write_block(root, data, folder)
    print(f"\n{data_block(data)}")
    code = report(
        check_all(load_data_config(config, ["data.cache=off"]), workers=workers),
        folder,
        source=str(root),
        data=data,
    )
    print(f"next      {typed('train', '--config', config)}")
    return code


def write_block(root: Path, data: Mapping[str, Any], folder: Path) -> Path:
    """Write a configuration that trains on the block `data` into `folder`, and say where. Raises CannotWrite."""
    make_folder(folder)
    config = CheckFiles(folder).config
    head = f"# Made by {typed('check_data', root)}\nextends: ohem.yaml\nname: {dump_inline(folder.name)}\n\n"
    write_text(config, head + data_block(data))
    return config


def data_block(data: Mapping[str, Any]) -> str:
    """A `data:` block as a configuration file has it."""
    return "data:\n" + "".join(_entry(key, value) for key, value in data.items())


def _entry(key: str, value: Any) -> str:
    """A key with its value, lists and maps in as many lines as they need."""
    if isinstance(value, dict):
        items = [f"{dump_inline(k)}: {dump_inline(v)}" for k, v in value.items()]
        return _wrap(f"  {key}: {{", items, "}")
    if isinstance(value, list):
        return _wrap(f"  {key}: [", [dump_inline(item) for item in value], "]")
    return f"  {key}: {dump_inline(value)}\n"


def _wrap(start: str, items: Sequence[str], end: str) -> str:
    """The items separated by commas, in lines that break only between them."""
    lines = [start]
    for n, item in enumerate(items):
        text = f"{item}{', ' if n < len(items) - 1 else end}"
        if len(lines[-1]) + len(text) > LINE and lines[-1].strip():
            lines.append("    ")
        lines[-1] += text
    return "".join(f"{line.rstrip()}\n" for line in lines)
