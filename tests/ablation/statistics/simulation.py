"""Simulated ablations whose truth is known, and how often the verdicts on them are wrong.

    python -m tests.ablation.statistics.simulation [STUDIES]

prints the table of docs/ablation.md. Confusion matrices are made image by image from real label counts (CamVid's, where
the data set is there): models of the same kind differ by what a seed does, by what they are good at in an image, and by
chance; images differ in difficulty for all models alike.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from segkit.ablation.statistics.statistics import Comparison, compare_to_baseline
from tests.ablation.matrix_scores import labelled_miou
from tests.paths import REAL_DATA

#: What a seed does: of the mIoU of a variant it makes a standard deviation of about a point.
SEED_SPREAD = 0.04


@dataclass(frozen=True)
class Case:
    """A kind of study. `effect` is what the last variant finds more (a logit), `spread` and `base_spread` how many
    times as much as the others the first variant and the baseline vary from seed to seed; `frames` in a row look alike,
    and are grouped if `grouped`."""

    variants: int = 3
    seeds: int = 3
    images: int = 100
    effect: float = 0.0
    spread: float = 1.0
    base_spread: float = 1.0
    frames: int = 1
    grouped: bool = True


@cache
def label_counts() -> np.ndarray:
    """Pixels of each class in each image (N, C), at a sixteenth: CamVid's validation labels, or made-up ones."""
    files = sorted((REAL_DATA / "camvid" / "labels" / "val").glob("*.png"))
    if files:
        labels = [np.asarray(Image.open(file))[::4, ::4] for file in files]
        return np.stack([np.bincount(label[label < 11], minlength=11) for label in labels])
    generator = np.random.default_rng(0)
    usual = np.array([900, 2500, 60, 2800, 850, 1600, 90, 300, 180, 70, 220])
    present = generator.random((100, 11)) < np.array([1, 1, 1, 1, 1, 0.9, 0.8, 0.5, 0.8, 0.7, 0.4])
    return np.rint(generator.gamma(2.0, usual / 2, (100, 11)) * present).astype(np.int64)


def draw_study(case: Case, generator: np.random.Generator) -> dict[str, dict[int, np.ndarray]]:
    """matrices[variant][seed] (N, C, C) on images drawn anew."""
    pool = label_counts()
    clips = case.images // case.frames
    labels = pool[generator.integers(0, len(pool), clips)].repeat(case.frames, axis=0)  # (N, C)
    classes = labels.shape[1]
    ease = np.linspace(2.5, 0.0, classes)[np.argsort(np.argsort(-pool.sum(axis=0)))]  # rare classes are hard
    difficulty = generator.normal(0, 1.0, (clips, 1)).repeat(case.frames, axis=0)
    common = generator.normal(0, SEED_SPREAD, case.seeds)
    study: dict[str, dict[int, np.ndarray]] = {}
    for variant in range(case.variants + 1):
        taste = generator.normal(0, 0.3, (clips, classes)).repeat(case.frames, axis=0)
        spread = SEED_SPREAD * {0: case.base_spread, 1: case.spread}.get(variant, 1.0)
        gain = case.effect if variant == case.variants else 0.0
        study[f"v{variant}"] = {
            seed: _predict(
                labels,
                ease
                + gain
                + common[seed]
                + generator.normal(0, spread)
                + generator.normal(0, 2 * spread, classes)
                + difficulty
                + taste,
                generator,
            )
            for seed in range(case.seeds)
        }
    return study


def _predict(labels: np.ndarray, logits: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    share = 1 / (1 + np.exp(-(logits + generator.normal(0, 0.2, logits.shape))))
    hits = np.rint(labels * share).astype(np.int64)  # (N, C)
    images, classes = labels.shape
    matrices = np.zeros((images, classes, classes), dtype=np.int64)
    each = np.arange(classes)
    matrices[:, each, each] = hits
    matrices[:, each, (each + 1) % classes] += (labels - hits) // 2
    matrices[:, each, (each + 4) % classes] += labels - hits - (labels - hits) // 2
    return matrices


def compare(case: Case, generator: np.random.Generator, *, replicates: int = 1000) -> Comparison:
    """A study that is drawn, compared."""
    groups = np.arange(case.images) // case.frames if case.grouped and case.frames > 1 else None
    seed = int(generator.integers(2**31))
    return compare_to_baseline(
        draw_study(case, generator), "v0", groups=groups, replicates=replicates, seed=seed
    )


@cache
def true_difference(effect: float) -> float:
    """What a gain is in mIoU, over many images and seeds."""
    if not effect:
        return 0.0
    generator = np.random.default_rng(1)
    case = Case(variants=1, seeds=20, images=3000, effect=effect)
    study = draw_study(case, generator)
    return float(np.mean([labelled_miou(study["v1"][s]) - labelled_miou(study["v0"][s]) for s in range(20)]))


@dataclass(frozen=True)
class Outcome:
    """Shares of studies: `wrong`, in which a variant without effect was called better or worse; `held`, of intervals
    (each at its own level) that hold the truth; `found`, in which the variant with an effect was called better."""

    wrong: float
    held: float
    found: float


def simulate(case: Case, studies: int, *, seed: int = 0, replicates: int = 1000) -> Outcome:
    """The outcome of so many studies of one kind."""
    generator = np.random.default_rng(seed)
    truth = true_difference(case.effect)
    wrong = held = found = 0
    for _ in range(studies):
        differences = compare(case, generator, replicates=replicates).differences
        without = differences[:-1] if case.effect else differences
        wrong += any(one.verdict in ("better", "worse") for one in without)
        found += differences[-1].verdict == "better"
        # One comparison each, so that the level of the interval is that of the study.
        for one in differences:
            true = truth if one is differences[-1] else 0.0
            held += one.interval[0] <= true <= one.interval[1]
    count = studies * case.variants
    return Outcome(wrong / studies, held / count, found / studies)


#: The rows of the table: what is simulated, in words.
CASES = {
    "3 variants, 3 seeds": Case(),
    "3 variants, 5 seeds": Case(seeds=5),
    "6 variants, 3 seeds": Case(variants=6),
    "6 variants, 5 seeds": Case(variants=6, seeds=5),
    "12 variants, 3 seeds": Case(variants=12),
    "12 variants, 5 seeds": Case(variants=12, seeds=5),
    "3 variants, 3 seeds, one varies 3 times as much": Case(spread=3.0),
    "6 variants, 3 seeds, one varies 3 times as much": Case(variants=6, spread=3.0),
    "12 variants, 3 seeds, one varies 3 times as much": Case(variants=12, spread=3.0),
    "6 variants, 3 seeds, one varies 10 times as much": Case(variants=6, spread=10.0),
    "3 variants, 3 seeds, the baseline varies 3 times as much": Case(base_spread=3.0),
    "6 variants, 3 seeds, the baseline varies 3 times as much": Case(variants=6, base_spread=3.0),
    "12 variants, 3 seeds, the baseline varies 3 times as much": Case(variants=12, base_spread=3.0),
    "6 variants, 5 seeds, the baseline varies 3 times as much": Case(variants=6, seeds=5, base_spread=3.0),
    "6 variants, 3 seeds, the baseline varies 10 times as much": Case(variants=6, base_spread=10.0),
    "1 variant, 3 seeds": Case(variants=1),
    "1 variant, 5 seeds": Case(variants=1, seeds=5),
    "1 variant, 10 seeds": Case(variants=1, seeds=10),
    "1 variant, 3 seeds, 5 images": Case(variants=1, images=5),
    "1 variant, 3 seeds, 10 images": Case(variants=1, images=10),
    "1 variant, 3 seeds, 20 images": Case(variants=1, images=20),
    "1 variant, 10 seeds, 5 images": Case(variants=1, seeds=10, images=5),
    "1 variant, 10 seeds, 20 images": Case(variants=1, seeds=10, images=20),
    "1 variant, 3 seeds, 200 images": Case(variants=1, images=200),
    "1 variant, 5 seeds, 20 clips of 5 frames, grouped": Case(variants=1, seeds=5, frames=5),
    "1 variant, 5 seeds, 20 clips of 5 frames, not grouped": Case(variants=1, seeds=5, frames=5, grouped=False),
    "3 variants, 3 seeds, a gain of about 2 points": Case(effect=0.1),
    "3 variants, 5 seeds, a gain of about 2 points": Case(seeds=5, effect=0.1),
}  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Print the table, a row as it is known."""
    studies = int(arguments[0]) if arguments else 1000
    gain = f"{100 * true_difference(0.1):.1f} points"
    print(f"{studies:,} studies a row; images are CamVid's label counts; the true gain is {gain}")
    print("| study | called without effect, % | interval holds the truth, % | gain called better, % |")
    print("| --- | ---: | ---: | ---: |")
    for name, case in CASES.items():
        found = simulate(case, studies)
        power = f"{100 * found.found:.0f}" if case.effect else ""
        print(f"| {name} | {100 * found.wrong:.1f} | {100 * found.held:.1f} | {power} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
