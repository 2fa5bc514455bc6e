"""Reading ahead of what is computed, and writing behind it, in threads that decode and compress meanwhile."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: What may be read and not yet used, and what may be computed and not yet written: enough that neither side waits for
#: one slow file, few enough for large images.
AHEAD = BEHIND = 2


def read_ahead(
    read: Callable[[Item], Result], items: Sequence[Item], *, ahead: int = AHEAD
) -> Iterator[Result]:
    """`read` of each item in their order, the next `ahead` ones already under way. An error comes where the item
    would."""
    with ThreadPoolExecutor(ahead) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class WriteBehind:
    """Calls `write` in the order of `submit`, in a thread of its own, which `submit` waits for if it falls behind.

    An error of `write` is raised by the next `submit`, or at the end of the `with` block, and nothing is written after
    it. If the block ends by another error, what was submitted before is still written.
    """

    def __init__(self, write: Callable[..., None]):
        self._write = write
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> "WriteBehind":
        return self

    def submit(self, *arguments: Any) -> None:
        while len(self._waiting) >= BEHIND or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._write, *arguments))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            while self._waiting:
                self._waiting.popleft().result()
        except BaseException:
            # After an error nothing more is written; and it does not hide one that came before.
            for future in self._waiting:
                future.cancel()
            if error is None:
                raise
        finally:
            self._pool.shutdown()
