"""Any criterion with any selection, reduction, scope and weight map, composed by `pixel`, against the loops."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import Selected, Selection, binary_cross_entropy, cross_entropy, focal_loss
from segkit.losses.common.pixel_loss import PixelLoss
from segkit.losses.common.reduction import selected_mean
from segkit.losses.criteria.cross_entropy import CrossEntropy
from segkit.losses.pixel import pixel
from segkit.losses.regions.dice import dice
from segkit.losses.regions.lovasz import lovasz
from segkit.losses.selections.top_share import TopShare
from segkit.registry import CRITERIA, SELECTIONS
from tests.losses import reference
from tests.losses.cases import make_batch

WEIGHTS = [0.5, 2.0, 0.25]

#: block, class weights of the reference, criterion of the reference
CRITERION_BLOCKS = {
    "ce": ({"name": "ce"}, None, None),
    "weighted ce": ({"name": "ce", "class_weights": WEIGHTS}, WEIGHTS, None),
    "bce": ({"name": "bce", "class_weights": WEIGHTS[:2]}, WEIGHTS[:2], None),
    "focal": ({"name": "focal", "gamma": 1.5}, None, 1.5),
    "weighted focal": ({"name": "focal", "gamma": 0.5, "alpha": WEIGHTS}, WEIGHTS, 0.5),
}
SELECTION_BLOCKS = [
    {"name": "all"},
    {"name": "top_share", "share": 0.3},
    {"name": "top_k", "k": 9},
    {"name": "ohem", "thresh": 0.3, "n_min": 7},
]


def compose(criterion, selection, **options):
    num_classes = 2 if criterion["name"] == "bce" else 3
    return pixel(num_classes, criterion=criterion, selection=selection, **options)


def make_composed_batch(criterion, shape=(3, 3, 4, 5), size=(4, 5), **options):
    """Logits that fit the criterion; the second image has no valid pixel, the third only a few."""
    batch = make_batch(shape, size, ignored=True, **options)
    if criterion["name"] == "bce":
        batch.target[batch.target == 2] = 1
        batch.logits = batch.logits[:, :1].detach().requires_grad_()
    batch.target[1] = 255
    batch.target[2, 1:] = 255
    return batch


@pytest.mark.parametrize("scope", ["batch", "image"])
@pytest.mark.parametrize("reduction", ["valid", "selected", "weights"])
@pytest.mark.parametrize("selection", SELECTION_BLOCKS, ids=lambda block: block["name"])
@pytest.mark.parametrize("criterion", CRITERION_BLOCKS)
def test_any_composition_equals_the_loops(criterion, selection, reduction, scope):
    block, class_weights, gamma = CRITERION_BLOCKS[criterion]
    loss = compose(block, selection, reduction=reduction, scope=scope)
    select = reference.SELECTIONS[selection["name"]](**{k: v for k, v in selection.items() if k != "name"})
    for with_map, size in itertools.product((False, True), ((4, 5), (8, 9))):
        batch = make_composed_batch(block, size=size, seed=size[0])
        if size != (4, 5):  # beyond the outermost logits resized pixels of a class tie up to rounding
            batch.weight = (1 + (3 * torch.arange(3).view(-1, 1, 1) + 5 * batch.target) % 7) / 8
        weight = batch.weight if with_map else None
        rule = reference.composed_rule(
            select, reduction=reduction, scope=scope, class_weights=class_weights, weight=weight
        )
        options = {} if gamma is None else {"criterion": reference.focal_criterion(gamma)}
        expected, gradient = reference.value_and_gradient(batch.logits, batch.target, rule, **options)
        value, _ = loss(batch.logits, batch.target, weight, iteration=0)
        value.backward()
        assert value.item() == pytest.approx(expected, rel=3e-6, abs=1e-7), (with_map, size)
        torch.testing.assert_close(batch.logits.grad.double(), gradient, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("selection", SELECTION_BLOCKS, ids=lambda block: block["name"])
@pytest.mark.parametrize("criterion", CRITERION_BLOCKS)
@pytest.mark.parametrize("soft", [False, True])
def test_gradcheck(criterion, selection, soft):
    block, _, _ = CRITERION_BLOCKS[criterion]
    batch = make_composed_batch(block, (3, 3, 2, 3), (4, 5), dtype=torch.float64)
    target = batch.target
    if soft:
        target = torch.rand(3, 2 if block["name"] == "bce" else 3, 4, 5, dtype=torch.float64)
        target[:, :, 1] = 0
    loss = compose(block, selection, reduction="weights")
    assert torch.autograd.gradcheck(
        lambda z: loss(z, target, batch.weight, iteration=0)[0], (batch.logits,), fast_mode=True
    )


@pytest.mark.parametrize("selection", SELECTION_BLOCKS, ids=lambda block: block["name"])
@pytest.mark.parametrize("criterion", CRITERION_BLOCKS)
def test_one_hot_labels_equal_hard_labels(criterion, selection):
    block, _, _ = CRITERION_BLOCKS[criterion]
    batch = make_composed_batch(block)
    num_classes = 2 if block["name"] == "bce" else 3
    one_hot = F.one_hot(batch.target.clamp_max(3), 4)[..., :num_classes].movedim(-1, 1).float()
    for scope in ("batch", "image"):
        loss = compose(block, selection, scope=scope)
        hard, hard_values = loss(batch.logits, batch.target, batch.weight, iteration=0)
        soft, soft_values = loss(batch.logits, one_hot, batch.weight, iteration=0)
        torch.testing.assert_close(soft, hard)
        for key in hard_values:
            torch.testing.assert_close(soft_values[key], hard_values[key])
        gradients = [torch.autograd.grad(value, batch.logits)[0] for value in (hard, soft)]
        torch.testing.assert_close(*gradients)


def test_the_bare_name_is_ce():
    batch = make_batch(ignored=True)
    loss, _ = pixel(3)(batch.logits, batch.target, iteration=0)
    assert loss.item() == cross_entropy(batch.logits, batch.target).item()


def test_what_a_selection_ranks_is_plain_ce_whatever_the_criterion():
    batch = make_batch(ignored=True)
    kept = [
        pixel(3, criterion=block, selection={"name": "top_share", "share": 0.3})
        .pixels(batch.logits, batch.target, iteration=0)
        .kept
        for block in (
            {"name": "ce"},
            {"name": "ce", "class_weights": [9.0, 0.0, 1.0], "label_smoothing": 0.3},
            {"name": "focal", "gamma": 4.0, "alpha": [9.0, 0.0, 1.0]},
        )
    ]
    assert torch.equal(kept[0], kept[1]) and torch.equal(kept[0], kept[2])


# ----------------------------------------------------------------------------------------------------------- one logit


def one_logit(ignored=True, dtype=torch.float32):
    batch = make_batch((2, 2, 5, 7), (5, 7), ignored=ignored, dtype=dtype)
    batch.logits = batch.logits[:, :1].detach().requires_grad_()
    return batch


def test_bce_is_torchs_binary_cross_entropy():
    batch = one_logit()
    valid = batch.target != 255
    ours = binary_cross_entropy(batch.logits, batch.target)
    torchs = F.binary_cross_entropy_with_logits(batch.logits[:, 0][valid], batch.target[valid].float())
    torch.testing.assert_close(ours, torchs)
    torch.testing.assert_close(*(torch.autograd.grad(value, batch.logits)[0] for value in (ours, torchs)))


@pytest.mark.parametrize("selection", SELECTION_BLOCKS, ids=lambda block: block["name"])
def test_sigmoid_and_softmax_forms_agree(selection):
    """Two logits whose difference is the one; with weights, smoothing and every selection."""
    batch = one_logit()
    two = torch.cat([1.5 * torch.ones_like(batch.logits), batch.logits + 1.5], dim=1)
    options = {"class_weights": [0.5, 2.0], "label_smoothing": 0.1}
    values, reports = zip(
        *(
            pixel(2, criterion={"name": name, **options}, selection=selection)(
                logits, batch.target, batch.weight, iteration=0
            )
            for name, logits in (("bce", batch.logits), ("ce", two))
        ),
        strict=True,
    )
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value, batch.logits)[0] for value in values))
    for key in reports[0]:
        torch.testing.assert_close(reports[0][key], reports[1][key])


def test_one_logit_is_announced_to_whoever_builds_the_model():
    assert pixel(2, criterion={"name": "bce"}).logits_channels == 1
    assert not hasattr(pixel(2), "logits_channels")


@pytest.mark.parametrize(
    "logits, target, message",
    [
        (
            torch.zeros(2, 2, 4),
            torch.zeros(2, 4, dtype=torch.int64),
            "logits (2, 2, 4) must have one channel in dimension 1, for class 1",
        ),
        (
            torch.zeros(2, 1, 4),
            torch.zeros(2, 1, 4),
            "soft labels of two classes are (N, 2, ...), one for class 0 and one for class 1, but the target has "
            "shape (2, 1, 4); class ids must be integers: target.long()",
        ),
        (torch.zeros(3), torch.zeros(3), "logits must be floating point (N, C, ...), got torch.float32 (3,)"),
        (
            torch.zeros(2, 1, 4),
            torch.full((2, 4), 2),
            "label out of range: the target has ids 2 but the logits have 2 classes (0-1), ignore_index 255",
        ),
    ],
)
def test_what_bce_refuses(logits, target, message):
    with pytest.raises(ValueError) as error:
        binary_cross_entropy(logits, target)
    assert str(error.value) == message


def test_one_logit_cannot_tell_three_classes_apart():
    with pytest.raises(ValueError) as error:
        CRITERIA.get("bce")(num_classes=3)
    assert str(error.value) == "one logit tells two classes apart, but there are 3: use ce"


# --------------------------------------------------------------------------------------------------------------- focal


def test_a_gamma_of_0_is_cross_entropy_to_the_bit():
    batch = make_batch(ignored=True)
    focal, ce = focal_loss(batch.logits, batch.target, gamma=0.0), cross_entropy(batch.logits, batch.target)
    assert focal.item() == ce.item()
    assert torch.equal(*(torch.autograd.grad(value, batch.logits)[0] for value in (focal, ce)))


def test_an_alpha_of_one_number_is_that_of_class_1():
    batch = make_batch((2, 2, 5, 7), ignored=True)
    block = {"name": "focal", "alpha": 0.25}
    one, _ = pixel(2, criterion=block)(batch.logits, batch.target, iteration=0)
    both, _ = pixel(2, criterion=block | {"alpha": [0.75, 0.25]})(batch.logits, batch.target, iteration=0)
    assert one.item() == both.item()


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_saturated_probabilities_have_a_finite_gradient(gamma, soft):
    """The slope of x^gamma at 0 is infinite for gamma < 1; and a label of 0 may meet a probability of 0."""
    logits = torch.tensor([[200.0, 0.0, -torch.inf], [0.0, 200.0, -torch.inf]], requires_grad=True)
    target = torch.tensor([0, 1])
    loss = focal_loss(logits, F.one_hot(target, 3).float() if soft else target, gamma=gamma)
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"gamma": -1.0}, "gamma must be a number >= 0, got -1.0"),
        ({"gamma": float("nan")}, "gamma must be a number >= 0, got nan"),
        ({"alpha": 0.5}, "alpha must be a list of 3 numbers, one per class, got 0.5"),
        ({"alpha": [1.0, 2.0]}, "alpha has 2 values but there are 3 classes"),
        ({"alpha": [1.0, 2.0, -1.0]}, "alpha must be finite numbers >= 0, got [1.0, 2.0, -1.0]"),
    ],
)
def test_options_of_focal_out_of_range(options, message):
    with pytest.raises(ValueError) as error:
        CRITERIA.get("focal")(num_classes=3, **options)
    assert str(error.value) == message


def test_alpha_of_two_classes_out_of_range():
    with pytest.raises(ValueError, match=r"^alpha must be in \[0, 1\], got 1.5$"):
        CRITERIA.get("focal")(num_classes=2, alpha=1.5)


# ----------------------------------------------------------------------------------------------------- parts of a user


class EverySecond(Selection):
    """A selection that needs nothing but the call."""

    def __call__(self, ce, valid, *, iteration=None, scope=None):
        share = valid.float()
        share.view(-1)[1::2] = 0
        return Selected(share, scope.sum(share > 0))


def test_a_selection_of_ones_own_composes_and_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr(SELECTIONS, "_constructors", {"every_second": EverySecond})
    batch = make_batch()
    loss = pixel(3, selection={"name": "every_second"})
    value, report = loss(batch.logits, batch.target, iteration=0)
    ce = F.cross_entropy(batch.logits, batch.target, reduction="none").flatten()
    torch.testing.assert_close(value, ce[::2].mean())
    assert report["k"].item() == 35
    loss.check_run(iterations=1, pixels_per_batch=1)
    assert loss.describe(iterations=1, pixels_per_batch=70) == "pixel  reduction selected"


def test_a_part_of_ones_own_that_lacks_what_is_asked_of_all_is_told_what():
    class Bare(torch.nn.Module): ...

    def pixel_loss(criterion, selection):
        return PixelLoss(criterion, selection, selected_mean)

    with pytest.raises(
        ValueError, match=r"^the criterion Bare has no ignore_index, describe -> derive it from segk"
    ):
        pixel_loss(Bare(), TopShare())
    with pytest.raises(
        ValueError, match=r"^the selection Bare has no values_at, describe, find_inactive -> derive "
    ):
        pixel_loss(CrossEntropy(3), Bare())


@pytest.mark.parametrize("registry", [CRITERIA, SELECTIONS], ids=lambda registry: registry.kind)
def test_every_part_has_a_line_of_documentation_and_one_on_the_console(registry):
    options = {"top_k": {"k": 5}, "logit_adjusted_ce": {"priors": [2.0, 1.0]}}
    for name in registry.names():
        constructor = registry.get(name)
        assert constructor.__doc__.splitlines()[0].endswith("."), name
        given = {"num_classes": 2, "ignore_index": 255} if registry is CRITERIA else {}
        part = constructor(**given, **options.get(name, {}))
        line = part.describe() if registry is CRITERIA else part.describe(iterations=10, pixels=1000)
        assert "\n" not in line


def test_an_unknown_reduction_or_scope():
    with pytest.raises(
        ValueError, match=r"^reduction must be one of valid, selected, weights, recall, got 'mean'$"
    ):
        pixel(3, reduction="mean")
    with pytest.raises(ValueError, match=r"^scope must be one of batch, image, rank, global, got 'pixels'$"):
        pixel(3, scope="pixels")
    for region_loss in (dice, lovasz):  # the regions of single images would be another loss
        with pytest.raises(ValueError, match=r"^scope must be one of batch, rank, got 'image'$"):
            region_loss(3, scope="image")
