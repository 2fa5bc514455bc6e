"""How many processors there are to work with."""

import os


def usable_cpus() -> int:
    """CPUs that this process may use: a container or a scheduler gives fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
