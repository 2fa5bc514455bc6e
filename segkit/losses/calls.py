"""The methods that a loss may have and need not, called with the facts that they ask for and no others."""

import inspect
from collections.abc import Callable
from typing import Any


def find_method(owner: object, name: str) -> Callable[..., Any] | None:
    """The method `name` of `owner`, None if it has none."""
    return getattr(owner, name, None)


def call_accepted(function: Callable, **facts: Any) -> Any:
    """Call `function` with those of `facts` that it has parameters for."""
    accepted = inspect.signature(function).parameters
    return function(**{name: value for name, value in facts.items() if name in accepted})
