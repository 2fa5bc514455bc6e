"""Work in several processes: order, errors, and no process left behind."""

import os

import pytest

from segkit.data.loading.faults import WorkerDied
from segkit.data.loading.parallel import in_workers, worker_deaths_explained
from segkit.errors import CannotCache, DataError
from tests.paths import ROOT
from tests.processes import run_python


def square(number):
    if number in (3, 5):
        raise DataError(f"no {number}")
    return number * number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order(workers):
    assert list(in_workers(square, [9, 2, 7, 0], workers=workers)) == [81, 4, 49, 0]
    assert list(in_workers(square, [], workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_stop_it_or_are_results(workers):
    results = in_workers(square, range(7), workers=workers)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    with pytest.raises(DataError, match=r"^no 3$"):
        next(results)
    found = list(in_workers(square, range(7), workers=workers, skip_bad=True))
    assert [str(result) for result in found] == ["0", "1", "4", "no 3", "16", "no 5", "36"]
    assert isinstance(found[3], DataError)


def full(number):
    raise CannotCache("the disk is full")


def exhausted(number):
    raise DataError("cannot read x") from OSError(24, "Too many open files")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("work", "kind"), [(full, CannotCache), (exhausted, WorkerDied)])
def test_what_no_sample_is_to_blame_for_stops_it_anyway(workers, work, kind):
    with pytest.raises(kind):
        list(in_workers(work, range(3), workers=workers, skip_bad=True))


def die(number):
    os._exit(1)


def test_worker_that_the_system_ends():
    with pytest.raises(WorkerDied, match=r"^a process that loads data was ended"), worker_deaths_explained():
        list(in_workers(die, range(3), workers=1))


KILLED = """
import os, signal
from segkit.data.loading.parallel import in_workers

def work(number):
    return bytes(1_000_000)

for number, _ in enumerate(in_workers(work, range(100), workers=2)):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_when_the_main_process_is_killed():
    """They hold its output open, so that it ends only when they have, though nobody takes their results any more."""
    done = run_python("-c", KILLED, cwd=ROOT, text=False)
    assert done.returncode == -9
