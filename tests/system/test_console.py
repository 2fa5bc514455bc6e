"""What people see: lines, the progress bar on a terminal, and the log that keeps every line."""

import errno
import io
import os
import re

import pytest

from segkit.errors import CannotWrite
from segkit.system.console import Console, duration, percent, table


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self):
        return True


def screen(stream: io.StringIO) -> list[str]:
    """The lines a terminal of unlimited height shows in the end: what follows a carriage return replaces."""
    shown = []
    for line in stream.getvalue().split("\n"):
        cells: list[str] = []
        for piece in line.replace("\x1b[A", "").split("\r"):
            cells[: len(piece)] = piece
        shown.append("".join(cells).rstrip())
    return shown


def test_pipe_gets_plain_lines_and_no_bar(tmp_path):
    stream, log = io.StringIO(), tmp_path / "train.log"
    console = Console(stream=stream, log_file=log)
    console.line("config    x")
    console.start_progress(total=4, done=0)
    for n in range(4):
        console.advance()
        console.progress(f"iter  {n + 1}/4")
    console.line()
    console.close()
    assert stream.getvalue() == "config    x\niter  1/4\niter  2/4\niter  3/4\niter  4/4\n\n"
    assert log.read_text() == stream.getvalue()


def test_terminal_shows_the_bar_with_the_lines_above_it(tmp_path):
    stream, log = Terminal(), tmp_path / "train.log"
    console = Console(stream=stream, log_file=log)
    console.line("config    x")
    console.start_progress(total=10, done=0)
    for n in range(10):
        console.advance()
        console.progress(f"loss {n}")
        if n == 4:
            console.line("val   5      mIoU 50.0")
    console.close()
    console.line("done")
    shown = screen(stream)
    assert shown[0] == "config    x"
    assert shown[1] == "val   5      mIoU 50.0"
    assert re.search(r"^100%\|.*\| loss 9", shown[2]), shown[2]
    assert shown[3:] == ["done", ""]


def test_log_holds_every_line_of_a_terminal_too(tmp_path):
    console = Console(stream=Terminal(), log_file=tmp_path / "train.log")
    console.line("first")
    console.start_progress(total=2, done=0)
    console.progress("iter  1/2")
    console.line("val   1")
    console.log("only in the log")
    console.close()
    console.line("Größe 3 × 4")
    lines = (tmp_path / "train.log").read_text(encoding="utf-8").splitlines()
    assert lines == ["first", "iter  1/2", "val   1", "only in the log", "Größe 3 × 4"]


def test_bar_of_a_resumed_run_starts_where_the_run_does():
    stream = Terminal()
    console = Console(stream=stream)
    console.start_progress(total=10, done=6)
    console.close()
    assert screen(stream)[0].startswith(" 60%|") and screen(stream)[0].endswith("| iter  6/10")


def test_log_of_a_resumed_run_is_continued(tmp_path):
    for text in ("one", "two"):
        Console(stream=io.StringIO(), log_file=tmp_path / "train.log").line(text)
    assert (tmp_path / "train.log").read_text() == "one\ntwo\n"


def test_close_may_be_called_any_number_of_times():
    console = Console(stream=Terminal())
    console.close()
    console.start_progress(total=1, done=0)
    console.close()
    console.close()
    console.advance()


def test_lines_of_a_pipe_are_not_held_back():
    flushed = []

    class Pipe(io.StringIO):
        def flush(self):
            flushed.append(self.getvalue())

    Console(stream=Pipe()).line("iter  1/4")
    assert flushed[-1] == "iter  1/4\n"


def test_full_disk_is_named(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(CannotWrite, match=r"cannot write .*train\.log: the disk is full"):
        Console(stream=io.StringIO(), log_file=tmp_path / "train.log").line("x")


def test_table_aligns_names_left_and_numbers_right():
    rows = [
        ["class", "IoU", "pixels %"],
        ["background", "96.1", "80.0"],
        ["line", "-", "9.5"],
        ["mean", "7.0", ""],
    ]
    assert table(rows).split("\n") == [
        "class        IoU  pixels %",
        "background  96.1      80.0",
        "line           -       9.5",
        "mean         7.0",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00:00"), (59.4, "0:00:59"), (59.6, "0:01:00"), (3723, "1:02:03"), (90000, "25:00:00")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.7128, "71.3"), (0.0, "0.0"), (1.0, "100.0"), (float("nan"), "-")]
)
def test_percent(share, text):
    assert percent(share) == text


class ClosedTerminal(io.StringIO):
    """What writing to a terminal gives after its window was closed."""

    def __init__(self, number: int, reason: int):
        super().__init__()
        self.number, self.reason = number, reason

    def write(self, text):
        raise OSError(self.reason, os.strerror(self.reason))

    def fileno(self):
        return self.number

    def isatty(self):
        return True


@pytest.mark.parametrize("reason", [errno.EIO, errno.EPIPE, errno.ENOSPC])
def test_lines_after_the_terminal_was_closed_go_to_the_log_only(tmp_path, reason):
    with open(tmp_path / "screen", "w") as screen:
        console = Console(stream=ClosedTerminal(screen.fileno(), reason), log_file=tmp_path / "train.log")
        console.line("config    x")
        console.start_progress(total=2, done=0)
        console.advance()
        console.progress("iter  1/2")
        console.line("val   1")
        console.close()
        assert os.path.samestat(os.fstat(screen.fileno()), os.stat(os.devnull))  # for what others print
    assert (tmp_path / "train.log").read_text() == "config    x\niter  1/2\nval   1\n"
