"""What kind of file something is, by its first bytes and not by its name. Nothing is decoded, and no pickle opened."""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.data.check.contents.text_kinds import describe_text
from segkit.data.decoding.opening import opened_image
from segkit.errors import DataError

#: Bytes that are read of a file.
HEAD = 65_536


@dataclass(frozen=True)
class Kind:
    """`name` is the key of a script that makes masks of such files, if there is one; `text` says what the file is."""

    name: str
    text: str


#: The first bytes of files that hold masks, or images, which are not read.
MAGIC: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", Kind("jp2", "JPEG 2000, a format that is not read")),
    (0, b"\xff\x4f\xff\x51", Kind("jp2", "JPEG 2000, a format that is not read")),
    (128, b"DICM", Kind("dicom", "DICOM")),
    (344, b"n+1\0", Kind("nifti", "NIfTI volume")),
    (0, b"NRRD000", Kind("itk", "NRRD volume")),
    (0, b"MATLAB 5.0 MAT-file", Kind("mat", "MATLAB file")),
    (0, b"MATLAB 7.3 MAT-file", Kind("hdf5", "MATLAB 7.3 file, which is HDF5")),
    (0, b"\x89HDF\r\n\x1a\n", Kind("hdf5", "HDF5")),
    (0, b"PAR1", Kind("table", "Parquet, as Hugging Face's datasets have")),
    (0, b"ARROW1", Kind("", "Arrow file")),
    (0, b"\xff\xff\xff\xff", Kind("table", "Arrow, as Hugging Face's datasets save")),
    (0, b"PK\x03\x04", Kind("archive", "an archive -> unpack it")),
    (0, b"\x1f\x8b", Kind("archive", "an archive -> unpack it")),
    (257, b"ustar", Kind("archive", "an archive -> unpack it")),
    (0, b"Rar!", Kind("archive", "an archive -> unpack it")),
    (0, b"7z\xbc\xaf", Kind("archive", "an archive -> unpack it")),
    (4, b"ftypavif", Kind("", "AVIF, a format that is not read -> save as PNG")),
    (4, b"ftyphei", Kind("", "HEIC, a format that is not read -> save as PNG or JPEG")),
    (4, b"ftyp", Kind("", "a video -> save its frames as files")),
    (0, b"v/1\x01", Kind("", "OpenEXR, a format that is not read -> save as PNG")),
    (0, b"%PDF", Kind("", "PDF")),
)
#: How Label Studio calls the pixels of one label in one annotation, in its exports of brush labels as PNG and NumPy.
_OF_A_TASK = re.compile(r"task-\d+-annotation-\d+-by-.*\.(png|npy)")
_OTHER = Kind("", "of no kind that is known here")


def find_kind(path: Path) -> Kind:
    """What a file is. Never raises for what it holds."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return Kind("", f"cannot be read: {error.strerror}")
    if not head:
        return Kind("", "empty")
    if _OF_A_TASK.fullmatch(path.name):
        return Kind(
            "",
            "one label of a task of Label Studio's, which names no image -> export the project as JSON, which has the "
            "same pixels: data.name=label_studio",
        )
    if head.startswith(b"\x93NUMPY"):
        return _describe_array(path)
    if path.name.lower().endswith(".npz") and head.startswith(b"PK"):
        return Kind("npz", "NumPy arrays")
    if head.startswith(b"\x1f\x8b") and _is_nifti(path):
        return Kind("nifti", "NIfTI volume, compressed")
    image = _describe_image(path)
    if image is not None:
        return image
    for place, magic, kind in MAGIC:
        if head[place : place + len(magic)] == magic:
            return kind
    if head[:1] == b"\x80" and re.match(rb"\x80[\x02-\x05]", head):
        return Kind("", "a pickle, which is never opened -> save its arrays as .npy")
    if re.match(rb"(ObjectType|NDims)\s*=", head):
        return Kind("itk", "MetaImage volume")
    name, text = describe_text(path, head)
    return Kind(name, text) if text else _OTHER


def _describe_image(path: Path) -> Kind | None:
    """An image of a format that is read, by its header; None for anything else."""
    try:
        with opened_image(path) as image:
            text = f"{image.mode} {image.format}"
            pages = getattr(image, "n_frames", 1) if image.format in ("TIFF", "GIF") else 1
    except DataError:
        return None
    if pages > 1 and text.endswith("GIF"):
        return Kind("", f"{text} of {pages} frames -> save each as a file of its own")
    return Kind("stack", f"{text} of {pages} pages") if pages > 1 else Kind("image", f"image, {text}")


def _describe_array(path: Path) -> Kind:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
    except (ValueError, OSError, SyntaxError):
        return Kind("", "NumPy array, damaged")
    if dtype.hasobject:
        return Kind("", "NumPy array of Python objects, a pickle, which is never opened")
    size = "x".join(map(str, shape))
    flat = sum(length != 1 for length in shape) == 2 and dtype.kind in "iub"
    return Kind("npy" if flat else "", f"NumPy array, {dtype} {size}")


def _is_nifti(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            return file.read(348)[344:] == b"n+1\0"
    except (OSError, EOFError):
        return False
