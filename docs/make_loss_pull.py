"""Draws docs/loss_pull.jpg: python docs/make_loss_pull.py --weights runs/ce/TIME [--image 4]

How strongly each registered loss pulls at each pixel: the length of its gradient at the pixel's logits, for the same
network and image, each on a scale of its own.
"""

import argparse
import inspect
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from segkit.data.weight_maps.boundary import Boundary
from segkit.evaluation.model_output import output_logits
from segkit.evaluation.pictures import as_rgb, color_ids, heat, save_jpeg, stack, titled
from segkit.registry import LOSSES
from segkit.runs.predictor import load_predictor
from segkit.training.build import build_dataset

#: Those that are no loss of several classes by themselves.
LEFT_OUT = ("bce", "pixel", "sum")
#: Numbers that a run takes from its data, or that make a loss do its work from the first iteration on.
GIVEN = {
    "bootstrapped_ce": {"start_warm": 0, "end_warm": 0},
    "logit_adjusted_ce": {"priors": [0.8, 0.09, 0.08, 0.02, 0.005]},
}
COLUMNS = 6
#: The share of pixels that may be brighter than the scale has room for.
CLIPPED = 0.005


def pull(name: str, logits: Tensor, sample, *, num_classes: int, ignore_index: int) -> Tensor:
    """The length of the gradient at each pixel (H, W), in [0, 1] of the image's own scale."""
    constructor = LOSSES.get(name)
    given = {"num_classes": num_classes, "ignore_index": ignore_index}
    accepted = inspect.signature(constructor).parameters
    loss = constructor(
        **{key: value for key, value in given.items() if key in accepted}, **GIVEN.get(name, {})
    )
    weight = Boundary(ignore_index)(sample)[None] if getattr(loss, "needs_weight", False) else None
    leaf = logits.detach().clone().requires_grad_()
    value, _ = loss(leaf, sample.target[None], weight, iteration=1)
    (slope,) = torch.autograd.grad(value, leaf)
    length = slope[0].norm(dim=0)
    return (length / length.flatten().quantile(1 - CLIPPED).clamp_min(1e-12)).clamp_max(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--image", type=int, default=4)
    args = parser.parse_args()
    predictor = load_predictor(args.weights, torch.device("cpu"))
    labels = predictor.labels
    sample = build_dataset(predictor.config, "val")[args.image]
    with torch.no_grad():
        logits = output_logits(predictor.forward(sample.image[None])).float()
    parts = {
        "image": as_rgb(sample.image),
        "label": color_ids(sample.target, labels.palette, labels.ignore_index),
        "prediction": color_ids(logits.argmax(1)[0], labels.palette, labels.ignore_index),
    }
    known = {"num_classes": len(labels.class_names), "ignore_index": labels.ignore_index}
    for name in LOSSES.names():
        if name not in LEFT_OUT:
            parts[name] = heat(pull(name, logits, sample, **known))
    names = list(parts)
    names += [""] * (math.ceil(len(names) / COLUMNS) * COLUMNS - len(names))
    empty = torch.full_like(parts["image"], 255)
    rows = [names[start : start + COLUMNS] for start in range(0, len(names), COLUMNS)]
    pictures = [titled([parts.get(name, empty) for name in row], row) for row in rows]
    save_jpeg(stack(pictures), Path(__file__).with_name("loss_pull.jpg"), quality=88)


if __name__ == "__main__":
    main()
