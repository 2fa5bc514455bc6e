"""What numba compiles: the kernels of cross-entropy (`same_size`, `resized`) and of what else they compute of a pixel
(`criteria`), of sums over pixels (`sums`) and soft regions (`soft_counts`), of the hardest pixels (`hardest`), of the
Lovasz extension (`lovasz`), of soft skeletons (`skeleton`, `skeleton_rows`), of cells and their windows (`cells`,
`windows`), and of predicted borders (`borders`, `directions`).

`blocks`, `transpose` and `arithmetic` are what they are made of. The code is that part of Python which numba reads, and
of tensors it knows addresses.
"""
