"""The backend `numba` where it once failed: rows that two bands wrote to, and memory that followed torch's defaults."""

from types import SimpleNamespace

import pytest
import torch

from segkit.losses.kernels import BackendError, choose_backend
from segkit.losses.kernels.cpu import compiled
from segkit.losses.kernels.cpu.geometry import find_geometry
from segkit.registry import LOSSES


@pytest.mark.parametrize("old, new", [(5, 10), (9, 128), (33, 257), (65, 513), (129, 513)])
@pytest.mark.parametrize("images", [1, 2, 8])
def test_no_two_bands_write_to_the_same_row(old, new, images):
    geometry = find_geometry(images, torch.Size((old, old)), torch.Size((new, new)))
    runs, first_runs = geometry.runs.tolist(), geometry.first_runs.tolist()
    owner = {}
    for band in range(geometry.bands):
        for run in range(first_runs[band], first_runs[band + 1]):
            low, high = runs[run][2:]
            # What the first run of a band adds to its low row goes to a place of its own (`SHARED`).
            for row in [high] if run == first_runs[band] else [low, high]:
                assert owner.setdefault(row, band) == band, (
                    f"row {row} of {old} is written by bands {owner[row]} and {band}"
                )


@pytest.mark.parametrize("size", [9, 33], ids=["same size", "resized"])
def test_the_default_dtype_changes_nothing(size):
    loss = LOSSES.get("ce")(num_classes=5, ignore_index=255, backend="numba")
    logits, target = torch.randn(1, 5, 9, 9), torch.randint(0, 5, (1, size, size))
    expected = loss(logits, target, iteration=1)[0]
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(loss(logits, target, iteration=1)[0], expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_default_device_changes_nothing():
    loss = LOSSES.get("ohem_ce")(num_classes=5, ignore_index=255, backend="numba", thresh=0.7, n_min=1)
    logits, target = torch.randn(1, 5, 9, 9, requires_grad=True), torch.randint(0, 5, (1, 34, 34))
    expected = loss(logits, target, iteration=1)[0]
    (gradient,) = torch.autograd.grad(expected, logits)
    torch.set_default_device("meta")
    try:
        value = loss(logits, target, iteration=1)[0]
        (again,) = torch.autograd.grad(value, logits)
    finally:
        torch.set_default_device(None)
    assert torch.equal(value, expected) and torch.equal(again, gradient)


def test_it_is_refused_while_torch_compiles(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(BackendError, match=r"^backend: numba, but it cannot be traced by torch\.compile -> "):
        choose_backend("numba", torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "features", "refused"),
    [(None, None, False), ("generic", None, True), ("generic", "+sse2,+f16c", False), (None, "-f16c", True)],
)
def test_a_processor_that_cannot_convert_fp16_is_refused(monkeypatch, name, features, refused):
    """LLVM would end the process."""
    monkeypatch.setattr(compiled.config, "CPU_NAME", name)
    monkeypatch.setattr(compiled.config, "CPU_FEATURES", features)
    monkeypatch.setattr(
        compiled, "get_host_cpu_features", lambda: SimpleNamespace(flatten=lambda: "+avx2,+f16c")
    )
    monkeypatch.setattr(compiled.platform, "machine", lambda: "x86_64")
    if refused:
        with pytest.raises(RuntimeError, match="has no instructions for fp16"):
            compiled.require_half_precision()
    else:
        compiled.require_half_precision()
