"""What a run counted in each validation image, from its per_image.npz, whatever version of segkit wrote it.

Nothing in the archive is executed. The dense matrices of older files are read a few images at a time: those of 5,000
images of 150 classes are 0.9 GB.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from segkit.ablation.statistics.run_counts import Entries, RunCounts, count_entries
from segkit.evaluation.confidence_bins import BINS, UNIT
from segkit.evaluation.objects.counts import COLUMNS, ObjectCounts

#: Matrices of an older file that are read at once, in numbers.
BLOCK = 1_000_000
NAMES = ("image", "label", "prediction", "pixels")
#: What `eval.at` can be.
SIZES = ("network", "original")
#: What `train.amp` can come to.
PRECISIONS = ("off", "bf16", "fp16")


class Damaged(Exception):
    """What is wrong with a file."""


@dataclass(frozen=True)
class PerImage:
    """The counts of the images `names` over the classes `class_names`, as of `iteration`; `definition` says what mIoU
    means to the one who wrote it. `at` is the size that was scored, one of SIZES; None: the `eval.at` of the run.
    `precision` is what the scores were computed in, one of PRECISIONS; None in an older file."""

    names: tuple[str, ...]
    class_names: tuple[str, ...]
    iteration: int
    definition: str
    counts: RunCounts
    at: str | None
    precision: str | None


def read_arrays(path: Path, *, without: str = "") -> dict[str, np.ndarray]:
    """All arrays of an archive but that one. Raises Damaged."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # of which NumPy would say how to load it unsafely
                raise Damaged("it is no archive of arrays")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return {name: np.asarray(archive[name]) for name in archive.files if name != without}
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(str(error)) from error


def read_per_image(path: Path) -> PerImage:
    """Raises Damaged."""
    arrays = read_arrays(path, without="matrices")
    names, classes = _texts(arrays, "names"), _texts(arrays, "class_names")
    iteration, definition = _get(arrays, "iteration"), _get(arrays, "definition")
    if iteration.shape or iteration.dtype.kind not in "iu":
        raise Damaged(f"iteration should be one whole number, is {_describe(iteration)}")
    if definition.shape or definition.dtype.kind != "U":
        raise Damaged(f"definition should be one text, is {_describe(definition)}")
    size = {"images": len(names), "classes": len(classes)}
    entries = _entries(arrays, **size) if "pixels" in arrays else _dense_entries(path, **size)
    counts = count_entries(entries, **size)
    counts = replace(counts, **_further(arrays, **size), **_calibration(arrays, counts))
    at, precision = _word(arrays, "eval_at", SIZES), _word(arrays, "precision", PRECISIONS)
    return PerImage(names, classes, int(iteration), str(definition), counts, at, precision)


def _word(arrays: Mapping[str, np.ndarray], name: str, known: Sequence[str]) -> str | None:
    """One of the known words; None where there is none."""
    found = arrays.get(name)
    if found is not None and (found.shape or str(found) not in known):
        raise Damaged(f"{name} should be {' or '.join(known)}, is {_describe(found)}")
    return None if found is None else str(found)


def _get(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise Damaged(f"it has no {name}")
    return arrays[name]


def _texts(arrays: Mapping[str, np.ndarray], name: str) -> tuple[str, ...]:
    array = _get(arrays, name)
    if array.ndim != 1 or array.dtype.kind != "U" or not len(array):
        raise Damaged(f"{name} should be a list of texts, is {_describe(array)}")
    texts = tuple(array.tolist())
    if len(set(texts)) != len(texts):
        raise Damaged(f"{name} has the same entry twice")
    return texts


def _entries(arrays: Mapping[str, np.ndarray], *, images: int, classes: int) -> Entries:
    image, label, prediction, pixels = found = tuple(_get(arrays, name) for name in NAMES)
    limits = ((0, images - 1), (0, classes - 1), (0, classes - 1), (1, np.inf))
    for name, array, (low, high) in zip(NAMES, found, limits, strict=True):
        if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) != len(image):
            raise Damaged(f"{name} should be {len(image)} whole numbers, is {_describe(array)}")
        if len(array) and not (low <= array.min() and array.max() <= high):
            raise Damaged(f"{name} has values from {array.min()} to {array.max()}, beyond {low} to {high}")
    cell = (image.astype(np.int64) * classes + label) * classes + prediction
    if (np.diff(cell) <= 0).any():
        raise Damaged("its entries are not in the order of images, labels and predictions")
    return image, label, prediction, pixels


def _dense_entries(path: Path, *, images: int, classes: int) -> Entries:
    """The same from the matrices (N, C, C) of an older file."""
    expected = (images, classes, classes)
    parts = []
    try:
        with zipfile.ZipFile(path) as archive, archive.open("matrices.npy") as file:
            shape, in_columns, kind = _read_header(file)
            if kind != np.int64 or shape != expected or in_columns:
                raise Damaged(f"matrices should be int64 {expected}, is {kind} {shape}")
            step = max(1, BLOCK // classes**2)
            for start in range(0, images, step):
                number = min(step, images - start)
                content = file.read(number * classes**2 * kind.itemsize)
                block = np.frombuffer(content, dtype=kind)
                found = np.flatnonzero(block)
                if (block[found] < 0).any():
                    raise Damaged("matrices has negative counts")
                image, label, prediction = np.unravel_index(found, (number, classes, classes))
                parts.append((image + start, label, prediction, block[found]))
    except KeyError as error:
        raise Damaged("it has neither pixels nor matrices") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise Damaged(str(error)) from error
    image, label, prediction, pixels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return image, label, prediction, pixels


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of an array in NumPy's format."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of NumPy's format")
    return read(file)


def _further(arrays: Mapping[str, np.ndarray], *, images: int, classes: int) -> dict[str, Any]:
    """What newer files have too, and only where somebody asked for it."""
    found: dict[str, Any] = {}
    if "ce_sums" in arrays:
        sums = arrays["ce_sums"]
        if sums.shape != (images,) or sums.dtype.kind != "f":
            raise Damaged(f"ce_sums should be {images} numbers, is {_describe(sums)}")
        found["ce"] = sums.astype(np.float64)
    if "borders" in arrays:
        borders, tolerance = arrays["borders"], _get(arrays, "boundary_tolerance")
        expected = (images, classes, 6)
        if borders.shape != expected or borders.dtype.kind not in "iu" or (borders < 0).any():
            raise Damaged(f"borders should be counts {expected}, is {_describe(borders)}")
        if tolerance.shape or tolerance.dtype.kind not in "iuf":
            raise Damaged(f"boundary_tolerance should be one number, is {_describe(tolerance)}")
        found |= {"borders": np.ascontiguousarray(borders.swapaxes(1, 2)), "tolerance": float(tolerance)}
    if "objects" in arrays:
        found["objects"] = _objects(arrays, images=images, classes=classes)
    return found


def _calibration(arrays: Mapping[str, np.ndarray], counts: RunCounts) -> dict[str, Any]:
    """The bins of confidence and the Brier score, where somebody asked for them."""
    if "calibration" not in arrays:
        return {}
    bins, unit, brier = (_get(arrays, name) for name in ("calibration", "confidence_unit", "brier_sums"))
    images = len(counts.counts)
    expected = (images, BINS, 3)
    if bins.shape != expected or bins.dtype.kind not in "iu" or (bins < 0).any():
        raise Damaged(f"calibration should be counts {expected}, is {_describe(bins)}")
    if unit.shape or unit != UNIT:
        raise Damaged(f"confidence_unit should be {UNIT}, is {unit.tolist()}")
    if brier.shape != (images,) or brier.dtype.kind != "f":
        raise Damaged(f"brier_sums should be {images} numbers, is {_describe(brier)}")
    # True positives and labels, of all classes together.
    hits, pixels = counts.counts[:, 0].sum(axis=-1), counts.counts[:, 1].sum(axis=-1)
    if (bins[:, :, 0].sum(axis=1) != pixels).any() or (bins[:, :, 1].sum(axis=1) != hits).any():
        raise Damaged("calibration is of other pixels than the confusion matrices")
    found = {
        "bins": np.ascontiguousarray(bins.swapaxes(1, 2), dtype=np.int64),
        "brier": brier.astype(np.float64),
    }
    if "class_calibration" in arrays:
        found["class_bins"] = _class_bins(arrays["class_calibration"], counts)
    return found


def _class_bins(bins: np.ndarray, counts: RunCounts) -> np.ndarray:
    images, _, classes = counts.counts.shape
    expected = (images, classes, BINS, 3)
    if bins.shape != expected or bins.dtype.kind not in "iu" or (bins < 0).any():
        raise Damaged(f"class_calibration should be counts {expected}, is {_describe(bins)}")
    labels = counts.counts[:, 1]  # (N, C)
    of_each, labelled = bins[..., 0].sum(axis=2), bins[..., 1].sum(axis=2)
    if (of_each != labels.sum(axis=1, keepdims=True)).any() or (labelled != labels).any():
        raise Damaged("class_calibration is of other pixels than the confusion matrices")
    return np.moveaxis(bins, 3, 1).reshape(images, 3, -1).astype(np.int64)


def _objects(arrays: Mapping[str, np.ndarray], *, images: int, classes: int) -> ObjectCounts:
    names = ("objects", "object_entropies", "object_classes", "object_min_size")
    counts, entropies, ids, min_size = (_get(arrays, name) for name in names)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or not np.isin(ids, np.arange(classes)).all():
        raise Damaged(f"object_classes should be ids from 0 to {classes - 1}, is {_describe(ids)}")
    if len(np.unique(ids)) != len(ids) or not len(ids):
        raise Damaged("object_classes should be ids, each once")
    if min_size.shape or min_size.dtype.kind not in "iu":
        raise Damaged(f"object_min_size should be one whole number, is {_describe(min_size)}")
    expected = (images, len(ids), COLUMNS)
    if counts.shape != expected or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise Damaged(f"objects should be counts {expected}, is {_describe(counts)}")
    expected = (images, len(ids), 2)
    if entropies.shape != expected or entropies.dtype.kind != "f" or not (entropies >= 0).all():
        raise Damaged(f"object_entropies should be numbers {expected}, is {_describe(entropies)}")
    return ObjectCounts(counts.astype(np.int64), entropies, tuple(ids.tolist()), int(min_size))


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
