"""The Triton kernels compile for a GPU that is not here, without spilling; and segkit does not import Triton."""

import importlib.util
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.paths import ROOT

#: Compiles every kernel as Triton would at its first launch, and prints what its assembler made of it.
BUILD = """
from scripts.gpu.kernels import build_all, show_row

for each in build_all():
    print(each.architecture.capability, each.stack, show_row(each), sep="; ")
"""


def run_python(program: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "TRITON_CACHE_DIR": str(tmp_path),
            **environment,
        },
        capture_output=True,
        text=True,
    )


@pytest.mark.heavy
def test_the_kernels_compile_without_spilling(tmp_path):
    spec = importlib.util.find_spec("triton")
    if spec is None:
        pytest.skip("Triton is not installed")
    tools = Path(spec.origin).parent / "backends" / "nvidia" / "bin"
    if not all((tools / name).is_file() for name in ("ptxas", "cuobjdump")):
        pytest.skip(f"this Triton comes without NVIDIA's ptxas and cuobjdump ({tools})")
    done = run_python(BUILD, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split("; ") for line in done.stdout.splitlines()]
    assert len(lines) == 45, done.stdout
    allowed = 0 if version("triton").startswith("3.6.") else 32
    for capability, stack, row in lines:
        # With Triton 3.6, by which the kernels were measured, nothing is on the stack of an H100. 3.8 puts six
        # registers of one kernel's 168 there. On the others nothing was measured.
        assert capability != "90" or int(stack) <= allowed, f"registers spill to memory: {row}"
    page = (ROOT / "docs/kernels.md").read_text()
    if f"Triton {version('triton')}," in page:
        assert [row for _, _, row in lines] == [line for line in page.splitlines() if line.startswith("| `")]


def test_triton_is_imported_by_the_first_call_only(tmp_path):
    program = """
    import sys
    import segkit.losses
    from segkit.losses.kernels.triton_cross_entropy import is_available, triton_cross_entropy
    import torch
    assert is_available(torch.device("cpu"))
    assert "triton" not in sys.modules
    """
    done = run_python(program, tmp_path)
    assert done.returncode == 0, done.stderr
