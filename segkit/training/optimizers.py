"""The optimizers a configuration can name (`optimizer.name`): those of `torch.optim`, under torch's own names
in small letters.

Left out are the ones that a plain training step cannot drive: LBFGS (needs a closure), SparseAdam (sparse
gradients only) and Muon (matrices only, so it refuses every bias and convolution).
"""

import torch

from segkit.registry import OPTIMIZERS

NAMES = (
    *("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax"),
    *("Adadelta", "Adagrad", "Adafactor", "ASGD", "RMSprop", "Rprop"),
)

for _name in NAMES:
    OPTIMIZERS.register(_name.lower())(getattr(torch.optim, _name))
