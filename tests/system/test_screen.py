"""Streams that fail: what printed to them goes on, and nobody is told who is gone."""

import errno
import io
import os
import sys

import pytest

from segkit.system.screen import Screen, as_screen, guarded_screens


class Failing(io.StringIO):
    """A stream that takes `good` writes and then gives the error `reason`; `number` is its descriptor."""

    def __init__(self, reason: int, number: int | None = None, good: int = 0):
        super().__init__()
        self.reason, self.number, self.good, self.asked = reason, number, good, 0

    def write(self, text):
        self.asked += 1
        if self.asked > self.good:
            raise OSError(self.reason, os.strerror(self.reason))
        return super().write(text)

    def fileno(self):
        return super().fileno() if self.number is None else self.number


@pytest.mark.parametrize("reason", [errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EBADF])
def test_from_the_first_error_on_it_goes_nowhere(reason):
    stream, told = Failing(reason, good=2), []
    screen = Screen(stream, tell=told.append)
    print("one", file=screen)
    for _ in range(3):
        print("two", file=screen, flush=True)
    screen.writelines(["three", "four"])
    assert stream.getvalue() == "one\n" and stream.asked == 3
    assert [error.errno for error in told] == [reason]


def test_what_others_write_to_the_same_descriptor_ends_there_too(tmp_path):
    with open(tmp_path / "screen", "w") as file:
        Screen(Failing(errno.EIO, file.fileno())).write("x")
        assert os.path.samestat(os.fstat(file.fileno()), os.stat(os.devnull))


def test_what_the_encoding_lacks_is_written_in_another_way():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print("±1.5 − 米", file=Screen(stream), flush=True)
    assert raw.getvalue() == b"\\xb11.5 \\u2212 \\u7c73\n"


def test_a_screen_is_not_wrapped_again_and_none_goes_nowhere():
    screen = Screen(io.StringIO())
    assert as_screen(screen) is screen
    nowhere = as_screen(None)
    print("x", file=nowhere, flush=True)
    assert not nowhere.isatty()
    nowhere.close()


def test_all_that_prints_is_guarded(monkeypatch):
    out, err = Failing(errno.EPIPE), Failing(errno.EPIPE)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with guarded_screens():
        print("x", flush=True)
        print("x", file=sys.stderr, flush=True)
        with guarded_screens():
            print("x", flush=True)
    assert (sys.stdout, sys.stderr) == (out, err) and out.asked == 1


def test_a_full_disk_is_said_once_and_a_reader_that_left_is_not(monkeypatch):
    for reason, said in ((errno.ENOSPC, 1), (errno.EPIPE, 0)):
        err = io.StringIO()
        monkeypatch.setattr(sys, "stdout", Failing(reason))
        monkeypatch.setattr(sys, "stderr", err)
        with guarded_screens():
            print("x")
            print("x")
        lines = [f"stdout cannot be written any more: {os.strerror(reason)}; the work goes on without it"]
        assert err.getvalue().splitlines() == lines * said
