"""How many kernels a loss launches on CUDA, counted without a GPU: where the host decides, every launch is time.

python -m scripts.gpu.launches                                      # every loss and backend: forward, and with backward
python -m scripts.gpu.launches --loss ohem_ce --backend triton      # by operation and line of segkit

Forward is counted on fake CUDA tensors, which have no values. PyTorch's backward wants a driver even of these, so
forward with backward is counted on tensors of the meta device, whose forward is the same. The numbers are of what
PyTorch dispatches: a large sum, for one, may be two kernels on some GPU.
"""

import argparse
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import segkit.losses  # noqa: F401 (registers)
from segkit.registry import LOSSES

LOSS_NAMES = ("ce", "weighted_mask_ce", "bootstrapped_ce", "ohem_ce")
BACKENDS = ("triton", "direct")
SIZES = {"full resolution": (64, 64), "from stride 8": (8, 8)}
CLASSES, LABELS = 19, (2, 64, 64)

#: Operations that only give memory, or names to it.
FREE = {"prim::device", "aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided"}
FREE |= {"aten::new_empty_strided", "aten::detach", "aten::lift_fresh", "aten::_unsafe_view"}
#: Of what launches more than one kernel, how many: first copies, or zeros, then itself. segkit's own are counted in
#: their source.
SEVERAL = {
    "aten::masked_fill": 2,
    "aten::scatter": 2,
    "aten::upsample_bilinear2d_backward": 2,
    "segkit::find_boundary": 11,  # the state: zeros, k; the counts: zeros; then two for each of four digits
    "segkit::count_digit": 2,
    "segkit::choose_digit": 2,
    "segkit::pixel_sums": 3,  # zeros for the classes, then two
}


class Launches(TorchDispatchMode):
    """Counts within it: `by_place` {(operation, line of segkit): launches}."""

    def __init__(self) -> None:
        super().__init__()
        self.by_place: Counter[tuple[str, str]] = Counter()

    @property
    def total(self) -> int:
        return self.by_place.total()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        number = count_launches(function)
        if number:
            self.by_place[function._schema.name.removeprefix("aten::"), _place()] += number
        return function(*args, **(kwargs or {}))


def count_launches(function: Any) -> int:
    """How many kernels an operation launches."""
    name = function._schema.name
    if name in FREE or _is_view(function):
        return 0
    return SEVERAL.get(name, 1)


def _is_view(function: Any) -> bool:
    aliases = [result.alias_info for result in function._schema.returns]
    return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)


def _place() -> str:
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if "segkit" in path.parts and "scripts" not in path.parts:
            below = path.parts[len(path.parts) - path.parts[::-1].index("segkit") :]
            return f"{'/'.join(below)}:{frame.lineno}"
    return "backward"


@contextmanager
def device_without_values(device: str) -> Iterator[None]:
    """Within, tensors on `cuda` or `meta` are made without a GPU, and Triton's kernels are taken to run on both."""
    if device == "meta":
        with patch.dict(os.environ, TRITON_INTERPRET="1"):
            yield
        return
    with FakeTensorMode():
        yield


def make_inputs(size: tuple[int, int], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits in bf16, labels in uint8 and a weight map."""
    logits = torch.empty(LABELS[0], CLASSES, *size, device=device, dtype=torch.bfloat16, requires_grad=True)
    return logits, torch.empty(LABELS, device=device, dtype=torch.uint8), torch.empty(LABELS, device=device)


def count(name: str, backend: str, size: tuple[int, int], *, backward: bool = False) -> Launches:
    """Of one call of a loss, with what it reports; with `backward` also of that."""
    device = "meta" if backward else "cuda"
    with device_without_values(device):
        options = {"start_warm": 0, "end_warm": 0} if name == "bootstrapped_ce" else {}
        loss = LOSSES.get(name)(CLASSES, 255, backend=backend, **options).to(device)
        logits, target, weight = make_inputs(size, device)
        with Launches() as launches:
            value, _ = loss(logits, target, weight if loss.needs_weight else None, iteration=10)
            if backward:
                value.backward()
    return launches


def table() -> str:
    """Every loss, backend and size."""
    lines = ["| loss | backend | logits | forward | with backward |", "| --- | --- | --- | ---: | ---: |"]
    for name in LOSS_NAMES:
        for backend in BACKENDS:
            for title, size in SIZES.items():
                both = count(name, backend, size).total, count(name, backend, size, backward=True).total
                lines.append(f"| `{name}` | `{backend}` | {title} | {both[0]} | {both[1]} |")
    return "\n".join(lines)


def show(launches: Launches) -> str:
    """By operation and line, the lines in their order of appearance."""
    lines = [f"{number:3}  {name:32} {place}" for (name, place), number in launches.by_place.items()]
    return "\n".join([*lines, f"{launches.total:3}  in all"])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.gpu.launches", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--loss", choices=LOSS_NAMES, help="one loss, by operation and line")
    parser.add_argument("--backend", choices=BACKENDS, default="triton")
    parser.add_argument("--size", choices=SIZES, default="from stride 8")
    parser.add_argument("--backward", action="store_true", help="and its backward")
    args = parser.parse_args(arguments)
    if args.loss is None:
        print(table())
    else:
        print(show(count(args.loss, args.backend, SIZES[args.size], backward=args.backward)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
