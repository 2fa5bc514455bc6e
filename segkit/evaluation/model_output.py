"""What a model returns, taken apart into its logits and auxiliary logits: the one place that knows the forms."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from segkit.errors import ConfigError

#: Keys under which a dict has the main logits: torchvision's and that of transformers.
MAIN_KEYS = ("out", "logits")
EXPECTED = (
    "a model returns its logits (N, num_classes, h, w): as a tensor, as 'out' or 'logits' of a dict or .logits of an "
    "object, with auxiliary logits as 'aux' beside them if it has some; or first in a tuple or list, before them"
)


class ModelOutput(NamedTuple):
    """The main logits (N, C, h, w), and those of auxiliary heads (N, C, h', w'), which only training uses."""

    logits: Tensor
    auxiliary: tuple[Tensor, ...] = ()


def split_output(output: Any) -> ModelOutput:
    """The logits in whatever a model returned: a tensor; a dict with `out` or `logits`; an object with `.logits`; or a
    tuple or list that begins with them.

    Auxiliary logits are `aux` of a dict or object, a tensor or several, and what else is in a tuple or list; None
    stands for none. Further entries of a dict or object are of no interest. Raises ConfigError, saying what was
    returned, for anything else, and for auxiliary logits that are not of as many images and classes.
    """
    if isinstance(output, Tensor):
        return ModelOutput(output)
    main, auxiliary = _find_parts(output)
    auxiliary = tuple(part for part in _flatten(auxiliary) if part is not None)
    if not isinstance(main, Tensor):
        raise _not_understood(output, EXPECTED)
    if not all(isinstance(part, Tensor) and part.shape[:2] == main.shape[:2] for part in auxiliary):
        raise _not_understood(
            output, f"auxiliary logits begin with the same (N, num_classes) as the logits; {EXPECTED}"
        )
    return ModelOutput(main, auxiliary)


def output_logits(output: Any) -> Tensor:
    """The main logits (N, C, h, w) in whatever a model returned. Raises ConfigError, see `split_output`."""
    return split_output(output).logits


def _find_parts(output: Any) -> tuple[Any, Any]:
    """The main and the auxiliary part of what is no tensor; None for what is not there."""
    if isinstance(output, Mapping):
        key = next((key for key in MAIN_KEYS if key in output), None)
        return (None if key is None else output[key]), output.get("aux")
    if hasattr(output, "logits"):
        return output.logits, getattr(output, "aux", None)
    if isinstance(output, tuple | list) and output:
        return output[0], output[1:]
    return None, None


def _flatten(part: Any) -> list[Any]:
    """The entries of a list or tuple, and of those in it."""
    if not isinstance(part, tuple | list):
        return [part]
    return [inner for entry in part for inner in _flatten(entry)]


def _not_understood(output: Any, expected: str) -> ConfigError:
    return ConfigError(f"the model returned {describe_output(output)}\n   -> {expected}")


def describe_output(output: Any) -> str:
    """The type of an output, with the keys, types and shapes of what is in it."""
    kind = type(output).__name__
    if isinstance(output, Tensor):
        return f"{kind} {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"{kind} {{{', '.join(f'{key!r}: {describe_output(part)}' for key, part in output.items())}}}"
    if isinstance(output, tuple | list):
        return f"{kind} ({', '.join(map(describe_output, output))})"
    return kind
