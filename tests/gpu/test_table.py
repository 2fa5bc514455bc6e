"""The table that is left behind: Markdown, one row for each part, and a verdict that leaves nothing out."""

import tarfile

from scripts.gpu.table import CUT, FAILED, LONGEST, SKIPPED
from tests.gpu.places import make_part, make_place, make_table


def test_rows_head_and_verdict(tmp_path):
    place = make_place(tmp_path)
    parts = [make_part(name, limit=9.0) for name in "abcde"]
    table = make_table(place, *parts)
    table.head = {"GPU": "none", "commit": "abc"}
    assert not table.fine
    table.set("a", "passed", seconds=1.4, found="1 | 2\nand 3")
    table.set("b", FAILED, seconds=2.0, found="x")
    table.set("c", CUT, seconds=9.0, found="y")
    table.set("d", SKIPPED, found="no data")
    lines = (table.folder / "table.md").read_text().splitlines()
    assert lines[:4] == ["# Checks on a GPU", "", "- GPU: none", "- commit: abc"]
    assert "| a | what a is | passed | 1 | 9 | 1 \\| 2; and 3 |" in lines
    assert "| d | what d is | skipped |  | 9 | no data |" in lines
    assert lines[-1] == "1 of 5 parts held; skipped: d; not so: b (failed), c (cut off), e (not run)."


def test_it_is_fine_when_all_held_or_were_skipped(tmp_path):
    table = make_table(make_place(tmp_path), make_part("a"), make_part("b", good="measured"), make_part("c"))
    for name, result in {"a": "passed", "b": "passed", "c": SKIPPED}.items():
        table.set(name, result)
    assert not table.fine, "what is to be measured has not passed"
    table.set("b", "measured")
    assert table.fine and table.text().endswith("\n2 of 3 parts held; skipped: c.\n")


def test_a_rehearsal_says_so(tmp_path):
    table = make_table(make_place(tmp_path), make_part("a"))
    table.rehearsal = True
    assert table.text().splitlines()[0].endswith("a rehearsal in small on a CPU, which says nothing of a GPU")


def test_what_is_too_long_for_a_row_stands_below(tmp_path):
    table = make_table(make_place(tmp_path), make_part("a"), make_part("b"))
    first, last = "x" * LONGEST, "the last"
    table.set("a", "passed", found=f"{first}\n{last}")
    table.set("b", "passed", found="short")
    text = table.text()
    assert text.endswith(f"\n## a\n\n- {first}\n- {last}\n") and "## b" not in text
    assert all(len(line) < LONGEST + 60 for line in text.splitlines() if line.startswith("|"))


def test_what_is_packed_are_logs_tables_and_scores(tmp_path):
    place = make_place(tmp_path)
    table = make_table(place, make_part("a"))
    for name in (
        "logs/a.log",
        "bench/b.md",
        "bench/b.json",
        "runs/x/results.csv",
        "runs/x/best.pt",
        "python/x.md",
    ):
        path = place.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    table.pack()
    with tarfile.open(table.folder / "results.tar.gz") as archive:
        names = archive.getnames()
    assert names == ["bench/b.json", "bench/b.md", "logs/a.log", "runs/x/results.csv"]
    table.sweep()
    assert not (place.work / "runs").exists() and not (place.work / "python").exists()
    assert (place.work / "logs/a.log").is_file()
