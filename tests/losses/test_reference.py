"""The references agree with each other, with torch and with published numbers."""

import pytest
import torch
import torch.nn.functional as F

from segkit.losses import cross_entropy
from tests.losses import reference

FORMS = [
    reference.numpy_ce,
    reference.gather_ce,
    reference.log_sum_exp_ce,
    F.cross_entropy,
    cross_entropy,
]

PUBLISHED = [
    (
        [
            [0.2870, 0.2232, 0.6423, 0.6035],
            [0.4180, 0.9434, 0.6034, 0.5521],
            [0.0026, 0.4993, 0.7166, 0.2258],
        ],
        [0, 2, 1],
        1.4238,
        None,
    ),
    (
        [
            [1.1785, -0.0969, 0.5756, -1.2113, -0.1120],
            [-0.5199, -0.8051, 1.0953, 0.1480, 0.2879],
            [2.3401, 0.6403, 1.4306, 0.0982, -0.7363],
        ],
        [4, 3, 1],
        2.0187,
        [
            [0.1520, 0.0424, 0.0832, 0.0139, -0.2915],
            [0.0304, 0.0228, 0.1528, -0.2741, 0.0681],
            [0.1918, -0.2983, 0.0772, 0.0204, 0.0088],
        ],
    ),
]


@pytest.mark.parametrize("form", [*FORMS, reference.loops_ce], ids=lambda form: form.__name__)
@pytest.mark.parametrize("logits, target, value, gradient", PUBLISHED, ids=["1.4238", "2.0187"])
def test_published_constants(form, logits, target, value, gradient):
    logits = torch.tensor(logits, requires_grad=True)
    loss = form(logits, torch.tensor(target))
    loss.backward()
    assert loss.item() == pytest.approx(value, abs=6e-5)
    if gradient is not None:
        torch.testing.assert_close(logits.grad, torch.tensor(gradient), rtol=0, atol=6e-5)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_forms_equal_the_loops(form):
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 4, (2, 3, 5))
    value, gradient = reference.value_and_gradient(logits, target, reference.ce_rule())
    loss = form(logits, target)
    loss.backward()
    torch.testing.assert_close(loss.item(), value)
    torch.testing.assert_close(logits.grad, gradient)


@pytest.mark.parametrize(
    "size, new_size", [((2, 3), (5, 7)), ((1, 1), (3, 2)), ((4, 6), (3, 2)), ((3, 5), (3, 9))]
)
def test_loops_resize_like_torch(size, new_size):
    torch.manual_seed(0)
    image = torch.randn(size, dtype=torch.float64)
    rows, columns = reference.taps(size[0], new_size[0]), reference.taps(size[1], new_size[1])
    resized = torch.tensor(
        [[sum(a * b * image[r, c].item() for r, a in ys for c, b in xs) for xs in columns] for ys in rows],
        dtype=torch.float64,
    )
    expected = F.interpolate(image[None, None], new_size, mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(resized, expected)


def test_class_weights_and_ignored_pixels_of_the_loops_are_those_of_torch():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 3, 4))
    target[0, 1] = 255
    weights = [0.5, 2.0, 0.25]
    value, gradient = reference.value_and_gradient(logits, target, reference.ce_rule(weights))
    expected = F.cross_entropy(logits, target, weight=torch.tensor(weights).double(), ignore_index=255)
    expected.backward()
    torch.testing.assert_close(value, expected.item())
    torch.testing.assert_close(gradient, logits.grad)


def test_ohem_and_topk_by_sorting_equal_the_loops():
    torch.manual_seed(0)
    logits = 2 * torch.randn(2, 3, 4, 5, dtype=torch.float64)
    target = torch.randint(0, 3, (2, 4, 5))
    target[1, :2] = 255
    for thresh, n_min in [(0.7, 5), (0.2, 5), (0.05, 12), (0.5, 1000)]:
        rule = reference.ohem_rule(thresh, lambda n_valid, n_min=n_min: n_min)
        value, _ = reference.value_and_gradient(logits, target, rule)
        torch.testing.assert_close(reference.full_sort_ohem(logits, target, thresh, n_min).item(), value)
    for share in (0.001, 0.15, 0.5, 1.0):
        value, _ = reference.value_and_gradient(logits, target, reference.bootstrapped_rule(share))
        torch.testing.assert_close(reference.topk_mean(logits, target, share).item(), value)
