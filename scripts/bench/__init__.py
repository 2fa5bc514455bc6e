"""Measuring how fast segkit is and how much memory it takes, beside plain PyTorch and the formulas of others.

Every ratio is of two things timed in turns in one process, and its range is over several fresh processes: a number from
another run, machine or allocator is no baseline.
"""
