"""The losses in several processes of torch.distributed, and in one that holds everything.

A batch of six images is dealt out to the processes, unevenly. Every process runs all cases of `run_rank` and saves
what it found; `run_whole` does the same for the whole batch.
"""

import datetime
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

from segkit.losses.common.pixel_loss import PixelLoss
from segkit.losses.ohem_ce import ohem_ce
from segkit.losses.pixel import pixel
from segkit.losses.regions.dice import dice
from segkit.losses.sum import Term
from segkit.registry import LOSSES
from tests.losses.cases import Batch, make_batch
from tests.processes import HANG_LIMIT

#: How many of the six images each process has.
PARTS = {2: (4, 2), 3: (3, 1, 2)}
WEIGHTS = [0.5, 2.0, 1.0]

#: name: (loss, options, iteration)
LOSSES_OF_ALL = {
    "ce": ("ce", {}, 0),
    "ce, class weights": ("ce", {"class_weights": WEIGHTS, "label_smoothing": 0.1}, 0),
    "weighted, pixels": ("weighted_mask_ce", {}, 0),
    "weighted, weights": ("weighted_mask_ce", {"normalize": "weights", "class_weights": WEIGHTS}, 0),
    "bootstrapped": ("bootstrapped_ce", {"top_p": 0.2, "start_warm": 10, "end_warm": 20}, 15),
    "bootstrapped, early": ("bootstrapped_ce", {"top_p": 0.2, "start_warm": 10, "end_warm": 20}, 5),
    "bootstrapped, class weights": (
        "bootstrapped_ce",
        {"top_p": 0.1, "start_warm": 0, "end_warm": 0, "class_weights": WEIGHTS},
        0,
    ),
    "ohem, mostly hard": ("ohem_ce", {"thresh": 0.7, "n_min": 5}, 0),
    "ohem, n_min": ("ohem_ce", {"thresh": 0.001, "n_min": 37}, 0),
    "ohem, share": ("ohem_ce", {"thresh": 0.001, "n_min": "1/7", "class_weights": WEIGHTS}, 0),
    "focal, top k": (
        "pixel",
        {"criterion": {"name": "focal"}, "selection": {"name": "top_k", "k": 30}, "reduction": "valid"},
        0,
    ),
    "focal": ("focal", {}, 0),
    "loss max": ("loss_max_pooling", {"ratio": 0.2, "class_weights": WEIGHTS}, 0),
    "loss max, each image": ("loss_max_pooling", {"ratio": 0.2, "scope": "image"}, 0),
    "recall": ("recall_ce", {"class_weights": WEIGHTS}, 0),
    "recall, each image": ("recall_ce", {"scope": "image"}, 0),
    "ce, each image": ("ce", {"scope": "image", "class_weights": WEIGHTS}, 0),
    "ohem, each image": ("ohem_ce", {"thresh": 0.3, "n_min": 5, "scope": "image"}, 0),
    "dice": ("dice", {"smooth": 0.1}, 0),
    "dice, all classes": ("dice", {"classes": "all"}, 0),
    "jaccard": ("jaccard", {}, 0),
    "jaccard, metric": ("jaccard", {"form": "metric"}, 0),
    "tversky": ("tversky", {}, 0),
    "lovasz": ("lovasz", {}, 0),
    "focal tversky": ("focal_tversky", {"gamma": 2.0, "smooth": 0.1}, 0),
    "log cosh dice": ("log_cosh_dice", {"smooth": 0.1}, 0),
    "unified focal": ("unified_focal", {"mix": 0.4, "gamma": 0.3}, 0),
    "unified focal, symmetric": ("unified_focal", {"symmetric": True, "background": [1, 2]}, 0),
    "mcc": ("mcc", {}, 0),
    "rmi": ("rmi", {"radius": 2, "pool": 1}, 0),
    "rmi, sigmoid": ("rmi", {"radius": 2, "pool": 2, "probabilities": "sigmoid"}, 0),
    "active_boundary": ("active_boundary", {"share": 0.3}, 0),
    "boundary": ("boundary", {}, 0),
    "boundary, each image": ("boundary", {"scope": "image", "only": [1]}, 0),
    "cldice": ("cldice", {"only": [0, 2]}, 0),
    "sum": (
        "sum",
        {"terms": [Term("ohem_ce", ohem_ce(3, thresh=0.3, n_min=9)), Term("dice", dice(3), weight=0.5)]},
        0,
    ),
    "sum, balanced": (
        "sum",
        {
            "terms": [Term("ohem_ce", ohem_ce(3, thresh=0.3, n_min=9)), Term("dice", dice(3), weight=0.5)],
            "balance": "gradient",
        },
        0,
    ),
}

#: How the batch is spoilt: which images have no valid pixel, whether pixels tie, and the dtype of the logits.
BATCHES = {
    "uneven": {"empty": ()},
    "one process without a valid pixel": {"empty": (4, 5)},
    "all on the last process": {"empty": (0, 1, 2, 3, 4)},
    "nothing valid": {"empty": range(6)},
    "ties across processes": {"empty": (1,), "rounded": True},
    "fp64": {"empty": (), "dtype": torch.float64},
    "bf16": {"empty": (), "dtype": torch.bfloat16},
}
#: Those of them that also come with a weight map.
WITH_MAP = ("uneven", "one process without a valid pixel")


def make_whole(empty=(), rounded=False, dtype=torch.float32) -> Batch:
    """Six images; the first processes have mostly ignored pixels, so that means per process differ much."""
    batch = make_batch((6, 3, 5, 7), (5, 7), dtype=dtype, seed=1)
    batch.target[0, 1:] = 255
    batch.target[1, :, 2:] = 255
    for image in empty:
        batch.target[image] = 255
    if rounded:
        batch.logits = batch.logits.detach().round().requires_grad_()
    return batch


def part_of(batch: Batch, rank: int, parts: tuple[int, ...]) -> Batch:
    images = slice(sum(parts[:rank]), sum(parts[: rank + 1]))
    return Batch(
        batch.logits.detach()[images].clone().requires_grad_(), batch.target[images], batch.weight[images]
    )


def run_all(deal) -> dict[str, Any]:
    """What every loss makes of every batch, by name; `deal(batch)` is the part of it that is looked at."""
    found = {}
    for name, (registered, options, iteration) in LOSSES_OF_ALL.items():
        loss = LOSSES.get(registered)(num_classes=3, **options)
        for batch_name, how in BATCHES.items():
            if registered == "weighted_mask_ce":
                maps = (True,)
            else:
                maps = (False, True) if batch_name in WITH_MAP else (False,)
            for with_map in maps:
                batch = deal(make_whole(**how))
                weight = batch.weight if with_map else None
                key = f"{name} | {batch_name} | map={with_map}"
                found[key] = measure(loss, batch, weight, iteration)
    return found


def measure(loss, batch: Batch, weight, iteration: int) -> dict[str, Any]:
    value, report = loss(batch.logits, batch.target, weight, iteration=iteration)
    value.backward()
    found = {"value": value.detach(), "gradient": batch.logits.grad, "report": report}
    if isinstance(loss, PixelLoss):
        values = loss.criterion(batch.logits, batch.target)
        selected = loss.selection(values.ce, values.valid, iteration=iteration, scope=loss.scope)
        found |= {"kept": selected.share, "count": selected.count.expand(len(values.ce), 1, 1)}
        found |= {"denominator": loss.denominator(batch.target, weight)}
    return found


def train_step(deal) -> dict[str, torch.Tensor]:
    """The gradient of a small network's parameters from a mined loss, averaged over the processes.

    That is what DistributedDataParallel does; it is not used here because importing it takes five seconds.
    """
    torch.manual_seed(0)
    net = nn.Conv2d(3, 3, 3, padding=1)
    loss = pixel(3, selection={"name": "ohem", "thresh": 0.3, "n_min": 9})
    batch = deal(make_whole())
    value, _ = loss(net(batch.logits.detach()), batch.target, batch.weight, iteration=0)
    value.backward()
    if dist.is_initialized():
        for parameter in net.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def run_whole() -> dict[str, Any]:
    return {"losses": run_all(lambda batch: batch), "step": train_step(lambda batch: batch)}


def run_process(rank: int, folder: str) -> None:
    """What one of three processes does: meet the others, then once more without the last of them."""
    torch.set_num_threads(1)
    for world in PARTS:
        if rank < world:
            run_rank(rank, world, folder)


def run_rank(rank: int, world: int, folder: str) -> None:
    """Everything on this process's part; saved as `folder`/{world}-{rank}.pt."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting-{world}",
        rank=rank,
        world_size=world,
        timeout=datetime.timedelta(seconds=HANG_LIMIT),
    )

    def deal(batch: Batch) -> Batch:
        return part_of(batch, rank, PARTS[world])

    result = {"losses": run_all(deal), "step": train_step(deal)}
    batch = deal(make_whole())
    loss = LOSSES.get("ohem_ce")(num_classes=3, thresh=0.3, n_min=9, scope="rank")
    result["rank"] = loss(batch.logits, batch.target, iteration=0)[0].detach()
    if rank == 0:  # pictures are made by one process: it must not wait for the others
        batch = deal(make_whole())
        loss = LOSSES.get("ohem_ce")(num_classes=3)
        result["pixels"] = loss.pixels(batch.logits, batch.target, iteration=0).kept
    torch.save(result, Path(folder) / f"{world}-{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    # Forked: one process has imported torch for all, and has done nothing yet that a fork would not survive.
    torch.multiprocessing.start_processes(run_process, (sys.argv[1],), max(PARTS), start_method="fork")
