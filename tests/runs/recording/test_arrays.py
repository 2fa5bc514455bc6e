"""per_image.npz: what is in it, without the reader of the ablations."""

import tracemalloc

import numpy as np
import pytest
import torch

from segkit.evaluation.boundary_quality import BorderCounts
from segkit.evaluation.calibration import CalibrationCounts
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.image_matrices import ImageMatrices
from segkit.evaluation.objects.counts import ObjectCounts
from segkit.runs.recording.arrays import DEFINITION, save_per_image

DENSE = torch.tensor([[[4, 0], [0, 0]], [[0, 0], [0, 0]], [[2, 2], [1, 4]]])
NAMES = ("one", "blank", "ä/three")
CE_SUMS = torch.tensor([0.5, 0.0, 2.25], dtype=torch.float64)
CLASSES = ("road", "car")


def evaluation(dense=DENSE, names=NAMES, ce_sums=CE_SUMS, **changes):
    matrices = ImageMatrices.from_dense(dense)
    return Evaluation(
        matrices.sum(), 0.5, len(matrices), matrices=matrices, names=names, ce_sums=ce_sums, **changes
    )


def save_and_load(path, result):
    save_per_image(path, result, CLASSES, iteration=20, precision="bf16")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays}


def test_the_arrays(tmp_path):
    arrays = save_and_load(tmp_path / "per_image.npz", evaluation())
    entries = {name: arrays.pop(name) for name in ("image", "label", "prediction", "pixels")}
    assert {name: array.tolist() for name, array in entries.items()} == {
        "image": [0, 2, 2, 2, 2],
        "label": [0, 0, 0, 1, 1],
        "prediction": [0, 0, 1, 0, 1],
        "pixels": [4, 2, 2, 1, 4],
    }
    assert [array.dtype for array in entries.values()] == [np.int32, np.int32, np.int32, np.int64]
    assert arrays["ce_sums"].dtype == np.float64
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "names": [*NAMES],
        "class_names": [*CLASSES],
        "iteration": 20,
        "definition": DEFINITION,
        "precision": "bf16",
        "ce_sums": [0.5, 0.0, 2.25],
    }


def test_the_size_is_there_if_it_was_chosen(tmp_path):
    save_per_image(
        tmp_path / "per_image.npz", evaluation(), CLASSES, iteration=20, precision="off", at="original"
    )
    with np.load(tmp_path / "per_image.npz", allow_pickle=False) as arrays:
        assert str(arrays["eval_at"]) == "original" and not arrays["eval_at"].shape


@pytest.mark.parametrize("tolerance", [2, 2.5])
def test_the_borders_are_there_if_they_were_counted(tmp_path, tolerance):
    counts = torch.arange(3 * 2 * 6).reshape(3, 2, 6)
    result = evaluation(borders=BorderCounts(counts, tolerance))
    arrays = save_and_load(tmp_path / "per_image.npz", result)
    assert arrays["borders"].dtype == np.int64 and np.array_equal(arrays["borders"], counts.numpy())
    assert arrays["boundary_tolerance"].shape == () and arrays["boundary_tolerance"].dtype == np.float64
    assert float(arrays["boundary_tolerance"]) == tolerance


def test_the_confidences_are_there_if_they_were_counted(tmp_path):
    bins, brier = (
        torch.arange(3 * 15 * 3).reshape(3, 15, 3),
        torch.tensor([0.5, 0.0, 1.5], dtype=torch.float64),
    )
    arrays = save_and_load(tmp_path / "per_image.npz", evaluation(calibration=CalibrationCounts(bins, brier)))
    assert arrays["calibration"].dtype == np.int64 and np.array_equal(arrays["calibration"], bins.numpy())
    assert arrays["confidence_unit"] == 15 * 2**16 and arrays["brier_sums"].tolist() == [0.5, 0.0, 1.5]


def test_objects_are_there_if_they_were_counted(tmp_path):
    counts, entropies = np.arange(3 * 15).reshape(3, 1, 15), np.arange(6.0).reshape(3, 1, 2) / 7
    arrays = save_and_load(
        tmp_path / "per_image.npz", evaluation(objects=ObjectCounts(counts, entropies, (1,), 20))
    )
    assert arrays["objects"].dtype == np.int64 and np.array_equal(arrays["objects"], counts)
    assert arrays["object_entropies"].dtype == np.float64
    assert np.array_equal(arrays["object_entropies"], entropies)
    assert (arrays["object_classes"].tolist(), arrays["object_min_size"].tolist()) == ([1], 20)


def test_no_image_at_all(tmp_path):
    nothing = evaluation(DENSE[:0], (), CE_SUMS[:0])
    arrays = save_and_load(tmp_path / "per_image.npz", nothing)
    assert all(arrays[name].shape == (0,) for name in ("names", "image", "label", "pixels", "ce_sums"))


def test_writing_makes_no_dense_array(tmp_path):
    classes, images = 100, 200
    parts = []
    for number in range(images):
        one = torch.zeros(1, classes, classes, dtype=torch.int64)
        one[0, number % classes, 0] = 1
        parts.append(ImageMatrices.from_dense(one))
    matrices = ImageMatrices.join(parts)
    names = tuple(map(str, range(images)))
    result = Evaluation(
        matrices.sum(), 0.5, images, matrices, names, ce_sums=torch.zeros(images, dtype=torch.float64)
    )
    save_and_load(tmp_path / "warm.npz", evaluation())
    tracemalloc.start()
    try:
        save_per_image(tmp_path / "per_image.npz", result, CLASSES, iteration=1, precision="off")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < images * classes**2, "less than a byte for each cell of each image"
