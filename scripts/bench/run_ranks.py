"""Training in several processes beside one, and beside plain DistributedDataParallel: python scripts/bench/run_ranks.py

Two comparisons on a CPU with gloo, of updates on batches that are in memory already, images/s as medians:

one    two processes of one thread beside one process of two threads, the same batch for all together
plain  segkit's ohem_ce from logits at stride 8, beside F.cross_entropy on logits that the model upsamples (what
       torchvision's reference script does), two processes of one thread each, in turns within the same processes

Each is started anew `--rounds` times, in turns. Prints a table, and the bytes that a process sends beside gradients.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # runs from a checkout without installing

CLASSES = 19
IMAGES = 4  # in a batch of all processes
UPDATES = 6
WARM_UP = 2


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=384, help="of the images, in pixels")
    parser.add_argument("--model", default="lraspp_mobilenet_v3_large")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help="also write what was measured as JSON")
    args = parser.parse_args(arguments)
    if args.worker:
        return work(args)
    found: dict[str, list[Any]] = {"one": [], "two": []}
    for _ in range(args.rounds):
        found["one"].append(launch(args, processes=1))
        found["two"].append(launch(args, processes=2))
    rate = {name: statistics.median(each["segkit"] for each in found[name]) for name in found}
    plain = statistics.median(each["plain"] for each in found["two"])
    beside = statistics.median(each["segkit"] / each["plain"] for each in found["two"])
    what = f"{args.model}, {IMAGES} images of {args.size}x{args.size}, {CLASSES} classes, ohem_ce"
    print(f"{what}; medians of {args.rounds} starts")
    print(f"one process of two threads    {rate['one']:.2f} images/s")
    print(f"two processes of one thread   {rate['two']:.2f} images/s   {rate['two'] / rate['one']:.2f} x")
    print(f"plain, two processes          {plain:.2f} images/s   segkit is {beside:.2f} x as fast")
    print(f"sent beside gradients         {found['two'][0]['sent'] / 1e3:.1f} kB per process and update")
    if args.output is not None:
        args.output.write_text(
            json.dumps({"options": vars(args) | {"output": None}, "found": found}, indent=2)
        )
    return 0


def launch(args: argparse.Namespace, *, processes: int) -> dict[str, float]:
    """What one start of so many processes measures; two threads altogether."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    words = ("--worker", "--size", str(args.size), "--model", args.model)
    command = [sys.executable, *(torchrun if processes > 1 else ()), __file__, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(2 // processes)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def work(args: argparse.Namespace) -> int:
    """In every process: updates the one way and the other in turns. The main process prints what it measured."""
    from segkit.distributed.ranks import joined_ranks

    with joined_ranks() as ranks:
        ways = {"segkit": segkit_update(args, ranks), "plain": plain_update(args, ranks)}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(UPDATES + WARM_UP):
            for name, update in ways.items():
                ranks.gather(None)  # all begin together
                started = time.perf_counter()
                update()
                times[name].append(time.perf_counter() - started)
        sent = count_bytes(ways["segkit"]) if ranks.world > 1 else 0
        if ranks.main:
            rates = {name: IMAGES / statistics.median(each[WARM_UP:]) for name, each in times.items()}
            print(json.dumps(rates | {"sent": sent}))
        ranks.gather(None)
    return 0


def make_batch(args: argparse.Namespace, images: int) -> dict[str, Any]:
    """Noise, with a tenth of the pixels ignored."""
    import torch

    shape = (images, args.size, args.size)
    target = torch.randint(0, CLASSES, shape, dtype=torch.uint8)
    target[torch.rand(shape) < 0.1] = 255
    image = torch.randint(0, 256, (images, 3, args.size, args.size), dtype=torch.uint8)
    return {"image": image, "target": target, "name": ["noise"] * images}


def segkit_update(args: argparse.Namespace, ranks: Any) -> Callable[[], Any]:
    """An update of segkit's trainer, logging as far as the loop does it, on this process's part of a batch."""
    from dataclasses import replace

    from segkit.config.load import config_from_mapping
    from segkit.registry import MODELS
    from segkit.training.build_together import build_together

    settings = {
        "name": "bench", "device": "cpu", "model": {"name": args.model}, "loss": {"name": "ohem_ce"},
        "data": {"name": "shapes", "size": args.size, "train_size": 4, "val_size": 4},
        "augment": {"name": "none"}, "train": {"iterations": 1000, "batch_size": IMAGES, "workers": 0},
    }  # fmt: skip
    config = config_from_mapping(settings, origin="bench") if ranks.main else None
    experiment = build_together(config, overfit=None, ranks=ranks)
    import torch

    from segkit.registry import LOSSES
    from segkit.training.build import build_optimizer

    torch.manual_seed(0)
    model = MODELS.get(args.model)(CLASSES, 3).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(experiment.config.optimizer, model, experiment.device)
    loss = LOSSES.get("ohem_ce")(num_classes=CLASSES)
    experiment = replace(experiment, model=model, optimizer=optimizer, loss=loss)
    trainer = experiment.trainer(recorder=None, save=None)  # an update asks neither
    batch = make_batch(args, IMAGES // ranks.world)
    return lambda: trainer.update([batch])


def plain_update(args: argparse.Namespace, ranks: Any) -> Callable[[], Any]:
    """The same model, upsampling its logits, under DistributedDataParallel and F.cross_entropy."""
    import torch
    import torch.nn.functional as F
    from torch.nn.parallel import DistributedDataParallel
    from torchvision.models import get_model

    torch.manual_seed(0)
    model = get_model(args.model, weights=None, weights_backbone=None, num_classes=CLASSES)
    parallel = DistributedDataParallel(model) if ranks.world > 1 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    batch = make_batch(args, IMAGES // ranks.world)
    image, target = batch["image"].float() / 255, batch["target"].long()

    def update() -> None:
        loss = F.cross_entropy(parallel(image)["out"], target, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # as the script logs it

    return update


def count_bytes(update: Callable[[], Any]) -> int:
    """What this process gives to collectives in an update, besides gradients, which torch sends from C++."""
    import torch.distributed as dist

    sent = 0
    original = dist.all_reduce

    def all_reduce(tensor: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal sent
        sent += tensor.numel() * tensor.element_size()
        return original(tensor, *arguments, **options)

    dist.all_reduce = all_reduce
    update()
    dist.all_reduce = original
    return sent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
