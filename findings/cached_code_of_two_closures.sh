#!/usr/bin/env bash
# numba 0.68.1, seen with Python 3.11 on x86-64 Linux.
#
# Expected: a function that was compiled by one process and kept on disk (cache=True) calls, in whichever process loads it,
# the functions that it was compiled with.
#
# Seen: two functions that one factory makes with different constants share a name, and are told apart by a number that
# each process counts for itself, from the start. Compiled in two processes, both have the same name and number. A third
# process that loads both callers from the disk links them to one of the two: the other computes with the wrong constant,
# without a word. Compiled by one process, the same source is right. What a factory makes needs a __qualname__ of its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numba==0.68.1
cd "$folder"
cat > kernels.py <<'PYTHON'
from numba import cfunc, njit, types

NUMBERS = types.float64(types.float64, types.int64)


def make(factor):
    @njit
    def walk(x, steps):  # too long to be inlined
        total = 0.0
        for step in range(steps):
            if step * 7919 % 3 == 1:
                total += x * factor
            elif step * 104729 % 5 == 2:
                total -= x / (step + 1)
            for inner in range(step % 7):
                total += (x + inner) % 1.5 * factor
        return total

    return walk


double, triple = make(2.0), make(3.0)


def of_double():
    @cfunc(NUMBERS, cache=True)
    def two(x, steps):
        return double(x, steps) + double(x + 1, steps + 1) + double(x + 2, steps + 2)

    return two.ctypes(1.5, 50)


def of_triple():
    @cfunc(NUMBERS, cache=True)
    def three(x, steps):
        return triple(x, steps) + triple(x + 1, steps + 1) + triple(x + 2, steps + 2)

    return three.ctypes(1.5, 50)
PYTHON
two=$(venv/bin/python -c "import kernels; print(kernels.of_double())")
three=$(venv/bin/python -c "import kernels; print(kernels.of_triple())")
both=$(venv/bin/python -c "import kernels; print(kernels.of_double(), kernels.of_triple())")
echo "compiled: $two and $three; both from the disk: $both"
test "$two" != "$three"
test "$both" = "$two $two"
