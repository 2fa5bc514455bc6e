"""The losses that are measured, as functions of nothing: ours with each backend, and those of others."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from scripts.bench.losses import peers
from scripts.bench.losses.loss_cases import IGNORE_INDEX, Case, Inputs
from segkit.losses import PixelLoss
from segkit.losses.kernels.choice import refuse_backend
from segkit.registry import LOSSES

PLAIN = "F.cross_entropy"
INTERPOLATED = f"interpolate + {PLAIN}"
SORTED = "OHEM by full sort"
BACKENDS = ("reference", "direct", "banded", "numba", "triton")
#: The loss whose definition is measured too.
DEFINED = "ohem_ce"
#: Ours, with the options that make each do its work from the first iteration on.
OURS = {
    "ce": {},
    "weighted_mask_ce": {},
    "bootstrapped_ce": {"top_p": 0.15, "start_warm": 0, "end_warm": 1},
    "ohem_ce": {"thresh": 0.7, "n_min": "1/16"},
}
PEERS = {
    SORTED: peers.sorted_ohem,
    "OHEM, BiSeNet's form": peers.thresholded_ohem,
    "OHEM, pixel sampler as in mmsegmentation": peers.sampled_ohem,
    "bootstrapped by topk": peers.top_k,
    "weight map on unreduced CE": peers.weight_map,
}

Call = Callable[[], Tensor]


def baseline_of(case: Case) -> str:
    """What the bars compare with: plain cross-entropy, after interpolating where the logits are smaller."""
    return INTERPOLATED if case.stride > 1 else PLAIN


def make_calls(
    case: Case,
    inputs: Inputs,
    *,
    backends: Sequence[str] = BACKENDS,
    losses: Sequence[str] = tuple(OURS),
    others: bool = True,
) -> tuple[dict[str, Call], dict[str, str]]:
    """Forward passes by name, the baseline first, and why some of ours cannot run here."""
    calls: dict[str, Call] = {baseline_of(case): lambda: call_peer(peers.plain, case, inputs)}
    missing = {}
    for name in losses:
        for backend in backends:
            if backend == "reference" and name != DEFINED:
                continue
            reason = refuse_backend(backend, inputs.logits, inputs.target)
            if reason is not None:
                missing[f"{name}, {backend}"] = reason
            else:
                calls[f"{name}, {backend}"] = make_our_call(name, backend, case, inputs)
    for name, peer in PEERS.items():
        if others or name == SORTED:
            calls[name] = lambda peer=peer: call_peer(peer, case, inputs)
    return calls, missing


def make_our_call(name: str, backend: str, case: Case, inputs: Inputs) -> Call:
    """The forward pass of the loss with that backend."""
    loss = build_loss(name, backend, case.classes)
    weight = inputs.weight if name == "weighted_mask_ce" else None
    return lambda: loss(inputs.logits, inputs.target, weight, iteration=10)[0]


def build_loss(name: str, backend: str, classes: int) -> PixelLoss:
    """The registered loss with that backend."""
    return LOSSES.get(name)(classes, IGNORE_INDEX, backend=backend, **OURS[name])


def call_peer(peer: Callable[..., Tensor], case: Case, inputs: Inputs) -> Tensor:
    """As it is used: under autocast where the logits are not fp32, after interpolating them to the label's size."""
    logits, device = inputs.logits, inputs.logits.device.type
    with torch.autocast(device, torch.bfloat16, enabled=case.dtype != "float32"):
        if case.stride > 1:
            logits = F.interpolate(logits, case.size, mode="bilinear", align_corners=False)
        extra = (inputs.weight,) if peer is peers.weight_map else ()
        return peer(logits, inputs.labels, *extra, ignore_index=IGNORE_INDEX)
