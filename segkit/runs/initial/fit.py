"""Which tensors of other weights a model can take, by name and shape."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: What wrappers of a model put before all of its names.
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")


@dataclass
class Fit:
    """`tensors` are what the model takes, in full, by its own names.

    `renamed` says what was done to the names of the source, `adapted` which tensors were brought to another number of
    input channels; `classes` are those whose rows of the heads were taken, `new_classes` those whose were not (None
    where classes were not told apart by name). `missing` are tensors of the model that the source lacks, `unexpected`
    the other way round, and `shape` those that both have, in different shapes.
    """

    tensors: dict[str, Tensor]
    renamed: str = ""
    adapted: list[str] = field(default_factory=list)
    classes: list[str] | None = None
    new_classes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shape: list[str] = field(default_factory=list)


def fit_tensors(
    own: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    *,
    heads: Collection[str] = (),
    class_names: Sequence[str] = (),
    source_classes: Sequence[str] | None = None,
    first: str | None = None,
) -> Fit:
    """What a model with the state `own` takes of `source`.

    A tensor is taken if name and shape are the same. `heads` are the tensors of `own` with a row for each of
    `class_names`; if the classes of the source are known, and are not the same in the same order, each class takes its
    row by name. `first` is the weight of the convolution that sees the image: of another number of input channels, each
    of its own becomes the mean of the source's, scaled so that they add up to the same.
    """
    source, renamed = _rename(own, source)
    fit = Fit({}, renamed=renamed, unexpected=[name for name in source if name not in own])
    by_name = source_classes is not None and list(source_classes) != list(class_names)
    if by_name:
        fit.classes = [name for name in class_names if name in (source_classes or ())]
        fit.new_classes = [name for name in class_names if name not in fit.classes]
    for name, mine in own.items():
        theirs = source.get(name)
        if theirs is None:
            fit.missing.append(name)
        elif name in heads and by_name and source_classes is not None:
            rows = _take_rows(mine, theirs, class_names, source_classes)
            if rows is None:
                fit.shape.append(name)
            else:
                fit.tensors[name] = rows
        elif theirs.shape == mine.shape:
            fit.tensors[name] = theirs
        elif name == first and _differ_in_channels(mine, theirs):
            fit.adapted.append(f"{name} from {theirs.shape[1]} to {mine.shape[1]} channels")
            mean = theirs.float().mean(dim=1, keepdim=True) * (theirs.shape[1] / mine.shape[1])
            fit.tensors[name] = mean.expand(mine.shape).contiguous()
        else:
            fit.shape.append(f"{name} {tuple(theirs.shape)} for {tuple(mine.shape)}")
    return fit


def _rename(own: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str]:
    """The source under the names by which most of it fits, and what was done to them."""
    best, renamed, most = source, "", -1
    for names, what in _renamings(own, source):
        candidate = {new: source[old] for old, new in names.items()}
        count = sum(name in own and own[name].shape == value.shape for name, value in candidate.items())
        if count > most:
            best, renamed, most = candidate, what, count
    return best, renamed


def _renamings(
    own: Mapping[str, Tensor], source: Mapping[str, Tensor]
) -> Iterator[tuple[dict[str, str], str]]:
    """Old name -> new name, the plainest first: as they are, without a wrapper's name, within a part of the model."""
    yield {name: name for name in source}, ""
    for wrapper in WRAPPERS:
        if any(name.startswith(wrapper) for name in source):
            yield {name: name.removeprefix(wrapper) for name in source}, f"names without {wrapper}"
    for part in dict.fromkeys(name.partition(".")[0] for name in own if "." in name):
        yield {name: f"{part}.{name}" for name in source}, f"names within {part}."


def _take_rows(
    mine: Tensor, theirs: Tensor, class_names: Sequence[str], source_classes: Sequence[str]
) -> Tensor | None:
    """`mine` (C, ...) with the rows of `theirs` of the classes that both have; None if they are not rows of classes."""
    counts = len(class_names), len(source_classes)
    if (mine.shape[0], theirs.shape[0]) != counts or mine.shape[1:] != theirs.shape[1:]:
        return None
    rows = mine.detach().clone()
    for place, name in enumerate(class_names):
        if name in source_classes:
            rows[place] = theirs[source_classes.index(name)].to(rows)
    return rows


def _differ_in_channels(mine: Tensor, theirs: Tensor) -> bool:
    return (
        mine.ndim == theirs.ndim == 4
        and mine.shape[0] == theirs.shape[0]
        and mine.shape[2:] == theirs.shape[2:]
    )


def find_heads(own: Mapping[str, Tensor], wider: Mapping[str, Tensor]) -> set[str]:
    """The tensors with a row for each class: those that have one row more in a model with one class more."""
    return {
        name
        for name, tensor in own.items()
        if name in wider
        and tensor.ndim
        and wider[name].shape == torch.Size([tensor.shape[0] + 1, *tensor.shape[1:]])
    }
