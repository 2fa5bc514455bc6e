"""Which tensors of other weights a model can take, by name and shape."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: What wrappers of a model put before all of its names.
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")
#: Of how many names that of a backbone consists at most, such as `network.segformer.encoder`.
DEEPEST = 3


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
    heads: Mapping[str, Sequence[int]] | None = None,
    class_names: Sequence[str] = (),
    source_classes: Sequence[str] | None = None,
    seeing: Collection[str] = (),
) -> Fit:
    """What a model with the state `own` takes of `source`.

    A tensor is taken if name and shape are the same. `heads` are the tensors of `own` that depend on the number of
    classes, with the dimensions that have an entry for each of `class_names` (see `find_heads`); if the classes of the
    source are known, and are not the same in the same order, each class takes its entries by name. `seeing` are the
    weights of convolutions that may see the image: of another number of input channels, each of theirs becomes the mean
    of the source's, scaled so that they add up to the same, if it is the same number in all of them.
    """
    heads = heads or {}
    source, renamed = _rename(own, source)
    fit = Fit({}, renamed=renamed, unexpected=[name for name in source if name not in own])
    by_name = source_classes is not None and list(source_classes) != list(class_names)
    if by_name:
        fit.classes = [name for name in class_names if name in (source_classes or ())]
        fit.new_classes = [name for name in class_names if name not in fit.classes]
    bands: int | None = None  # of the source's images
    for name, mine in own.items():
        theirs = source.get(name)
        if theirs is None:
            fit.missing.append(name)
        elif name in heads and by_name and source_classes is not None:
            rows = _take_classes(mine, theirs, heads[name], class_names, source_classes)
            if rows is None:
                fit.shape.append(f"{name}, which has no row for each class")
            else:
                fit.tensors[name] = rows
        elif theirs.shape == mine.shape:
            fit.tensors[name] = theirs
        elif name in seeing and _differ_in_channels(mine, theirs) and bands in (None, theirs.shape[1]):
            bands = theirs.shape[1]
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
    parts = (
        name.split(".")[:depth] for depth in range(1, DEEPEST + 1) for name in own if name.count(".") >= depth
    )
    for part in dict.fromkeys(".".join(part) for part in parts):
        yield {name: f"{part}.{name}" for name in source}, f"names within {part}."


def _take_classes(
    mine: Tensor,
    theirs: Tensor,
    dims: Sequence[int],
    class_names: Sequence[str],
    source_classes: Sequence[str],
) -> Tensor | None:
    """`mine` with the entries of `theirs` of the classes that both have, along `dims`; None if they have no entry for
    each class there."""
    counts = len(class_names), len(source_classes)
    if not dims or mine.ndim != theirs.ndim:
        return None
    for dim, sizes in enumerate(zip(mine.shape, theirs.shape, strict=True)):
        if sizes != counts if dim in dims else sizes[0] != sizes[1]:
            return None
    common = [name for name in class_names if name in source_classes]
    places = torch.tensor([class_names.index(name) for name in common], dtype=torch.long, device=mine.device)
    there = torch.tensor([source_classes.index(name) for name in common], dtype=torch.long)
    for dim in dims:
        theirs = theirs.index_select(dim, there.to(theirs.device))
    return _put(mine.detach(), theirs.to(mine), dims, places)


def _put(whole: Tensor, part: Tensor, dims: Sequence[int], places: Tensor) -> Tensor:
    """A copy of `whole` with `part` at these places of each of the dimensions."""
    if not dims:
        return part
    inner = whole.index_select(dims[0], places)
    return whole.index_copy(dims[0], places, _put(inner, part, dims[1:], places))


def _differ_in_channels(mine: Tensor, theirs: Tensor) -> bool:
    return (
        mine.ndim == theirs.ndim == 4
        and mine.shape[0] == theirs.shape[0]
        and mine.shape[2:] == theirs.shape[2:]
    )


def find_heads(own: Mapping[str, Tensor], wider: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The tensors that have another shape in a model with one class more, and their dimensions with an entry for each
    class: the first of a convolution's weight, the second of a transposed one's, both of a matrix of classes. None of
    a tensor that grows by more than one, such as what a pixel shuffle gets: which entries are whose is not known."""
    heads = {}
    for name, tensor in own.items():
        if name not in wider or wider[name].shape == tensor.shape:
            continue
        more = [new - old for old, new in zip(tensor.shape, wider[name].shape, strict=False)]
        known = wider[name].ndim == tensor.ndim and {*more} <= {0, 1}
        heads[name] = tuple(dim for dim, each in enumerate(more) if each) if known else ()
    return heads
