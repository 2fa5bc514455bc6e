"""On what losses are measured: sizes, strides, precisions, and how many pixels are hard."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

IGNORE_INDEX = 255
#: Rows and columns of a block of labels. Of so small ones 39 % of the valid pixels have another class beside them.
AREA = 8
#: Of these 6 % have, as of CamVid's labels (6.4 % of 100 training images, 5.0 % of 100 validation images).
LARGE_AREA = 48


@dataclass(frozen=True)
class Case:
    """`images` images of `size` (H, W) with `classes` classes, from logits at 1 / `stride` of it.

    `margin` is what the logit of the true class is larger on average: at 0 nearly every pixel is hard, at 8 few are.
    Without it is the share `hard` of the blocks of labels, as objects that are not learnt yet; these have `area` rows
    and columns.
    """

    classes: int
    size: tuple[int, int]
    images: int = 2
    stride: int = 1
    dtype: str = "float32"
    margin: float = 0.0
    hard: float = 0.0
    channels_last: bool = False
    area: int = AREA

    @property
    def name(self) -> str:
        """`19 classes, 64 x 128 -> 512 x 1024, fp32`; what is not usual is added."""
        height, width = self.size
        low = f"{height // self.stride} x {width // self.stride} -> " if self.stride > 1 else ""
        precision = {"float32": "fp32", "bfloat16": "bf16"}[self.dtype]
        few = f", {self.hard:.0%} hard" if self.hard else ", few hard" if self.margin else ""
        more = ", channels_last" if self.channels_last else ""
        more += f", areas of {self.area} x {self.area}" if self.area != AREA else ""
        return f"{self.images} x {self.classes} classes, {low}{height} x {width}, {precision}{few}{more}"


@dataclass(frozen=True)
class Inputs:
    """Logits (N, C, h, w) that want a gradient, the labels as bytes and as int64 (N, H, W), and a weight map."""

    logits: Tensor
    target: Tensor
    labels: Tensor
    weight: Tensor


def make_inputs(case: Case, device: torch.device) -> Inputs:
    """Random inputs: labels in blocks, as objects are, and 5 % of the pixels ignored in blocks too."""
    generator = torch.Generator().manual_seed(0)
    height, width = case.size
    coarse = (case.images, max(1, height // case.area), max(1, width // case.area))
    ids = torch.randint(0, case.classes, coarse, generator=generator)
    ids[torch.rand(coarse, generator=generator) < 0.05] = IGNORE_INDEX
    labels = _enlarge(ids, case.size)
    low = (height // case.stride, width // case.stride)
    logits = torch.randn(case.images, case.classes, *low, generator=generator)
    if case.margin:
        true = _enlarge(ids, low).where(_enlarge(ids, low) != IGNORE_INDEX, 0)[:, None]
        easy = _enlarge(torch.rand(coarse, generator=generator) >= case.hard, low)[:, None]
        logits.scatter_add_(1, true, case.margin * easy)
    if case.channels_last:
        logits = logits.to(memory_format=torch.channels_last)
    weight = torch.rand(labels.shape, generator=generator) + 0.5
    return Inputs(
        logits.to(device, getattr(torch, case.dtype)).requires_grad_(),
        labels.to(torch.uint8).to(device),
        labels.to(device),
        weight.to(device),
    )


def _enlarge(ids: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h, w) at the size (H, W), each pixel repeated."""
    rows, columns = (torch.arange(new) * old // new for new, old in zip(size, ids.shape[1:], strict=True))
    return ids[:, rows[:, None], columns]


#: The two cases of the bars at full resolution, and from a model's stride.
FULL = (Case(19, (512, 1024)), Case(150, (512, 512)))
LOW = (Case(19, (512, 1024), stride=8), Case(150, (512, 512), stride=4))
#: CamVid: so few classes that the logits are a small part of what is read.
ELEVEN = Case(11, (360, 480), images=8)
#: Of the bars for a GPU: Cityscapes at stride 8, ADE20K at stride 4, and full resolution.
GPU = (
    Case(19, (1024, 1024), images=8, stride=8, dtype="bfloat16"),
    Case(150, (512, 512), images=16, stride=4, dtype="bfloat16"),
    Case(19, (1024, 1024), images=8, dtype="bfloat16"),
)


def few_hard(cases: Iterable[Case]) -> list[Case]:
    """The same with few hard pixels, as late in training."""
    return [replace(case, margin=8.0) for case in cases]


def tenth_hard(cases: Iterable[Case]) -> list[Case]:
    """The same where OHEM keeps about one pixel in ten."""
    return [replace(case, margin=12.0, hard=0.1) for case in cases]


def in_bf16(cases: Iterable[Case]) -> list[Case]:
    """The same with logits as autocast leaves them."""
    return [replace(case, dtype="bfloat16") for case in cases]


def shrink(case: Case) -> Case:
    """A case that takes milliseconds, to see that everything runs: its ratios mean nothing."""
    height, width = case.size
    return replace(case, classes=min(case.classes, 21), size=(height // 16, width // 16), images=1)
