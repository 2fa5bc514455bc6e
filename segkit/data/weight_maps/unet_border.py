"""`unet_border`: heavy where a gap between two objects is narrow, as U-Net was trained on touching cells."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from segkit.data.class_weights import ClassTable
from segkit.data.sample import Sample
from segkit.data.weight_maps.instances import label_instances, two_nearest
from segkit.registry import WEIGHT_MAPS
from segkit.types import ClassWeights, NonNegativeFloat, PositiveFloat

SMALLEST = 1e-12  # a border term below it is left out; float32 would not show it beside any class weight


@WEIGHT_MAPS.register("unet_border")
class UNetBorder:
    """class weight + w0 * exp(-(d1 + d2)^2 / (2 sigma^2)), d1 and d2 = pixels to the two nearest objects; 0 if ignored.

    objects         the classes whose connected pixels are the objects, by name or id; all but class 0 unless given
    connectivity    4 or 8: whether pixels that touch at a corner only are one object
    inside_objects  whether the second term is also added inside objects, where d1 is 0

    d1 and d2 are Euclidean distances to the nearest pixel of an object. With fewer than two objects in an image there
    is no border. The formula, w0 = 10, sigma = 5 and a class weight that makes up for the frequency of the class are
    those of U-Net (Ronneberger, Fischer and Brox 2015, arXiv:1505.04597). It is written there for every pixel, but
    meant to teach the gaps between cells: by default objects keep their class weight alone.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int,
        class_names: Sequence[str],
        *,
        w0: NonNegativeFloat = 10.0,
        sigma: PositiveFloat = 5.0,
        objects: Annotated[list[int | str], Field(min_length=1)] | None = None,
        connectivity: Literal[4, 8] = 4,
        inside_objects: bool = False,
        class_weights: ClassWeights | None = "balanced",
    ):
        self.ignore_index, self.w0, self.sigma = ignore_index, w0, sigma
        self.object_ids = _find_ids(objects, class_names)
        self.diagonal, self.inside_objects = connectivity == 8, inside_objects
        self.class_table = ClassTable(class_weights, num_classes=num_classes, ignore_index=ignore_index)
        table = self.class_table.weights.tolist()
        options = [w0, sigma, self.object_ids, connectivity, inside_objects, table, ignore_index]
        self.recipe = f"unet_border {options}"
        self.reach = sigma * math.sqrt(2 * math.log(w0 / SMALLEST)) if w0 > SMALLEST else 0.0

    def __call__(self, sample: Sample) -> Tensor:
        target = sample.target.as_subclass(Tensor)  # (H, W)
        weight = self.class_table.look_up(target)
        ids = target.numpy()
        inside = np.isin(ids, self.object_ids)
        inside &= ids != self.ignore_index
        wanted = ids != self.ignore_index
        if not self.inside_objects:
            wanted &= ~inside
        instances = label_instances(ids, inside, diagonal=self.diagonal)
        if instances.max(initial=0) >= 2 and self.reach > 0:
            squares = two_nearest(instances, wanted, reach=math.ceil(self.reach))
            both = sum(np.sqrt(square, dtype=np.float64) for square in squares)  # (P,) d1 + d2
            border = self.w0 * np.exp(np.square(both) / (-2 * self.sigma**2))
            weight[torch.from_numpy(wanted)] += torch.from_numpy(border.astype(np.float32))
        return weight


def _find_ids(objects: Sequence[int | str] | None, class_names: Sequence[str]) -> list[int]:
    """The ids of the classes given by name or id. Raises ValueError for one that there is not."""
    if objects is None:
        return list(range(1, len(class_names)))
    ids = []
    for item in objects:
        if isinstance(item, str) and item in class_names:
            ids.append(list(class_names).index(item))
        elif isinstance(item, int) and 0 <= item < len(class_names):
            ids.append(item)
        else:
            raise ValueError(
                f"objects names {item!r}, which is no class; there are: "
                + ", ".join(f"{n} {name}" for n, name in enumerate(class_names))
            )
    return ids
