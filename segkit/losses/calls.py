"""The methods that a loss may have and need not, called with the facts that they ask for and no others."""

import inspect
from collections.abc import Callable
from typing import Any


def find_method(owner: object, name: str) -> Callable[..., Any] | None:
    """The method `name` of `owner`, None if it has none."""
    return getattr(owner, name, None)


def describe_unfit_call(loss: Callable[..., Any]) -> str | None:
    """Why `forward` of a loss cannot be called as training does, None if it can."""
    forward = getattr(loss, "forward", loss)
    maps = {"maps": {}} if getattr(loss, "label_maps", {}) else {}
    try:
        inspect.signature(forward).bind(None, None, None, iteration=0, **maps)
    except TypeError as error:
        wanted = ", *, iteration" + ", maps" * bool(maps)
        return f"its forward: {error}\n   -> def forward(self, logits, target, weight=None{wanted})"
    except ValueError:  # something compiled has no signature
        return None
    return None


def call_accepted(function: Callable, **facts: Any) -> Any:
    """Call `function` with those of `facts` that it has parameters for."""
    accepted = inspect.signature(function).parameters
    return function(**{name: value for name, value in facts.items() if name in accepted})
