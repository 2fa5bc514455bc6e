"""What a tracker's process hands on, and what it leaves out because an earlier process has logged it."""

import io
import json
import os
import threading

import pytest

from segkit.runs.recording.trackers.memory import Memory
from segkit.runs.recording.trackers.protocol import (
    Report,
    Task,
    decode_report,
    encode_report,
    encode_task,
    read_tasks,
)
from segkit.runs.recording.trackers.worker import ReadAhead, Worker, describe, work
from tests.runs.recording.trackers.tracked import RUN

FAKE = "tests.runs.recording.trackers.fakes"


def do(folder, *tasks: Task, name: str = "Good", **changes) -> list[Report]:
    """What is told while a worker does these tasks."""
    told: list[Report] = []
    begin = Task("begin", ({**RUN, "settings": {}, **changes},))
    work(Worker(f"{FAKE}:{name}", folder, told.append), iter([begin, *tasks]), told.append)
    return told


def places(told: list[Report]) -> list[str]:
    return [report.text for report in told if report.what == "place"]


def test_a_resumed_run_logs_no_iteration_twice(tmp_path):
    first = [
        Task("scalars", (10, {"a": 1.0})),
        Task("scalars", (10, {"b": 2.0})),
        Task("scalars", (20, {"a": 3.0})),
    ]
    assert len(places(do(tmp_path, *first))) == 5  # with the beginning and an end
    again = [Task("scalars", (20, {"a": 3.0, "b": 4.0})), Task("scalars", (30, {"a": 5.0}))]
    assert places(do(tmp_path, *again))[1:3] == ["scalars (20, {'b': 4.0})", "scalars (30, {'a': 5.0})"]


def test_pictures_come_later_than_scalars_and_count_for_themselves(tmp_path):
    do(tmp_path, Task("scalars", (20, {"a": 1.0})), Task("picture", (10, "p", b"")))
    again = [
        Task("picture", (10, "p", b"")),
        Task("picture", (20, "p", b"")),
        Task("picture", (10, "q", b"")),
    ]
    assert places(do(tmp_path, *again))[1:3] == ["picture (20, 'p', b'')", "picture (10, 'q', b'')"]


def test_a_run_that_goes_elsewhere_logs_all_again(tmp_path):
    task = Task("scalars", (10, {"a": 1.0}))
    do(tmp_path, task)
    assert len(places(do(tmp_path, task))) == 2
    assert len(places(do(tmp_path, task, elsewhere=True))) == 3


def test_what_could_not_be_logged_is_logged_by_the_next(tmp_path):
    task = Task("scalars", (10, {"a": 1.0}))
    do(tmp_path, task, name="Raises")
    assert "scalars (10, {'a': 1.0})" in places(do(tmp_path, task))


def test_a_run_that_says_nothing_of_its_end_has_failed(tmp_path):
    assert places(do(tmp_path))[-1] == "end ('failed', 137, 'its process is gone')"
    assert places(do(tmp_path, Task("end", ("done", 0, ""))))[-1] == "end ('done', 0, '')"


def test_every_task_is_answered_and_a_reason_that_stays_is_told_once(tmp_path, capsys):
    class Same(Worker):
        def scalars(self, *arguments):
            raise RuntimeError("no answer")

    told: list[Report] = []
    begin = Task("begin", ({**RUN, "settings": {}},))
    tasks = [begin] + [Task("scalars", (1, {}))] * 3 + [Task("end", ("done", 0, ""))]
    work(Same(f"{FAKE}:Good", tmp_path, told.append), iter(tasks), told.append)
    what = [report.what for report in told if report.what != "place"]
    assert what == ["done", "problem", "done", "done", "done", "ended"]
    assert capsys.readouterr().err.count("Traceback") == 1


def test_a_damaged_memory_is_an_empty_one(tmp_path):
    path = tmp_path / "x.json"
    for content in ("", "{}", "[1]", '{"facts": 3, "logged": {}}'):
        path.write_text(content)
        memory = Memory(path)
        assert memory.fresh(0, {"a": 1}) == {"a": 1}
    memory.remember(id="7")
    memory.note(3, {"a": 1})
    assert json.loads(path.read_text()) == {"facts": {"id": "7"}, "logged": {"a": 3}}
    again = Memory(path)
    assert again.facts == {"id": "7"} and again.fresh(3, {"a": 1, "b": 2}) == {"b": 2}
    again.forget()
    assert again.facts == {} and again.fresh(3, {"a": 1}) == {"a": 1}


def test_tasks_and_reports_come_through_as_they_were():
    tasks = [Task("picture", (3, "ü", b"\n")), Task("end", ())]
    stream = b"".join(map(encode_task, tasks))
    assert [task for task, _ in read_tasks(io.BytesIO(stream))] == tasks
    assert [task for task, _ in read_tasks(io.BytesIO(stream[:-1]))] == tasks[:1]  # cut off
    report = Report("problem", "two\nlines ü")
    assert decode_report(encode_report(report)) == report and encode_report(report).count(b"\n") == 1


def test_reading_ahead_stops_where_too_much_waits():
    reading, writing = os.pipe()
    ahead = ReadAhead(most=100_000)
    stream, sink = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")

    def write() -> None:
        with sink:
            for number in range(20):
                sink.write(encode_task(Task("picture", (number, bytes(60_000)))))

    threads = [threading.Thread(target=ahead.read, args=(stream,)), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    read = []
    for task in ahead.tasks():
        read.append(task.arguments[0])
        assert ahead._bytes < 200_000
    assert read == list(range(20))
    for thread in threads:
        thread.join()
    stream.close()


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("a\n  b"), "ValueError: a b"), (KeyError(), "KeyError"), (OSError("x" * 1000), 300)],
)
def test_a_reason_is_one_line(error, text):
    assert describe(error) == text if isinstance(text, str) else len(describe(error)) == text
