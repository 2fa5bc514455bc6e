"""Where an output pixel of a bilinear resize reads, in Triton: `F.interpolate(..., align_corners=False)`.

Output position x of `large` positions reads the source at max((x + 0.5) small / large - 0.5, 0), of `small` positions:
the two neighbours left = floor(source) and min(left + 1, small - 1), weighted 1 - fraction and fraction. In integers
the source is max((2x + 1) small - large, 0) / (2 large), so that "which positions read row i" has an exact answer and
the backward visits every pixel exactly once per cell. (PyTorch rounds the source to fp32: the same to its last bits.)

The names are for upsampling; nothing assumes that `small` is smaller. small x large must be below `LARGEST_PRODUCT`.
"""

import triton
import triton.language as tl

#: The arithmetic is in int32, and its largest number is (2 small + 1) large + small.
LARGEST_PRODUCT = 2**29


@triton.jit
def first_position(k, small, large):
    """The first output position whose source is at or beyond `k`: 0 for k <= 0, `large` for k >= small."""
    # The ceiling of ((2k + 1) large - small) / (2 small).
    first = ((2 * k + 1) * large + small - 1) // (2 * small)
    return tl.where(k <= 0, 0, tl.minimum(first, large))


@triton.jit
def locate(position, small, large):
    """The left of the two neighbours of output positions, and the fraction that the right one weighs.

    Positions beyond `large` read beyond `small`: whoever loads masks them.
    """
    source = tl.maximum((2 * position + 1) * small - large, 0)  # in units of 1 / (2 large)
    left = source // (2 * large)
    fraction = (source - left * (2 * large)).to(tl.float32) / (2 * large)
    return left, fraction


@triton.jit
def load_row(row, columns, stride, inside):
    """Logits (columns, classes) in fp32 of one row of one image; `row` points at each class's first column."""
    pointers = (columns.to(tl.int64) * stride)[:, None] + row[None, :]
    return tl.load(pointers, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def load_resized_row(row, left, fraction, small, stride, inside):
    """The same, resized in the horizontal."""
    right = tl.minimum(left + 1, small - 1)
    weight = fraction[:, None]
    return load_row(row, left, stride, inside) * (1 - weight) + load_row(row, right, stride, inside) * weight
