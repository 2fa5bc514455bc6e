"""Which files make up a large data set, kept on disk: listing a million takes half a minute, reading this a second.

What is kept holds while every folder that was listed, and every list of files that was read, is the one it was, by
inode and times of change. A file that is added, removed or renamed changes its folder. What a file holds does not, and
is not kept here.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from segkit.data.cache.checked_file import SUFFIX, CheckedFiles, Entry, write_entry
from segkit.data.cache.place import CachePlace, on_disk
from segkit.data.files.compact import Paths, Texts
from segkit.data.files.find_pairs import Pairs
from segkit.data.files.layout import Layout, Part
from segkit.errors import CannotCache, CannotWrite
from segkit.system.files import write_atomically

#: Samples from which on it is worth a file. Fewer are listed in less than two seconds.
MANY = 50_000
#: A folder that changed less than so many nanoseconds before it was listed may change again without its time doing so.
SETTLED = 2 * 10**9
#: What is written changes with this number.
FORMAT = 1
FOLDER = "file_lists"
ABSENT = (-1, -1, -1)


def find_pairs(layout: Layout, root: Path, part: Part, *, place: CachePlace | None = None) -> Pairs:
    """The files of a part as `layout.find` gives them, errors included: of many, those that were found before, unless a
    folder has changed since. A damaged file is written anew; where none can be written, a note says so."""
    began, place = time.time_ns(), on_disk() if place is None else place
    # Lists may be named as seen from the current folder.
    where = [str(root), os.path.abspath(root), os.getcwd() if layout.train_list is not None else ""]
    key = json.dumps([FORMAT, *where, part, asdict(layout)])
    path = place.folder / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}{SUFFIX}"
    try:
        entry = CheckedFiles().read(path, wanted={"key": key})
    except (
        CannotCache
    ):  # it may not be read, so it is as good as none; that it cannot be written is told below
        entry = None
    if entry is not None and _holds(entry):
        return _unpack(entry)
    watched: dict[str, tuple[int, ...]] = {}

    def watch(folder: Path) -> None:
        watched.setdefault(os.path.abspath(folder), _state(os.path.abspath(folder)))

    pairs = layout.find(root, part, watch)
    if len(pairs.names) < MANY or not _settled(watched.values(), began):
        return pairs
    try:
        place.make_folder(FOLDER)
        write_atomically(path, lambda file: write_entry(file, *_pack(pairs, key, watched)), durable=False)
    except (CannotCache, CannotWrite) as error:
        problem = str(error).splitlines()[0].removeprefix("data.cache: ")
        note = (
            f"the list of {len(pairs.names):,} files is not kept, so the next start makes it again: {problem}"
        )
        return replace(pairs, notes=[*pairs.notes, note])
    return pairs


def _state(path: str) -> tuple[int, ...]:
    """What changes with the content of a folder: inode, and times of change of content and of the entry itself, which
    nobody can set back."""
    try:
        state = os.stat(path)
    except OSError:
        return ABSENT
    return state.st_ino % 2**63, state.st_mtime_ns, state.st_ctime_ns


def _settled(states: Iterable[tuple[int, ...]], began: int) -> bool:
    """Whether the times can be relied on: a file system that keeps none of its folders says 1970, or now."""
    return all(
        state == ABSENT or (min(state[1:]) > 0 and max(state[1:]) < began - SETTLED) for state in states
    )


def _holds(entry: Entry) -> bool:
    """Whether all that was looked at is as it was."""
    data, ends, states = entry.arrays[:3]
    return all(
        _state(path) == tuple(state) for path, state in zip(Texts(data, ends), states.tolist(), strict=True)
    )


def _pack(
    pairs: Pairs, key: str, watched: dict[str, tuple[int, ...]]
) -> tuple[dict[str, object], list[np.ndarray]]:
    """Pairs as plain values and arrays."""
    places, states = Texts.of(watched), np.array(list(watched.values()), dtype=np.int64)
    arrays = [places.data, places.ends, states, pairs.names.data, pairs.names.ends]
    facts: list[dict[str, object]] = []
    for paths in _paths(pairs):
        own = paths.stems is not pairs.names
        arrays += [paths.stems.data, paths.stems.ends] if own else []
        arrays += [] if paths.codes is None else [paths.codes]
        fields = {"folder": paths.folder, "file": paths.file, "endings": list(paths.endings)}
        facts.append({**fields, "own": own, "coded": paths.codes is not None})
    return {"key": key, "notes": pairs.notes, "paths": facts}, arrays


def _unpack(entry: Entry) -> Pairs:
    arrays = iter(entry.arrays[3:])
    names = Texts(next(arrays), next(arrays))
    found = []
    for fact in entry.facts["paths"]:
        stems = Texts(next(arrays), next(arrays)) if fact["own"] else names
        codes = next(arrays) if fact["coded"] else None
        found.append(Paths(fact["folder"], stems, file=fact["file"], endings=fact["endings"], codes=codes))
    images, masks, *weights = found
    return Pairs(names, images, masks, weights[0] if weights else None, entry.facts["notes"])


def _paths(pairs: Pairs) -> list[Paths]:
    return [paths for paths in (pairs.images, pairs.masks, pairs.weights) if paths is not None]
