"""Run folders as a finished training leaves them, without the training."""

import json
from pathlib import Path

import numpy as np

from segkit.ablation.statistics.run_counts import count_matrices
from segkit.ablation.study.study import Run, Study
from segkit.config.load import load_config

DEFINITION = "the mIoU of these tests."
CLASSES = ("background", "circle", "square")
IMAGES = ("val/0", "val/1", "val/2", "val/3")

#: Pixels of each class in each image (N, C): the labels, which are the same whoever predicts.
LABELS = np.array([[90, 6, 4], [80, 20, 0], [70, 10, 20], [60, 0, 40]])


def matrices(errors=1, labels=LABELS):
    """int64 (N, C, C): of each class of each image, `errors` pixels (if there are) taken for the next class."""
    count, classes = labels.shape
    found = np.zeros((count, classes, classes), dtype=np.int64)
    wrong = np.minimum(errors, labels)
    for c in range(classes):
        found[:, c, c] = labels[:, c] - wrong[:, c]
        found[:, c, (c + 1) % classes] = wrong[:, c]
    return found


draw_matrices = matrices


def arrays(**changes):
    """The arrays of a per_image.npz."""
    whole = {
        "matrices": matrices(),
        "names": np.array(IMAGES),
        "class_names": np.array(CLASSES),
        "iteration": np.array(20),
        "definition": np.array(DEFINITION),
    }
    return {name: array for name, array in {**whole, **changes}.items() if array is not None}


def make_run(
    folder,
    *overrides,
    errors=1,
    status=None,
    summary=None,
    env=None,
    fingerprints=None,
    arrays_changed=None,
):
    """Write a finished run of debug.yaml with `overrides` into `folder`; the other arguments replace entries."""
    folder = Path(folder)
    (folder / "checkpoints").mkdir(parents=True)
    config = load_config("debug.yaml", overrides)
    (folder / "config.yaml").write_text(config.to_yaml())
    prints = {
        "data": "da7a",
        "initial_weights": f"beef{config.seed}",
        "training_order": f"0rde{config.seed}",
        "first_batch": f"ba7c{config.seed}",
    }
    state = {
        "state": "done",
        "iteration": 20,
        "exit_code": 0,
        "error": None,
        "updated": "2026-11-21T10:00:00+00:00",
    }
    machine = {
        "segkit": "0.1.0",
        "torch": "2.9.0",
        "gpus": ["NVIDIA H200", "NVIDIA H200"],
        "cpu": "EPYC",
        "threads": 2,
        "git_commit": "0123456789abcdef",
        "git_dirty": False,
    }
    write(folder / "status.json", {**state, **(status or {})})
    write(folder / "summary.json", {"finished": True, "iterations": 20, **(summary or {})})
    write(folder / "env.json", {**machine, **(env or {}), "fingerprints": {**prints, **(fingerprints or {})}})
    (folder / "results.csv").write_text(
        "iteration,train/loss,val/mIoU\n5,1.5,\n10,1.25,0.25\n15,1,\n20,0.75,0.5\n"
    )
    changed = {"matrices": matrices(errors), **(arrays_changed or {})}
    np.savez_compressed(folder / "per_image.npz", **arrays(**changed))
    return folder


def write(path, value):
    path.write_text(json.dumps(value))


def fake_run(variant, seed=0, *overrides, env=None, fingerprints=None, matrices=None, **changes):
    """A Run of debug.yaml with `overrides` that counted `matrices`, without a folder; `changes` replace its fields."""
    prints = {
        "data": "da7a",
        "initial_weights": f"beef{seed}",
        "training_order": f"0rde{seed}",
        "first_batch": f"ba7c{seed}",
    }
    machine = {"segkit": "0.1.0", "torch": "2.9.0", "gpus": [], "cpu": "EPYC", "threads": 2}
    fields = {
        "folder": Path("runs") / f"{variant}-seed{seed}" / "TIME",
        "variant": variant,
        "seed": seed,
        "config": load_config("debug.yaml", [f"seed={seed}", *overrides]).to_mapping(),
        "class_names": CLASSES,
        "image_names": IMAGES,
        "counts": count_matrices(draw_matrices() if matrices is None else matrices),
        "iteration": 20,
        "definition": DEFINITION,
        "history": {},
        "summary": {"iterations": 20},
        "env": {**machine, **(env or {})},
        "fingerprints": prints if fingerprints is None else {**prints, **fingerprints},
    }
    return Run(**{**fields, **changes})


def study_of(*runs, baseline=None, **fields):
    """A Study of these runs; the first one's variant is the baseline."""
    variants = tuple(dict.fromkeys(run.variant for run in runs))
    whole = {
        "name": "losses",
        "baseline": baseline or variants[0],
        "variants": variants,
        "seeds": tuple(sorted({run.seed for run in runs})),
        "runs": runs,
    }
    return Study(**{**whole, **fields})
