"""Tiles, flips and scales: what is averaged, and that every way of looking says the same where it should."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkit.evaluation.evaluate import evaluate
from segkit.evaluation.upsampled_scores import score_pixels
from segkit.evaluation.views import WHOLE, Views, predict_views, score_views
from segkit.evaluation.views.tiles import blend_tiles, lay_out

CPU = torch.device("cpu")


def make_images(*size, images=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (images, 3, *size), dtype=torch.uint8, generator=generator)


def make_network(kernel=3, stride=1, classes=5):
    """Logits that depend on the pixels at most kernel // 2 strides away."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, classes, kernel, stride=stride, padding=kernel // 2).eval()

    @torch.no_grad()
    def forward(images):
        return convolution(images.float() / 128 - 1)

    return forward


def blend_slowly(forward, images, rows, columns):
    """The weighted mean of all tiles, in fp64, with the whole image in memory."""
    total = torch.zeros(len(images), forward(images[..., :32, :32]).shape[1], *images.shape[-2:]).double()
    for r, y in enumerate(rows.starts):
        for c, x in enumerate(columns.starts):
            part = (..., slice(y, y + rows.length), slice(x, x + columns.length))
            weight = rows.weights[r].double()[:, None] * columns.weights[c].double()
            total[part] += forward(images[part]).double() * weight
    return total


@pytest.mark.parametrize("blend", ["gaussian", "mean"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6, 0.9])
@pytest.mark.parametrize(("pixels", "tile"), [(100, 40), (40, 40), (7, 40), (41, 40), (500, 128), (1, 1)])
def test_tiles_cover_an_axis_and_their_weights_add_up_to_1(pixels, tile, overlap, blend):
    axis = lay_out(pixels, tile, overlap, blend, device=CPU)
    assert axis.length == min(tile, pixels)
    assert axis.starts[0] == 0 and axis.starts[-1] + axis.length == pixels
    assert axis.starts == sorted(set(axis.starts))
    total = torch.zeros(pixels)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        assert (weights > 0).all()
        total[start : start + axis.length] += weights
    torch.testing.assert_close(total, torch.ones(pixels))
    for start, following in zip(axis.starts, axis.starts[1:], strict=False):
        assert (
            start + axis.length - following >= min(overlap, (axis.length - 1) / axis.length) * axis.length - 1
        )
    assert all(start % 32 == 0 for start in axis.starts[:-1]) or axis.length * (1 - overlap) < 32


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("size", [(64, 64), (65, 130), (20, 200), (131, 70)], ids=str)
def test_blocks_are_the_weighted_mean_of_all_tiles(size, overlap):
    images, forward = make_images(*size), make_network()
    axes = [
        lay_out(pixels, tile, overlap, "gaussian", device=CPU)
        for pixels, tile in zip(size, (40, 64), strict=True)
    ]
    found, seen = torch.full((2, 5, *size), torch.nan), torch.zeros(size)
    for (rows, columns), logits in blend_tiles(forward, images, *axes):
        found[..., rows, columns] = logits
        seen[rows, columns] += 1
    assert (seen == 1).all()
    torch.testing.assert_close(found.double(), blend_slowly(forward, images, *axes), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "views",
    [
        Views(tile=(64, 96)),
        Views(tile=(64, 64), overlap=0.5, blend="mean"),
        Views(tile=(999, 40), overlap=0.0),
    ],
    ids=["gaussian", "mean", "side by side"],
)
def test_tiles_say_what_the_whole_image_says_where_the_network_sees_nothing_else(views):
    images, forward = make_images(150, 230), make_network(kernel=1)
    whole = predict_views(forward, images, (150, 230), WHOLE)
    assert torch.equal(predict_views(forward, images, (150, 230), views), whole)


def test_what_a_network_does_not_see_at_the_border_of_a_tile_hardly_counts():
    images, forward = make_images(150, 230), make_network(kernel=3)
    whole = predict_views(forward, images, (150, 230), WHOLE)
    beside, blended = (
        predict_views(forward, images, (150, 230), views)
        for views in (Views(tile=(32, 32), overlap=0.0), Views(tile=(32, 32), overlap=0.5))
    )
    assert 0.01 < (beside != whole).float().mean() < 0.2
    assert (blended != whole).float().mean() < 0.002


def test_one_tile_as_large_as_the_image_is_the_whole_image_to_the_bit():
    images, forward = make_images(33, 50), make_network()
    target = torch.randint(0, 5, (2, 33, 50))
    one, other = (
        score_views(forward, images, target, views, ignore_index=255, calibration=True)
        for views in (WHOLE, Views(tile=(64, 64)))
    )
    assert torch.equal(one.prediction, other.prediction) and torch.equal(one.ce, other.ce)
    assert torch.equal(one.calibration.bins, other.calibration.bins)


def test_flips_and_scales_are_a_mean_of_logits():
    images, forward = make_images(36, 52), make_network()
    target = torch.randint(0, 5, (2, 36, 52))
    expected = torch.zeros(2, 5, 36, 52)
    for scale in (1.0, 0.5, 1.5):
        size = (round(36 * scale), round(52 * scale))
        shown = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        for flipped in (False, True):
            logits = forward(shown.flip(-1) if flipped else shown)
            logits = F.interpolate(logits, (36, 52), mode="bilinear", align_corners=False)
            expected += (logits.flip(-1) if flipped else logits) / 6
    views = Views(flip=True, scales=(1.0, 0.5, 1.5))
    found = score_views(forward, images, target, views, ignore_index=255)
    wanted = score_pixels(expected, target, ignore_index=255)
    torch.testing.assert_close(found.ce, wanted.ce, rtol=1e-4, atol=1e-4)
    assert (found.prediction == wanted.prediction).float().mean() > 0.999


def test_a_mirrored_image_gets_the_mirrored_prediction():
    images, forward = make_images(36, 52), make_network()
    views = Views(flip=True, tile=(36, 52))
    one = predict_views(forward, images, (36, 52), views)
    other = predict_views(forward, images.flip(-1), (36, 52), views)
    assert (one == other.flip(-1)).float().mean() > 0.999


@pytest.mark.parametrize(
    "views", [WHOLE, Views(tile=(32, 40)), Views(flip=True)], ids=["whole", "tiles", "flip"]
)
def test_scores_are_of_what_is_predicted(views):
    """And counts of calibration are those of all blocks together."""
    images, forward = make_images(70, 90), make_network()
    target = torch.randint(0, 5, (2, 70, 90))
    target[:, :9] = 255
    scores = score_views(forward, images, target, views, ignore_index=255, calibration="classwise")
    assert torch.equal(scores.prediction, predict_views(forward, images, (70, 90), views))
    assert scores.calibration.bins[..., 0].sum(dim=1).tolist() == [61 * 90, 61 * 90]
    right = ((scores.prediction == target) & (target != 255)).flatten(1).sum(dim=1)
    assert scores.calibration.bins[..., 1].sum(dim=1).tolist() == right.tolist()
    labels = torch.stack([(target == c).flatten(1).sum(dim=1) for c in range(5)], dim=1)
    assert torch.equal(scores.calibration.class_bins[..., 1].sum(dim=2), labels)


@pytest.mark.parametrize(
    "views", [Views(tile=(32, 40)), Views(flip=True, scales=(0.5,))], ids=["tiles", "flip"]
)
def test_another_size_than_that_of_the_image(views):
    images, forward = make_images(70, 90), make_network()
    target = torch.randint(0, 5, (2, 140, 100))
    scores = score_views(forward, images, target, views, ignore_index=255)
    assert scores.prediction.shape == (2, 140, 100)
    assert torch.equal(scores.prediction, predict_views(forward, images, (140, 100), views))


def test_one_logit_of_a_binary_loss():
    images, forward = make_images(40, 50), make_network(classes=1)
    ids = predict_views(forward, images, (40, 50), Views(tile=(24, 24)))
    whole = predict_views(forward, images, (40, 50), WHOLE)
    assert set(ids.unique().tolist()) <= {0, 1} and (ids == whole).float().mean() > 0.8


def test_evaluate_shows_the_images_as_asked():
    images, network = make_images(64, 80), make_network()
    target = torch.randint(0, 5, (2, 64, 80))
    batches = [{"image": images, "target": target, "name": ["a", "b"]}]
    known = {"num_classes": 5, "ignore_index": 255, "device": CPU}
    views = Views(tile=(32, 32), overlap=0.5, flip=True)
    result = evaluate(network, nn.Identity(), batches, **known, views=views)
    prediction = predict_views(network, images, (64, 80), views)
    assert result.matrix.diagonal().sum() == (prediction == target).sum()
    plain = evaluate(network, nn.Identity(), batches, **known)
    assert not torch.equal(plain.matrix, result.matrix)
