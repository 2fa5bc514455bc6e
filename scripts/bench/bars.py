"""The limits that segkit's speed and memory are held to, and whether a measurement keeps them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.bench.data import annotations, data_path
from scripts.bench.losses import costs, overhead, selection
from scripts.bench.losses.loss_entries import INTERPOLATED, PLAIN, SORTED
from scripts.bench.measure.rows import Row
from scripts.bench.scoring import evaluating, predicting
from scripts.bench.training import outside, startup, updates

PASS, SHORT, UNMEASURED = "pass", "short", "not measured here"
#: How many times as fast the updates of these networks have to be as those of the version before, on a CPU with AMX.
LEAST = {"ohem.yaml": 2.2, "deeplabv3_mobilenet_v3_large": 1.8, "camvid/ohem.yaml": 1.8}
#: And as those of a plain loop in fp32, on any CPU that computes in bf16.
LEAST_PLAIN = {"ohem.yaml": 1.8, "deeplabv3_mobilenet_v3_large": 1.4, "camvid/ohem.yaml": 1.8}
PREDICTED = ("predict_pixels", evaluating.ARGMAX)
#: In the names of the cases of which OHEM keeps one pixel in ten.
TENTH = ", 10% hard"
MINED = tuple(f"{name}, direct" for name in ("ohem_ce", "bootstrapped_ce", "weighted_mask_ce"))


@dataclass(frozen=True)
class Bar:
    """The largest ratio that the rows of `bench` for which `concerns` is true may have."""

    number: int
    text: str
    bench: str
    limit: float
    concerns: Callable[[Row], bool]


@dataclass(frozen=True)
class Verdict:
    """`pass`, `short` or `not measured here`; `worst` is the row with the largest ratio."""

    bar: Bar
    word: str
    worst: Row | None = None


def judge(rows: Sequence[Row], *, benches: Sequence[str], small: bool = False) -> list[Verdict]:
    """A verdict for each bar of these benches. Small sizes are no measurement."""
    verdicts = []
    for bar in BARS:
        if bar.bench not in benches:
            continue
        found = [
            row for row in rows if row.bench == bar.bench and row.ratio is not None and bar.concerns(row)
        ]
        if small or not found:
            verdicts.append(Verdict(bar, UNMEASURED))
            continue
        worst = max(found, key=lambda row: row.ratio)
        verdicts.append(Verdict(bar, PASS if worst.ratio <= bar.limit else SHORT, worst))
    return verdicts


def _loss(
    baseline: str,
    *entries: str,
    quantity: str = "time",
    classes: int | None = None,
    precision: str = "fp32",
    on_gpu: bool = False,
    resized: bool | None = None,
    allocator: str | None = None,
    tenth: bool = False,
) -> Callable[[Row], bool]:
    """Rows of entries that end like one of `entries`: with so many classes, or any number; of logits of another size
    than the label, of its own, or both; with one allocator, or both; of the cases where one pixel in ten is kept, or of
    the others."""

    def concerns(row: Row) -> bool:
        alike = classes is None or f" {classes} classes" in row.case
        alike &= resized is None or resized == (" -> " in row.case)
        alike &= allocator in (None, row.allocator) and tenth == (TENTH in row.case)
        named = row.entry.endswith(entries) and row.baseline == baseline and row.quantity == quantity
        return named and alike and row.case.split(", ")[2] == precision and row.on_gpu == on_gpu

    return concerns


def _pair(entry: str, baseline: str, *words: str, allocator: str | None = None) -> Callable[[Row], bool]:
    """Rows of time of one entry beside one baseline; `words` of which one is in the case; one allocator, or both."""

    def concerns(row: Row) -> bool:
        named = (row.entry, row.baseline, row.quantity) == (entry, baseline, "time")
        named &= allocator in (None, row.allocator)
        return named and (not words or any(word in row.case for word in words))

    return concerns


def _bars_of_selection() -> list[Bar]:
    ours, uneven = selection.OURS, ("all equal", "zeros")
    return [
        Bar(2, "selection beside a sort", "selection", 0.035, _pair(ours, selection.SORT, "random")),
        Bar(2, "selection beside topk", "selection", 0.35, _pair(ours, selection.TOP_K, "random")),
        Bar(
            2,
            "all equal or 99 % zeros, beside a sort",
            "selection",
            0.5,
            _pair(ours, selection.SORT, *uneven),
        ),
    ]


def _bars_of_gpu() -> list[Bar]:
    gpu = {"precision": "bf16", "on_gpu": True}
    memory = {**gpu, "quantity": "memory"}
    return [
        Bar(
            5, "no host sync, graphs, compile, no recompilation: failures", "cuda", 0.0, lambda row: True
        ),
        Bar(6, "from a stride: time", "losses", 0.35, _loss(INTERPOLATED, "triton", **gpu)),
        Bar(6, "peak memory, 19 classes", "losses", 0.08, _loss(INTERPOLATED, "triton", classes=19, **memory)),
        Bar(6, "peak memory, 150 classes", "losses", 0.04, _loss(INTERPOLATED, "triton", classes=150, **memory)),
        Bar(6, "full resolution: time", "losses", 0.35, _loss(PLAIN, "triton", **gpu)),
    ]  # fmt: skip


def _bars_of_low_resolution() -> list[Bar]:
    def low(text: str, limit: float, **options) -> Bar:
        return Bar(3, f"from a stride: {text}", "losses", limit, _loss(INTERPOLATED, "banded", **options))

    return [
        low("time, 19 classes", 0.60, classes=19),
        low("time, 150 classes", 0.62, classes=150),
        low("peak memory, 19 classes", 0.25, classes=19, quantity="memory"),
        low("peak memory, 150 classes", 0.20, classes=150, quantity="memory"),
        low("time, bf16", 0.50, precision="bf16"),
    ]


def _bars_of_updates() -> list[Bar]:
    def bar(network: str, times: float, baseline: str, beside: str) -> Bar:
        ours = _pair(updates.OURS, baseline)
        return Bar(8, f"updates, {network}, beside {beside}: time", "updates", round(1 / times, 3),
            lambda row: ours(row) and row.case.startswith(f"{network},"))  # fmt: skip

    # How many times as fast an update has to be. The second half is of a machine with AMX, beside the version before.
    plain = [
        bar(network, times, updates.PLAIN, "a plain loop in fp32") for network, times in LEAST_PLAIN.items()
    ]
    return plain + [
        bar(network, times, updates.BEFORE, "another checkout") for network, times in LEAST.items()
    ]


def _bars_of_numba() -> list[Bar]:
    def bar(text: str, limit: float, *entries: str, baseline: str = PLAIN, **options) -> Bar:
        concerns = _loss(baseline, *entries or (", numba",), **options)
        return Bar(9, f"numba, {text}", "losses", limit, concerns)

    kept = {"allocator": "retained"}
    low = {"baseline": INTERPOLATED}
    return [
        bar("full resolution, memory retained: time, 19 classes", 0.50, classes=19, **kept),
        bar("full resolution, memory retained: time, 150 classes", 0.50, classes=150, **kept),
        bar("full resolution, memory retained: time, 11 classes", 0.60, classes=11, **kept),
        bar("one pixel in ten kept, memory retained: time of OHEM", 0.40, "ohem_ce, numba", tenth=True, **kept),
        bar("full resolution: peak memory", 0.45, quantity="memory"),
        bar("from a stride, memory retained: time, 19 classes", 0.30, classes=19, **low, **kept),
        bar("from a stride, memory retained: time, 150 classes", 0.30, classes=150, **low, **kept),
        bar("from a stride: peak memory", 0.10, quantity="memory", **low),
    ]  # fmt: skip


def _bars_of_commands() -> list[Bar]:
    def starting(name: str) -> Bar:
        text = f"{name} beside another checkout: time"
        return Bar(11, text, "startup", 0.5, _pair(name, startup.BEFORE))

    return [
        Bar(10, "a loss's call on 64 x 64 pixels: ms", "overhead", 1.0,
            lambda row: row.entry.endswith(", auto") and row.baseline == overhead.LIMIT and not row.on_gpu),
        Bar(11, "--help, --list and --print-config: time beside 0.6 s", "startup", 1.0,
            lambda row: row.baseline == startup.LIMIT),
        *(starting(name) for name in startup.STARTING),
        Bar(12, "a run outside of its updates, beside another checkout: time", "outside", 0.5,
            _pair(outside.OUTSIDE, outside.BEFORE)),
    ]  # fmt: skip


def _bars_of_annotations() -> list[Bar]:
    def opening(quantity: str, *, kept: bool = False) -> Callable[[Row], bool]:
        def concerns(row: Row) -> bool:
            ours = row.entry != annotations.JSON and row.baseline == annotations.JSON
            return ours and row.quantity == quantity and row.case.endswith(annotations.KEPT) == kept

        return concerns

    return [
        Bar(15, "opening a large COCO file beside json.load: time", "annotations", 1.3, opening("time")),
        Bar(15, "opening a large COCO file beside json.load: peak memory", "annotations", 0.6, opening("memory")),
        Bar(15, "a large COCO file beside json.load: memory kept", "annotations", 0.3, opening("memory", kept=True)),
        Bar(15, "the polygons of an image beside annToMask: time", "annotations", 0.5,
            _pair(annotations.OURS, annotations.TOOLS)),
    ]  # fmt: skip


def _bars_of_predicting() -> list[Bar]:
    def bar(baseline: str, quantity: str, limit: float, words: str = "", *, allocators: Sequence[str]) -> Bar:
        compared = predicting.OURS, baseline, quantity

        def concerns(row: Row) -> bool:
            return (row.entry, row.baseline, row.quantity) == compared and row.allocator in allocators

        text = f"a folder of images segmented, beside {baseline}: {quantity}{words}"
        return Bar(14, text, "predicting", limit, concerns)

    bars = []
    for loop in (predicting.PLAIN, predicting.TUNED):
        bars += [
            bar(loop, "time", 1 / 1.5, allocators=("default", "retained")),
            bar(loop, "memory", 0.5, allocators=("default",)),
            # What a process holds that gives nothing back, which is more than it needs.
            bar(loop, "memory", 0.5, ", all freed memory kept", allocators=("retained",)),
        ]
    return bars


def _bars_of_costs() -> list[Bar]:
    def bar(text: str, limit: float, concerns: Callable[[Row], bool]) -> Bar:
        return Bar(13, text, "costs", limit, concerns)

    def beside(baselines: Sequence[str], names: Sequence[str]) -> Callable[[Row], bool]:
        return lambda row: row.quantity == "time" and row.baseline in baselines and row.entry in names

    plain = (PLAIN, INTERPOLATED)
    return [
        bar("pixel losses from papers, beside ce: time", 1.05, beside((costs.CE,), costs.PIXELWISE)),
        bar("region losses, beside plain cross-entropy: time", 1.3, beside(plain, costs.REGIONS)),
        bar("boundary, given its distances, beside plain cross-entropy: time", 1.2, beside(plain, ("boundary",))),
        *(
            bar(f"cldice and rmi, beside their authors' way: {quantity}", 0.5,
                lambda row, quantity=quantity: costs.is_own(row) and row.quantity == quantity)
            for quantity in ("time", "memory")
        ),
    ]  # fmt: skip


def _is_error(row: Row) -> bool:
    return row.quantity == "error"


BARS: tuple[Bar, ...] = (
    Bar(1, "mined and weighted losses, full resolution: time", "losses", 1.08, _loss(PLAIN, *MINED)),
    Bar(1, "OHEM beside one that sorts, full resolution, 19 classes", "losses", 0.60,
        _loss(SORTED, MINED[0], classes=19, resized=False)),
    *_bars_of_selection(),
    *_bars_of_costs(),
    *_bars_of_predicting(),
    *_bars_of_low_resolution(),
    Bar(4, "banded at full resolution: peak memory, 19 classes", "losses", 0.55,
        _loss(PLAIN, "banded", quantity="memory", classes=19)),
    Bar(4, "banded at full resolution: peak memory, 150 classes", "losses", 0.40,
        _loss(PLAIN, "banded", quantity="memory", classes=150)),
    Bar(4, "value to 2e-5, gradient to 2e-4, two runs equal: share of what is allowed", "losses", 1.0, _is_error),
    *_bars_of_gpu(),
    Bar(7, "reading and augmenting an image", "data", 0.36, _pair(data_path.OURS, data_path.PLAIN)),
    Bar(7, "the same, cached on the disk", "data", 0.20, _pair(data_path.CACHED, data_path.PLAIN)),
    Bar(7, "the same, cached in memory", "data", 0.20, _pair(data_path.IN_MEMORY, data_path.PLAIN)),
    Bar(7, "predictions from a stride, 19 classes", "scoring", 0.35, _pair(*PREDICTED, " 19 classes")),
    Bar(7, "predictions from a stride, 150 classes, memory retained", "scoring", 0.25,
        _pair(*PREDICTED, " 150 classes", allocator="retained")),
    Bar(7, "predictions from a stride, 150 classes, glibc's defaults", "scoring", 0.35,
        _pair(*PREDICTED, " 150 classes", allocator="default")),
    *_bars_of_updates(),
    Bar(7, "confusion matrix", "scoring", 0.2, _pair(evaluating.OUR_CONFUSION, evaluating.CONFUSION)),
    *_bars_of_numba(),
    *_bars_of_commands(),
    *_bars_of_annotations(),
)  # fmt: skip
