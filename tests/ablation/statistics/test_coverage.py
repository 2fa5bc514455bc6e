"""Whether the intervals are true to their word: simulated data sets from populations whose difference is known."""

import numpy as np
import pytest

from segkit.ablation.statistics.statistics import compare_to_baseline, data_set_miou

SIMULATIONS = 400
PRESENT = np.array([1.0, 0.9, 0.5])  # how often an image has the class
EASE = np.array([2.0, 1.0, 0.3])  # logit of the share found of each class


def draw_images(images, *, effect, generator, frames=1):
    """Matrices (N, 3, 3) of two models on the same images, of which `frames` in a row belong to one video.

    Images differ far more in difficulty, for both models alike, than the models do. How much the models differ
    depends on the video.
    """
    videos = images // frames
    difficulty = generator.normal(0, 1.0, (videos, 1)).repeat(frames, axis=0)
    taste = generator.normal(0, 0.4, (2, videos, 1)).repeat(frames, axis=1)
    amounts = generator.gamma([4.0, 2.0, 1.0], size=(images, 3)) * (generator.random((images, 3)) < PRESENT)
    labels = np.rint(5000 * amounts / amounts.sum(axis=1, keepdims=True))
    easier = np.array([0.0, effect])[:, None, None]
    logits = EASE + difficulty + taste + easier + generator.normal(0, 0.2, (2, images, 3))
    hits = np.rint(labels / (1 + np.exp(-logits)))  # (2, N, 3)
    matrices = np.zeros((2, images, 3, 3), dtype=np.int64)
    for c in range(3):
        matrices[:, :, c, c] = hits[:, :, c]
        matrices[:, :, c, (c + 1) % 3] = (labels - hits)[:, :, c] // 2
        matrices[:, :, c, (c + 2) % 3] = labels[:, c] - matrices[:, :, c].sum(axis=-1)
    return matrices


def compare(images, **options):
    """The difference of the second model to the first."""
    matrices = {"first": {0: images[0]}, "second": {0: images[1]}}
    return compare_to_baseline(matrices, "first", replicates=400, **options).differences[0]


def find_true_difference(effect):
    first, second = draw_images(200_000, effect=effect, generator=np.random.default_rng(99))
    return data_set_miou(second) - data_set_miou(first)


def simulate(images, *, effect, frames=1, groups=None):
    """The share of the intervals that hold the true difference, and of the p below 0.05."""
    generator = np.random.default_rng(images)
    truth = find_true_difference(effect)
    found = [
        compare(
            draw_images(images, effect=effect, generator=generator, frames=frames), groups=groups, seed=seed
        )
        for seed in range(SIMULATIONS)
    ]
    held = np.mean([one.interval[0] <= truth <= one.interval[1] for one in found])
    return held, np.mean([one.p < 0.05 for one in found])


@pytest.mark.parametrize("images", [10, 40])
def test_intervals_hold_the_true_difference(images):
    """The plain percentile interval falls below the bound for 10 images, an unpaired one exceeds the other."""
    held, _ = simulate(images, effect=0.3)
    assert 0.9 < held < 0.98


def test_without_a_difference_p_is_rarely_small():
    held, rejected = simulate(25, effect=0.0)
    assert 0.9 < held < 0.98
    assert 0.02 < rejected < 0.1


def test_a_large_difference_is_found():
    _, rejected = simulate(25, effect=1.0)
    assert rejected > 0.95


def test_grouping_restores_what_correlated_images_lose():
    """25 videos of 4 frames that look alike."""
    groups = np.arange(100) // 4
    held, _ = simulate(100, effect=0.3, frames=4, groups=groups)
    held_if_ignored, _ = simulate(100, effect=0.3, frames=4)
    assert 0.9 < held < 0.98
    assert held_if_ignored < 0.85
