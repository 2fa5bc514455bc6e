"""Memory that is kept: seen in a process of its own, since nothing takes the setting back."""

import ctypes
import os
import subprocess
import sys

import pytest

from segkit.system.cpu import allocator
from tests.paths import ROOT

#: Prints whether memory is kept, and the page faults of the second time that 64 MB are taken, written and freed.
PROGRAM = """
import ctypes, resource, sys
from contextlib import ExitStack
from segkit.system.cpu.allocator import keep_freed_memory, large_blocks_given_back
kept = keep_freed_memory() if sys.argv[1] != "leave" else False
stack = ExitStack()
if sys.argv[1] in ("give back", "given back"):
    stack.enter_context(large_blocks_given_back())
if sys.argv[1] == "given back":
    stack.close()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(2**26)
    ctypes.memset(block, 1, 2**26)
    libc.free(block)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="this system's C library is not glibc"
)


def page_faults(mode: str, **variables: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if name not in allocator.SET_BY_USER}
    command = [sys.executable, "-c", PROGRAM, mode]
    output = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env={**environment, **variables}
    ).stdout.split()
    return output[0], int(output[1])


@glibc
def test_freed_memory_is_used_again_without_page_faults():
    _, without = page_faults("leave")
    kept, within = page_faults("keep")
    assert kept == "True"
    assert within < 10 <= without  # 16,384 pages, or 32 large ones


@glibc
def test_large_blocks_are_given_back_for_a_while():
    assert page_faults("give back")[1] >= 10 > page_faults("given back")[1]


@glibc
@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_a_user_who_sets_up_the_allocator_has_the_say(variable):
    value = "200000" if variable.startswith("MALLOC") else "glibc.malloc.trim_threshold=200000"
    kept, faults = page_faults("keep", **{variable: value})
    assert kept == "False" and faults >= 10


def test_a_system_without_mallopt_is_left_alone(monkeypatch):
    for name in allocator.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator, "_is_kept", False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert allocator.keep_freed_memory() is False
