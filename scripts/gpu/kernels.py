"""What NVIDIA's assembler makes of every Triton kernel, for GPUs that need not be there: registers, spills, occupancy.

python -m scripts.gpu.kernels                            # prints the table
python -m scripts.gpu.kernels --output docs/kernels.md   # and writes the page

Needs Triton with the tools that come in its wheels. Occupancy is by arithmetic, from the limits of each architecture.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segkit.system.files import write_text


@dataclass(frozen=True)
class Architecture:
    """`shared` bytes are what the blocks of a multiprocessor have together. All have 64 warps, 65,536 registers and
    32 blocks on a multiprocessor."""

    capability: int
    name: str
    shared: int


#: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
ARCHITECTURES = (
    Architecture(80, "sm_80 (A100)", 164 * 1024),
    Architecture(90, "sm_90 (H100, H200)", 228 * 1024),
    Architecture(100, "sm_100 (B200)", 228 * 1024),
)
WARPS, REGISTERS, BLOCKS = 64, 65536, 32
#: Registers are handed out to a warp in steps of this many, from one of so many parts of a multiprocessor; and of the
#: shared memory the driver keeps so much for each block.
STEP, PARTS, RESERVED = 256, 4, 1024

#: The types of what a launch passes; what is not named is a number. uint8 labels and bf16 logits are the usual ones.
TYPES = {"target": "*u8", "wrong_out": "*i1", "logits": "*bf16", "grad_logits": "*bf16"}
TYPES |= dict.fromkeys(("ce_out", "lse_out", "lse", "grad_ce", "ce", "boundary"), "*fp32")
TYPES |= {"ranked": "*i1", "state": "*i64", "counts": "*i64"}
TYPES |= {"wrong": "*i1", "parts": "*fp64", "sums": "*fp64"}
TYPES |= dict.fromkeys(("share", "smallest", "report"), "*fp32")
TYPES |= dict.fromkeys(("places", "above", "tied", "units", "k"), "*i64")


@dataclass(frozen=True)
class Build:
    """A kernel for one architecture: what it was built for, bytes of stack (spilled registers), of shared memory."""

    kernel: str
    case: str
    architecture: Architecture
    registers: int
    stack: int
    shared: int
    warps: int

    @property
    def blocks(self) -> int:
        """How many blocks of it a multiprocessor holds at once."""
        a_warp = -(-self.registers * 32 // STEP) * STEP
        by_registers = REGISTERS // PARTS // a_warp * PARTS // self.warps
        by_shared = self.architecture.shared // (self.shared + RESERVED)
        return min(BLOCKS, WARPS // self.warps, by_registers, by_shared)

    @property
    def occupancy(self) -> float:
        """The share of a multiprocessor's warps that it can keep busy."""
        return self.blocks * self.warps / WARPS


def kernels() -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """Every kernel with what it is built for and its compile-time options, as its launch chooses them."""
    from segkit.losses.common.measure import UNIT
    from segkit.losses.kernels import triton_backward as backward
    from segkit.losses.kernels import triton_forward as forward
    from segkit.losses.kernels import triton_radix as radix
    from segkit.losses.kernels import triton_sums as sums

    for classes, stride in ((19, 8), (150, 4)):
        small, large = (64, 64), (64 * stride, 64 * stride)
        case = f"{classes} classes, stride {stride}"
        yield forward.forward_kernel, case, forward.choose_forward_options(classes, small, large)
        yield backward.backward_kernel, case, backward.choose_backward_options(classes, 64, 64 * stride)
    case = "19 classes, full resolution"
    yield forward.forward_kernel, case, forward.choose_forward_options(19, (64, 64), (64, 64))
    yield backward.same_size_backward_kernel, case, backward.choose_same_size_options(19)
    yield radix.digit_histogram_kernel, "any", radix.histogram_options()
    yield radix.choose_digit_kernel, "any", radix.choice_options()
    yield radix.share_kernel, "any", radix.share_options()
    for classes in (19, 150):
        case = f"{classes} classes"
        yield sums.pixel_sums_kernel, case, sums.sums_options(classes, UNIT)
        yield sums.add_parts_kernel, case, sums.parts_options(classes)
        yield sums.report_kernel, case, sums.report_options(classes)


def build(kernel: Any, case: str, options: dict[str, Any], architecture: Architecture) -> Build:
    """Compile as Triton would at the first launch with contiguous logits."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    launch = {name: options[name] for name in ("num_warps", "enable_fp_fusion")}
    constants = {name: value for name, value in options.items() if name not in launch}
    constants |= {name: 1 for name in kernel.arg_names if name.endswith("stride_w")}
    signature = {
        name: "constexpr" if name in constants else TYPES.get(name, "i32") for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture.capability, 32), options=launch)
    used = read_usage(compiled.asm["cubin"])
    return Build(
        kernel.__name__,
        case,
        architecture,
        registers=used["REG"],
        stack=used["STACK"] + used["LOCAL"],
        shared=compiled.metadata.shared,  # cuobjdump's number has none of it, but what the driver keeps
        warps=launch["num_warps"],
    )


def read_usage(cubin: bytes) -> dict[str, int]:
    """What cuobjdump says that a kernel uses: registers of a thread, bytes of a block."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        command = [find_tool("cuobjdump"), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", text)}


def find_tool(name: str) -> Path:
    """One of NVIDIA's tools in Triton's wheel. Raises FileNotFoundError."""
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.is_file():
        raise FileNotFoundError(f"this Triton comes without {name}: {path}")
    return path


def build_all(architectures: Iterable[Architecture] = ARCHITECTURES) -> list[Build]:
    """Every kernel for each of these."""
    chosen = list(architectures)
    return [build(*each, architecture) for each in kernels() for architecture in chosen]


PAGE = """\
# What the kernels take of a GPU

After this page you know how many registers and how much shared memory each Triton kernel takes on three kinds of GPU.

Compiled without a GPU, by the assembler that comes with Triton {triton}, for logits in bf16 and labels in uint8:

    python -m scripts.gpu.kernels --output docs/kernels.md      # writes this page

"Spills" are bytes of stack of each thread, 0 where every register stays one. "Shared" are bytes of shared memory of a
block. "Blocks" are those that fit a multiprocessor at once, by registers, shared memory and their number, and
"occupancy" is how many of its 64 warps they are: by arithmetic, and no measure of time, which is in
[performance.md](performance.md).

| kernel | for | on | warps | registers | spills | shared | blocks | occupancy |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def show_page(builds: Sequence[Build], triton: str) -> str:
    """docs/kernels.md."""
    return PAGE.format(triton=triton) + "".join(f"{show_row(each)}\n" for each in builds)


def show_row(each: Build) -> str:
    """A line of its table."""
    numbers = (
        each.warps,
        each.registers,
        each.stack,
        f"{each.shared:,}",
        each.blocks,
        f"{each.occupancy:.0%}",
    )
    return f"| `{each.kernel}` | {each.case} | {each.architecture.name} | {' | '.join(map(str, numbers))} |"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.gpu.kernels", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", type=Path, help="write the page there")
    args = parser.parse_args(arguments)
    page = show_page(build_all(), version("triton"))
    if args.output is not None:
        write_text(args.output, page)
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
