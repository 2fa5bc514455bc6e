"""`data.on_bad_sample: skip`: samples that cannot be used, what is known of one, and which others are tried instead."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from segkit.data.loading.faults import fault_of_system
from segkit.errors import CannotCache, DataError

if TYPE_CHECKING:  # it needs torch, and a check of files does not
    from segkit.data.sample import Sample


class BadSample(NamedTuple):
    """A sample that could not be used: its file, the first line of the error, and the epoch (from 0) and the name of
    the sample taken instead. Both are None in validation, where a bad sample is left out."""

    file: str
    reason: str
    epoch: int | None = None
    replaced_by: str | None = None


class DamagedCache(NamedTuple):
    """A file of `data.cache` that was damaged, and has been written anew."""

    path: Path


def describe_bad_sample(dataset: Any, index: int, error: DataError) -> BadSample:
    """The record of the sample `index`, which raised `error`."""
    files = find_sources(dataset, index)
    file = str(files[0]) if files else name_by_place(dataset, index)
    return BadSample(file, str(error).partition("\n")[0])


def name_by_place(dataset: Any, index: int) -> str:
    """What a sample is called that is of no file, with the part of the data that it is of if there are parts."""
    find = getattr(dataset, "parts_of", None)
    return f"sample {index}" if find is None else f"sample {index} ({'/'.join(find(index))})"


def find_sources(dataset: Any, index: int) -> tuple[Any, ...]:
    """What sample `index` is read from, its image first: parts of files where files hold several, else its files; none
    if the data set names none. Their text is what messages name, and no other sample's."""
    find = getattr(dataset, "sources", None) or getattr(dataset, "files", None)
    return () if find is None else tuple(find(index))


def require_bad(error: DataError) -> None:
    """Raise `error` anew unless it is the sample's own fault: a full disk, say, would be every sample's."""
    if isinstance(error, CannotCache):
        raise error
    fault = fault_of_system(error)
    if fault is not None:
        raise fault from error


def with_advice(text: str) -> str:
    """The message of a DataError that ends a run, with what to do about it unless it says that itself."""
    advice = "mend or remove the file, or go on without such: data.on_bad_sample=skip"
    return text if "->" in text else f"{text}\n   -> {advice}"


def usable_samples(
    read: Callable[[int], "Sample"], places: Iterable[int], *, skip_bad: bool
) -> Iterator["Sample"]:
    """What `read` gives for `places`, without the bad samples if `skip_bad` is true. Raises DataError otherwise."""
    for index in places:
        try:
            sample = read(index)
        except DataError as error:
            require_bad(error)
            if not skip_bad:
                raise
        else:
            yield sample
