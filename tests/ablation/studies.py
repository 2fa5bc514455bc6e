"""Made-up studies with run folders, for the tests of reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.ablation.statistics.run_counts import count_matrices
from segkit.ablation.study.study import Run, Study

DEFINITION = "mean over classes of TP / (TP + FP + FN) from one confusion matrix over all valid pixels."
VARIANTS = ("ce", "ohem_ce", "bootstrapped_ce", "weighted_mask_ce")
CLASSES = ("background", "circle", "square", "line", "star")
ACCURACIES = {"ce": 0.80, "ohem_ce": 0.86, "bootstrapped_ce": 0.801, "weighted_mask_ce": 0.77}
LOSSES = {
    "ce": {"name": "cross_entropy"},
    "ohem_ce": {"name": "ohem_ce", "thresh": 0.7, "n_min": "1/16"},
    "bootstrapped_ce": {"name": "bootstrapped_ce", "top_p": 0.15, "start_warm": 60},
}

ENVIRONMENT = {
    "segkit": "0.1.0",
    "python": "3.11.2",
    "torch": "2.11.0+cpu",
    "torchvision": "0.26.0+cpu",
    "cuda": None,
    "gpus": [],
    "cpu": "AMD EPYC 9B14",
    "threads": 2,
    "cpu_count": 2,
    "git_commit": "45f802c1",
    "git_dirty": False,
}


@dataclass(frozen=True)
class FakeRun(Run):
    """A run that still has its `matrices`."""

    matrices: np.ndarray

    def recount(self) -> None:
        """After its matrices were changed in place."""
        object.__setattr__(self, "counts", count_matrices(self.matrices))


def make_study(
    folder: Path,
    *,
    variants: Sequence[str] = VARIANTS,
    seeds: Sequence[int] = (0, 1, 2),
    classes: Sequence[str] = CLASSES,
    images: int = 40,
    absent: str | None = None,
    examples: bool = True,
    size: tuple[int, int] = (48, 64),
    **fields,
) -> Study:
    """A study whose variants are right with the probabilities of ACCURACIES. The class `absent` occurs nowhere."""
    labels = _draw_labels(
        images, len(classes), absent=None if absent is None else list(classes).index(absent)
    )
    runs = []
    for place, variant in enumerate(variants):
        share = ACCURACIES.get(variant, 0.78 + 0.008 * place)
        for seed in seeds:
            run = _make_run(folder / f"{place}-seed{seed}", variant, seed, classes, labels, share)
            runs.append(run)
            run.folder.mkdir(parents=True)
            if examples:
                _write_examples(run, len(classes), share, size)
    return Study("shapes", variants[0], tuple(variants), tuple(seeds), tuple(runs), **fields)


def _draw_labels(images: int, classes: int, *, absent: int | None) -> np.ndarray:
    """Pixels of each class in each image, (N, C)."""
    random = np.random.default_rng(7)
    labels = random.integers(20, 200, size=(images, classes))
    labels[:, 0] += 1500
    if absent is not None:
        labels[:, absent] = 0
    return labels


def _make_run(
    folder: Path, variant: str, seed: int, classes: Sequence[str], labels: np.ndarray, share: float
) -> Run:
    random = np.random.default_rng([seed, *variant.encode()])
    matrices = _draw_matrices(random, labels, share + random.normal(0, 0.006))
    loss = LOSSES.get(variant, {"name": variant, "weight": 2.0})
    return FakeRun(
        folder=folder,
        variant=variant,
        seed=seed,
        config={
            "name": f"{variant}-seed{seed}",
            "seed": seed,
            "model": {"name": "unet", "width": 16, "depth": 3, "norm": "batch"},
            "data": {"name": "shapes", "size": 128, "train_size": 800, "val_size": 40},
            "loss": loss,
            "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
            "train": {"iterations": 600, "batch_size": 16, "accumulate": 2},
            "log": {"dir": "runs"},
        },
        class_names=tuple(classes),
        image_names=tuple(f"val/{n:04d}.png" for n in range(len(labels))),
        counts=count_matrices(matrices),
        matrices=matrices,
        iteration=600,
        definition=DEFINITION,
        history=_make_history(random, share, kept=variant != "ce"),
        summary={
            "finished": True,
            "iterations": 600,
            "best": {"mIoU": share - 0.1, "iteration": 540},
            "parameters": 7_800_000,
            "images_per_second": float(290 + random.normal(0, 4) - 400 * (share - 0.78)),
            "memory_gb": 2.08,
            "seconds": 101.5,
        },
        env=dict(ENVIRONMENT),
        fingerprints={
            "data": "da7a" * 16,
            "initial_weights": f"{seed:02x}" * 32,
            "training_order": f"a{seed}" * 32,
            "first_batch": f"b{seed}" * 32,
        },
    )


def _draw_matrices(random: np.random.Generator, labels: np.ndarray, share: float) -> np.ndarray:
    images, classes = labels.shape
    matrices = np.zeros((images, classes, classes), dtype=np.int64)
    for n, c in np.ndindex(labels.shape):
        present = labels.sum(axis=0) > 0
        chances = np.where(present, (1 - share) / (present.sum() - 1), 0.0)
        chances[c] = share if present[c] else 0.0
        if labels[n, c]:
            matrices[n, c] = random.multinomial(labels[n, c], chances / chances.sum())
    return matrices


def _make_history(random: np.random.Generator, share: float, *, kept: bool) -> Mapping:
    evaluations = np.arange(60, 601, 60)
    updates = np.arange(20, 601, 20)
    progress = 1 - np.exp(-evaluations / 150)
    history = {
        "val/mIoU": (evaluations, (share - 0.1) * progress + random.normal(0, 0.01, len(evaluations))),
        "val/ce": (evaluations, 1.4 - 1.1 * progress + random.normal(0, 0.02, len(evaluations))),
        "train/loss": (updates, np.exp(-updates / 200)),
    }
    if kept:
        history["loss/kept_fraction"] = (updates, 0.1 + 0.8 * np.exp(-updates / 150) * share)
    return history


def _write_examples(run: Run, classes: int, share: float, size: tuple[int, int], count: int = 6) -> None:
    """Discs on a ramp; the prediction is wrong in blocks, the more images further on."""
    random = np.random.default_rng([run.seed, *run.variant.encode()])
    rows, columns = np.mgrid[: size[0], : size[1]]
    arrays = {}
    for k in range(count):
        target = np.zeros(size, dtype=np.uint8)
        for c in range(1, classes):
            center = (size[0] * (0.2 + 0.15 * ((c * 3 + k) % 5)), size[1] * (0.15 + 0.18 * ((c + k) % 5)))
            target[np.hypot(rows - center[0], columns - center[1]) < 0.13 * size[0]] = c
        target[: size[0] // 12] = 255
        wrong = np.kron(
            random.random((8, 8)) > share - 0.08 * k, np.ones((size[0] // 8, size[1] // 8), dtype=bool)
        )
        prediction = np.where(
            wrong[: size[0], : size[1]], (target.astype(int) + 1) % classes, target % classes
        )
        ramp = (rows * 120 / size[0] + columns * 80 / size[1] + 30 * (target % classes > 0)).astype(np.uint8)
        arrays |= {
            f"image_{k}": np.stack([ramp, ramp // 2 + 60, 200 - ramp // 2], axis=-1),
            f"target_{k}": target,
            f"prediction_{k}": prediction.astype(np.uint8),
        }
        if run.variant != "ce":
            arrays[f"kept_{k}"] = np.where(prediction != target, 255, 20).astype(np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, size=(classes, 3), dtype=np.uint8)
    palette[:5] = [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)][:classes]
    np.savez_compressed(
        run.folder / "examples.npz",
        names=np.array([f"val/{k:04d}.png" for k in range(count)]),
        palette=palette,
        ignore_index=255,
        iteration=600,
        **arrays,
    )
