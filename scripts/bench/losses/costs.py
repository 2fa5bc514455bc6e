"""What every registered loss costs beside plain cross-entropy: time and peak memory, forward and backward.

At full resolution and from a stride of 8; those that look at borders also with as many border pixels as photographs
have. `rmi` and `cldice` are also measured beside the way their authors compute them, written anew.
"""

import inspect
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.bench.losses import peers, region_peers
from scripts.bench.losses.beside_plain import make_step, peak_of
from scripts.bench.losses.loss_cases import AREA, IGNORE_INDEX, LARGE_AREA, Case, Inputs, make_inputs, shrink
from scripts.bench.losses.loss_entries import OURS, baseline_of, call_peer
from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from segkit.registry import LOSSES

TASK = "scripts.bench.losses.costs:measure"
#: Cityscapes' classes, in images small enough for the losses that keep much.
CASES = (
    Case(19, (256, 512)),
    Case(19, (256, 512), stride=8),
    Case(19, (256, 512), area=LARGE_AREA),
    Case(19, (256, 512), area=LARGE_AREA, stride=8),
)
#: Those that are no loss of several classes by themselves.
LEFT_OUT = ("bce", "pixel", "sum")
#: What a loss is given for the numbers that a run takes from its data.
GIVEN = {**OURS, "logit_adjusted_ce": {"priors": [1.0 + place for place in range(19)]}}
#: Our cross-entropy, which losses of the same kind are compared with.
CE = "ce"
#: What the bars are about.
PIXELWISE = (
    "poly_ce", "generalized_ce", "symmetric_ce", "recall_ce", "logit_adjusted_ce", "loss_max_pooling",
    "border_relaxed_ce", "spatial_smoothing_ce", "margin_smoothing_ce",
)  # fmt: skip
REGIONS = (
    "dice", "jaccard", "tversky", "focal_tversky", "log_cosh_dice", "unified_focal", "mcc", "active_boundary",
)  # fmt: skip
#: Those whose time depends on how many pixels are at a border.
AT_BORDERS = ("border_relaxed_ce", "spatial_smoothing_ce", "boundary", "active_boundary")
AUTHORS = {name: f"{name}, as its authors compute it" for name in ("cldice", "rmi")}

Call = Callable[[], Tensor]


def bench_costs(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows of each loss beside the baseline, beside our cross-entropy, and beside its authors' way where it has one."""
    rows = []
    for case in CASES:
        case = shrink(case) if settings.small else case
        tell(f"costs: {case.name}")
        found = settings.measure(
            TASK, {"case": asdict(case), "rounds": settings.rounds, "device": settings.device}
        )
        made = rows_of(
            found,
            bench="costs",
            case=case.name,
            baselines=(baseline_of(case), CE, *AUTHORS.values()),
            on_gpu=torch.device(settings.device).type == "cuda",
        )
        rows += [row for row in made if is_asked(row)]
    return rows


def is_asked(row: Row) -> bool:
    """Whether somebody wants to know: every loss beside the baseline, some also beside ours or their authors'."""
    if row.baseline == CE:
        return row.entry in PIXELWISE
    return row.baseline not in AUTHORS.values() or is_own(row)


def is_own(row: Row) -> bool:
    """Whether a row compares a loss with its authors' way."""
    return AUTHORS.get(row.entry) == row.baseline


def measure(*, case: dict, rounds: int, device: str) -> dict[str, Any]:
    """In one process: seconds and peak bytes of forward + backward."""
    case = Case(**{**case, "size": tuple(case["size"])})
    place = torch.device(device)
    inputs = make_inputs(case, place)
    steps = {name: make_step(call, inputs) for name, call in make_calls(case, inputs).items()}
    seconds = time_in_turns(steps, rounds=rounds, device=place)
    return {"seconds": seconds, "bytes": {name: peak_of(step, inputs, place) for name, step in steps.items()}}


def make_calls(case: Case, inputs: Inputs) -> dict[str, Call]:
    """Forward passes by name, the baseline first."""
    calls: dict[str, Call] = {baseline_of(case): lambda: call_peer(peers.plain, case, inputs)}
    for name in LOSSES.names():
        if name not in LEFT_OUT and (case.area == AREA or name in (CE, *AT_BORDERS)):
            calls[name] = make_call(name, case, inputs)
    for name, entry in AUTHORS.items():
        if name in calls:
            calls[entry] = make_authors_call(name, case, inputs)
    return calls


def make_call(name: str, case: Case, inputs: Inputs) -> Call:
    """The forward pass of a registered loss with its defaults."""
    options = {
        key: value[: case.classes] if isinstance(value, list) else value
        for key, value in GIVEN.get(name, {}).items()
    }
    constructor = LOSSES.get(name)
    accepted = inspect.signature(constructor).parameters
    given = {"num_classes": case.classes, "ignore_index": IGNORE_INDEX}
    loss = constructor(**{key: value for key, value in given.items() if key in accepted}, **options)
    weight = inputs.weight if getattr(loss, "needs_weight", False) else None
    wanted = getattr(loss, "label_maps", {})  # made by the loader in training
    maps = {key: torch.stack([make(ids) for ids in inputs.target]) for key, make in wanted.items()}
    more = {"maps": maps} if maps else {}
    return lambda: loss(inputs.logits, inputs.target, weight, iteration=10, **more)[0]


def make_authors_call(name: str, case: Case, inputs: Inputs) -> Call:
    """The forward pass of a loss as its authors compute it, at the label's size."""
    peer = getattr(region_peers, name)

    def call() -> Tensor:
        logits = inputs.logits
        if case.stride > 1:
            logits = F.interpolate(logits, case.size, mode="bilinear", align_corners=False)
        return peer(logits, inputs.labels, ignore_index=IGNORE_INDEX)

    return call
