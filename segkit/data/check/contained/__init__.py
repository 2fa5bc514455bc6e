"""Which files of a folder hold several images each, and which hold their labels: found by content and by names."""

from segkit.data.check.contained.arrays import find_arrays
from segkit.data.check.contained.described import find_tables, propose_cases, propose_tables
from segkit.data.check.contained.stacks import find_stacks

__all__ = ["find_arrays", "find_stacks", "find_tables", "propose_cases", "propose_tables"]
