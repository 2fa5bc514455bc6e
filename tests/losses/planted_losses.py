"""Losses that are wrong on purpose, each in one way, for the checks of `scripts/check_loss.py` to find.

They also work from a shell: python scripts/check_loss.py wrong_ties --import tests/losses/planted_losses.py
"""

import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.registry import LOSSES


class Right(nn.Module):
    """Cross-entropy over valid pixels, without a fault; the wrong ones replace one step of it."""

    def __init__(self, num_classes: int, ignore_index: int = 255):
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, iteration: int
    ) -> tuple[Tensor, dict]:
        logits = self.resize(self.convert(logits), target)
        valid = self.find_valid(target)
        ce = self.pixel_values(logits, target, valid)  # (N, H, W)
        value = self.reduce(ce, valid, weight, iteration)
        return value, {"ce": value.detach()}

    def convert(self, logits):
        return logits if logits.dtype == torch.float64 else logits.float()

    def resize(self, logits, target):
        if logits.shape[2:] == target.shape[1:]:
            return logits
        return F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)

    def find_valid(self, target):
        return target != self.ignore_index

    def pixel_values(self, logits, target, valid):
        logits = torch.where(valid.unsqueeze(1), logits, 0.0)  # so that no NaN there reaches the gradient
        return F.cross_entropy(logits, torch.where(valid, target, 0).long(), reduction="none")

    def reduce(self, ce, valid, weight, iteration):
        factor = valid if weight is None else valid * weight
        return (ce * factor).sum() / valid.sum().clamp_min(1)


# ------------------------------------------------------------------------------------------------------- contract


@LOSSES.register("wrong_counts_calls")
class CountsCalls(Right):
    """Its warm-up counts calls, so that validation shortens it; shows in the value only after 20,000 of them."""

    calls = 0

    def reduce(self, ce, valid, weight, iteration):
        self.calls += 1
        factor = 1.0 if self.calls < 20_000 else 0.5
        return factor * super().reduce(ce, valid, weight, iteration)


@LOSSES.register("wrong_counts_outside")
class CountsOutside(Right):
    """Counts its calls where nobody looks."""

    def __init__(self, num_classes: int, ignore_index: int = 255):
        super().__init__(num_classes, ignore_index)
        calls = 0

        def count() -> int:
            nonlocal calls
            calls += 1
            return calls

        self.count = count

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, weight, iteration) * (1.0 if self.count() < 20 else 0.5)


@LOSSES.register("wrong_default_iteration")
class DefaultIteration(Right):
    """A call that forgets the iteration is the first iteration for ever."""

    def forward(self, logits, target, weight=None, *, iteration=0):
        return super().forward(logits, target, weight, iteration=iteration)


@LOSSES.register("wrong_random")
class Random(Right):
    """A random half of the pixels."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce * (torch.rand(ce.shape) < 0.5), valid, weight, iteration)


@LOSSES.register("wrong_in_eval")
class InEval(Right):
    """Another value in eval mode."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, weight, iteration) * (1.0 if self.training else 0.5)


@LOSSES.register("wrong_writes_target")
class WritesTarget(Right):
    """Marks ignored pixels in the target it is given."""

    def find_valid(self, target):
        valid = target < self.num_classes
        target[~valid] = 254
        return valid


@LOSSES.register("wrong_keeps_graph")
class KeepsGraph(Right):
    """Metrics that hold on to the graph."""

    def forward(self, logits, target, weight=None, *, iteration):
        value, _ = super().forward(logits, target, weight, iteration=iteration)
        return value, {"ce": value}


@LOSSES.register("wrong_per_image")
class PerImage(Right):
    """One value per image."""

    def reduce(self, ce, valid, weight, iteration):
        return (ce * valid).flatten(1).sum(1)


@LOSSES.register("wrong_needs_gradient")
class NeedsGradient(Right):
    """Another value in validation, where logits need no gradient."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, weight, iteration) * (1.0 if ce.requires_grad else 0.5)


@LOSSES.register("wrong_report")
class Report(Right):
    """A map of the kept pixels in which ignored pixels are kept."""

    def pixels(self, logits, target, weight=None, *, iteration):
        kept = torch.ones(target.shape)
        return SimpleNamespace(loss=torch.zeros(target.shape), kept=kept, valid=self.find_valid(target))


# ------------------------------------------------------------------------------------------------------- gradient


@LOSSES.register("wrong_flat")
class Flat(Right):
    """The share of wrong pixels, which has no slope."""

    def pixel_values(self, logits, target, valid):
        return (logits.argmax(1) != target) + 0 * super().pixel_values(logits, target, valid)


class _SumBackward(torch.autograd.Function):
    """The mean, with the gradient of the sum."""

    @staticmethod
    def forward(ctx, ce, valid):
        ctx.save_for_backward(valid)
        return (ce * valid).sum() / valid.sum().clamp_min(1)

    @staticmethod
    def backward(ctx, incoming):
        (valid,) = ctx.saved_tensors
        return incoming * valid, None


@LOSSES.register("wrong_gradient")
class WrongGradient(Right):
    """A hand-written backward without the denominator."""

    def reduce(self, ce, valid, weight, iteration):
        return _SumBackward.apply(ce, valid)


class _DeafBackward(torch.autograd.Function):
    """The mean, with a backward that does not look at the gradient that comes in."""

    @staticmethod
    def forward(ctx, ce, valid):
        ctx.save_for_backward(valid)
        return (ce * valid).sum() / valid.sum().clamp_min(1)

    @staticmethod
    def backward(ctx, incoming):
        (valid,) = ctx.saved_tensors
        return valid / valid.sum().clamp_min(1).to(incoming.dtype), None


@LOSSES.register("wrong_deaf_backward")
class DeafBackward(Right):
    """A backward that works until the loss is scaled."""

    def reduce(self, ce, valid, weight, iteration):
        return _DeafBackward.apply(ce, valid)


@LOSSES.register("wrong_log_of_softmax")
class LogOfSoftmax(Right):
    """log(softmax): infinite where a wrong class is certain."""

    def pixel_values(self, logits, target, valid):
        logits = torch.where(valid.unsqueeze(1), logits, 0.0)
        index = torch.where(valid, target, 0).long().unsqueeze(1)
        return -logits.softmax(dim=1).gather(1, index).squeeze(1).log()


# ------------------------------------------------------------------------------------------------ ignored pixels


@LOSSES.register("wrong_ignored_in_mean")
class IgnoredInMean(Right):
    """Divides by all pixels."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, weight, iteration) * valid.sum() / valid.numel()


@LOSSES.register("wrong_nan_gradient")
class NanGradient(Right):
    """A finite value with a NaN gradient where the logits of an ignored pixel are NaN."""

    def pixel_values(self, logits, target, valid):
        target = torch.where(valid, target.long(), -100)
        return F.cross_entropy(logits, target, reduction="none", ignore_index=-100)


@LOSSES.register("wrong_always_255")
class Always255(Right):
    """Takes an ignore_index and uses 255."""

    def find_valid(self, target):
        return target != 255


@LOSSES.register("wrong_ignored_is_class_0")
class IgnoredIsClass0(Right):
    """Learns class 0 at ignored pixels."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, torch.ones_like(valid), weight, iteration)

    def pixel_values(self, logits, target, valid):
        return super().pixel_values(logits, torch.where(valid, target, 0), torch.ones_like(valid))


# --------------------------------------------------------------------------------------------------------- edges


@LOSSES.register("wrong_nan_when_empty")
class NanWhenEmpty(Right):
    """0 / 0 where every pixel is ignored."""

    def reduce(self, ce, valid, weight, iteration):
        factor = valid if weight is None else valid * weight
        return (ce * factor).sum() / valid.sum()


@LOSSES.register("wrong_cut_off_when_empty")
class CutOffWhenEmpty(Right):
    """A constant 0 where every pixel is ignored: backward fails, or waits for ever with several processes."""

    def reduce(self, ce, valid, weight, iteration):
        if not valid.any():
            return torch.zeros(())
        return super().reduce(ce, valid, weight, iteration)


@LOSSES.register("wrong_hides_nan")
class HidesNan(Right):
    """Replaces what is not finite."""

    def pixel_values(self, logits, target, valid):
        return torch.nan_to_num(super().pixel_values(logits, target, valid))


@LOSSES.register("wrong_empty_selection")
class EmptySelection(Right):
    """The mean over hard pixels, of which there may be none."""

    def reduce(self, ce, valid, weight, iteration):
        hard = valid & (ce > -math.log(0.7)) if valid.any() else valid
        factor = hard if weight is None else hard * weight
        return (ce * factor).sum() / hard.sum().clamp_min(0 if valid.any() else 1)


@LOSSES.register("wrong_resize")
class WrongResize(Right):
    """Resizes with aligned corners."""

    def resize(self, logits, target):
        if logits.shape[2:] == target.shape[1:]:
            return logits
        return F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=True)


@LOSSES.register("wrong_mean_of_images")
class MeanOfImages(Right):
    """The mean over images, one of which may have no valid pixel."""

    def reduce(self, ce, valid, weight, iteration):
        factor = valid if weight is None else valid * weight
        return ((ce * factor).flatten(1).sum(1) / valid.flatten(1).sum(1)).mean()


@LOSSES.register("wrong_one_pixel")
class OnePixel(Right):
    """Divides by one less than the number of valid pixels."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, weight, iteration) * valid.sum() / (valid.sum() - 1)


@LOSSES.register("wrong_volume")
class Volume(Right):
    """Twice the value for anything but images."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, weight, iteration) * (1.0 if ce.ndim == 3 else 2.0)


# --------------------------------------------------------------------------------------------------------- order


@LOSSES.register("wrong_ties")
class Ties(Right):
    """The harder half by topk, which takes the first of those that tie."""

    def reduce(self, ce, valid, weight, iteration):
        factor = ce if weight is None else ce * weight
        ranked = torch.where(valid, ce.detach(), -1.0).flatten()
        k = max(1, int(valid.sum()) // 2)
        kept = ranked.topk(k).indices
        return (factor * valid).flatten()[kept].sum() / k


@LOSSES.register("wrong_position")
class Position(Right):
    """Counts every other pixel half."""

    def pixel_values(self, logits, target, valid):
        ce = super().pixel_values(logits, target, valid)
        places = torch.arange(ce[0].numel()).view(ce[0].shape)
        return ce * (1.0 - 0.5 * (places % 2))


@LOSSES.register("wrong_image_order")
class ImageOrder(Right):
    """Counts the first image twice."""

    def pixel_values(self, logits, target, valid):
        ce = super().pixel_values(logits, target, valid)
        return torch.cat([2 * ce[:1], ce[1:]])


# -------------------------------------------------------------------------------------------------------- inputs


@LOSSES.register("wrong_uint8")
class WrongUint8(Right):
    """Subtracts from the target, which wraps around in uint8: every pixel counts as ignored."""

    def find_valid(self, target):
        return target - self.num_classes < 0


@LOSSES.register("wrong_int64_only")
class Int64Only(Right):
    """Hands the target on as it is."""

    def pixel_values(self, logits, target, valid):
        logits = torch.where(valid.unsqueeze(1), logits, 0.0)
        return F.nll_loss(logits.log_softmax(1), torch.where(valid, target, target * 0), reduction="none")


@LOSSES.register("wrong_view")
class View(Right):
    """Needs contiguous logits."""

    def convert(self, logits):
        logits.view(len(logits), -1)
        return super().convert(logits)


@LOSSES.register("wrong_memory_order")
class MemoryOrder(Right):
    """Reads the logits in the order of memory, without an error where that is another."""

    def convert(self, logits):
        strides = torch.empty(logits.shape).stride()
        return super().convert(logits.as_strided(logits.shape, strides))


@LOSSES.register("wrong_autocast")
class WrongAutocast(Right):
    """A product that autocast computes in bf16."""

    def pixel_values(self, logits, target, valid):
        logits = torch.where(valid.unsqueeze(1), logits, 0.0)
        one_hot = F.one_hot(torch.where(valid, target, 0).long(), self.num_classes).movedim(-1, 1)
        log_p = logits.log_softmax(1)
        return -torch.einsum("nc...,nc...->n...", log_p, one_hot.to(log_p.dtype)).to(log_p.dtype)


@LOSSES.register("wrong_half")
class Half(Right):
    """Probabilities in the dtype of the logits, and then their logarithm."""

    def convert(self, logits):
        return logits.softmax(1).clamp_min(1e-3).log() if logits.itemsize == 2 else super().convert(logits)


# --------------------------------------------------------------------------------------- weight map and iteration


@LOSSES.register("wrong_map_of_ones")
class MapOfOnes(Right):
    """Adds the weight map to 1."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, None if weight is None else 1 + weight, iteration)


@LOSSES.register("wrong_zero_map")
class ZeroMap(Right):
    """Divides by the sum of the weight map."""

    def reduce(self, ce, valid, weight, iteration):
        if weight is None:
            return super().reduce(ce, valid, weight, iteration)
        weight = torch.where(valid, weight, 0.0)
        return (ce * weight).sum() / weight.sum()


@LOSSES.register("wrong_weight_at_ignored")
class WeightAtIgnored(Right):
    """Divides by the sum of a weight map, its ignored pixels included."""

    def reduce(self, ce, valid, weight, iteration):
        if weight is None:
            return super().reduce(ce, valid, weight, iteration)
        share = valid.sum() / valid.numel()
        return (ce * valid * weight).sum() / (weight.sum() * share).clamp_min(1e-6)


@LOSSES.register("wrong_remembers_latest")
class RemembersLatest(Right):
    """A schedule of the latest iteration ever seen."""

    latest = 0

    def reduce(self, ce, valid, weight, iteration):
        self.latest = max(self.latest, iteration)
        return super().reduce(ce, valid, weight, iteration) * (1.0 if self.latest < 10**6 else 0.5)


@LOSSES.register("wrong_beyond_the_end")
class BeyondTheEnd(Right):
    """A schedule that is defined only up to some iteration."""

    def reduce(self, ce, valid, weight, iteration):
        return super().reduce(ce, valid, weight, iteration) * (1 + math.sqrt(1 - iteration / 200_000))
