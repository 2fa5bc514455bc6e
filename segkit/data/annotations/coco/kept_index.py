"""Where the annotations of a large COCO file stand, kept on disk: going through half a gigabyte takes a quarter of a
minute, reading this with a checksum of the file less than a second.

What is kept holds for the bytes of the file, whatever it is called and wherever it lies: it is found by their digest.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from segkit.data.annotations.coco.read_index import Category, Index, read_index
from segkit.data.cache.checked_file import SUFFIX, CheckedFiles, Entry, write_entry
from segkit.data.cache.place import CachePlace, on_disk
from segkit.data.files.compact import Texts
from segkit.errors import CannotCache, CannotWrite, DataError
from segkit.system.files import write_atomically
from segkit.system.printable import show_path

#: Bytes of a file from which on it is worth another. Smaller ones are gone through in a second.
MANY = 30 * 10**6
#: What is written, and what `read_index` makes of a file, change with this number.
FORMAT = 1
FOLDER = "coco_indexes"
_CHUNK = 1 << 20


def find_index(path: Path, *, place: CachePlace | None = None) -> tuple[Index, list[str]]:
    """The index of a COCO file as `read_index` gives it, errors included: of a large one that which was kept, if the
    file has the same bytes. A damaged one is written anew; where none can be written, the note that is returned with
    the index says so. Raises DataError."""
    try:
        if path.stat().st_size < MANY:
            return read_index(path), []
        key = f"{FORMAT} {_digest(path)}"
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    place = on_disk() if place is None else place
    kept = place.folder / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}{SUFFIX}"
    try:
        entry = CheckedFiles().read(kept, wanted={"key": key})
    except (
        CannotCache
    ):  # it may not be read, so it is as good as none; that it cannot be written is told below
        entry = None
    if entry is not None:
        return _unpack(entry), []
    index = read_index(path)
    try:
        place.make_folder(FOLDER)
        write_atomically(kept, lambda file: write_entry(file, *_pack(index, key)), durable=False)
    except (CannotCache, CannotWrite) as error:
        problem = str(error).splitlines()[0].removeprefix("data.cache: ")
        return index, [
            f"what {show_path(path)} holds is not kept, so the next start reads it again: {problem}"
        ]
    return index, []


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while content := file.read(_CHUNK):
            digest.update(content)
    return digest.hexdigest()


def _pack(index: Index, key: str) -> tuple[dict[str, object], list[np.ndarray]]:
    """An index as plain values and arrays."""
    names, pngs = Texts.of(index.names), Texts.of(index.pngs or [])
    categories = np.frombuffer(json.dumps(index.categories).encode(), dtype=np.uint8)
    arrays = [names.data, names.ends, index.sizes, categories, index.images, index.starts, index.ends]
    arrays += [np.array(index.used, dtype=np.int64), index.strays, pngs.data, pngs.ends]
    return {"key": key, "drawn": index.drawn, "panoptic": index.pngs is not None}, arrays


def _unpack(entry: Entry) -> Index:
    names, ends, sizes, categories, images, starts, stops, used, strays, pngs, png_ends = entry.arrays
    return Index(
        list(Texts(names, ends)),
        sizes,
        [Category(*category) for category in json.loads(categories.tobytes())],
        images,
        starts,
        stops,
        used.tolist(),
        strays,
        entry.facts["drawn"],
        list(Texts(pngs, png_ends)) if entry.facts["panoptic"] else None,
    )
