"""The confusion matrices of many images, without their zeros: an image has few of the classes.

Of 5,000 images and 171 classes, 15 of them in an image, the dense matrices take 1.2 GB, their entries 20 MB.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageMatrices:
    """The confusion matrices (C, C) of `count` images, rows label, columns prediction, in host memory.

    There is an entry for each image, label and prediction that have a pixel, sorted by these three: `image` (from 0
    on), `label` and `prediction` int32 (M,), and `pixels` int64 (M,), how many, never 0. An index or a loop makes one
    matrix dense at a time.
    """

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    pixels: np.ndarray
    count: int
    num_classes: int

    @classmethod
    def from_dense(cls, matrices: Tensor) -> "ImageMatrices":
        """Those of integer counts (N, C, C) in host memory, which are not kept."""
        count, num_classes, _ = matrices.shape
        cells = matrices.contiguous().numpy().reshape(-1)
        found = np.flatnonzero(cells)
        image, label, prediction = np.unravel_index(found, (count, num_classes, num_classes))
        return cls(
            image.astype(np.int32),
            label.astype(np.int32),
            prediction.astype(np.int32),
            cells[found].astype(np.int64),
            count,
            num_classes,
        )

    @classmethod
    def join(cls, parts: Sequence["ImageMatrices"]) -> "ImageMatrices":
        """The images of all `parts` (one at least, of the same classes), one part after the other."""
        starts = np.cumsum([0, *(part.count for part in parts)]).tolist()
        return cls(
            np.concatenate([part.image + start for part, start in zip(parts, starts[:-1], strict=True)]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.prediction for part in parts]),
            np.concatenate([part.pixels for part in parts]),
            starts[-1],
            parts[0].num_classes,
        )

    def reorder(self, order: Sequence[int]) -> "ImageMatrices":
        """The same images in another order: the n-th is the one that is `order[n]` here. `order` has each once."""
        rank = np.empty(self.count, dtype=np.int32)
        rank[list(order)] = np.arange(self.count, dtype=np.int32)
        image = rank[self.image]
        by_image = np.argsort(image, kind="stable")  # label and prediction stay sorted within an image
        return ImageMatrices(
            image[by_image],
            self.label[by_image],
            self.prediction[by_image],
            self.pixels[by_image],
            self.count,
            self.num_classes,
        )

    def sum(self) -> Tensor:
        """The confusion matrix of all images together: int64 (C, C)."""
        return self._scatter(slice(None))

    def sum_of(self, chosen: np.ndarray) -> Tensor:
        """The confusion matrix of the images for which `chosen`, bool (N,), is true: int64 (C, C)."""
        return self._scatter(chosen[self.image])

    def dense(self) -> Tensor:
        """All matrices, zeros included: int64 (N, C, C). For small sets only."""
        return torch.stack([*self]) if self.count else torch.zeros(0, *self._shape, dtype=torch.int64)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Tensor:
        """The matrix of one image: int64 (C, C). Raises IndexError outside of 0 ... N-1."""
        if not 0 <= number < self.count:
            raise IndexError(f"there is no image {number}, only 0 to {self.count - 1}")
        first, last = np.searchsorted(self.image, [number, number + 1]).tolist()
        return self._scatter(slice(first, last))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[number] for number in range(self.count))

    def __eq__(self, other: object) -> bool:
        """Whether these are the same matrices in the same order."""
        if not isinstance(other, ImageMatrices):
            return NotImplemented
        if (self.count, self.num_classes) != (other.count, other.num_classes):
            return False
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("image", "label", "prediction", "pixels")
        )

    __hash__ = None  # arrays can be changed

    @property
    def _shape(self) -> tuple[int, int]:
        return self.num_classes, self.num_classes

    def _scatter(self, entries: slice | np.ndarray) -> Tensor:
        """These entries in one matrix int64 (C, C), added up where images share a cell."""
        cells = self.label[entries].astype(np.int64) * self.num_classes + self.prediction[entries]
        matrix = torch.zeros(self.num_classes**2, dtype=torch.int64)
        pixels = torch.from_numpy(self.pixels[entries])
        return matrix.scatter_add_(0, torch.from_numpy(cells), pixels).view(self._shape)
