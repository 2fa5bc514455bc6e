"""Backend `numba`: cross-entropy fused into compiled loops for the CPU, at the logits' size or resized.

What is compiled is in `arithmetic`, `transpose` and `blocks` (what the kernels are made of), `same_size` and `resized` (the kernels);
numba is imported with these, and only when a loss first asks. `compiled` builds them, `threads` runs them on torch's
threads, `cross_entropy` makes them an operation with a gradient, `available` says whether they can be had.
"""
