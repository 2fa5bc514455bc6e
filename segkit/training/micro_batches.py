"""What each of the micro-batches of one update counts, and what is logged of all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: What a loss tells of the pixels that it keeps, by the last part of its name: it is averaged over those.
OF_KEPT = ("kept_wrong", "kept_class")


def shares(loss: nn.Module, micro_batches: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What each micro-batch counts, in sum 1: by what its mean is taken over, so that the mean over all of them is
    exact; equal for a loss that does not say (`denominator`). For a sum of losses, a tuple with the share of each."""
    count = len(micro_batches)
    denominator: Any = getattr(loss, "denominator", None)
    if count == 1 or denominator is None:
        return [1.0 / count] * count
    return _shares([denominator(batch["target"], batch.get("weight")) for batch in micro_batches])


def _shares(parts: Sequence[Any]) -> list[Any]:
    if isinstance(parts[0], tuple):
        return list(zip(*(_shares(term) for term in zip(*parts, strict=True)), strict=True))
    if parts[0] is None:
        return [1.0 / len(parts)] * len(parts)
    counts = [torch.as_tensor(part) for part in parts]  # a loss of one's own may count in numbers
    total = torch.stack(counts).sum()
    return [part / torch.where(total > 0, total, 1) for part in counts]  # nothing valid: every loss is 0


def times(value: Any, share: Any) -> Any:
    """Their product; with a tuple of shares the value itself, in which they are. Of a single micro-batch it is the
    value too: on a GPU each product is a launch."""
    return value if isinstance(share, tuple) or (isinstance(share, float) and share == 1) else value * share


def join_values(
    told: Sequence[Mapping[str, Any]], parts: Sequence[Any], pixels: Sequence[int]
) -> dict[str, Any]:
    """What is logged of an update, from what the loss has told of each of its micro-batches, which have these shares,
    and so many pixels.

    A loss, and the `value` of a term of a sum, is in parts, which are added. The rest are means of what they are of,
    where the loss says how many that are (see `measure`): the valid pixels, those that were kept, or all pixels; else
    they count by the shares.
    """
    if len(told) == 1:
        return dict(told[0])
    by_share = [1.0 / len(told)] * len(told) if isinstance(parts[0], tuple) else parts
    by_valid = _weights(_valid_pixels(told)) or by_share
    joined = {}
    for name in told[0]:
        values, kind = [each[name] for each in told], name.rpartition("/")[2]
        if name in ("loss", "aux_loss") or kind == "value":
            joined[name] = sum(values[1:], values[0])
        elif not any(isinstance(value, Tensor) for value in values):  # such as a schedule's
            # Numbers stay numbers: all processes must have as many tensors to read.
            joined[name] = values[0] if len({*values}) == 1 else sum(values) / len(values)
        else:
            weights = by_valid
            if kind == "ignored_fraction":
                weights = [count / sum(pixels) for count in pixels]
            elif kind in OF_KEPT:
                weights = _weights([each.get(_beside(name, "k")) for each in told]) or by_share
            weighted = [value * weight for value, weight in zip(values, weights, strict=True)]
            joined[name] = sum(weighted[1:], weighted[0])
    return joined


def _beside(name: str, other: str) -> str:
    """What `other` is called that the same loss tells: of the term of a sum, both begin with its name."""
    return name.removesuffix(name.rpartition("/")[2]) + other


def _valid_pixels(told: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The number of valid pixels of each micro-batch, as a loss tells it that selects pixels; none if it does not."""
    for name in told[0]:
        if name.rpartition("/")[2] == "kept_fraction":
            pairs: list[tuple[Any, Any]] = [(each.get(_beside(name, "k")), each[name]) for each in told]
            if all(isinstance(value, Tensor) for pair in pairs for value in pair):
                return [count / torch.where(fraction > 0, fraction, torch.inf) for count, fraction in pairs]
    return []


def _weights(counts: Sequence[Any]) -> list[Any] | None:
    """Counts as parts of their sum, all 0 if that is 0; None if they are not known."""
    known = counts and all(isinstance(count, Tensor) for count in counts)
    return _shares(counts) if known else None
