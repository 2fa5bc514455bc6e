"""How many kernels a loss launches on CUDA, counted on tensors without values; it must not creep back."""

import importlib

import pytest
import torch

from scripts.gpu import launches
from scripts.gpu.launches import (
    LOSS_NAMES,
    SIZES,
    Launches,
    count,
    count_launches,
    device_without_values,
    main,
)
from tests.losses.triton_cases import import_kernels

import_kernels()  # what is counted imports Triton, and other tests of this process need its interpreter

#: Of the backend `triton`: of forward, which measures and selects too, and of forward and backward.
MOST = {
    "ce": (14, 18),
    "weighted_mask_ce": (17, 21),
    "bootstrapped_ce": (30, 34),
    "ohem_ce": (33, 37),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOSS_NAMES)
def test_losses_launch_no_more_than_this(name, size):
    for backward, most in zip((False, True), MOST[name], strict=True):
        found = count(name, "triton", SIZES[size], backward=backward)
        assert found.total <= most, launches.show(found)


def test_the_bars():
    assert MOST["ce"][0] <= 25
    assert MOST["ohem_ce"][0] <= 40


@pytest.mark.parametrize(
    ("operation", "number"),
    [
        (lambda x: x.view(-1).unsqueeze(0).t(), 0),
        (lambda x: (x.device, x.shape, torch.empty_like(x)), 0),
        (lambda x: x + 1, 1),
        (lambda x: x.add_(1), 1),
        (lambda x: torch.where(x > 0, x, 0.0), 3),  # the number is filled into a tensor
        (lambda x: x.masked_fill(x > 0, 0.0), 3),
        (lambda x: torch.zeros_like(x), 1),
        (lambda x: x.float(), 0),
        (lambda x: x.half(), 1),
    ],
)
def test_what_counts_as_a_launch(operation, number):
    with device_without_values("cuda"):
        x = torch.empty(2, 3, device="cuda")
        with Launches() as counted:
            operation(x)
    assert counted.total == number, counted.by_place


def test_places_are_lines_of_segkit():
    found = count("ce", "triton", SIZES["from stride 8"], backward=True).by_place
    assert any(place.startswith("losses/scope.py:") for _, place in found)
    assert any(place == "backward" for _, place in found)


def test_operators_of_segkit_are_counted_as_their_kernels():
    importlib.import_module("segkit.losses.kernels.triton_select")  # which define them
    importlib.import_module("segkit.losses.kernels.triton_sums")
    assert count_launches(torch.ops.segkit.find_boundary.default) == 11
    assert count_launches(torch.ops.segkit.pixel_sums.default) == 3
    assert count_launches(torch.ops.segkit.pixel_report.default) == 1


def test_the_command(capsys, monkeypatch):
    monkeypatch.setattr(launches, "LOSS_NAMES", ("ce",))
    assert main([]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + 4 and rows[2].startswith("| `ce` | `triton` | full resolution | ")
    assert main(["--loss", "ce"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" in all")
