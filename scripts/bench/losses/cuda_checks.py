"""What a loss on a GPU must allow: no waiting of the host, CUDA graphs, compilation of all of it, once."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from scripts.bench.losses.loss_cases import IGNORE_INDEX, Case, Inputs, make_inputs
from scripts.bench.losses.loss_entries import OURS, build_loss
from scripts.bench.measure.process import MeasurementFailed
from scripts.bench.measure.rows import Row
from scripts.bench.measure.settings import Settings
from segkit.losses.common.scheduled import Schedule, Scheduled
from segkit.losses.kernels.choice import refuse_backend
from segkit.registry import LOSSES, SCHEDULES

TASK = "scripts.bench.losses.cuda_checks:measure"
CASE = Case(19, (256, 512), images=8, stride=8, dtype="bfloat16")
BACKENDS = ("auto", "triton")
#: What compiles where the result is looked at, and where only how often: there tracing alone decides, in seconds.
COMPILER, COUNTED = "inductor", "aot_eager"
#: How `top_p` and `thresh` move in the check of compilations: iterations before, during and after, twice each.
START, END = 10, 110
SEEN, NEW = (0, 1, START + 1, START + 2, END, END + 1), (2, 20, 57, 99, 500, 5000)


def bench_cuda(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """A row for every loss, backend and check, whose ratio is 0 where it holds and 1 where not. None without CUDA."""
    if torch.device(settings.device).type != "cuda":
        return []
    once = replace(settings, processes=min(settings.processes, 1))  # there is no range of a yes or no
    rows = []
    for backend in BACKENDS:  # a process each: after a fault of the GPU nothing runs in the same one
        tell(f"cuda: checks of backend {backend}")
        try:
            checks = once.measure(TASK, {"device": settings.device, "backend": backend})[0]["checks"]
        except MeasurementFailed as error:
            checks = {f"all, {backend}": {"the process ends": " ".join(str(error).split())[-300:]}}
        rows += rows_of_checks(checks)
    return rows


def rows_of_checks(checks: dict[str, dict[str, str]]) -> list[Row]:
    """{what was checked: {check: what went wrong}} as rows."""
    names = {"bench": "cuda", "case": CASE.name, "allocator": "default", "on_gpu": True}
    return [
        Row(**names, entry=entry, baseline=check, quantity="check", ratio=float(bool(problem)), note=problem)
        for entry, problems in checks.items()
        for check, problem in problems.items()
    ]


def measure(*, device: str, backend: str) -> dict[str, Any]:
    """In one process: for each loss and check an empty text, or what went wrong."""
    inputs = make_inputs(CASE, torch.device(device))
    reason = refuse_backend(backend, inputs.logits, inputs.target)
    if reason is not None:
        return {"checks": {f"all, {backend}": {"available": reason}}}
    checks = {"no host sync": check_sync, "CUDA graph": check_graph, "compile fullgraph": check_compile}
    found: dict[str, dict[str, str]] = {}
    for name in OURS:
        make = partial(build_loss, name, backend, CASE.classes)
        found[f"{name}, {backend}"] = {title: explain(check, make, inputs) for title, check in checks.items()}
    for name, make in moving_losses(backend).items():
        found[f"{name}, {backend}"] = {"no recompilation": explain(check_recompilation, make, inputs)}
    return {"checks": found}


def moving_losses(backend: str) -> dict[str, Callable[[], nn.Module]]:
    """Losses of which a number moves from iteration to iteration: in a warm-up, and by a schedule."""
    given = {"num_classes": CASE.classes, "ignore_index": IGNORE_INDEX, "backend": backend}
    warm_up = {"start_warm": START, "end_warm": END}
    thresh = Schedule("linear", SCHEDULES.get("linear"), 0.9, 0.5, START, END)
    return {
        "bootstrapped_ce in its warm-up": partial(LOSSES.get("bootstrapped_ce"), **given, **warm_up),
        "ohem_ce, thresh scheduled": lambda: Scheduled(
            partial(LOSSES.get("ohem_ce"), **given), {"thresh": thresh}
        ),
    }


def explain(
    check: Callable[[Callable[[], nn.Module], Inputs], None], make: Callable[[], nn.Module], inputs: Inputs
) -> str:
    """What goes wrong in `check`, in a line, or an empty text. One check's failure leaves the others alone."""
    torch.compiler.reset()
    try:
        check(make, inputs)
        _wait(inputs)
    except Exception as error:  # whatever it is, the check does not hold
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return ": ".join([type(error).__name__, *lines[:1]])[:300]
    finally:
        inputs.logits.grad = None
        torch.compiler.reset()
    return ""


def call(loss: Callable, inputs: Inputs, iteration: int = 10) -> torch.Tensor:
    """The value; the gradient is left in the logits."""
    inputs.logits.grad = None
    value = loss(inputs.logits, inputs.target, inputs.weight, iteration=iteration)[0]
    value.backward()
    return value.detach()


def check_sync(make: Callable[[], nn.Module], inputs: Inputs) -> None:
    """Raises if forward or backward make the host wait."""
    loss = make().to(inputs.logits.device)
    call(loss, inputs)  # compiles kernels, which waits
    _wait(inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        call(loss, inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def check_graph(make: Callable[[], nn.Module], inputs: Inputs) -> None:
    """Raises unless forward and backward can be captured, and replayed on other logits with the value and gradient that
    these have without a graph."""
    loss = make().to(inputs.logits.device)
    logits = inputs.logits.detach().clone().requires_grad_()
    given = Inputs(logits, inputs.target, inputs.labels, inputs.weight)
    side = torch.cuda.Stream(logits.device)
    side.wait_stream(torch.cuda.current_stream(logits.device))
    with torch.cuda.stream(side):
        for _ in range(3):
            call(loss, given)
    torch.cuda.current_stream(logits.device).wait_stream(side)
    logits.grad = None  # so that the captured backward makes it, in the graph's own memory
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = call(loss, given)
    with torch.no_grad():
        logits.copy_(inputs.logits.flip(0))
    graph.replay()
    _wait(inputs)
    captured = value.clone(), logits.grad.clone()
    assert_close(captured, (call(loss, given), logits.grad))


def check_compile(make: Callable[[], nn.Module], inputs: Inputs) -> None:
    """Raises unless the whole loss compiles and gives the same value and gradient."""
    plain, compiled = (make().to(inputs.logits.device) for _ in range(2))
    expected = call(plain, inputs), inputs.logits.grad
    compiled.compile(fullgraph=True, backend=COMPILER)
    assert_close((call(compiled, inputs), inputs.logits.grad), expected)


def check_recompilation(make: Callable[[], nn.Module], inputs: Inputs) -> None:
    """Raises if a number that moves with the iteration compiles anew, once every phase of its way has been seen."""
    plain, compiled = (make().to(inputs.logits.device) for _ in range(2))
    compiled.compile(fullgraph=True, backend=COUNTED)
    _call_all(compiled, inputs, SEEN)
    with torch._dynamo.config.patch(error_on_recompile=True):
        _call_all(compiled, inputs, NEW)
    moved = NEW[2]
    expected = call(plain, inputs, moved), inputs.logits.grad
    assert_close((call(compiled, inputs, moved), inputs.logits.grad), expected)


def assert_close(found: Iterable[torch.Tensor], expected: Iterable[torch.Tensor]) -> None:
    """Value and gradient: of logits in bf16, whose gradient is small, to the rounding of bf16."""
    (value, gradient), (expected_value, expected_gradient) = found, expected
    torch.testing.assert_close(value, expected_value, rtol=1e-4, atol=1e-6)
    scale = expected_gradient.float().abs().max()
    error = (gradient.float() - expected_gradient.float()).abs().max() / scale
    if not error <= 2e-2:
        raise ValueError(f"the gradient is off by {float(error):.1e} of its largest entry")


def _call_all(loss: nn.Module, inputs: Inputs, iterations: Iterable[int]) -> None:
    for iteration in iterations:
        call(loss, inputs, iteration)


def _wait(inputs: Inputs) -> None:
    if inputs.logits.is_cuda:
        torch.cuda.synchronize(inputs.logits.device)
