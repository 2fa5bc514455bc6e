"""Work on many samples in several processes, with the results in order."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any

from tqdm import tqdm

from segkit.data.loading.bad_samples import require_bad
from segkit.data.loading.faults import WorkerDied, describe_death, fault_of_system
from segkit.errors import CannotCache, DataError, SegkitError
from segkit.system.environment import usable_cpus

#: Seconds that a worker has to finish what it is at, when nobody waits for it any more.
PATIENCE = 5.0


def in_workers(
    work: Callable[[int], Any], places: Sequence[int], *, workers: int, skip_bad: bool = False
) -> Iterator[Any]:
    """`work(place)` for each of the places, in their order; 0 workers means in this process.

    A DataError that `work` raises comes up here or, with `skip_bad`, is a result like any other, unless the sample is
    not to blame for it. Ctrl-C is left to the main process. Raises WorkerDied if the system ends a worker. Torch, whose
    own loader does more, is not needed.
    """
    tasks = _Tasks(work, places)
    count = min(workers, len(places))
    results = _from_processes(tasks, count) if count else map(tasks.do, range(len(places)))
    for result in results:
        if isinstance(result, SegkitError):
            bad = isinstance(result, DataError) and not isinstance(result, CannotCache)
            if not (bad and skip_bad):
                raise result
        yield result


def with_progress(work: Callable[[int], Any], count: int, *, workers: int, shown: str) -> Iterator[Any]:
    """`work(0)` ... `work(count - 1)` in order; on a terminal with a bar called `shown`. Raises WorkerDied."""
    results = in_workers(work, range(count), workers=workers)
    yield from tqdm(results, total=count, desc=shown, unit="image", leave=False, disable=None)


def worth_starting() -> int:
    """Workers for a task that nothing else runs beside: one per core, and none where there is one core."""
    cores = usable_cpus()
    return cores if cores > 1 else 0


class _Tasks:
    """The results of `work` by number, errors among them: without a traceback, which cannot leave the process."""

    def __init__(self, work: Callable[[int], Any], places: Sequence[int]):
        self.work, self.places = work, places

    def __len__(self) -> int:
        return len(self.places)

    def do(self, number: int) -> Any:
        try:
            return self.work(self.places[number])
        except SegkitError as error:
            try:
                if isinstance(error, DataError):
                    require_bad(error)
            except SegkitError as fault:
                return type(fault)(str(fault))
            return type(error)(str(error))
        except (OSError, MemoryError, RuntimeError) as error:
            fault = fault_of_system(error)
            if fault is None:
                raise
            return fault


def _from_processes(tasks: _Tasks, count: int) -> Iterator[Any]:
    """The results by number, of `count` processes: each does every `count`-th, and waits if it is far ahead."""
    workers: list[_Worker] = []
    try:
        for first in range(count):
            workers.append(_Worker(tasks, first, count))
        for number in range(len(tasks)):
            yield workers[number % count].take()
    except OSError as error:
        fault = fault_of_system(error)
        if fault is None:
            raise
        raise fault from error
    finally:
        for worker in workers:
            worker.results.close()
        for worker in workers:
            worker.end()


class _Worker:
    """A process that does the tasks `first`, `first + step` ... and sends what comes of them."""

    def __init__(self, tasks: _Tasks, first: int, step: int):
        self.results, sent = multiprocessing.Pipe(duplex=False)
        # Closed here at once, and before another process inherits it: then the pipe ends when the worker does.
        with sent:
            self.process = multiprocessing.Process(target=_run, args=(tasks, first, step, sent), daemon=True)
            self.process.start()

    def take(self) -> Any:
        """The next result. Raises WorkerDied, and what `work` raised that is no fault of a sample or the system."""
        try:
            result, told = self.results.recv()
        except (EOFError, OSError):  # the latter in the middle of a result
            self.process.join(PATIENCE)
            raise WorkerDied(describe_death(self._describe())) from None
        if told:
            raise result from RuntimeError(f"in a worker process:\n{told}")
        return result

    def end(self) -> None:
        """Wait until the process is gone. What it has to send goes nowhere by now."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()
        self.process.close()

    def _describe(self) -> str:
        code = self.process.exitcode or 0
        how = f"killed by signal: {signal.strsignal(-code)}" if code < 0 else f"gone with exit status {code}"
        return f"worker (pid {self.process.pid}) is {how}"


def _run(tasks: _Tasks, first: int, step: int, sent: connection.Connection) -> None:
    _prepare_worker()
    for number in range(first, len(tasks), step):
        told = ""
        try:
            result = tasks.do(number)
        except Exception as error:
            result, told = error, traceback.format_exc()
        try:
            sent.send((result, told))
        except BrokenPipeError:  # nobody wants the other results
            return


def _prepare_worker() -> None:
    # The cores have a process each; where torch comes later, it asks for this.
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the main one is gone: it would wait for ever for somebody to take its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:  # this is a worker
        connection.wait([parent.sentinel])
        os._exit(1)
