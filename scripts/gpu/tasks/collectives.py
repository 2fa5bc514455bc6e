"""Updates of a process group that torchrun started, beside the same updates without one: NCCL on GPUs, gloo on CPUs.

With one GPU a run opens no group, so that this is all that is seen of NCCL there: that it meets, averages gradients
in backward, sums, and ends. With more, each process has its share of the images.

torchrun --standalone --nproc-per-node 1 -m scripts.gpu.tasks.collectives --device cuda
"""

import argparse
import copy
import os
import sys
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from segkit.distributed.ranks import Ranks
from segkit.registry import LOSSES, MODELS

UPDATES, IMAGES, CLASSES, SIZE = 6, 4, 5, 64
#: Of the largest change of a weight. A GPU convolves in tf32, and not by the same kernel for other batch sizes.
TOLERANCE = 1e-2


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    args = parser.parse_args(arguments)
    local, world = (int(os.environ[name]) for name in ("LOCAL_RANK", "WORLD_SIZE"))
    ranks = Ranks(int(os.environ["RANK"]), world, local=local, local_world=world)
    device = torch.device("cpu") if args.device == "cpu" else torch.device("cuda", local)
    ranks.meet()
    try:
        total = torch.full((3,), float(ranks.rank + 1), device=device)
        dist.all_reduce(total)
        expected = world * (world + 1) / 2
        off = train_both(ranks, device)
        largest = max(ranks.gather(off))
        backend = dist.get_backend_config()
    finally:
        ranks.leave()
    fine = bool((total == expected).all()) and largest <= TOLERANCE
    if ranks.main:
        print(f"found: {world} of {backend}: sum {float(total[0]):g} of {expected:g}")
        print(f"found: after {UPDATES} updates weights are off by {largest:.1e} of at most {TOLERANCE:g}")
    return 0 if fine else 1


def train_both(ranks: Ranks, device: torch.device) -> float:
    """The largest difference of a weight after the updates of all processes together and of this one alone with all
    images, relative to the largest change of a weight in them."""
    torch.manual_seed(0)
    alone = MODELS.get("unet")(in_channels=3, num_classes=CLASSES, width=8, depth=2, norm="batch").to(device)
    before, together = copy.deepcopy(alone), copy.deepcopy(alone)
    if device.type == "cuda":
        together = nn.SyncBatchNorm.convert_sync_batchnorm(together)
    else:  # torch has it on CUDA only: there each process normalises by what it has learnt, which is the same
        for model in (alone, together):
            model.eval()
    wrapped = ranks.average_gradients(together, find_unused=False, device=device)
    loss = LOSSES.get("ce")(num_classes=CLASSES, ignore_index=255, scope="rank")
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9) for model in (alone, together)]
    for number in range(UPDATES):
        image, target = draw(number, ranks.world)
        own = slice(ranks.rank * IMAGES, (ranks.rank + 1) * IMAGES)
        for model, optimizer, chosen in zip((alone, wrapped), optimizers, (slice(None), own), strict=True):
            logits = model(image[chosen].to(device))
            value, _ = loss(logits, target[chosen].to(device), iteration=number)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    parameters = list(zip(alone.parameters(), together.parameters(), before.parameters(), strict=True))
    change = max(float((one - first).abs().max()) for one, _, first in parameters)
    return max(float((one - other).abs().max()) for one, other, _ in parameters) / change


def draw(number: int, world: int) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) and labels (N, H, W) of one update, those of all processes."""
    generator = torch.Generator().manual_seed(number)
    image = torch.randn(world * IMAGES, 3, SIZE, SIZE, generator=generator)
    return image, torch.randint(0, CLASSES, (world * IMAGES, SIZE, SIZE), generator=generator)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
