"""What evaluation does with logits: predictions, cross-entropy, confusion matrix, beside the direct way."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.bench.losses import peers
from scripts.bench.losses.loss_cases import IGNORE_INDEX, LOW, Case, make_inputs, shrink
from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.memory import peak_bytes
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from segkit.evaluation import metrics
from segkit.evaluation.upsampled_scores import predict_pixels, score_pixels

TASK = "scripts.bench.scoring.evaluating:measure"
ARGMAX, SCORED = "interpolate + argmax", "interpolate + argmax + F.cross_entropy"
CONFUSION = "confusion matrix as torchmetrics"
UNCHECKED = "confusion matrix as torchmetrics, without its checks"
OUR_CONFUSION = "metrics.confusion_matrices"
#: Each of ours by its baseline.
PAIRS = {ARGMAX: "predict_pixels", SCORED: "score_pixels", CONFUSION: OUR_CONFUSION, UNCHECKED: OUR_CONFUSION}


def bench_scoring(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """Rows for both sizes: each of ours beside what does the same."""
    rows = []
    cases = [shrink(case) for case in LOW] if settings.small else LOW
    for case, allocator in itertools.product(cases, settings.allocators):
        tell(f"scoring: {case.name}, allocator {allocator}")
        arguments = {
            "classes": case.classes,
            "size": case.size,
            "stride": case.stride,
            "images": case.images,
            "rounds": settings.rounds,
            "device": settings.device,
        }
        found = settings.measure(TASK, arguments, allocator=allocator)
        made = rows_of(found, bench="scoring", case=case.name, baselines=tuple(PAIRS), allocator=allocator)
        rows += [row for row in made if row.entry in (PAIRS[row.baseline], row.baseline)]
    return rows


@torch.no_grad()
def measure(
    *, classes: int, size: list[int], stride: int, images: int, rounds: int, device: str
) -> dict[str, Any]:
    """In one process: seconds and peak bytes of each."""
    place = torch.device(device)
    case = Case(classes, (size[0], size[1]), images=images, stride=stride, margin=2.0)
    inputs = make_inputs(case, place)
    logits, target, labels = inputs.logits, inputs.target, inputs.labels
    prediction = predict_pixels(logits, case.size)
    options = {"num_classes": classes, "ignore_index": IGNORE_INDEX}

    def upsample() -> Tensor:
        return F.interpolate(logits, case.size, mode="bilinear", align_corners=False)

    def score() -> None:
        full = upsample()
        full.argmax(dim=1)
        F.cross_entropy(full, labels, ignore_index=IGNORE_INDEX, reduction="none")

    calls = {
        ARGMAX: lambda: upsample().argmax(dim=1),
        "predict_pixels": lambda: predict_pixels(logits, case.size),
        SCORED: score,
        "score_pixels": lambda: score_pixels(logits, target, ignore_index=IGNORE_INDEX),
        CONFUSION: lambda: peers.checked_confusion(labels, prediction, **options),
        UNCHECKED: lambda: peers.confusion(labels, prediction, **options),
        OUR_CONFUSION: lambda: metrics.confusion_matrices(target, prediction, **options),
    }
    return {
        "seconds": time_in_turns(calls, rounds=rounds, device=place),
        "bytes": {name: peak_bytes(call, device=place) for name, call in calls.items()},
    }
