"""Backend `numba`: cross-entropy fused into compiled loops for the CPU, at the logits' size or resized.

What is compiled is in `loops`; numba is imported with these, and only when a loss first asks. `compiled` builds them,
`call` and `threads` run them on torch's threads, `cross_entropy`, `pixel_sums`, `hardest`, `skeleton` and
`windows` make operations on tensors of them; `available` says whether numba can be had.
"""
