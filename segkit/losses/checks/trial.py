"""What the checks share: the loss under test, calls of it that are watched, and how a finding is told."""

import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.losses.kernels import BackendError

IGNORE_INDEX = 255
CPU = torch.device("cpu")
#: Of fp32 sums in another order: relative, and of the largest entry for gradients.
ROUNDING = 1e-5
_OURS = str(Path(__file__).parent)
_TORCH = str(Path(torch.__file__).parent)


class Violation(Exception):
    """The loss breaks the rule of a check; the text is the first counterexample, in one line."""


class NotApplicable(Exception):
    """The loss does not promise what the check is about; the text says why."""


@dataclass(frozen=True)
class Subject:
    """The loss under test: how to build it, for how many classes, and the iterations at which to look.

    `make(num_classes=..., ignore_index=...)` builds a new one; `takes_ignore_index`: its constructor has such a
    parameter. `iterations` are the first, middle and last of a run.
    """

    make: Callable[..., nn.Module]
    class_counts: tuple[int, ...]
    iterations: tuple[int, ...]
    takes_ignore_index: bool = True
    device: torch.device = CPU

    def build(self, num_classes: int, ignore_index: int = IGNORE_INDEX) -> nn.Module:
        """A new loss. What its constructor raises is a finding."""
        with watched():
            return self.make(num_classes=num_classes, ignore_index=ignore_index).to(self.device)


@dataclass(frozen=True)
class Result:
    """Of one call: the value and what it reports, and the gradient at the logits, detached."""

    value: Tensor
    metrics: dict[str, Any]
    gradient: Tensor


@dataclass(frozen=True)
class Trial:
    """A loss with arguments for it. `logits` (N, C, h, w), `target` (N, H, W), `weight` (N, H, W) or None.

    `changed(...)` is the trial with other arguments; `run()` is one call, forward and backward.
    """

    loss: nn.Module
    num_classes: int
    iteration: int
    logits: Tensor
    target: Tensor
    weight: Tensor | None = None

    def changed(self, **arguments: Any) -> "Trial":
        """The same with some arguments replaced."""
        return replace(self, **arguments)

    def call(self, logits: Tensor | None = None) -> tuple[Tensor, dict[str, Any]]:
        """What the loss returns; anything it raises is a finding, and so is another form of result."""
        logits = self.logits if logits is None else logits
        with watched(self.where), unchanged(logits, self.target, self.weight):
            returned = self.loss(logits, self.target, self.weight, iteration=self.iteration, **self.made())
        if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[0], Tensor):
            self.fail(f"returns {kind_of(returned)}, not (scalar tensor, metrics)")
        if returned[0].shape != ():
            self.fail(f"the value has shape {tuple(returned[0].shape)}, not ()")
        return returned

    def made(self) -> dict[str, Any]:
        """What a loss with `label_maps` gets besides: as the loader makes them, of each image by itself."""
        makers: Any = getattr(self.loss, "label_maps", {})
        maps = {name: torch.stack([make(labels) for labels in self.target]) for name, make in makers.items()}
        return {"maps": maps} if maps else {}

    def run(self, factor: float = 1.0) -> Result:
        """Value, metrics and the gradient of `factor` x value; a value without gradient is a finding."""
        leaf = self.logits.detach().requires_grad_()
        value, metrics = self.call(leaf)
        if not value.requires_grad:
            self.fail("the value is not connected to the logits: it has no gradient")
        with watched(self.where):
            (gradient,) = torch.autograd.grad(value * factor, leaf, allow_unused=True)
        if gradient is None:
            self.fail("the value is not connected to the logits: their gradient is missing")
        return Result(value.detach(), metrics, gradient)

    def value(self) -> Tensor:
        """The value alone, detached."""
        return self.call()[0].detach()

    @property
    def valid(self) -> Tensor:
        """(N, H, W), bool."""
        return self.target != IGNORE_INDEX

    @property
    def where(self) -> str:
        """The arguments in a few words."""
        return (
            f"{self.num_classes} classes, {'x'.join(map(str, self.target.shape))} {short(self.logits.dtype)}, "
            f"iteration {self.iteration:,}"
        )

    def fail(self, text: str) -> NoReturn:
        """Raise the finding `text`, with the arguments that show it."""
        raise Violation(f"{text} ({self.where})")

    def expect_value(self, found: Tensor, wanted: Tensor, what: str, *, tolerance: float = ROUNDING) -> None:
        """A finding unless `found` is `wanted` up to rounding; `what` names the change that must not matter."""
        # Two NaN are alike here; that a value is NaN where it should not be is the finding of other checks.
        if not torch.allclose(
            found.double(), wanted.double(), rtol=tolerance, atol=0.1 * tolerance, equal_nan=True
        ):
            self.fail(f"{what}: {found.item():.6g} instead of {wanted.item():.6g}")

    def expect_gradient(
        self, found: Tensor, wanted: Tensor, what: str, *, tolerance: float = ROUNDING
    ) -> None:
        """A finding unless all of `found` is `wanted`, up to `tolerance` of the largest entry."""
        found, wanted = found.double(), wanted.double()
        bound = tolerance * wanted.abs().max() + 1e-9
        wrong = ~((found - wanted).abs() <= bound)
        if wrong.any():
            place = tuple(wrong.nonzero()[0].tolist())
            self.fail(
                f"{what}: gradient {found[place].item():.4g} instead of {wanted[place].item():.4g} "
                f"at logits{list(place)}"
            )


@contextmanager
def unchanged(*tensors: Tensor | None) -> Generator[None, None, None]:
    """A context that undoes writing into tensors, so that a loss that does so fails one check and not all."""
    copies = [(tensor, tensor.detach().clone()) for tensor in tensors if tensor is not None]
    yield
    for tensor, copy in copies:
        if not torch.equal(tensor, copy) and not copy.isnan().any():
            tensor.detach().copy_(copy)


class watched:
    """A context that turns what the loss raises into a finding that names the line of its own code."""

    def __init__(self, where: str = ""):
        self.where = f" ({where})" if where else ""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, Violation | NotApplicable):
            return
        frames = traceback.extract_tb(trace)
        own = [frame for frame in frames if not frame.filename.startswith((_OURS, _TORCH))]
        line = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
        text = " ".join(str(error).split())
        raise Violation(f"raises {type(error).__name__}{line}: {text}{self.where}") from error


def trials(
    subject: Subject,
    *,
    size: Sequence[int] = (5, 7),
    low: Sequence[int] | None = None,
    images: int = 2,
    ignored: float = 0.3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Iterator[Trial]:
    """A trial for every number of classes and iteration of the subject, with random arguments.

    `size` of the target, `low` of the logits if it is another, `ignored` share of the pixels (never all).
    """
    for num_classes in subject.class_counts:
        loss = subject.build(num_classes)
        for iteration in subject.iterations:
            yield make_trial(
                loss,
                num_classes,
                iteration,
                size=size,
                low=low,
                images=images,
                ignored=ignored,
                dtype=dtype,
                seed=seed,
                device=subject.device,
            )


def make_trial(
    loss: nn.Module,
    num_classes: int,
    iteration: int,
    *,
    size: Sequence[int] = (5, 7),
    low: Sequence[int] | None = None,
    images: int = 2,
    ignored: float = 0.3,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    device: torch.device = CPU,
) -> Trial:
    """One trial as in `trials`. A loss with `logits_channels` gets so many; one that needs a weight map gets one."""
    generator = torch.Generator().manual_seed(seed)
    channels: Any = getattr(loss, "logits_channels", None) or num_classes
    logits = 2 * torch.randn(images, channels, *(low or size), generator=generator, dtype=torch.float64)
    target = torch.randint(0, num_classes, (images, *size), generator=generator)
    hidden = torch.rand(target.shape, generator=generator) < ignored
    hidden[0].view(-1)[0] = False  # one pixel is always valid
    weight = torch.randint(1, 17, target.shape, generator=generator) / 8
    return Trial(
        loss,
        num_classes,
        iteration,
        logits.to(device, dtype),
        target.masked_fill(hidden, IGNORE_INDEX).to(device),
        weight.to(device) if getattr(loss, "needs_weight", False) else None,
    )


def saturated(trial: Trial, size: float) -> Tensor:
    """Logits of +-`size` that are right at every pixel (for `size` < 0: wrong); ignored pixels say class 0."""
    target = torch.where(trial.valid, trial.target, 0)
    if trial.logits.shape[1] == 1:
        logits = (2 * target - 1).unsqueeze(1)  # (N, H, W) -> (N, 1, H, W)
    else:
        logits = 2 * F.one_hot(target, trial.num_classes).movedim(-1, 1) - 1  # (N, C, H, W)
    return (size * logits).to(trial.logits.dtype).contiguous()


def kind_of(returned: Any) -> str:
    """`(float, dict)` for a tuple, else the name of the type."""
    if isinstance(returned, tuple):
        return f"({', '.join(type(part).__name__ for part in returned)})"
    return type(returned).__name__


def short(dtype: torch.dtype) -> str:
    """`bf16` for torch.bfloat16."""
    return str(dtype).removeprefix("torch.").replace("bfloat", "bf").replace("float", "fp")


def at_pixels(where: Tensor, logits: Tensor) -> Tensor:
    """A mask of pixels (N, H, W) as one of logits (N, C, H, W)."""
    return where.unsqueeze(1).expand_as(logits)


def require_weights(trial: Trial) -> None:
    """NotApplicable unless a weight map changes the value."""
    if getattr(trial.loss, "needs_weight", False):
        return
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(trial.target.shape, generator=generator).to(trial.target.device)
    without = trial.value()
    try:
        value = trial.loss(trial.logits, trial.target, weight, iteration=trial.iteration, **trial.made())[0]
    except Exception as error:
        raise NotApplicable(f"it takes no weight map ({type(error).__name__})") from error
    if torch.equal(value, without):
        raise NotApplicable("it takes no notice of a weight map")


def require_precision(trial: Trial) -> None:
    """NotApplicable if the loss has a backend that does not take logits of this precision, and does take fp32."""
    arguments = {"target": trial.target, "weight": trial.weight, "iteration": trial.iteration}
    arguments |= trial.made()
    try:
        trial.loss(trial.logits, **arguments)
    except BackendError as error:
        try:
            trial.loss(trial.logits.float(), **arguments)
        except Exception:  # whatever it is, it is no matter of precision: the check itself will meet it
            return
        raise NotApplicable(f"it takes no {short(trial.logits.dtype)} logits ({error})") from error
    except Exception:  # no word of a backend: a finding of the check
        return


def require_resizing(trial: Trial) -> None:
    """NotApplicable if the loss refuses logits of another size than the target's."""
    try:
        trial.loss(trial.logits, trial.target, trial.weight, iteration=trial.iteration, **trial.made())
    except Exception as error:
        raise NotApplicable(
            f"it takes no logits of another size than the target ({type(error).__name__})"
        ) from error
