"""What passes between a run and the process of a tracker: tasks one way, reports the other."""

import json
import pickle
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

_LENGTH = struct.Struct(">Q")


class Task(NamedTuple):
    """A method of the worker and its arguments, in plain types."""

    method: str
    arguments: tuple


class Report(NamedTuple):
    """What the process of a tracker says: `problem` why something could not be logged, `place` where the run is to be
    seen, `off` that nothing more will be logged; `done` and `ended` of its tasks."""

    what: str
    text: str = ""


class Tracker(Protocol):
    """Speaks to the package of one tracker, in the tracker's process; whatever it raises becomes a problem."""

    #: Whether later calls can do what `begin` failed to.
    keeps_trying: bool

    def begin(self) -> None: ...
    def scalars(self, iteration: int, values: Mapping[str, float]) -> None: ...
    def picture(self, iteration: int, name: str, png: bytes) -> None: ...
    def summary(self, values: Mapping[str, Any]) -> None: ...
    def tables(self, tables: Mapping[str, tuple[list[str], list[list[Any]]]]) -> None: ...
    def files(self, paths: list[str]) -> None: ...
    def end(self, state: str, code: int, error: str) -> None: ...


def encode_task(task: Task) -> bytes:
    """A task as it is sent."""
    content = pickle.dumps(tuple(task), protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def read_tasks(stream: Any) -> Iterator[tuple[Task, int]]:
    """The tasks in a stream of bytes, each with its size, until its end or the middle of one that was cut off."""
    while len(header := stream.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(header)
        content = stream.read(length)
        if len(content) < length:
            return
        yield Task(*pickle.loads(content)), length


def encode_report(report: Report) -> bytes:
    """A report as it is sent: a line."""
    return json.dumps(tuple(report)).encode() + b"\n"


def decode_report(line: bytes) -> Report:
    """The report in a line."""
    return Report(*json.loads(line))
