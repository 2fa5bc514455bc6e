"""User code for `train.py --import`: what goes wrong in one process of several, after 15 updates of two micro-batches.

FAULT names what, FAULT_RANK the process.
"""

import errno
import os
import signal

from segkit.data.datasets.shapes import Shapes
from segkit.errors import DataError
from segkit.models.unet import UNet
from segkit.registry import DATASETS, MODELS
from segkit.runs import checkpoint
from tests.empty_plots import replace_plots, set_for_good

FAULT = os.environ.get("FAULT", "")
HERE = os.environ.get("RANK", "0") == os.environ.get("FAULT_RANK", "1")


#: Forward passes in training, in this process.
passes = 0


def has_begun() -> bool:
    return HERE and passes > 30


@DATASETS.register("faulty_shapes")
class FaultyShapes(Shapes):
    """Shapes of which no image can be read any more."""

    def __getitem__(self, index):
        if FAULT == "bad file" and HERE and passes >= 30:
            raise DataError("cannot read images/0007.png: truncated")
        return super().__getitem__(index)


@MODELS.register("faulty_unet")
class FaultyUNet(UNet):
    """A U-Net that gives NaN, has a bug, or no memory."""

    def forward(self, image):
        global passes
        passes += self.training
        logits = super().forward(image)
        if self.training and has_begun():
            while FAULT == "hangs":
                signal.pause()
            if FAULT == "not a number":
                return logits * float("nan")
            if FAULT == "bug":
                raise ValueError("a bug")
            if FAULT == "memory":
                raise MemoryError
        return logits


if FAULT == "full disk" and HERE:
    save = checkpoint.save_checkpoint

    def save_checkpoint(path, state):
        if has_begun():
            raise checkpoint.cannot_write(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        save(path, state)

    checkpoint.save_checkpoint = save_checkpoint

replace_plots(set_for_good)  # they would take a third of the time of a run
