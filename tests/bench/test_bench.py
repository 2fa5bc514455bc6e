"""The benchmarks run, at sizes that take milliseconds, and what they say follows from what they measured.

No test here looks at how long something took.
"""

import importlib
import json

import pytest
import torch

from scripts.bench import run_all
from scripts.bench.bars import BARS, PASS, SHORT, UNMEASURED, judge
from scripts.bench.data.data_path import PlainPipeline
from scripts.bench.data.image_files import write_images
from scripts.bench.document import show_bars, show_rows
from scripts.bench.losses import peers
from scripts.bench.losses.loss_cases import (
    ELEVEN,
    FULL,
    IGNORE_INDEX,
    LOW,
    Case,
    few_hard,
    make_inputs,
    shrink,
    tenth_hard,
)
from scripts.bench.losses.loss_entries import OURS, PEERS, build_loss, call_peer
from scripts.bench.measure.memory import peak_bytes
from scripts.bench.measure.process import MeasurementFailed, measure_afresh
from scripts.bench.measure.rows import Row, rows_of
from segkit.evaluation.metrics import confusion_matrix
from segkit.losses import bootstrapped_cross_entropy, ohem_cross_entropy, weighted_mask_cross_entropy

CPU = torch.device("cpu")
QUICK = ["--small", "--processes", "0", "--rounds", "1", "--threads", "1"]


def run_script(name: str, *arguments: str) -> int:
    script = importlib.import_module(f"scripts.bench.{name.replace('bench_', 'run_')}")
    return script.main([*QUICK, *arguments])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "bench_losses",
            ["OHEM by full sort", "ohem_ce, numba", "few hard", "10% hard", "bf16", "not available"],
        ),
        ("bench_costs", ["poly_ce", "cldice, as its authors compute it"]),
        ("bench_startup", ["--help", "0.6 s"]),
        ("bench_selection", ["select_hardest", "99 % zeros"]),
        ("bench_update", ["plain loop, fp32, memory kept", "segkit"]),
        ("bench_annotations", ["json.load", "data set", "kept", "draw 7 polygons"]),
        ("bench_step", ["plain loop", "segkit, normalised on the CPU", "score_pixels"]),
    ],
)
def test_scripts_run_and_write_what_they_print(name, words, tmp_path, capsys):
    assert run_script(name, "--output", str(tmp_path / "made")) == 0
    printed = capsys.readouterr().out
    for word in (*words, UNMEASURED, "torch " + torch.__version__):
        assert word in printed
    assert PASS not in printed and SHORT not in printed, "small sizes are no measurement"
    assert (tmp_path / "made" / f"{name}.md").read_text() == printed
    content = json.loads((tmp_path / "made" / f"{name}.json").read_text())
    assert content["settings"]["small"] and content["machine"]["command"]
    assert all(row["ratio"] == 1 for row in content["rows"] if row["entry"] == row["baseline"])


def test_the_suite_covers_every_bar():
    assert {bar.bench for bar in BARS} <= set(run_all.BENCHES)
    assert sorted({bar.number for bar in BARS}) == list(range(1, 16))


def row(entry="ohem_ce, direct", baseline="F.cross_entropy", ratio=1.0, **changes):
    given = {"bench": "losses", "case": FULL[0].name, "allocator": "default", "quantity": "time"}
    return Row(**{**given, "entry": entry, "baseline": baseline, "ratio": ratio, **changes})


def verdicts(*rows, small=False):
    found = judge(rows, benches=run_all.BENCHES, small=small)
    return {(each.bar.number, each.bar.text): each for each in found}


NUMBA = {"entry": "ce, numba", "allocator": "retained"}
STRIDED = {"baseline": "interpolate + F.cross_entropy", **NUMBA}
PREDICTED = {"entry": "predict_pixels", "baseline": "interpolate + argmax", "bench": "scoring"}
OPENED = {"baseline": "json.load", "bench": "annotations", "case": "open"}
#: a row, and the number and first words of the bar it falls under
CASES = [
    (row(), 1, "mined"),
    (row(case=few_hard(FULL)[1].name, allocator="retained"), 1, "mined"),
    (row(baseline="OHEM by full sort"), 1, "OHEM"),
    (row("select_hardest", "sort", bench="selection", case="1 losses, random"), 2, "selection beside a sort"),
    (row("select_hardest", "topk", bench="selection", case="1 losses, random"), 2, "selection beside topk"),
    (row("select_hardest", "sort", bench="selection", case="1 losses, all equal"), 2, "all equal"),
    (row("ce, banded", "interpolate + F.cross_entropy", case=LOW[0].name), 3, "from a stride: time, 19"),
    (row("ce, banded", "interpolate + F.cross_entropy", case=LOW[1].name), 3, "from a stride: time, 150"),
    (
        row("ce, banded", "interpolate + F.cross_entropy", case=LOW[1].name, quantity="memory"),
        3,
        "from a stride: peak memory, 150",
    ),
    (row("ce, banded", quantity="memory"), 4, "banded at full resolution: peak memory, 19"),
    (row("ce, banded", "ce, reference", quantity="error"), 4, "value"),
    (row("ce", "CUDA graph", bench="cuda", quantity="check", case="any"), 5, "no host sync"),
    (row(**PREDICTED, case=LOW[0].name), 7, "predictions from a stride, 19"),
    (
        row(**PREDICTED, case=LOW[1].name, allocator="retained"),
        7,
        "predictions from a stride, 150 classes, memory",
    ),
    (
        row(**PREDICTED, case=LOW[1].name, allocator="default"),
        7,
        "predictions from a stride, 150 classes, glibc",
    ),
    (row(**NUMBA), 9, "numba, full resolution, memory retained: time, 19"),
    (row(**NUMBA, case=FULL[1].name), 9, "numba, full resolution, memory retained: time, 150"),
    (row(**NUMBA, case=ELEVEN.name), 9, "numba, full resolution, memory retained: time, 11"),
    (
        row(**{**NUMBA, "entry": "ohem_ce, numba"}, case=tenth_hard([ELEVEN])[0].name),
        9,
        "numba, one pixel in ten",
    ),
    (row(**NUMBA, case=ELEVEN.name, quantity="memory"), 9, "numba, full resolution: peak memory"),
    (row(**STRIDED, case=LOW[0].name), 9, "numba, from a stride, memory retained: time, 19"),
    (row(**STRIDED, case=LOW[1].name), 9, "numba, from a stride, memory retained: time, 150"),
    (row(**STRIDED, case=LOW[1].name, quantity="memory"), 9, "numba, from a stride: peak memory"),
    (row("ohem_ce, auto", "1 ms", bench="overhead"), 10, "a loss's call"),
    (row("--help", "0.6 s", bench="startup", case="showing"), 11, "--help"),
    (row("--check", "baseline", bench="startup", case="starting"), 11, "--check"),
    (row("first update", "baseline", bench="startup", case="starting"), 11, "first update"),
    (row("outside", "baseline", bench="outside", case="any"), 12, "a run outside"),
    *(
        (
            row("segkit", baseline, bench="updates", case=f"{network}, 8 images of 128 x 128"),
            8,
            f"updates, {network}, beside {told}",
        )
        for baseline, told in (("plain loop, fp32", "a plain loop"), ("baseline", "another checkout"))
        for network in ("ohem.yaml", "camvid/ohem.yaml")  # the name of one ends like the other's
    ),
    (row("data set", **OPENED), 15, "opening a large COCO file beside json.load: time"),
    (row("index", **OPENED, quantity="memory"), 15, "opening a large COCO file beside json.load: peak"),
    (
        row("index", **{**OPENED, "case": "open: kept"}, quantity="memory"),
        15,
        "a large COCO file beside json.load",
    ),
    (row("segkit", "annToMask", bench="annotations", case="draw"), 15, "the polygons of an image"),
]


@pytest.mark.parametrize(("found", "number", "text"), CASES, ids=[f"{n} {t}" for _, n, t in CASES])
def test_a_bar_is_kept_up_to_its_limit_and_only_by_its_own_rows(found, number, text):
    (bar,) = [bar for bar in BARS if bar.number == number and bar.text.startswith(text)]
    for ratio, word in ((bar.limit, PASS), (bar.limit + 0.01, SHORT)):
        judged = verdicts(row(**{**vars(found), "ratio": ratio}))
        assert judged.pop((bar.number, bar.text)).word == word
        assert {each.word for each in judged.values()} == {UNMEASURED}


def test_a_row_of_another_size_than_the_bar_decides_nothing():
    resized = row(baseline="OHEM by full sort", case=LOW[0].name, ratio=9.0)
    assert {each.word for each in verdicts(resized).values()} == {UNMEASURED}


def test_the_worst_row_decides_and_small_sizes_decide_nothing():
    rows = [row(ratio=1.0), row("bootstrapped_ce, direct", ratio=1.2), row("ce, direct", ratio=9.0)]
    verdict = verdicts(*rows)[1, BARS[0].text]
    assert verdict.word == SHORT and verdict.worst is rows[1]
    assert {each.word for each in verdicts(*rows, small=True).values()} == {UNMEASURED}
    assert show_bars([verdict])[2].endswith("| 1.08 | 1.20 | short |")


def test_ratios_are_taken_within_a_process_and_their_range_over_processes():
    found = [{"seconds": {"a": 0.5, "b": ours}, "missing": {"c": "no GPU"}} for ours in (2.0, 3.0, 10.0)]
    rows = rows_of(found, bench="losses", case="x", baselines=("a", "absent"))
    ours = next(row for row in rows if row.entry == "b")
    assert (ours.ratio, ours.low, ours.high, ours.value) == (6.0, 4.0, 20.0, 3000.0)
    assert {row.baseline for row in rows} == {"a"}
    lines = show_rows(rows)
    assert lines[3] == "| b | a | 6.00 (4.00-20.00) | 3000.0 |  |  |  |"
    assert "not available: no GPU" in lines[4]


def test_memory_counts_what_is_held_at_a_time():
    def two_of_three() -> None:
        first = torch.empty(1_000_000)
        second = first + 1
        del first
        second + 1

    assert 8_000_000 <= peak_bytes(two_of_three, device=CPU) < 8_010_000


def test_a_fresh_process_has_its_threads_and_says_why_it_failed(tmp_path):
    arguments = {"spread": "random", "count": 64, "rounds": 1, "device": "cpu"}
    found = measure_afresh(
        "scripts.bench.losses.selection:measure", arguments, threads=1, allocator="retained"
    )
    assert set(found["seconds"]) == {"sort", "topk", "select_hardest"}
    with pytest.raises(MeasurementFailed, match=r"json:nothing ended with status 1:\n"):
        measure_afresh("json:nothing", {}, threads=1)


SMALL = Case(5, (16, 24), images=2)


@pytest.mark.parametrize("margin", [0.0, 8.0])
def test_peers_mean_what_ours_mean_where_nothing_is_ignored(margin):
    """So that the same work is timed: with no ignored pixel the definitions agree."""
    inputs = make_inputs(Case(5, (64, 64), margin=margin), CPU)
    logits, target = inputs.logits.detach(), inputs.labels.where(inputs.labels != IGNORE_INDEX, 0)
    options = {"ignore_index": IGNORE_INDEX}
    ohem = ohem_cross_entropy(logits, target, thresh=0.7, n_min="1/16")
    torch.testing.assert_close(peers.sorted_ohem(logits, target, **options), ohem)
    torch.testing.assert_close(peers.thresholded_ohem(logits, target, **options), ohem)
    share = bootstrapped_cross_entropy(logits, target, share=0.15)
    torch.testing.assert_close(peers.top_k(logits, target, **options), share)
    weighted = weighted_mask_cross_entropy(logits, target, inputs.weight)
    torch.testing.assert_close(peers.weight_map(logits, target, inputs.weight, **options), weighted)
    hard = peers.sampled_ohem(logits, target, **options) * target.numel()
    probability = logits.softmax(1).gather(1, target[:, None])[:, 0]
    kept = int(
        (probability < max(0.7, float(probability.flatten().sort().values[target.numel() // 16]))).sum()
    )
    torch.testing.assert_close(hard / kept, ohem, rtol=1e-3, atol=0)  # it may keep one pixel more or less


@pytest.mark.parametrize("name", OURS)
def test_ours_and_plain_cross_entropy_take_the_inputs_of_every_case(name):
    for case in (*map(shrink, (*FULL, *LOW)), SMALL):
        inputs = make_inputs(case, CPU)
        loss = build_loss(name, "reference", case.classes)
        value = loss(inputs.logits, inputs.target, inputs.weight, iteration=10)[0]
        assert value.isfinite() and value > 0
        assert all(call_peer(peer, case, inputs).isfinite() for peer in PEERS.values())


def test_confusion_as_others_count_it_is_ours():
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 4, (2, 9, 9), generator=generator)
    target[:, 0] = IGNORE_INDEX
    prediction = torch.randint(0, 4, target.shape, generator=generator)
    options = {"num_classes": 4, "ignore_index": IGNORE_INDEX}
    expected = confusion_matrix(target, prediction, **options)
    assert torch.equal(peers.checked_confusion(target, prediction, **options), expected)


def test_the_plain_pipeline_gives_images_and_labels_of_the_crop(tmp_path):
    dataset = write_images(tmp_path, count=2, size=(40, 50))
    image, target = PlainPipeline(dataset, 24)(1)
    assert (image.shape, image.dtype) == ((3, 24, 24), torch.float32)
    assert (target.shape, target.dtype) == ((24, 24), torch.int64)
