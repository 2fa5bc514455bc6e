"""Calling a method of a loss with the facts that it asks for, and no others."""

import inspect
from collections.abc import Callable
from typing import Any


def call_accepted(function: Callable, **facts: Any) -> Any:
    """Call `function` with those of `facts` that it has parameters for."""
    accepted = inspect.signature(function).parameters
    return function(**{name: value for name, value in facts.items() if name in accepted})
