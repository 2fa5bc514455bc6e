"""What a loss on a GPU must allow: no waiting of the host, CUDA graphs, compilation of all of it, once."""

from collections.abc import Callable
from typing import Any

import torch

from segkit.bench.loss_cases import Case, Inputs, make_inputs
from segkit.bench.loss_entries import OURS, build_loss
from segkit.bench.rows import Row
from segkit.bench.settings import Settings
from segkit.losses import PixelLoss

TASK = "segkit.bench.cuda_checks:measure"


def bench_cuda(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """A row for every loss and check, whose ratio is 0 where it holds and 1 where not. None without CUDA."""
    if torch.device(settings.device).type != "cuda":
        return []
    tell("cuda: checks")
    found = settings.measure(TASK, {"device": settings.device})[0]
    names = {"bench": "cuda", "case": "8 x 19 classes from stride 8, bf16", "allocator": "default"}
    return [
        Row(**names, entry=loss, baseline=check, quantity="check", ratio=float(bool(problem)), note=problem)
        for loss, checks in found["checks"].items()
        for check, problem in checks.items()
    ]


def measure(*, device: str) -> dict[str, Any]:
    """In one process: for each loss and check an empty text, or what went wrong."""
    inputs = make_inputs(Case(19, (256, 512), images=8, stride=8, dtype="bfloat16"), torch.device(device))
    checks = {
        "no host sync": check_sync,
        "CUDA graph": check_graph,
        "compile fullgraph": check_compile,
        "no recompilation": check_recompilation,
    }
    found: dict[str, dict[str, str]] = {}
    for name in OURS:
        loss = build_loss(name, "auto", 19)
        found[name] = {title: _explain(check, loss, inputs) for title, check in checks.items()}
    return {"checks": found}


def _explain(check: Callable[[PixelLoss, Inputs], None], loss: PixelLoss, inputs: Inputs) -> str:
    inputs.logits.grad = None
    torch.compiler.reset()
    try:
        _call(loss, inputs)  # compiles kernels, which waits
        check(loss, inputs)
        torch.cuda.synchronize()
    except Exception as error:  # whatever it is, the check does not hold
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def _call(loss: Callable, inputs: Inputs, iteration: int = 10) -> torch.Tensor:
    value = loss(inputs.logits, inputs.target, inputs.weight, iteration=iteration)[0]
    value.backward()
    return value.detach()


def check_sync(loss: PixelLoss, inputs: Inputs) -> None:
    """Raises if forward or backward make the host wait."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        _call(loss, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def check_graph(loss: PixelLoss, inputs: Inputs) -> None:
    """Raises unless forward and backward can be captured and replayed with the same value."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            inputs.logits.grad = None
            expected = _call(loss, inputs)
    torch.cuda.current_stream().wait_stream(side)
    inputs.logits.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = _call(loss, inputs)
    graph.replay()
    torch.testing.assert_close(value, expected)


def check_compile(loss: PixelLoss, inputs: Inputs) -> None:
    """Raises unless the whole loss compiles and gives the same value."""
    expected = _call(loss, inputs)
    torch.testing.assert_close(_call(torch.compile(loss, fullgraph=True), inputs), expected)


def check_recompilation(loss: PixelLoss, inputs: Inputs) -> None:
    """Raises if a later iteration compiles anew, after two that may."""
    compiled = torch.compile(loss, fullgraph=True)
    for iteration in (10, 20):
        _call(compiled, inputs, iteration)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for iteration in (30, 40, 500):
            _call(compiled, inputs, iteration)
