"""Output streams whose errors end nothing, and that get only what is printable."""

import errno
import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from segkit.system.printable import printable_piece

#: Nobody is left to be told: the reader of a pipe ended, the terminal was closed.
_NOBODY = (errno.EPIPE, errno.EIO)


class Screen:
    """A text stream that is written only what is printable, see `segkit.system.printable`.

    From its first error on, what is written goes nowhere, and `tell` gets the error.

    A run that trains for days must not end because `tee` did, or because the disk that its output is redirected to is
    full. What matters is in a file beside it, as in train.log.
    """

    def __init__(self, stream: TextIO, *, tell: Callable[[OSError], None] = lambda error: None):
        self._stream = stream
        self._tell = tell
        self._gone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(self._encodable(printable_piece(text))))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _encodable(self, text: str) -> str:
        """The text with escapes for what the stream's encoding lacks."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def _attempt(self, action: Callable[[], Any]) -> None:
        if self._gone:
            return
        try:
            action()
        except OSError as error:
            self._gone = True
            self._let_go()
            self._tell(error)

    def _let_go(self) -> None:
        """What is buffered, and what others print, would fail again: let all of it end where nobody looks."""
        try:
            number = self._stream.fileno()
        except OSError:  # io.UnsupportedOperation: a stream in memory
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def as_screen(
    stream: TextIO | Screen | None, *, tell: Callable[[OSError], None] = lambda error: None
) -> Screen:
    """The stream as a Screen, if it is not one already. None, what a stream is that was closed before Python started,
    goes nowhere."""
    if isinstance(stream, Screen):
        return stream
    if stream is None:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    return Screen(stream, tell=tell)


@contextmanager
def guarded_screens() -> Generator[None, None, None]:
    """Within, no error of stdout or stderr reaches what prints to them: `print`, tqdm, warnings, tracebacks.

    What stdout was lost for is said once on stderr, unless it has no reader any more.
    """
    err = as_screen(sys.stderr)

    def tell(error: OSError) -> None:
        if error.errno not in _NOBODY:
            err.write(f"stdout cannot be written any more: {error.strerror}; the work goes on without it\n")

    out = as_screen(sys.stdout, tell=tell)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            out.flush()
            err.flush()
