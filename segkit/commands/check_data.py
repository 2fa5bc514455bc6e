"""Checking data outside of training: what `segkit check-data --config` does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit.config.load import load_config
from segkit.config.schema import Config
from segkit.data.check.describe import (
    describe_class_shares,
    describe_findings,
    describe_part,
    describe_result,
)
from segkit.data.check.finding import Finding, problem
from segkit.data.check.look import Known, read_arrays
from segkit.data.check.report_files import CheckFiles
from segkit.data.check.whole import CountedPart, count_whole, find_all
from segkit.data.loading.parallel import worth_starting
from segkit.data.loading.spread import spread
from segkit.data.palette import Color, palette
from segkit.errors import ConfigError, DataError
from segkit.evaluation import canvas
from segkit.runs.recording.plots.class_frequencies import plot_shares
from segkit.system.environment import require_torch_pair
from segkit.system.files import cannot_write, write_json
from segkit.training.build_dataset import build_dataset, build_weight_map

#: The exit status if there is a problem, as for a DataError.
PROBLEMS = DataError.exit_code
#: Images in masks.jpg, and pixels of the longer side above which they are reduced.
SHOWN, LARGEST = 6, 384


@dataclass(frozen=True)
class Checked:
    """The parts that could be read, and everything found."""

    parts: Mapping[str, CountedPart]
    findings: Sequence[Finding]


def check_configured(
    source: str,
    overrides: Sequence[str],
    *,
    workers: int | None,
    output: Path | None,
    find_more: Callable[[Mapping[str, CountedPart]], Sequence[Finding]] | None = None,
) -> int:
    """Check all data of a configuration, also for what `find_more` finds; returns the exit status: 0, or 3 if there are
    problems."""
    require_torch_pair()
    # The files themselves are to be read, not copies made of them.
    config = load_config(source, [*overrides, "data.cache=off"])
    root = config.data.params.get("root")
    folder = output or Path("runs/check") / config.name
    refuse_output_in(root, folder)
    print(f"data      {config.data.name}{'' if root is None else f'  {root}'}   ({source})")
    checked = check_all(config, workers=workers)
    if find_more is not None:
        checked = Checked(checked.parts, [*find_more(checked.parts), *checked.findings])
    return report(checked, folder, source=source)


def check_all(config: Config, *, workers: int | None, known: Known | None = None) -> Checked:
    """Read every sample of the training and the validation set; what cannot be opened is a problem of its own.

    `workers` are the processes that read, None for one per core; `known` are the facts of files that were read already.
    """
    workers = worth_starting() if workers is None else workers
    datasets: dict[str, Any] = {}
    found: list[Finding] = []
    for name in ("train", "val"):
        try:
            datasets[name] = build_dataset(config, name)
        except DataError as error:
            found.append(problem("cannot-open", f"{name}: {error}"))
            datasets |= _open_labelled(config, name)
    weight_map = None
    if "train" in datasets:
        train = datasets["train"]
        weight_map = build_weight_map(config, train, lambda kind: [1.0] * train.num_classes)
    parts = {
        name: count_whole(
            dataset, name, weight_map=weight_map if name == "train" else None, workers=workers, known=known
        )
        for name, dataset in datasets.items()
    }
    found += find_all(parts, batch_size=config.train.batch_size, weighted=weight_map is not None)
    return Checked(parts, found)


def _open_labelled(config: Config, part: str) -> dict[str, Any]:
    """The part by its name, without the images that have no mask, if that is all that kept it from being opened."""
    if "unlabelled" not in config.data.params:
        return {}
    data = config.data.model_copy(update={"params": {**config.data.params, "unlabelled": "skip"}})
    try:
        dataset = build_dataset(config.model_copy(update={"data": data}), part)
    except DataError:  # which is reported already
        return {}
    dataset.notes = []
    return {part: dataset}


def report(checked: Checked, folder: Path, *, source: str, data: Mapping[str, Any] | None = None) -> int:
    """Print what was found, write it into `folder`, with the `data` block if one was proposed, and return the exit
    status. Raises CannotWrite."""
    tallies = {name: part.tally for name, part in checked.parts.items()}
    for name, tally in tallies.items():
        print(describe_part(name, tally))
    usable = {name: tally for name, tally in tallies.items() if tally.samples}
    if usable:
        class_names = next(iter(checked.parts.values())).dataset.class_names
        print(f"\n{describe_class_shares(class_names, usable)}")
    lines = describe_findings(checked.findings)
    print("\n".join(["", *lines, ""] if lines else [""]))
    written = [
        *([CheckFiles.config.name] if data else []),
        *write_report(checked, folder, source=source, data=data),
    ]
    print(f"written   {folder}: {', '.join(written)}")
    print(describe_result(checked.findings))
    return PROBLEMS if any(finding.severity == "problem" for finding in checked.findings) else 0


def write_report(checked: Checked, folder: Path, *, source: str, data: Mapping[str, Any] | None) -> list[str]:
    """check.json, labels.png and masks.jpg, the pictures only if something could be read; returns the names."""
    make_folder(folder)
    files = CheckFiles(folder)
    tallies = {name: part.tally for name, part in checked.parts.items()}
    facts: dict[str, Any] = {
        "source": source,
        "data": None if data is None else dict(data),
        "findings": [finding.as_json() for finding in checked.findings],
    }
    for name in ("train", "val"):
        part = checked.parts.get(name)
        facts[name] = None if part is None else part.tally.as_json(part.dataset.class_names)
    write_json(files.check, facts)
    usable = {name: part for name, part in checked.parts.items() if part.tally.samples}
    if not usable:
        return [files.check.name]
    first = next(iter(usable.values()))
    shown = {name: tallies[name] for name in usable}
    plot_shares(files.labels_plot, shown, first.dataset.class_names, title="How often each class occurs")
    canvas.save_jpeg(draw_masks(first), files.masks)
    return [files.check.name, files.labels_plot.name, files.masks.name]


def make_folder(folder: Path) -> None:
    """Raises CannotWrite."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def draw_masks(part: CountedPart) -> np.ndarray:
    """Some images beside their labels laid over them, with the colours of the classes, uint8 (3, H, W)."""
    dataset, looks = part.dataset, part.tally.looks
    colors: Sequence[Color] = getattr(dataset, "palette", None) or palette(dataset.num_classes)
    tiles, shown = [], []
    for place in spread(len(looks), SHOWN):
        sample = read_arrays(dataset, looks[place].index)
        image, target = sample.image, sample.target  # (C, H, W), (H, W)
        step = -(-max(target.shape) // LARGEST)
        image, target = image[:, ::step, ::step], target[::step, ::step]
        shown.append(target)
        over = canvas.overlay(image, target, colors, dataset.ignore_index)
        tiles.append(canvas.titled([canvas.as_rgb(image), over], [sample.name, "labels"]))
    grid = canvas.stack(tiles, columns=2)
    pixels = canvas.count_ids(shown, dataset.num_classes)
    height, width = grid.shape[1:]
    legend = canvas.legend(dataset.class_names, colors, width=width, pixels=pixels.tolist(), highest=height)
    return np.concatenate([grid, legend], axis=1)


def refuse_output_in(root: str | None, folder: Path) -> None:
    """Raises ConfigError if the report would be written among the data."""
    if root is not None and folder.resolve().is_relative_to(Path(root).expanduser().resolve()):
        raise ConfigError(f"--output {folder} lies in the data folder {root}, which is left as it is")
