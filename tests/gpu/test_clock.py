"""What comes of a part: it passes, fails, is cut off, is skipped or is not run; nothing else says that it held."""

import signal
from pathlib import Path

import pytest

from scripts.gpu import clock as module
from scripts.gpu.clock import Clock, judge, last_words
from scripts.gpu.table import Table
from tests.distributed.launch import is_alive
from tests.gpu.places import ROOT, make_part, make_place, make_table
from tests.processes import wait_until

FOR_EVER = "import signal; print('begun', flush=True); signal.pause()"


def run(table: Table, place, *parts, seconds: float = 1000.0, jobs: int = 2) -> Table:
    Clock(table, place, seconds=seconds, jobs=jobs, variables={}, root=ROOT).run(parts)
    return table


def results(folder: Path, *parts, **options) -> dict[str, tuple[str, str]]:
    """The result and finding of each part, as the table has them that is left behind."""
    place = make_place(folder, dry=options.pop("dry", False))
    table = run(make_table(place, *parts), place, *parts, **options)
    text = (table.folder / "table.md").read_text()
    assert text == table.text()
    return {name: (row.result, row.found) for name, row in table.rows.items()}


def test_a_part_that_does_what_it_was_to_has_passed_or_is_measured(tmp_path):
    parts = make_part("one"), make_part("two", group="numbers", good="measured", wants="(?m)^found: ")
    assert results(tmp_path, *parts) == {"one": ("passed", "it"), "two": ("measured", "it")}


@pytest.mark.parametrize(
    ("program", "options", "found"),
    [
        ("print('3 failed'); raise SystemExit(1)", {}, "exit status 1: 3 failed"),
        ("import os; os.kill(os.getpid(), 9)", {}, "killed by signal 9: no output"),
        ("print('2 skipped')", {"wants": r"\b[1-9]\d* passed"}, "its log has nothing that it was to find: 2 skipped"),
        ("print('no GPU'); print('1 passed')", {"never": "no GPU"}, "left out on this GPU (no GPU): 1 passed"),
    ],
)  # fmt: skip
def test_a_part_that_fails_says_why(program, options, found, tmp_path):
    assert results(tmp_path, make_part("one", program, **options)) == {"one": ("**failed**", found)}


def test_what_needs_a_gpu_may_be_left_out_in_a_rehearsal(tmp_path):
    part = make_part("one", "print('needs CUDA'); print('1 passed')", never="needs CUDA")
    assert results(tmp_path, part, dry=True)["one"] == ("passed", "1 passed")


@pytest.mark.parametrize("deaf", [False, True])
def test_a_part_that_takes_too_long_is_cut_off_and_the_next_is_run(deaf, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.2)
    ignored = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
    long = make_part("long", f"import signal; {ignored}signal.pause()", limit=3.0)
    found = results(tmp_path, long, make_part("next"), jobs=1)
    assert found["long"] == ("**cut off**", "after 3 s; no output") and found["next"] == ("passed", "it")


def test_one_that_ends_well_when_it_is_cut_off_was_cut_off_all_the_same(tmp_path):
    program = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nsignal.pause()"
    assert results(tmp_path, make_part("one", program, limit=3.0))["one"][0] == "**cut off**"


def test_without_time_nothing_is_begun(tmp_path):
    assert results(tmp_path, make_part("one"), seconds=1.0) == {"one": ("not run", "no time was left")}


def test_what_cannot_be_tried_is_skipped_with_the_reason(tmp_path):
    part = make_part("one", refuse=lambda place: f"no data in {place.carried.name}")
    assert results(tmp_path, part) == {"one": ("skipped", "no data in carried")}


def test_while_it_runs_the_table_says_so_and_no_more(tmp_path):
    table = tmp_path / "out" / "table.md"
    program = f"print('found:', [line for line in open({str(table)!r}) if line.startswith('| one |')])"
    _, found = results(tmp_path, make_part("one", program, limit=500.0))["one"]
    assert "| running |" in found and "passed" not in found


def test_a_call_that_is_ended_leaves_nothing_running_and_says_cut_off(tmp_path, monkeypatch):
    def look_and_end(self):
        logs = [started.log.read_text() for started in self.running]
        if all("begun" in text for text in logs):
            raise SystemExit(143)

    monkeypatch.setattr(Clock, "_look", look_and_end)
    place = make_place(tmp_path)
    parts = make_part("one", FOR_EVER), make_part("two", FOR_EVER), make_part("three")
    table = make_table(place, *parts)
    clock = Clock(table, place, seconds=1000.0, jobs=2, variables={}, root=ROOT)
    with pytest.raises(SystemExit):
        clock.run(parts)
    assert clock.running == []
    assert [row.result for row in table.rows.values()] == ["**cut off**", "**cut off**", "not run"]
    assert table.rows["one"].found == "the call was ended; begun" and not table.fine
    assert (table.folder / "results.tar.gz").is_file()


def test_what_is_timed_runs_alone_and_others_beside_each_other(tmp_path):
    """Each part notes its beginning and its end; those of `correctness` wait for each other, so they must overlap."""
    notes = tmp_path / "notes"
    notes.touch()
    note = (
        f"import sys\ndef note(text):\n    with open({str(notes)!r}, 'a') as file: file.write(text + ' ')\n"
    )
    meet = f"import time\nwhile open({str(notes)!r}).read().count('+') < 2: time.sleep(0.01)\n"
    both = [make_part(name, f"{note}note('+{name}')\n{meet}note('-{name}')") for name in ("a", "b")]
    timed = [
        make_part(name, f"{note}note('+{name}')\nnote('-{name}')", group="numbers") for name in ("c", "d")
    ]
    assert {result for result, _ in results(tmp_path, *both, *timed).values()} == {"passed"}
    words = notes.read_text().split()
    assert sorted(words[:2]) == ["+a", "+b"] and words[4:] == ["+c", "-c", "+d", "-d"]


def test_a_group_of_processes_is_ended_with_its_first(tmp_path):
    """A part that leaves a process behind: it is gone once the part has ended."""
    child = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
    _, found = results(tmp_path, make_part("one", child + "print('found:', p.pid)\nimport os; os._exit(0)"))[
        "one"
    ]
    wait_until(lambda: not is_alive(int(found)))


def test_the_last_words_of_a_log():
    assert last_words("a\nfound: x | y\nb\nfound: z\n") == "x | y\nz"
    assert last_words("a\n\n=== 3 passed in 2 s ===\n\n") == "3 passed in 2 s"
    assert last_words("\n") == "no output"


def test_cut_off_counts_before_all_else():
    assert judge(make_part("one"), -signal.SIGKILL, "found: x", cut="after 9 s", dry=False) == (
        "**cut off**",
        "after 9 s; x",
    )
