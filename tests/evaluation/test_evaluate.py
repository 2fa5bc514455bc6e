"""The yardstick: `evaluate` against a loop over all pixels in float64, and its behaviour when things go wrong."""

import math

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from segkit.evaluation.evaluate import Evaluation, evaluate
from segkit.evaluation.objects.meter import ObjectMeter

CPU = torch.device("cpu")
CLASSES, IGNORE = 3, 255


class Net(nn.Module):
    """Logits at a stride of its own, as a tensor or as torchvision's dict, in a dtype of its own."""

    def __init__(self, *, stride: int = 1, as_dict: bool = False, dtype: torch.dtype = torch.float32):
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, CLASSES, 3, stride=stride, padding=1)
        nn.init.normal_(self.conv.weight, std=2.0)
        self.as_dict, self.dtype = as_dict, dtype

    def forward(self, image):
        logits = self.conv(image).to(self.dtype)
        return {"out": logits, "aux": -logits} if self.as_dict else logits


def forward_of(model):
    return lambda image: model(image.float() / 255)


def batch(number: int, *, size: int = 2, height: int = 6, width: int = 7) -> dict:
    generator = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (size, 3, height, width), generator=generator, dtype=torch.uint8)
    target = torch.randint(0, CLASSES, (size, height, width), generator=generator, dtype=torch.uint8)
    target[torch.rand(target.shape, generator=generator) < 0.2] = IGNORE
    return {"image": image, "target": target, "name": [f"{number}-{n}" for n in range(size)]}


#: Two full batches, a smaller last one, and one of another image size.
BATCHES = [batch(0), batch(1), batch(2, size=1), batch(3, size=1, height=9, width=5)]


def score(model, batches, **changes):
    arguments = {"num_classes": CLASSES, "ignore_index": IGNORE, "device": CPU}
    return evaluate(forward_of(model), model, batches, **{**arguments, **changes})


def interpolate(logits: list[list[float]], row: int, column: int, height: int, width: int) -> float:
    """The bilinear value of a grid at a pixel of the (height, width) image it covers, pixel centres at + 0.5."""
    corners = []
    for place, size, cells in ((row, height, len(logits)), (column, width, len(logits[0]))):
        position = min(max((place + 0.5) * cells / size - 0.5, 0.0), cells - 1)
        low = min(int(position), cells - 1)
        corners.append((low, min(low + 1, cells - 1), position - low))
    (top, bottom, down), (left, right, across) = corners
    upper = (1 - across) * logits[top][left] + across * logits[top][right]
    lower = (1 - across) * logits[bottom][left] + across * logits[bottom][right]
    return (1 - down) * upper + down * lower


def reference(model, batches) -> tuple[list[list[int]], float]:
    """Confusion matrix and mean cross-entropy, one pixel after the other."""
    matrix = [[0] * CLASSES for _ in range(CLASSES)]
    total, pixels = 0.0, 0
    for each in batches:
        output = forward_of(model)(each["image"])
        logits = (output["out"] if model.as_dict else output).double().tolist()
        height, width = each["target"].shape[-2:]
        for n, labels in enumerate(each["target"].tolist()):
            for row in range(height):
                for column in range(width):
                    label = labels[row][column]
                    if label == IGNORE:
                        continue
                    values = [interpolate(logits[n][c], row, column, height, width) for c in range(CLASSES)]
                    matrix[label][values.index(max(values))] += 1
                    total += math.log(sum(math.exp(value) for value in values)) - values[label]
                    pixels += 1
    return matrix, total / pixels


MODELS = {
    "full resolution": {},
    "half resolution": {"stride": 2},
    "a third, as a dict with an auxiliary head": {"stride": 3, "as_dict": True},
    "bfloat16 logits": {"stride": 2, "dtype": torch.bfloat16},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
@torch.no_grad()
def test_matrix_and_ce_equal_a_loop_over_all_pixels(options):
    model = Net(**options)
    result = score(model, BATCHES)
    matrix, ce = reference(model, BATCHES)
    assert result.matrix.tolist() == matrix
    assert result.matrix.dtype == torch.int64
    assert result.ce == pytest.approx(ce, rel=1e-5)
    assert result.images == 6


@torch.no_grad()
def test_every_image_has_a_matrix_and_a_cross_entropy_of_its_own():
    model = Net(stride=2)
    result = score(model, BATCHES)
    singles = [
        {key: each[key][n : n + 1] for key in ("image", "target")}
        for each in BATCHES
        for n in range(len(each["name"]))
    ]
    for matrix, ce_sum, single in zip(result.matrices, result.ce_sums.tolist(), singles, strict=True):
        expected, ce = reference(model, [single])
        assert matrix.tolist() == expected
        assert ce_sum == pytest.approx(ce * sum(map(sum, expected)), rel=1e-5)
    assert result.ce_sums.dtype == torch.float64 and result.ce_sums.shape == (6,)
    assert result.ce == pytest.approx(float(result.ce_sums.sum() / result.matrix.sum()), rel=1e-14)
    assert torch.equal(result.matrix, torch.stack([*result.matrices]).sum(dim=0))
    assert result.names == ("0-0", "0-1", "1-0", "1-1", "2-0", "3-0")
    assert len({str(matrix.tolist()) for matrix in result.matrices}) == 6, "or the order would not show"


def test_images_are_in_the_order_of_the_data_set_however_they_were_batched():
    """Two sizes that alternate: batches of one size take them out of order."""
    tall, wide = (
        dict(batch(4, size=2), index=torch.tensor([0, 2])), dict(batch(5, size=2, width=9), index=torch.tensor([1, 3])),
    )  # fmt: skip
    further = {"boundary": 1.5, "calibration": True, "objects": ObjectMeter([1, 2], ignore_index=IGNORE)}
    result, one, other = (score(Net(), batches, **further) for batches in ([tall, wide], [tall], [wide]))
    assert result.names == ("4-0", "5-0", "4-1", "5-1")
    for found in (
        lambda score: score.matrices.dense(),
        lambda score: score.ce_sums,
        lambda score: score.borders.counts,
        lambda score: score.calibration.bins,
        lambda score: score.calibration.brier_sums,
        lambda score: torch.from_numpy(score.objects.counts),
        lambda score: torch.from_numpy(score.objects.entropies),
    ):
        expected = [found(one)[0], found(other)[0], found(one)[1], found(other)[1]]
        assert torch.equal(found(result), torch.stack(expected))
        assert not torch.equal(expected[1], expected[2]), "or the order would not show"


def test_score_does_not_depend_on_how_images_are_batched():
    model = Net()
    whole = {key: torch.cat([each[key] for each in BATCHES[:3]]) for key in ("image", "target")}
    names = [name for each in BATCHES[:3] for name in each["name"]]
    singles = [
        {key: whole[key][n : n + 1] for key in whole} | {"name": [names[n]]} for n in range(len(names))
    ]
    one, other = score(model, [whole | {"name": names}]), score(model, singles)
    assert torch.equal(one.matrix, other.matrix)
    assert one.matrices == other.matrices and one.names == other.names == tuple(names)
    assert one.ce == pytest.approx(other.ce, rel=1e-6)
    assert one.ce_sums.tolist() == pytest.approx(other.ce_sums.tolist(), rel=1e-6)


def test_ignore_index_may_be_negative_or_the_id_of_a_class():
    model = Net()
    marked = dict(BATCHES[0], target=BATCHES[0]["target"].long())
    marked["target"][marked["target"] == IGNORE] = -1
    expected, result = score(model, BATCHES[:1]), score(model, [marked], ignore_index=-1)
    assert torch.equal(result.matrix, expected.matrix) and result.ce == expected.ce
    zeros_out = dict(BATCHES[0], target=torch.where(BATCHES[0]["target"] == 0, IGNORE, BATCHES[0]["target"]))
    blanked = dict(BATCHES[0], target=torch.where(BATCHES[0]["target"] == IGNORE, 0, BATCHES[0]["target"]))
    assert torch.equal(score(model, [blanked], ignore_index=0).matrix, score(model, [zeros_out]).matrix)


def test_ce_keeps_its_last_digits_over_a_large_set():
    """One pixel with a loss of 1e8, then 200 with log 2: float32 sums would lose the 200."""
    first = {
        "image": torch.zeros(1, 1, 1, 1, dtype=torch.uint8),
        "target": torch.ones(1, 1, 1, dtype=torch.uint8),
        "name": ["first"],
    }
    later = {
        "image": torch.ones(1, 1, 1, 1, dtype=torch.uint8),
        "target": torch.ones(1, 1, 1, dtype=torch.uint8),
        "name": ["later"],
    }
    logits = {0: torch.tensor([1e8, 0.0]), 1: torch.zeros(2)}
    result = evaluate(
        lambda image: logits[int(image)].reshape(1, 2, 1, 1),
        nn.Identity(),
        [first] + 200 * [later],
        num_classes=2,
        ignore_index=IGNORE,
        device=CPU,
    )
    assert result.ce == pytest.approx((1e8 + 200 * math.log(2)) / 201, rel=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_model_is_in_eval_mode_meanwhile_and_in_its_former_mode_afterwards(training):
    model = Net().train(training)
    modes = []

    def forward(image):
        modes.append((model.training, model.conv.training, torch.is_grad_enabled()))
        return model(image.float())

    evaluate(forward, model, BATCHES, num_classes=CLASSES, ignore_index=IGNORE, device=CPU)
    assert set(modes) == {(False, False, False)}
    assert model.training is training and model.conv.training is training
    assert torch.is_grad_enabled()


def test_model_returns_to_its_mode_when_something_fails():
    model = Net().train()

    def broken():
        yield BATCHES[0]
        raise RuntimeError("a file that cannot be read")

    with pytest.raises(RuntimeError, match="a file that cannot be read"):
        score(model, broken())
    assert model.training


def test_stop_in_the_middle_gives_no_score_and_restores_the_mode():
    model, seen = Net().train(), []

    def batches():
        for each in BATCHES:
            seen.append(each["name"])
            yield each

    assert score(model, batches(), stop=lambda: len(seen) > 2) is None
    assert len(seen) == 3
    assert model.training


def test_limit_scores_the_first_batches_and_reads_no_more():
    model, seen = Net(), []

    def batches():
        for each in BATCHES:
            seen.append(each["name"])
            yield each

    result, expected = score(model, batches(), limit=2), score(model, BATCHES[:2])
    assert torch.equal(result.matrix, expected.matrix)
    assert (result.ce, result.images, len(seen)) == (expected.ce, 4, 2)
    assert score(model, BATCHES, limit=99).images == 6


class Casts(TorchDispatchMode):
    """Counts conversions of a model's weights to bf16."""

    def __init__(self, model):
        super().__init__()
        self.weights, self.count = {weight.data_ptr() for weight in model.parameters()}, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        if function is torch.ops.aten._to_copy.default and arguments[0].data_ptr() in self.weights:
            self.count += 1
        return function(*arguments, **(options or {}))


def test_autocast_converts_weights_once_and_lets_go_of_them():
    model = Net()

    def forward(image):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(image.float() / 255)

    arguments = {"num_classes": CLASSES, "ignore_index": IGNORE, "device": CPU}
    with Casts(model) as casts:
        first = evaluate(forward, model, BATCHES, **arguments)
    assert casts.count == 2  # the weight and the bias, for four batches
    with torch.no_grad():
        model.conv.weight.neg_()
    second = evaluate(forward, model, BATCHES, **arguments)
    assert second.ce != first.ce  # the weights as they are, not as they were converted before
    assert not torch.is_autocast_enabled("cpu")


def test_all_pixels_ignored_gives_nan_not_a_crash():
    blank = [dict(each, target=torch.full_like(each["target"], IGNORE)) for each in BATCHES]
    result = score(Net(), blank)
    assert math.isnan(result.ce) and math.isnan(result.mean_iou)
    assert not result.matrix.any()
    assert result.images == 6 and result.ce_sums.tolist() == [0.0] * 6


def test_empty_set_gives_nan_not_a_crash():
    result = score(Net(), [])
    assert math.isnan(result.ce) and math.isnan(result.mean_iou) and result.images == 0
    assert len(result.matrices) == 0 and result.names == () and result.ce_sums.shape == (0,)
    assert result.borders is None
    assert score(Net(), [], boundary=2.0).borders.counts.shape == (0, CLASSES, 6)
    objects = score(Net(), [], objects=ObjectMeter([2], ignore_index=IGNORE, min_size=9)).objects
    assert (
        result.objects is None and objects.counts.shape == (0, 1, 15) and objects.entropies.shape == (0, 1, 2)
    )
    assert (objects.classes, objects.min_size) == ((2,), 9)


def test_an_image_without_labels_changes_nothing_but_the_count():
    blank = dict(BATCHES[1], target=torch.full_like(BATCHES[1]["target"], IGNORE))
    with_blank, without = score(Net(), [BATCHES[0], blank]), score(Net(), [BATCHES[0]])
    assert torch.equal(with_blank.matrix, without.matrix) and with_blank.ce == without.ce
    assert (with_blank.images, without.images) == (4, 2)


def test_scoring_draws_no_random_numbers_and_leaves_the_batches_alone():
    model = nn.Sequential(nn.Dropout2d(0.5), nn.Conv2d(3, CLASSES, 1))
    copies = [{key: each[key].clone() for key in ("image", "target")} for each in BATCHES]
    before = torch.get_rng_state()
    one, other = score(model, BATCHES), score(model, BATCHES)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.matrix, other.matrix)
    for each, copy in zip(BATCHES, copies, strict=True):
        assert torch.equal(each["image"], copy["image"]) and torch.equal(each["target"], copy["target"])


def test_mean_iou_leaves_out_classes_that_do_not_occur():
    matrix = torch.tensor([[6, 2, 0], [0, 4, 0], [0, 0, 0]])
    assert Evaluation(matrix, 0.5, 1).mean_iou == pytest.approx((6 / 8 + 4 / 6) / 2)


def test_a_single_logit_is_scored_as_the_two_logits_zero_and_z():
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(2, 1, 4, 4, generator=generator)
    pair = torch.cat([torch.zeros_like(z), z], dim=1)
    target = torch.randint(0, 2, (2, 8, 8), generator=generator)
    target[0, 0] = 255
    batches = [{"image": torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "target": target, "name": ["a", "b"]}]
    options = {"num_classes": 2, "ignore_index": 255, "device": torch.device("cpu")}
    one = evaluate(lambda image: z, torch.nn.Identity(), batches, **options)
    two = evaluate(lambda image: pair, torch.nn.Identity(), batches, **options)
    assert torch.equal(one.matrix, two.matrix) and one.ce == two.ce
    assert one.matrix.sum() == 2 * 64 - 8
