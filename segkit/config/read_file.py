"""One configuration file, pipe, or packed run, to a tree of values."""

import os
import stat
from pathlib import Path

from segkit.config.carried.packed import parse_packed_config, read_packed_config
from segkit.config.problem import Mark, Problem
from segkit.config.yaml_source import MAX_BYTES, Node, parse_yaml
from segkit.system.packed.members import describe_misnamed, is_packed

#: What the first bytes of a zip file are.
ZIP = b"PK"

#: What an empty configuration wants first.
START = ("start with:  extends: ohem.yaml",)


def read_file(path: Path, problems: list[Problem], *, start_with: tuple[str, ...] = START) -> Node | None:
    """The mapping in a file, or None after noting why there is none. `start_with` are the hints for one without
    values. Raises CheckpointError for a packed run that cannot be used."""
    source = display(path)
    if is_packed(path):
        node, mistakes = parse_packed_config(read_packed_config(path, shown=source))
        problems += mistakes
        return node
    try:
        raw = _read_bytes(path)
    except OSError as error:
        problems.append(Problem(Mark(source), f"cannot be read: {error.strerror}"))
        return None
    if raw is None:
        problems.append(Problem(Mark(source), "is a pipe that nobody writes to"))
        return None
    misnamed = describe_misnamed(path) if raw.startswith(ZIP) else None
    if misnamed is not None:
        problems.append(Problem(Mark(source), f"is {misnamed}"))
        return None
    try:
        # A cut at the limit can split a character; the size is reported then, not the character.
        text = raw.decode("utf-8-sig", errors="strict" if len(raw) <= MAX_BYTES else "replace")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.append(
            Problem(Mark(source), f"is not UTF-8 text: byte {raw[error.start]:#04x} in line {line}")
        )
        return None
    node, mistakes = parse_yaml(text, source)
    problems += mistakes
    if node is None:
        return None
    if node.value is None and not node.mark.line:
        problems.append(Problem(node.mark, "the file is empty", start_with))
        return None
    if not isinstance(node.value, dict):
        problems.append(Problem(node.mark, "expected blocks such as `train:`, one below the other"))
        return None
    return node


def _read_bytes(path: Path) -> bytes | None:
    """The bytes of a file, or of a pipe such as a shell's `<(...)`, up to the limit and one more; None for a pipe that
    nobody has open to write, which would be waited for without end. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(handle, "rb", buffering=0) as file:
        start = file.read(1)  # b"": no writer; None: there is one, and nothing yet
        if start == b"" and stat.S_ISFIFO(os.fstat(handle).st_mode):
            return None
        os.set_blocking(handle, True)
        parts = [start or b""]
        while (length := sum(map(len, parts))) <= MAX_BYTES and (part := file.read(MAX_BYTES + 1 - length)):
            parts.append(part)
    return b"".join(parts)


def display(path: Path) -> str:
    """The path as a person would type it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
