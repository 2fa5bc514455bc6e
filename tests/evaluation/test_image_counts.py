"""When the counts of a batch are waited for, and how many of them there are at once."""

import tracemalloc

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segkit.evaluation import image_counts
from segkit.evaluation.evaluate import evaluate

CPU = torch.device("cpu")


def batches(count, *, size, classes, names=""):
    """Tiny images of a few classes, whose first channel is predicted."""
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        target = torch.randint(classes, (size, 2, 2), generator=generator, dtype=torch.uint8)
        image = torch.randint(classes, (size, 3, 2, 2), generator=generator, dtype=torch.uint8)
        yield {"image": image, "target": target, "name": [f"{names}{number}-{n}" for n in range(size)]}


def score(count, *, size, classes, **options):
    def forward(image):
        return nn.functional.one_hot(image[:, 0].long(), classes).permute(0, 3, 1, 2).float()

    return evaluate(
        forward,
        nn.Identity(),
        batches(count, size=size, classes=classes),
        num_classes=classes,
        ignore_index=255,
        device=CPU,
        **options,
    )


@pytest.mark.parametrize("boundary", [None, 1.0])
def test_a_batch_is_waited_for_when_the_next_one_was_given_to_the_device(monkeypatch, boundary):
    done = []

    class Copy(image_counts.HostCopy):
        def __init__(self, *tensors):
            super().__init__(*tensors)
            self.number = sum(entry.startswith("start") for entry in done)
            done.append(f"start {self.number}")

        def wait(self):
            done.append(f"wait {self.number}")
            return super().wait()

    expected = score(3, size=2, classes=3, boundary=boundary)
    monkeypatch.setattr(image_counts, "HostCopy", Copy)
    result = score(3, size=2, classes=3, boundary=boundary)
    assert done == ["start 0", "start 1", "wait 0", "start 2", "wait 1", "wait 2"]
    assert result.matrices == expected.matrices and len(result.matrices) == 6
    assert torch.equal(result.ce_sums, expected.ce_sums)


class Largest(TorchDispatchMode):
    """The most elements of any tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *made])
        return result


def test_no_memory_for_the_matrices_of_all_images():
    """NumPy tells tracemalloc of its arrays; those of torch are seen when they are made."""
    classes, size, count = 100, 2, 50
    score(2, size=size, classes=classes)  # what is made once and kept
    one_batch, all_images = size * (classes + 1) * classes, size * count * classes**2
    with Largest() as largest:
        tracemalloc.start()
        try:
            result = score(count, size=size, classes=classes)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(result.matrices) == 100 and result.matrices.sum().sum() == 400
    assert largest.elements <= one_batch
    assert peak < all_images, "less than a byte for each cell of each image"
