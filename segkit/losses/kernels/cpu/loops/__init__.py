"""What numba compiles: the kernels of cross-entropy (`same_size`, `resized`), of sums over pixels (`sums`), of the
hardest of them (`hardest`), of soft skeletons (`skeleton`, `skeleton_rows`), and of cells and their windows (`cells`,
`windows`).

`blocks`, `transpose` and `arithmetic` are what they are made of. The code is that part of Python which numba reads, and
of tensors it knows addresses.
"""
