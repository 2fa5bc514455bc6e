"""How long the loss takes beside `F.cross_entropy`: for information, since it depends on the machine."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.losses.checks.trial import IGNORE_INDEX, Subject, make_trial

IMAGES, SIZE, REPEATS = 2, (256, 256), 5


def speed(subject: Subject) -> str:
    """`2.9 x F.cross_entropy, 8.1 ms for 2 x 5 x 256 x 256`: forward and backward, fp32, last iteration."""
    num_classes = subject.class_counts[-1]
    trial = make_trial(
        subject.build(num_classes),
        num_classes,
        subject.iterations[-1],
        size=SIZE,
        images=IMAGES,
        device=subject.device,
    )
    trial.run()  # what is wrong is told in its words, and the first call is not timed
    plain = trial.logits if trial.logits.shape[1] > 1 else trial.logits.repeat(1, 2, 1, 1)

    def call_plain(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, trial.target, ignore_index=IGNORE_INDEX)

    ours = _fastest(lambda logits: trial.call(logits)[0], trial.logits)
    theirs = _fastest(call_plain, plain)
    shape = " x ".join(map(str, trial.logits.shape))
    return f"{ours / theirs:.1f} x F.cross_entropy, {1000 * ours:.1f} ms for {shape}"


def _fastest(call: Callable[[Tensor], Tensor], logits: Tensor) -> float:
    """Seconds of the fastest of several calls with backward."""
    seconds = []
    for _ in range(REPEATS):
        leaf = logits.detach().requires_grad_()
        _wait(leaf)
        started = time.perf_counter()
        call(leaf).backward()
        _wait(leaf)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
