"""Draws docs/loss_kept.jpg: python docs/make_loss_kept.py --weights runs/ce/TIME [--image 12 --image 40]"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from segkit.data.weight_maps.boundary import Boundary
from segkit.evaluation.model_output import output_logits
from segkit.evaluation.pictures import as_rgb, color_ids, heat, kept_over, save_jpeg, stack, titled
from segkit.registry import LOSSES
from segkit.runs.predictor import load_predictor
from segkit.training.build import build_dataset

LOSS_OPTIONS = {
    "ce": {},
    "bootstrapped_ce": {"top_p": 0.15, "start_warm": 0, "end_warm": 0},
    "ohem_ce": {"thresh": 0.7, "n_min": "1/16"},
}


def draw_row(predictor, sample) -> torch.Tensor:
    """image | label | prediction | kept by ce | boundary weights | kept by bootstrapped_ce | kept by ohem_ce"""
    labels = predictor.labels
    with torch.no_grad():
        logits = output_logits(predictor.forward(sample.image[None]))
    parts = {
        "image": as_rgb(sample.image),
        "label": color_ids(sample.target, labels.palette, labels.ignore_index),
        "prediction": color_ids(logits.argmax(1)[0], labels.palette, labels.ignore_index),
    }
    for name, options in LOSS_OPTIONS.items():
        loss = LOSSES.get(name)(len(labels.class_names), labels.ignore_index, **options)
        report = loss.pixels(logits, sample.target[None], iteration=0)
        parts[name] = kept_over(sample.image, report.kept[0])
    weight = Boundary(labels.ignore_index)(sample)
    parts["weighted_mask_ce"] = heat(weight / weight.max())
    return titled(list(parts.values()), list(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--image", type=int, action="append")
    args = parser.parse_args()
    predictor = load_predictor(args.weights, torch.device("cpu"))
    dataset = build_dataset(predictor.config, "val")
    rows = [draw_row(predictor, dataset[index]) for index in args.image or (1, 4, 60)]
    save_jpeg(stack(rows), Path(__file__).with_name("loss_kept.jpg"), quality=88)


if __name__ == "__main__":
    main()
