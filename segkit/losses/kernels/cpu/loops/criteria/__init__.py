"""What the kernels of cross-entropy compute beside it, for a block of pixels: `of_a_block`, with `near` and `slots`."""
