"""Whether numba is there and new enough, without importing it."""

import functools
import importlib.metadata
import re

#: As in pyproject.toml.
OLDEST = (0, 61)
INSTALL = "pip install 'segkit[cpu]'"


@functools.cache
def refuse_numba() -> str | None:
    """Why numba cannot be used, for an error's text, or None. That it is there does not say that it works."""
    try:
        version = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        return "numba is not installed"
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        return f"numba {version} is too old: it takes {OLDEST[0]}.{OLDEST[1]} or newer"
    return None
