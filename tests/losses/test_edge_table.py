"""Every edge of the losses, for every registered loss x scope x dtype: a new loss is covered by being registered."""

import pytest
import torch

from tests.losses.cases import (
    NAMES,
    PLACED,
    accepts,
    build,
    classes_of,
    make_batch,
    make_batch_for,
    scopes_of,
)

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
#: So late that every schedule has ended.
LATE = 10**6


def variants():
    """(name, options) of every loss, in every scope it has, and with every way to average classes."""
    for name in NAMES:
        yield name, {}
        scopes = [scope for scope in ("image", "rank") if scope in scopes_of(name)]
        for key, values in {"scope": scopes, "classes": ("all",)}.items():
            if accepts(name, key):
                yield from ((name, {key: value}) for value in values)


VARIANTS = list(variants())
#: Losses that never let a pixel be too sure: of one that is, or of neighbours that are, they are not 0.
KEEPING_UNSURE = ("margin_smoothing_ce", "spatial_smoothing_ce")
every_loss = pytest.mark.parametrize("name, options", VARIANTS, ids=str)
#: Those for which an image is a list of pixels, wherever they lie.
LISTS = [v for v in VARIANTS if v[0] not in PLACED]
every_loss_of_lists = pytest.mark.parametrize("name, options", LISTS, ids=str)
#: Those of them whose value depends on all pixels alike, in whichever image they are.
every_pooled_loss = pytest.mark.parametrize(
    "name, options", [v for v in LISTS if v[1].get("scope") != "image"], ids=str
)
every_dtype, half_precision = (
    pytest.mark.parametrize("dtype", dtypes, ids=lambda dtype: str(dtype).removeprefix("torch."))
    for dtypes in (DTYPES, DTYPES[1:])
)


def run(name, options, batch, weight="its own"):
    """The loss, what it reports, and the gradient it leaves at the logits."""
    weight = batch.weight if isinstance(weight, str) else weight
    loss, report = build(name, classes_of(name, batch.logits.shape[1]), **options)(
        batch.logits, batch.target, weight, iteration=LATE
    )
    return loss, report, torch.autograd.grad(loss, batch.logits)[0]


def put(batch, place, logits):
    with torch.no_grad():
        batch.logits[place] = logits


@every_dtype
@every_loss
def test_no_valid_pixel(name, options, dtype):
    for shape in ((2, 3, 5, 7), (2, 3, 2, 3), (2, 2, 5, 7)):
        batch = make_batch_for(name, shape, dtype=dtype)
        batch.target.fill_(255)
        loss, report, gradient = run(name, options, batch)
        assert loss.item() == 0 and loss.dtype == torch.float32
        assert gradient.dtype == dtype and torch.equal(gradient, torch.zeros_like(gradient))
        fractions = [v for key, v in report.items() if key.endswith("ignored_fraction")]
        assert fractions and all(float(fraction) == 1 for fraction in fractions)
        assert all(torch.as_tensor(value).isfinite().all() for value in report.values())


@every_dtype
@every_pooled_loss
def test_only_the_valid_pixels_count(name, options, dtype):
    """One valid pixel, hard or easy; 90 % ignored; fewer than n_min: as if the others did not exist.

    (Per image: see test_image_is_the_mean_over_the_images_that_have_a_valid_pixel.)
    """
    torch.manual_seed(0)
    for n_valid in (1, 2, 7, 35, 70):
        batch = make_batch_for(name, dtype=dtype, seed=n_valid)
        chosen = torch.randperm(70)[:n_valid]
        ids = batch.target.flatten()[chosen]
        batch.target = torch.full((70,), 255).scatter(0, chosen, ids).view(2, 5, 7)
        loss, _, gradient = run(name, options, batch)
        alone = batch.logits.detach().movedim(1, -1).flatten(0, 2)[chosen].requires_grad_()
        expected, _ = build(name, **options)(alone, ids, batch.weight.flatten()[chosen], iteration=LATE)
        expected.backward()
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        flat = gradient.movedim(1, -1).flatten(0, 2)
        tolerance = {} if dtype == torch.float32 else {"rtol": 2 * torch.finfo(dtype).eps, "atol": 1e-5}
        torch.testing.assert_close(flat[chosen], alone.grad, **tolerance)
        assert flat.abs().sum().isclose(flat[chosen].abs().sum())


@every_dtype
@every_loss
def test_one_easy_valid_pixel(name, options, dtype):
    batch = make_batch_for(name, dtype=dtype)
    batch.target.fill_(255)
    batch.target[1, 2, 3] = 1
    put(batch, (1, slice(None), 2, 3), torch.tensor([30.0] if name == "bce" else [0.0, 30.0, 0.0]))
    loss, report, gradient = run(name, options, batch, torch.ones_like(batch.weight))
    at_most = 5 if name == "margin_smoothing_ce" else 0.4  # absent classes count in `classes: all`
    assert 0 <= loss.item() < at_most and gradient.isfinite().all()
    if "k" in report:
        assert report["k"] == 1 and report["kept_fraction"] == 1


@every_dtype
@every_loss
def test_saturated_probabilities(name, options, dtype):
    """Every true class has a probability of exactly 1: an overfitted batch, in which all pixels tie."""
    batch = make_batch_for(name, dtype=dtype)
    if name == "bce":
        logits = 400.0 * (batch.target.unsqueeze(1) == 1) - 200
    else:
        logits = 200.0 * (batch.target.unsqueeze(1) == torch.arange(3).view(1, 3, 1, 1))
    batch.logits = logits.to(dtype).requires_grad_()
    loss, report, gradient = run(name, options, batch, torch.ones_like(batch.weight))
    if name in KEEPING_UNSURE:
        assert loss.isfinite() and gradient.isfinite().all()
    else:
        assert loss.item() == 0 and torch.equal(gradient, torch.zeros_like(gradient))
    if "k" in report:
        assert report["k"] >= 1 and report["threshold"] == 1 and report["kept_wrong"] == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@every_dtype
@every_loss
def test_a_bad_logit_is_never_hidden(name, options, dtype, bad):
    """Wherever it is: hard or easy pixel, kept or not, and even if the weight map is 0."""
    for weight in (None, 1.0, 0.0):
        for low_resolution in (False, True):
            batch = make_batch_for(name, (2, 3, 2, 3) if low_resolution else (2, 3, 5, 7), dtype=dtype)
            put(batch, (0, 0, 1, 1), bad)
            if weight is None and name in ("weighted_mask_ce",):
                continue
            batch.target[0] = 0
            mapped = None if weight is None else torch.full_like(batch.weight, weight)
            if name == "bce" and bad == float("inf"):
                continue  # certain of class 1, which is no number to refuse: the loss is inf or 0
            loss, _, _ = run(name, options, batch, mapped)
            assert not loss.isfinite(), (weight, low_resolution)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_bad_single_logit_on_the_wrong_side_is_never_hidden(bad, weight):
    batch = make_batch_for("bce")
    batch.target[0] = 0 if bad > 0 else 1
    put(batch, (0, 0, 1, 1), bad)
    loss, _, _ = run("bce", {}, batch, torch.full_like(batch.weight, weight))
    assert not loss.isfinite()


@every_loss
def test_the_logits_and_weights_of_ignored_pixels_do_not_matter(name, options):
    batch = make_batch_for(name, ignored=True)
    expected, _, gradient = run(name, options, batch)
    ignored = (batch.target == 255).unsqueeze(1).expand_as(batch.logits)
    assert ignored.any() and (gradient[ignored] == 0).all() and gradient[~ignored].abs().sum() > 0
    for bad in (float("nan"), float("inf"), 1e30):
        batch.logits = batch.logits.detach().masked_fill(ignored, bad).requires_grad_()
        loss, _, spoilt = run(name, options, batch, batch.weight.masked_fill(batch.target == 255, bad))
        assert loss.item() == expected.item() and torch.equal(spoilt, gradient)


@every_loss
def test_a_map_that_is_0_on_every_valid_pixel(name, options):
    batch = make_batch_for(name, ignored=True)
    batch.weight = (batch.target == 255).float()
    loss, _, gradient = run(name, options, batch)
    assert loss.item() == 0 and torch.equal(gradient, torch.zeros_like(gradient))


@every_dtype
@every_loss_of_lists
def test_order_does_not_matter_where_pixels_tie(name, options, dtype):
    batch = make_batch_for(name, ignored=True)
    batch.logits = batch.logits.detach().round().to(dtype).requires_grad_()
    weight = torch.ones_like(batch.weight)
    expected, _, gradient = run(name, options, batch, weight)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(0))
    permuted = [x.detach().flatten(-2)[..., order].view(x.shape) for x in (batch.logits, batch.target)]
    batch.logits, batch.target = permuted[0].requires_grad_(), permuted[1]
    loss, _, moved = run(name, options, batch, weight)
    torch.testing.assert_close(loss, expected)
    rtol = 2e-5 if dtype == torch.float32 else 2 * torch.finfo(dtype).eps
    back = gradient.flatten(-2)[..., order].view(gradient.shape)
    torch.testing.assert_close(moved, back, rtol=rtol, atol=1e-6)


SIZES = {
    "odd": ((2, 3, 5, 7), (5, 7)),
    "two classes": ((1, 2, 6, 4), (6, 4)),
    "1x1": ((2, 4, 1, 1), (1, 1)),
    "one pixel": ((1, 2, 1, 1), (1, 1)),
    "stride 4": ((1, 3, 2, 2), (8, 8)),
    "odd stride": ((2, 3, 2, 3), (7, 8)),
    "from 1x1": ((1, 3, 1, 1), (4, 5)),
}


@pytest.mark.parametrize("size", SIZES)
@half_precision
@every_loss
def test_half_precision_logits_give_the_value_of_fp32(name, options, dtype, size):
    """At any size, with ignored regions and weights: logits are converted first."""
    batch = make_batch_for(name, *SIZES[size], dtype=dtype, ignored=True)
    loss, _, gradient = run(name, options, batch, batch.weight)
    batch.logits = batch.logits.detach().float().requires_grad_()
    expected, _, exact = run(name, options, batch, batch.weight)
    assert loss.item() == expected.item() and loss.isfinite()
    assert torch.equal(gradient, exact.to(dtype))


@every_pooled_loss  # a list of pixels has one pixel per image
def test_volumes_and_lists_of_pixels(name, options):
    batch = make_batch_for(name, (2, 3, 6, 4), (6, 4), ignored=True)
    expected, _, _ = run(name, options, batch)
    loss = build(name, **options)
    volume, _ = loss(
        batch.logits.unflatten(2, (3, 2)),
        batch.target.unflatten(1, (3, 2)),
        batch.weight.unflatten(1, (3, 2)),
        iteration=LATE,
    )
    pixels, _ = loss(
        batch.logits.movedim(1, -1).flatten(0, 2),
        batch.target.flatten(),
        batch.weight.flatten(),
        iteration=LATE,
    )
    torch.testing.assert_close(volume, expected)
    torch.testing.assert_close(pixels, expected)


@every_loss
def test_autocast_changes_nothing(name, options):
    batch = make_batch_for(name, (2, 3, 2, 3), (7, 8), ignored=True)
    expected, _, gradient = run(name, options, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _, inside = run(name, options, batch)
    assert loss.item() == expected.item() and torch.equal(inside, gradient)


@every_loss
def test_nothing_makes_the_host_wait_for_the_device(name, options):
    """Tensors on the meta device have no values: reading one, or indexing by a mask, raises."""
    channels = 1 if name == "bce" else 3
    logits = torch.randn(2, channels, 4, 4, device="meta", requires_grad=True)
    target = torch.zeros(2, 8, 8, dtype=torch.uint8, device="meta")
    weight = torch.ones(2, 8, 8, device="meta")
    loss = build(name, **options).to("meta")
    value, report = loss(logits, target, weight, iteration=LATE)
    value.backward()
    loss.pixels(logits, target, weight, iteration=LATE)
    if hasattr(loss, "denominator"):
        parts = loss.denominator(target, weight)  # of a sum, those of its terms
        assert all(part.is_meta for part in (parts if isinstance(parts, tuple) else (parts,)))
    assert value.shape == () and logits.grad.shape == logits.shape
    for key, entry in report.items():
        assert isinstance(entry, float) or entry.is_meta, key


@every_loss
def test_any_memory_layout_and_integer_dtype(name, options):
    batch = make_batch_for(name, (2, 3, 6, 7), (6, 7), ignored=True)
    expected, _, gradient = run(name, options, batch)
    batch.target = batch.target.to(torch.uint8).mT.contiguous().mT
    batch.weight = batch.weight.repeat_interleave(2, dim=-1)[..., ::2]
    padded = torch.full((2, batch.logits.shape[1] + 2, 9, 9), 7.0)
    padded[:, 1:-1, 2:8, 1:8] = batch.logits.detach()
    last = batch.logits.detach().contiguous(memory_format=torch.channels_last)
    for logits in (last, padded[:, 1:-1, 2:8, 1:8]):
        batch.logits = logits.requires_grad_()
        loss, _, slope = run(name, options, batch)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(slope, gradient)


def test_the_table_covers_every_scope_of_every_pixel_loss():
    scoped = {name for name, options in VARIANTS if options.get("scope") == "image"}
    assert scoped >= {"ce", "weighted_mask_ce", "bootstrapped_ce", "ohem_ce", "bce", "focal", "pixel"}
    assert make_batch().logits.shape == make_batch_for("ce").logits.shape
