"""Cross-entropy of every pixel from logits at the model's stride, in Triton: the forward kernel and its launch.

One program takes the output rows that read the same two rows of the logits, and a block of columns. It loads the two
rows once for each block of classes, resizes them in registers and keeps a running maximum and sum of exponentials
(online softmax): logits at the size of the target never exist.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from segkit.losses.kernels.triton_geometry import first_position, load_resized_row, load_row, locate

# Fixed, not autotuned: a tuned choice would differ between runs, and so would the order of the sums. Chosen by
# time on an H200 (docs/performance.md) without spills (see the test that compiles for sm_90).
CLASSES = 4  # classes at a time; more means fewer rescalings, but 19 and 21 classes would be padded further
PIXELS = 512  # pixels of one program: rows x columns
ROWS = 8  # rows of it at most
WARPS = 4

#: Triton would compile anew for a size that is 1 or a multiple of 16; of a stride, it must know that it is 1.
SIZES = ("ignore_index", "C", "h", "w", "H", "W", "column_blocks")


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    logits,  # (N, C, h, w)
    target,  # (N, H, W) contiguous
    ce_out,
    lse_out,
    wrong_out,  # (N, H, W) contiguous
    ignore_index,
    C,
    h,
    w,
    H,
    W,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    column_blocks,
    RESIZE: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
):
    program = tl.program_id(0)
    upper = program // column_blocks % h  # of the two rows that are read
    lower = tl.minimum(upper + 1, h - 1)
    n = (program // column_blocks // h).to(tl.int64)
    x = program % column_blocks * BLOCK_X + tl.arange(0, BLOCK_X)
    left, x_fraction = locate(x, w, W)
    image = logits + n * stride_n
    upper_row = image + upper.to(tl.int64) * stride_h
    lower_row = image + lower.to(tl.int64) * stride_h
    last = first_position(upper + 1, h, H)

    for y_start in range(first_position(upper, h, H), last, BLOCK_Y):
        y = y_start + tl.arange(0, BLOCK_Y)
        inside = (y < last)[:, None] & (x < W)[None, :]
        pixel = (n * H + y)[:, None] * W + x[None, :]
        label = tl.load(target + pixel, mask=inside, other=0)
        valid = inside & (label != ignore_index)
        known = (label >= 0) & (label < C)
        label = label.to(tl.int32)
        # `locate`, for rows of which the upper neighbour is known.
        source = tl.maximum((2 * y + 1) * h - H, 0) - upper * (2 * H)
        y_weight = (source.to(tl.float32) / (2 * H))[None, :, None]

        top = tl.full([BLOCK_Y, BLOCK_X], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)  # sum of exp(logit - top)
        true = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)
        for c_start in range(0, C, BLOCK_C):
            c = c_start + tl.arange(0, BLOCK_C)
            channel = c.to(tl.int64) * stride_c
            loaded = (x < W)[:, None] & (c < C)[None, :]
            if RESIZE:
                above = load_resized_row(upper_row + channel, left, x_fraction, w, stride_w, loaded)
                below = load_resized_row(lower_row + channel, left, x_fraction, w, stride_w, loaded)
                logit = tl.trans(above)[:, None, :] * (1 - y_weight) + tl.trans(below)[:, None, :] * y_weight
            else:
                # No interpolation with weights 1 and 0: it would make NaN of a neighbour that is inf.
                logit = tl.trans(load_row(upper_row + channel, x, stride_w, loaded))[:, None, :]
                logit = tl.broadcast_to(logit, [BLOCK_C, BLOCK_Y, BLOCK_X])
            logit = tl.where((c < C)[:, None, None], logit, float("-inf"))
            # The true logit is picked from these very numbers: computed apart it could round differently,
            # and a right pixel would count as wrong, or have a negative cross-entropy.
            true += tl.sum(tl.where(c[:, None, None] == label[None, :, :], logit, 0.0), axis=0)
            new_top = tl.maximum(top, tl.max(logit, axis=0))
            base = tl.where(new_top == float("-inf"), 0.0, new_top)  # -inf - -inf would be NaN
            total = total * tl.exp(top - base) + tl.sum(tl.exp(logit - base[None, :, :]), axis=0)
            top = new_top

        # A label that is no class is a mistake in the data that must not pass for a number, nor its gradient.
        log_total = tl.where(known, tl.log(total), float("nan"))
        ce = (top - true) + log_total
        wrong = valid & (top > true) & (ce == ce)
        tl.store(ce_out + pixel, tl.where(valid, ce, 0.0), mask=inside)
        tl.store(lse_out + pixel, tl.where(valid, top + log_total, 0.0), mask=inside)
        tl.store(wrong_out + pixel, wrong, mask=inside)


def launch_forward(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """ce and lse (logsumexp of the logits) (N, H, W) fp32, wrong (N, H, W) bool; `target` is contiguous."""
    ce = torch.empty(target.shape, dtype=torch.float32, device=target.device)
    lse, wrong = torch.empty_like(ce), torch.empty_like(ce, dtype=torch.bool)
    n, classes, h, w = logits.shape
    height, width = target.shape[1:]
    options = choose_forward_options(classes, (h, w), (height, width))
    column_blocks = triton.cdiv(width, options["BLOCK_X"])
    forward_kernel[(column_blocks * h * n,)](  # one dimension, because the others end at 65535
        *(logits, target, ce, lse, wrong, ignore_index, classes, h, w, height, width),
        *logits.stride(),
        column_blocks,
        **options,
    )
    return ce, lse, wrong


def choose_forward_options(classes: int, small: tuple[int, int], large: tuple[int, int]) -> dict[str, int]:
    """The kernel's compile-time options for sizes (h, w) and (H, W)."""
    rows = min(ROWS, triton.next_power_of_2(triton.cdiv(large[0], small[0])))
    columns = min(PIXELS // rows, max(16, triton.next_power_of_2(large[1])))
    return {
        "RESIZE": small != large,
        "BLOCK_C": min(CLASSES, triton.next_power_of_2(classes)),
        "BLOCK_Y": rows,
        "BLOCK_X": columns,
        "num_warps": WARPS,
        "enable_fp_fusion": True,  # Triton 3.9 warns of a default that will change
    }
