"""Which pixels are averaged and selected together: a batch on all its processes, each image, or a process's part."""

import pytest
import torch

from segkit.errors import ConfigError
from segkit.losses import cross_entropy, ohem_cross_entropy
from segkit.losses.sum import SumLoss, Term
from segkit.registry import LOSSES
from segkit.training.micro_batches import shares
from tests.losses import ranks
from tests.losses.cases import NAMES, accepts, build, make_batch, make_batch_for, scopes_of
from tests.paths import ROOT
from tests.processes import run_python


@pytest.fixture(scope="module")
def whole():
    """What one process finds that holds all images."""
    return ranks.run_whole()


@pytest.fixture(scope="session")
def saved(built_once):
    """The folder in which the processes have saved what they found."""

    def run(folder):
        done = run_python("-m", "tests.losses.ranks", folder, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    return built_once("ranks", run)


@pytest.fixture(scope="module", params=ranks.PARTS, ids="{} processes".format)
def parts(request, saved):
    """What each of several processes finds in its part of the images."""
    return [torch.load(saved / f"{request.param}-{rank}.pt") for rank in range(request.param)]


def cases(whole, parts):
    for key, expected in whole["losses"].items():
        yield key, expected, [part["losses"][key] for part in parts]


def test_the_selection_is_that_of_one_process(whole, parts):
    for key, expected, found in cases(whole, parts):
        if "kept" not in expected:
            continue
        # Weights follow from sums of losses, which are rounded; counts are not.
        tolerance = {"rtol": 1e-6, "atol": 1e-7} if key.startswith("loss max") else {"rtol": 0, "atol": 0}
        for name in ("kept", "count"):
            kept = torch.cat([part[name] for part in found])
            torch.testing.assert_close(kept, expected[name], **tolerance, msg=f"{key}: {name}")


def test_the_value_is_that_of_one_process(whole, parts):
    for key, expected, found in cases(whole, parts):
        mean = torch.stack([part["value"] for part in found]).mean()
        torch.testing.assert_close(mean, expected["value"], rtol=2e-6, atol=1e-7, msg=key)


def test_the_gradient_averaged_over_the_processes_is_that_of_one(whole, parts):
    for key, expected, found in cases(whole, parts):
        gradient = torch.cat([part["gradient"].double() for part in found]) / len(found)
        rtol = 2**-7 if expected["gradient"].dtype == torch.bfloat16 else 2e-6  # either side is rounded
        torch.testing.assert_close(gradient, expected["gradient"].double(), rtol=rtol, atol=1e-8, msg=key)


def test_what_is_reported_is_of_all_processes(whole, parts):
    for key, expected, found in cases(whole, parts):
        for part in found:
            assert part["report"].keys() == expected["report"].keys()
            for name, value in expected["report"].items():
                if not name.endswith("value"):  # of a term: this process's part of the sum
                    torch.testing.assert_close(part["report"][name], value, msg=f"{key}: {name}")
            if "denominator" in expected:
                torch.testing.assert_close(part["denominator"], expected["denominator"], msg=key)


def test_scope_rank_is_of_each_process_alone(parts):
    for rank, part in enumerate(parts):
        batch = ranks.part_of(ranks.make_whole(), rank, ranks.PARTS[len(parts)])
        alone = ohem_cross_entropy(batch.logits, batch.target, thresh=0.3, n_min=9)
        assert torch.equal(part["rank"], alone.detach())


def test_a_network_trains_on_several_processes_as_on_one(whole, parts):
    for part in parts:
        for name, gradient in whole["step"].items():
            torch.testing.assert_close(part["step"][name], gradient, rtol=1e-5, atol=1e-7)


def test_the_cases_are_ones_in_which_averaging_per_process_would_be_wrong(whole, parts):
    """Else the tests above would say nothing: per-process means of the same batch differ from the whole."""
    sizes = ranks.PARTS[len(parts)]
    batch = ranks.make_whole()
    for form in (cross_entropy, lambda z, t: ohem_cross_entropy(z, t, thresh=1e-3, n_min=37)):
        each = [ranks.part_of(batch, rank, sizes) for rank in range(len(sizes))]
        mean = torch.stack([form(part.logits, part.target) for part in each]).mean()
        assert abs(mean - form(batch.logits, batch.target)) > 1e-2


def test_one_process_alone_can_ask_for_pixels(parts):
    report = parts[0]["pixels"]
    batch = ranks.part_of(ranks.make_whole(), 0, ranks.PARTS[len(parts)])
    alone = build("ohem_ce").pixels(batch.logits, batch.target, iteration=0).kept
    assert torch.equal(report, alone)


@pytest.mark.parametrize("name", [name for name in NAMES if accepts(name, "scope")])
def test_rank_without_processes_is_batch(name):
    batch = make_batch_for(name, ignored=True)
    values = [
        build(name, scope=scope)(batch.logits, batch.target, batch.weight, iteration=30_000)
        for scope in ("batch", "rank")
    ]
    assert values[0][0].item() == values[1][0].item()
    assert values[0][1].keys() == values[1][1].keys()


# --------------------------------------------------------------------------------------------------------------- image


@pytest.mark.parametrize("name", [name for name in NAMES if "image" in scopes_of(name)])
def test_image_is_the_mean_over_the_images_that_have_a_valid_pixel(name):
    batch = make_batch_for(name, (4, 3, 5, 7), ignored=True)
    batch.target[2] = 255
    loss, alone = build(name, scope="image"), build(name)
    value, report = loss(batch.logits, batch.target, batch.weight, iteration=40_000)
    one_by_one = [
        alone(batch.logits[i : i + 1], batch.target[i : i + 1], batch.weight[i : i + 1], iteration=40_000)
        for i in (0, 1, 3)
    ]
    expected = torch.stack([value for value, _ in one_by_one]).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, batch.logits)[0] for v in (value, expected)))
    k = sum(alone_report["k"] for _, alone_report in one_by_one)
    torch.testing.assert_close(report["k"], k, rtol=1e-6 if k.is_floating_point() else 0, atol=0)
    kept = loss.pixels(batch.logits, batch.target, iteration=40_000).kept
    for i in range(4):
        part = alone.pixels(batch.logits[i : i + 1], batch.target[i : i + 1], iteration=40_000).kept
        torch.testing.assert_close(kept[i : i + 1], part)


def test_images_of_which_none_is_valid_give_0_connected():
    batch = make_batch()
    batch.target.fill_(255)
    value = ohem_cross_entropy(batch.logits, batch.target, scope="image")
    value.backward()
    assert value.item() == 0 and torch.equal(batch.logits.grad, torch.zeros_like(batch.logits))


def test_an_image_of_weight_0_counts_as_0():
    batch = make_batch()
    weight = torch.ones_like(batch.weight)
    weight[0] = 0
    value = cross_entropy(batch.logits, batch.target, weight, scope="image")
    torch.testing.assert_close(value, cross_entropy(batch.logits[1:], batch.target[1:]) / 2)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 9), (2, 4, 3, 2, 5)], ids=str)
def test_scope_image_takes_any_number_of_trailing_dimensions(shape):
    torch.manual_seed(0)
    logits, target = torch.randn(shape), torch.randint(0, 4, (shape[0], *shape[2:]))
    value = ohem_cross_entropy(logits, target, thresh=0.2, n_min=2, scope="image")
    each = [
        ohem_cross_entropy(z[None], t[None], thresh=0.2, n_min=2) for z, t in zip(logits, target, strict=True)
    ]
    torch.testing.assert_close(value, torch.stack(each).mean())


# ---------------------------------------------------------------------------------------------------------- at start-up


def test_n_min_is_compared_with_what_is_selected_together():
    run = {"iterations": 10, "pixels_per_batch": 1000, "images_per_batch": 10}
    build("ohem_ce", n_min=100).check_run(**run)
    with pytest.raises(ConfigError) as error:
        build("ohem_ce", n_min=100, scope="image").check_run(**run)
    assert str(error.value) == "ohem_ce keeps every pixel: n_min=100 but an image has 100 -> n_min: 1/16"


def test_the_scope_stands_on_the_console_unless_it_is_batch():
    run = {"iterations": 10, "pixels_per_batch": 1000, "images_per_batch": 10}
    assert build("ce").describe(**run) == "ce"
    assert build("ce", scope="image").describe(**run) == "ce  scope image"
    line = build("ohem_ce", scope="image").describe(**run)
    assert line == "ohem_ce  thresh 0.7  n_min 1/16 (= 6 of 100 pixels)  scope image"


# --------------------------------------------------------------------------------------------------------- accumulation


EXACT = [
    ("ce", {}),
    ("ce", {"class_weights": [0.5, 2.0, 1.0]}),
    ("ce", {"scope": "image"}),
    ("weighted_mask_ce", {}),
    ("weighted_mask_ce", {"normalize": "weights", "class_weights": [0.5, 2.0, 1.0]}),
    ("focal", {"alpha": [0.5, 2.0, 1.0]}),
    ("focal", {"scope": "image"}),
    ("bce", {"class_weights": [0.5, 2.0]}),
    ("pixel", {"reduction": "valid"}),
    ("boundary", {}),
    ("boundary", {"scope": "image", "only": [0]}),
]


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("name, options", EXACT, ids=str)
def test_micro_batches_weighed_by_their_denominators_are_the_whole_batch(name, options, soft):
    batch = make_batch_for(name, (5, 3, 4, 3), (4, 3), ignored=True)
    batch.target[3] = 255
    target = batch.target
    if soft:
        num_classes = 2 if name == "bce" else 3
        hot = torch.nn.functional.one_hot(target.clamp_max(3), 4)[..., :num_classes]
        target = hot.movedim(-1, 1).float()
    loss = build(name, **options)
    expected, _ = loss(batch.logits, target, batch.weight, iteration=0)
    total, denominators = 0, []
    for images in (slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5)):
        weight = loss.denominator(target[images], batch.weight[images])
        assert weight.shape == () and not weight.requires_grad
        denominators.append(weight)
        total = (
            total + weight * loss(batch.logits[images], target[images], batch.weight[images], iteration=0)[0]
        )
    total = total / sum(denominators)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, batch.logits)[0] for v in (total, expected)))


def test_the_denominator_of_a_mined_loss_is_its_valid_pixels():
    batch = make_batch(ignored=True)
    n_valid = (batch.target != 255).sum()
    for name in ("ohem_ce", "bootstrapped_ce"):
        assert LOSSES.get(name)(num_classes=3).denominator(batch.target, batch.weight) == n_valid


def build_sum(terms):
    """The sum that a configuration would have written so, for three classes."""
    built = []
    for number, block in enumerate(terms):
        options = {key: value for key, value in block.items() if key not in ("name", "weight", "terms")}
        loss = build_sum(block["terms"]) if "terms" in block else build(block["name"], **options)
        built.append(Term(str(number), loss, block.get("weight", 1.0)))
    return SumLoss(built, 3)


SUMS = [
    [{"name": "ce", "class_weights": [0.5, 2.0, 1.0]}],
    [{"name": "weighted_mask_ce"}, {"name": "focal", "weight": 0.5}, {"name": "ce", "scope": "image"}],
    [{"name": "ce"}, {"name": "sum", "terms": [{"name": "weighted_mask_ce"}, {"name": "poly_ce"}]}],
]


@pytest.mark.parametrize("terms", SUMS, ids=["one", "several", "a sum in a sum"])
def test_each_term_of_a_sum_weighs_micro_batches_by_its_own_denominator(terms):
    batch = make_batch((5, 3, 4, 3), (4, 3), ignored=True)
    batch.target[3] = 255
    loss = build_sum(terms)
    expected, _ = loss(batch.logits, batch.target, batch.weight, iteration=0)
    cuts = (slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5))
    each = [{"target": batch.target[cut], "weight": batch.weight[cut]} for cut in cuts]
    parts = [
        loss(batch.logits[cut], part["target"], part["weight"], iteration=0, shares=share)[0]
        for cut, part, share in zip(cuts, each, shares(loss, each), strict=True)
    ]
    total = torch.stack(parts).sum()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, batch.logits)[0] for v in (total, expected)))


@pytest.mark.parametrize("name", ["dice", "lovasz", "mcc", "rmi", "unified_focal"])
@pytest.mark.parametrize("left_out", ["labels", "weights"])
def test_a_micro_batch_without_anything_to_compare_does_not_count_for_a_region_loss(name, left_out):
    batch = make_batch((4, 3, 4, 3), (4, 3), ignored=True)
    loss = build(name, **({"pool": 1} if name == "rmi" else {}))
    if left_out == "labels":
        batch.target[2:] = 255
    else:
        batch.weight[2:] = 0
    cuts = (slice(0, 2), slice(2, 4))
    each = [{"target": batch.target[cut], "weight": batch.weight[cut]} for cut in cuts]
    assert [float(share) for share in shares(loss, each)] == [1.0, 0.0]
    assert [float(share) for share in shares(loss, [each[0], each[0]])] == [0.5, 0.5]
    assert [float(share) for share in shares(loss, [each[1], each[1]])] == [0.0, 0.0]
