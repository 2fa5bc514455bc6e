"""MetaImage and NRRD files of volumes. They need SimpleITK, the extra `itk`.

Sources: the formats' pages, https://itk.org/Wiki/MetaIO/Documentation and https://teem.sourceforge.net/nrrd/format.html.
"""

import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from segkit.errors import DataError
from segkit.system.printable import show_name, show_path

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
#: Of files of labels: numbers beside their head would be a second file.
_TOGETHER = {".mhd": ".mha", ".nhdr": ".nrrd"}
#: Bytes in which the head of a file is looked for.
_HEAD = 1 << 16
#: What says in a head, in lines of their own, that numbers are compressed, and in which file they are.
_COMPRESSED = re.compile(rb"^(CompressedData\s*=\s*True|encoding:\s*(gz|gzip|bz2|bzip2))\s*$", re.M | re.I)
_BESIDE = re.compile(rb"^(ElementDataFile\s*=|data ?file:)[ \t]*(.+?)\s*$", re.M | re.I)
#: Where ITK's axes of space lead, and the other way.
_WAYS = ("LR", "PA", "SI")


def read_head(path: Path) -> tuple[tuple[int, ...], tuple[float, ...], str]:
    """Voxels along the axes, of an image of two also along the third, their distance in mm, and where the axes of space
    lead, such as `LPS`. Raises DataError for several numbers at each voxel."""
    reader = _open(path)
    shape, spacing = tuple(reader.GetSize()), tuple(reader.GetSpacing())
    if reader.GetNumberOfComponents() > 1:
        raise DataError(
            f"cannot use {show_path(path)}: {reader.GetNumberOfComponents()} numbers at each voxel -> save each "
            "channel as a file of its own"
        )
    count = len(shape)
    directions = np.reshape(reader.GetDirection(), (count, count))
    codes = "".join(_name_way(directions[:, axis]) for axis in range(min(count, 3)))
    if count == 2:  # an image, which is a volume of one slice
        return (*shape, 1), (*spacing, max(spacing)), codes + "S"
    return shape, spacing, codes


def read_slice(path: Path, axis: int, place: int, state: tuple[int, ...]) -> np.ndarray:
    """The numbers of a slice, with the earlier of the two other axes first. `state` is another one when the file is."""
    if _is_compressed(path, state):
        return _keep(path, state).take(place, axis=axis)
    reader = _open(path)
    if reader.GetDimension() == 2:
        return read_all(path).take(place, axis=axis)
    size, start = list(reader.GetSize()), [0, 0, 0]
    # A volume of one slice: of an image of two axes SimpleITK wants directions, which a turned volume does not have.
    start[axis], size[axis] = place, 1
    reader.SetExtractIndex(start)
    reader.SetExtractSize(size)
    return _array(path, reader).T.take(0, axis=axis)


def read_all(path: Path) -> np.ndarray:
    """All numbers (x, y, z)."""
    found = _array(path, _open(path)).T
    return found if found.ndim == 3 else found[..., None]


def files_of_volume(path: Path) -> tuple[Path, ...]:
    """All files that a volume is in: its numbers may lie beside its head, where one of several files is not found."""
    try:
        state = path.stat()
        return _find_files(path, (state.st_size, state.st_mtime_ns))
    except OSError:  # which whoever reads it reports
        return (path,)


def label_suffix(suffix: str) -> str:
    """The suffix of a file of labels of a volume with `suffix`."""
    return _TOGETHER.get(suffix, suffix)


def encode_labels(labels: np.ndarray, volume: Path) -> bytes:
    """A file of labels (x, y, z) that lie where the voxels of `volume` do."""
    library, source = _library(volume), _open(volume)
    flat = source.GetDimension() == 2
    image = library.GetImageFromArray(labels[..., 0].T if flat else labels.T)
    image.SetSpacing(source.GetSpacing())
    image.SetOrigin(source.GetOrigin())
    image.SetDirection(source.GetDirection())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"labels{label_suffix(volume.suffix.lower())}"
        library.WriteImage(image, str(path), True)
        return path.read_bytes()


@lru_cache(maxsize=4096)  # every slice asks
def _find_files(path: Path, state: tuple[int, ...]) -> tuple[Path, ...]:
    with path.open("rb") as file:
        found = _BESIDE.search(_cut_head(file.read(_HEAD)))
    if found is None or found[2].upper() == b"LOCAL":
        return (path,)
    beside = path.parent / found[2].decode("utf-8", "surrogateescape")
    return (path, beside) if beside.is_file() else (path,)


@lru_cache(maxsize=2)  # images and labels of one case
def _keep(path: Path, state: tuple[int, ...]) -> np.ndarray:
    """All numbers of a compressed volume, of which a slice is not read without those before it."""
    return read_all(path)


@lru_cache(maxsize=4096)
def _is_compressed(path: Path, state: tuple[int, ...]) -> bool:
    with path.open("rb") as file:
        return _COMPRESSED.search(_cut_head(file.read(_HEAD))) is not None


def _cut_head(content: bytes) -> bytes:
    """The lines of a head, without the numbers behind them: those of NRRD begin after an empty line, those of MetaImage
    after the line ElementDataFile."""
    if content.startswith(b"NRRD"):
        return re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0]
    found = _BESIDE.search(content)
    return content if found is None else content[: found.end()]


def _name_way(direction: np.ndarray) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return _WAYS[axis][0 if direction[axis] > 0 else 1]


def _open(path: Path) -> Any:
    """A reader that has read the head. Raises DataError."""
    library = _library(path)
    path.stat()  # whose errors say what is wrong
    reader = library.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _explain(path, error) from error
    return reader


def _array(path: Path, reader: Any) -> np.ndarray:
    try:
        return _library(path).GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise _explain(path, error) from error


def _explain(path: Path, error: RuntimeError) -> DataError:
    """What of the library's many lines a person can use."""
    with path.open("rb") as file:
        found = _BESIDE.search(_cut_head(file.read(_HEAD)))
    names = "" if found is None else found[2].decode("utf-8", "surrogateescape")
    is_one = names.upper() != "LOCAL" and not re.search(r"^LIST|%|\s\d+\s", names)
    if names and is_one and not (path.parent / names).is_file():
        return DataError(
            f"cannot read {show_path(path)}: its numbers are in {show_name(names)}, and there is no such file beside it"
        )
    if path.suffix != path.suffix.lower():  # by which SimpleITK tells MetaImage
        return DataError(
            f"cannot read {show_path(path)}: SimpleITK does not know the suffix {path.suffix} "
            f"-> rename it to {path.suffix.lower()}"
        )
    last = str(error).strip().splitlines()[-1].strip()
    if "bzip2" in last:
        return DataError(f"cannot read {show_path(path)}: compressed by bzip2 -> save it with gzip, or raw")
    return DataError(f"cannot read {show_path(path)}: damaged, cut short, or no volume ({show_name(last)})")


def _library(path: Path) -> Any:
    try:
        import SimpleITK  # an extra, and only for such files
    except ImportError:
        raise DataError(
            f"cannot read {show_path(path)}: a MetaImage or NRRD volume\n"
            "   -> pip install SimpleITK   (the extra `itk`) reads it"
        ) from None
    return SimpleITK
