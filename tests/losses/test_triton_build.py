"""The Triton kernels compile for a GPU that is not here, without spilling; and segkit does not import Triton."""

import importlib.util
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.paths import ROOT

#: Compiles every kernel as Triton would at its first launch on an H100 or H200, and prints what ptxas made of it.
BUILD = """
import subprocess, sys, tempfile
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from segkit.losses.kernels import triton_backward as backward, triton_forward as forward, triton_radix as radix

TYPES = {"target": "*u8", "wrong_out": "*i1", "logits": "*bf16", "grad_logits": "*bf16"}
TYPES |= dict.fromkeys(("ce_out", "lse_out", "lse", "grad_ce", "ce", "boundary"), "*fp32")
TYPES |= {"ranked": "*i1", "state": "*i64", "counts": "*i64"}
tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def build(kernel, num_warps=4, enable_fp_fusion=True, **constants):
    constants |= {name: 1 for name in kernel.arg_names if name.endswith("stride_w")}
    signature = {n: "constexpr" if n in constants else TYPES.get(n, "i32") for n in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    options = {"num_warps": num_warps, "enable_fp_fusion": enable_fp_fusion}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        used = subprocess.run([tools / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True)
    print(kernel.__name__, used.stdout.replace("\\n", " "))


for stride in (8, 4):
    sizes = (64, 64), (64 * stride, 64 * stride)
    build(forward.forward_kernel, **forward.choose_forward_options(19, *sizes))
    build(backward.backward_kernel, **backward.choose_backward_options(19, 64, 64 * stride))
build(forward.forward_kernel, **forward.choose_forward_options(19, (64, 64), (64, 64)))
build(backward.same_size_backward_kernel, **backward.choose_same_size_options(19))
build(radix.digit_histogram_kernel, **radix.histogram_options())
build(radix.choose_digit_kernel, **radix.choice_options())
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
    lines = done.stdout.splitlines()
    assert len(lines) == 8, done.stdout
    allowed = 0 if version("triton").startswith("3.6.") else 32
    for line in lines:
        # With Triton 3.6, by which the kernels were measured, nothing is on the stack. 3.8 puts six registers of one
        # kernel's 168 there.
        stack = int(line.split("STACK:")[1].split()[0])
        assert stack <= allowed and "LOCAL:0 " in line, f"registers spill to memory: {line}"


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
