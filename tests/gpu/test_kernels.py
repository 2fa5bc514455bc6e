"""docs/kernels.md has every Triton kernel on every architecture, and its occupancies follow from its other numbers."""

import ast
import re

import pytest

from scripts.gpu.kernels import ARCHITECTURES, Build
from tests.paths import ROOT

ROWS = [
    [cell.strip(" `") for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/kernels.md").read_text().splitlines()
    if line.startswith("| `")
]


def launched_kernels() -> set[str]:
    """The names that are launched in segkit: `kernel[grid](...)`."""
    found = set()
    for path in (ROOT / "segkit/losses/kernels").rglob("triton_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Subscript) and isinstance(called.value, ast.Name):
                found.add(called.value.id)
    return found


def test_every_kernel_is_in_the_table_on_every_architecture():
    kernels = launched_kernels()
    assert {"forward_kernel", "digit_histogram_kernel"} <= kernels
    found = {(row[0], row[2]) for row in ROWS}
    assert found == {(kernel, each.name) for kernel in kernels for each in ARCHITECTURES}


def test_the_numbers_of_a_row_fit_each_other():
    architectures = {each.name: each for each in ARCHITECTURES}
    for kernel, case, on, *numbers in ROWS:
        warps, registers, stack, shared, blocks, occupancy = (
            int(re.sub("[,%]", "", text)) for text in numbers
        )
        build = Build(kernel, case, architectures[on], registers, stack, shared, warps)
        assert (build.blocks, round(100 * build.occupancy)) == (blocks, occupancy)


@pytest.mark.parametrize(
    ("registers", "shared", "warps", "blocks"),
    [
        (128, 0, 4, 4),  # 16 warps by registers
        (196, 8192, 1, 8),  # 6,400 registers a warp, two of them in each quarter
        (16, 0, 1, 32),  # no more blocks than that
        (32, 0, 4, 16),  # all 64 warps
        (32, 80 * 1024, 4, 2),  # 81 KB a block of 164
    ],
)
def test_blocks_that_fit_a_multiprocessor_of_an_a100(registers, shared, warps, blocks):
    assert Build("k", "c", ARCHITECTURES[0], registers, 0, shared, warps).blocks == blocks
