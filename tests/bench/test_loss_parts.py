"""What is measured of the losses is what the bars ask for, on inputs that are what their names say."""

import pytest
import torch

from scripts.bench.bars import PASS, TENTH, judge
from scripts.bench.losses import overhead
from scripts.bench.losses.beside_plain import Part, parts_for
from scripts.bench.losses.loss_cases import FULL, Case, make_inputs, tenth_hard
from scripts.bench.losses.loss_entries import OURS, SORTED, baseline_of, build_loss
from scripts.bench.measure.rows import Row
from scripts.bench.measure.settings import Settings

CPU = torch.device("cpu")


def rows_that_come_of(part: Part) -> list[Row]:
    names = ("losses", part.case.name, part.allocator)
    entries = [f"{loss}, {backend}" for loss in part.losses for backend in part.backends]
    rows = [
        Row(*names, entry, baseline, "time", 0.0)
        for entry in entries
        for baseline in (baseline_of(part.case), SORTED)
    ]
    rows += [Row(*names, entry, baseline_of(part.case), "memory", 0.0) for entry in entries if part.memory]
    return [*rows, Row(*names, "ce, banded", "ce, reference", "error", 0.0)]


def test_every_bar_of_a_cpu_is_measured():
    rows = [
        row for part in parts_for(CPU, small=False, many_processes=True) for row in rows_that_come_of(part)
    ]
    words = {verdict.bar: verdict.word for verdict in judge(rows, benches=("losses",))}
    assert {bar.number for bar, word in words.items() if word != PASS} == {6}, "6 is of a GPU"


def test_numba_is_shown_with_both_allocators():
    parts = [part for part in parts_for(CPU, small=False, many_processes=True) if "numba" in part.backends]
    names = {
        allocator: {part.case.name for part in parts if part.allocator == allocator}
        for allocator in ("default", "retained")
    }
    assert (
        len(names["default"] & names["retained"]) == 7
    )  # 19, 150 and 11 classes, two strides, one in ten twice
    assert any(name.endswith("channels_last") for name in names["retained"])


def test_a_part_measures_no_more_than_it_names():
    lean = [part for part in parts_for(CPU, small=True, many_processes=True) if TENTH in part.case.name]
    assert {(part.losses, part.others, part.memory) for part in lean} == {(("ohem_ce",), False, False)}


@pytest.mark.parametrize("classes", [11, 19])
def test_ohem_keeps_one_pixel_in_ten_in_clusters(classes):
    (case,) = tenth_hard([Case(classes, (256, 256))])
    inputs = make_inputs(case, CPU)
    loss = build_loss("ohem_ce", "reference", classes)
    kept = loss.pixels(inputs.logits, inputs.target, iteration=10).kept
    assert 0.07 < kept.float().mean() < 0.13
    blocks = kept.unfold(1, 8, 8).unfold(2, 8, 8).flatten(-2).float().mean(-1)
    assert ((blocks < 0.1) | (blocks > 0.6)).float().mean() > 0.95


def test_logits_lie_as_the_case_says():
    inputs = make_inputs(Case(5, (16, 24), channels_last=True), CPU)
    assert inputs.logits.is_contiguous(memory_format=torch.channels_last)
    assert not make_inputs(Case(5, (16, 24)), CPU).logits.is_contiguous(memory_format=torch.channels_last)


def test_a_call_is_measured_in_milliseconds(monkeypatch):
    monkeypatch.setattr(overhead, "time_in_turns", lambda calls, **options: dict.fromkeys(calls, 0.0007))
    rows = overhead.bench_overhead(Settings(processes=0))
    assert {row.entry for row in rows} == {*(f"{name}, auto" for name in OURS), "F.cross_entropy"}
    for row in rows:
        assert (row.ratio, row.value, row.baseline) == (pytest.approx(0.7), pytest.approx(0.7), "1 ms")


def test_a_case_has_its_name():
    assert tenth_hard(FULL)[0].name == "2 x 19 classes, 512 x 1024, fp32, 10% hard"
