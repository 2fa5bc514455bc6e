"""What is in the weight maps that were made: numbers, pictures, and a file with both their settings and numbers."""

from collections.abc import Sequence
from pathlib import Path

import torch

from segkit.commands.weights.maker import WeightFacts, join_facts
from segkit.commands.weights.part_maps import PartMaps
from segkit.config.schema import Config
from segkit.data.palette import Color
from segkit.data.weight_maps.weight_files import HIGHEST, read_weights
from segkit.evaluation.pictures import as_rgb, color_ids, heat, save_jpeg, stack, titled
from segkit.system.files import write_json
from segkit.system.printable import show_class

SUMMARY = "make_weights.json"
PREVIEW = "make_weights.jpg"
#: Maps in the picture, pixels of the longer side above which they are reduced, and classes in the printed table.
SHOWN, LARGEST, MOST_CLASSES = 4, 512, 20


def describe_maps(part: PartMaps) -> list[str]:
    """Lines on the maps of a part: how many, which weights, and how much of the weight each class has."""
    facts = join_facts(list(part.facts.values()))
    lines = [
        f"{part.name:9} {len(part.facts):,} maps, {part.made:,} of them made now, in {part.folder}",
        f"          weights {facts.lowest:.4g} to {facts.highest:.4g}, mean {_mean(facts):.4g}"
        + (f", in steps of at most {facts.highest / HIGHEST:.2g}" if part.suffix == ".png" else ", exact"),
    ]
    if part.left_out:
        lines.append(f"          {len(part.left_out):,} left out: {part.left_out[0]}")
    names = [show_class(name) for name in part.dataset.class_names]
    width = max(len("class"), *map(len, names))
    lines.append(f"          {'class':{width}}  of the pixels  of the weight")
    rows = sorted(zip(names, _shares(facts.pixels), _shares(facts.weights), strict=True), key=lambda r: -r[2])
    lines += [
        f"          {name:{width}} {pixels:12.2f} % {weight:12.2f} %"
        for name, pixels, weight in rows[:MOST_CLASSES]
    ]
    if len(rows) > MOST_CLASSES:
        lines.append(f"          and {len(rows) - MOST_CLASSES} more, in {part.folder / SUMMARY}")
    return lines


def write_summary(part: PartMaps, config: Config) -> None:
    """Write the settings and numbers of a part's maps into its folder. Raises CannotWrite."""
    facts = join_facts(list(part.facts.values()))
    mapping = config.to_mapping()["data"]
    write_json(
        part.folder / SUMMARY,
        {
            "weight_map": mapping["weight_map"],
            "data": {key: value for key, value in mapping.items() if key != "weight_map"},
            "maps": len(part.facts),
            "left_out": part.left_out,
            "lowest": facts.lowest,
            "highest": facts.highest,
            "mean": _mean(facts),
            "classes": {
                name: {"share_of_pixels": pixels / 100, "share_of_weight": weight / 100}
                for name, pixels, weight in zip(
                    part.dataset.class_names, _shares(facts.pixels), _shares(facts.weights), strict=True
                )
            },
        },
    )


def draw_maps(part: PartMaps, palette: Sequence[Color]) -> Path:
    """Write a picture of some images, their labels and the maps as they are in the files; returns its path."""
    rows = []
    for index in sorted(part.facts)[:SHOWN]:
        sample = part.dataset[index]
        weight = torch.from_numpy(read_weights(part.file_of(index), scale=None))
        highest = float(weight.max())
        pictures = [
            as_rgb(sample.image),
            color_ids(sample.target, palette, part.dataset.ignore_index),
            heat(weight / (highest or 1.0)),
        ]
        factor = -(-max(weight.shape) // LARGEST)
        titles = [sample.name, "label", f"weight, white is {highest:.3g}"]
        rows.append(titled([picture[:, ::factor, ::factor] for picture in pictures], titles))
    path = part.folder / PREVIEW
    save_jpeg(stack(rows), path)
    return path


def _mean(facts: WeightFacts) -> float:
    return sum(facts.weights) / max(1, sum(facts.pixels))


def _shares(numbers: Sequence[float]) -> list[float]:
    """The numbers in percent of their sum."""
    total = sum(numbers)
    return [100 * number / total if total else 0.0 for number in numbers]
