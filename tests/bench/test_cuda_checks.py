"""The checks of losses on a GPU, as far as they run without one: what holds passes, and what does not is told."""

import pytest
import torch
from torch import nn

from scripts.bench.losses import cuda_checks
from scripts.bench.losses.cuda_checks import (
    bench_cuda,
    check_compile,
    check_recompilation,
    explain,
    measure,
    moving_losses,
    rows_of_checks,
)
from scripts.bench.losses.loss_cases import Case, make_inputs
from scripts.bench.measure.process import MeasurementFailed
from scripts.bench.measure.settings import Settings

CPU = torch.device("cpu")
SMALL = Case(19, (16, 32), images=2, stride=8, dtype="bfloat16")


@pytest.fixture(autouse=True)
def _small_and_quick(monkeypatch):
    monkeypatch.setattr(cuda_checks, "CASE", SMALL)
    monkeypatch.setattr(cuda_checks, "COMPILER", "aot_eager")


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["bootstrapped_ce in its warm-up", "ohem_ce, thresh scheduled"])
def test_losses_that_move_compile_and_do_not_compile_again(name):
    make, inputs = moving_losses("reference")[name], make_inputs(SMALL, CPU)
    assert explain(check_compile, make, inputs) == ""
    assert explain(check_recompilation, make, inputs) == ""


class Mean(nn.Module):
    """A loss by itself, that can break the graph, or take another way in iterations that come late."""

    def __init__(self, breaks=False, moves=False):
        super().__init__()
        self.breaks, self.moves = breaks, moves

    def forward(self, logits, target, weight=None, *, iteration):
        if self.breaks:
            torch._dynamo.graph_break()
        return logits.float().mean() * (2 if self.moves and iteration > 400 else 1), {}


def test_what_does_not_hold_is_told():
    inputs = make_inputs(SMALL, CPU)
    assert explain(check_compile, Mean, inputs) == ""
    assert explain(check_compile, lambda: Mean(breaks=True), inputs).startswith("Unsupported: ")
    assert explain(check_recompilation, lambda: Mean(moves=True), inputs).startswith("RecompileError: ")
    assert inputs.logits.grad is None


def test_one_failure_leaves_the_others_alone(monkeypatch):
    def fail(make, inputs):
        raise RuntimeError("\n  called an operation that waits  \nand more")

    for check in ("check_sync", "check_graph", "check_recompilation"):
        monkeypatch.setattr(cuda_checks, check, fail)
    monkeypatch.setattr(cuda_checks, "check_compile", lambda make, inputs: make())
    found = measure(device="cpu", backend="reference")["checks"]
    assert len(found) == 6
    told = "RuntimeError: called an operation that waits"
    assert found["ohem_ce, reference"] == {
        "no host sync": told,
        "CUDA graph": told,
        "compile fullgraph": "",
    }
    assert found["ohem_ce, thresh scheduled, reference"] == {"no recompilation": told}
    rows = rows_of_checks(found)
    assert {row.ratio for row in rows if row.baseline == "compile fullgraph"} == {0.0}
    assert {row.note for row in rows if row.ratio} == {told}


def test_a_backend_that_cannot_run_is_a_failure(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    (row,) = rows_of_checks(measure(device="cpu", backend="triton")["checks"])
    assert row.ratio == 1 and "Triton" in row.note


def test_a_process_that_dies_is_a_failure_of_its_backend_only(monkeypatch):
    def measure_once(self, task, arguments):
        assert self.processes == 1
        if arguments["backend"] == "triton":
            raise MeasurementFailed("it ended with status 134:\nan illegal memory access")
        return [{"checks": {"ce, reference": {"no host sync": ""}}}]

    monkeypatch.setattr(Settings, "measure", measure_once)
    good, bad = bench_cuda(Settings(device="cuda", processes=3))
    assert good.ratio == 0 and bad.ratio == 1 and bad.note.endswith("an illegal memory access")


def test_without_a_gpu_nothing_is_checked():
    assert bench_cuda(Settings()) == []
