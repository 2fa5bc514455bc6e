"""What a loss on a GPU must allow: no waiting of the host, CUDA graphs, torch.compile of all of it, once.

python -m scripts.gpu.tasks.promises --device cuda
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from functools import partial

import torch

from scripts.bench.losses import cuda_checks
from scripts.bench.losses.loss_cases import make_inputs, shrink
from scripts.bench.losses.loss_entries import build_loss
from scripts.bench.measure.rows import Row
from scripts.bench.measure.settings import Settings


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    args = parser.parse_args(arguments)
    rows = (
        rehearse()
        if args.device == "cpu"
        else cuda_checks.bench_cuda(Settings(device=args.device), tell=print)
    )
    return tell(rows)


def tell(rows: Iterable[Row]) -> int:
    """Print what does not hold, and how many do; status 1 if one does not, or none was looked at."""
    rows = list(rows)
    broken = [row for row in rows if row.ratio]
    for row in rows:
        print(f"{row.entry}, {row.baseline}: {row.note or 'holds'}")
    for row in broken:
        print(f"found: {row.entry}, {row.baseline}: {row.note}")
    print(f"found: {len(broken)} of {len(rows)} do not hold")
    return 1 if broken or not rows else 0


def rehearse() -> list[Row]:
    """The one check that there is on a CPU, of one loss, without a compiler."""
    case = shrink(cuda_checks.CASE)
    cuda_checks.CASE, cuda_checks.COMPILER = case, "aot_eager"
    inputs = make_inputs(case, torch.device("cpu"))
    make = partial(build_loss, "ohem_ce", "reference", case.classes)
    problem = cuda_checks.explain(cuda_checks.check_compile, make, inputs)
    return cuda_checks.rows_of_checks({"ohem_ce, reference": {"compile fullgraph": problem}})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
