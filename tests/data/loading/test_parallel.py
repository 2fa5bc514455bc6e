"""Work in several processes: order, errors, and no process left behind."""

import errno
import multiprocessing
import os
import signal

import pytest

from segkit.data.loading.faults import WorkerDied
from segkit.data.loading.parallel import in_workers
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


def be_killed(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes(100_000)  # more than fits into a pipe


def test_worker_that_the_system_ends():
    with pytest.raises(WorkerDied, match=r"^a process that loads data was ended"):
        list(in_workers(die, range(3), workers=1))


def test_what_ended_a_worker_is_told_after_the_results_before_it():
    results = in_workers(be_killed, range(6), workers=2)
    assert [len(next(results)) for _ in range(2)] == [100_000] * 2
    with pytest.raises(WorkerDied, match=r"\(worker \(pid \d+\) is killed by signal: Killed\)"):
        next(results)


def mistaken(number):
    raise KeyError(f"bug {number}")


def test_a_bug_comes_up_as_itself_with_where_it_was():
    with pytest.raises(KeyError, match="bug 0") as raised:
        list(in_workers(mistaken, range(3), workers=2))
    assert "in mistaken" in str(raised.value.__cause__)


def test_no_more_files_is_no_fault_of_a_sample(monkeypatch):
    def refuse(*, duplex):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(multiprocessing, "Pipe", refuse)
    with pytest.raises(WorkerDied, match="too many open files while loading data"):
        list(in_workers(square, [0, 1], workers=2))


def pid(number):
    return os.getpid()


@pytest.mark.parametrize("taken", [1, 2, 8])
def test_no_worker_is_left_however_many_results_are_taken(taken):
    results = in_workers(pid, range(8), workers=2)
    pids = {next(results) for _ in range(taken)}
    results.close()
    assert os.getpid() not in pids and len(pids) == min(taken, 2)
    assert not multiprocessing.active_children()


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
