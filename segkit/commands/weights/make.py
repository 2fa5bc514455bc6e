"""Weight maps of a whole data set as files, for maps that take too long to make during training."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segkit.commands.weights.maker import WeightMaker
from segkit.commands.weights.part_maps import MapTask, PartMaps
from segkit.commands.weights.report import describe_maps, draw_maps, write_summary
from segkit.config.schema import Component, Config
from segkit.data.cache.settings import settings_text
from segkit.data.label_counts import describe_file, label_files
from segkit.data.loading.faults import WorkerDied
from segkit.data.loading.form import require_sample
from segkit.data.loading.parallel import in_workers
from segkit.data.weight_maps.weight_files import weight_stem
from segkit.data.weight_maps.weight_records import WeightRecord
from segkit.errors import ConfigError
from segkit.registry import WEIGHT_MAPS
from segkit.system.interrupt import Interrupt
from segkit.system.typed import quote
from segkit.training.build import build_data
from segkit.training.experiment import Data

#: Maps are made anew when this number has changed.
FORMAT = 1


def make_weights(
    config: Config, *, source: str, output: Path | None, workers: int, suffix: str, overwrite: bool
) -> int:
    """Make the maps that are missing, and say what is in them; returns the exit status, 0 or that of a signal.

    `source` is what the configuration was read from, `output` a folder for data that cannot be written to. Raises
    ConfigError for files that were not made here, unless `overwrite`, which makes all maps anew; DataError and
    CannotWrite.
    """
    component = require_computed(config)
    data = build_data(config)
    settings = describe_settings(config, component, data)
    parts = make_parts(
        {
            name: (dataset, plan_tasks(dataset, settings + suffix, output, config))
            for name, dataset in (("train", data.train), ("val", data.val))
        },
        suffix=suffix,
    )
    refuse_shared([task for part in parts for task in part.tasks])
    if not overwrite:
        refuse_foreign([file for part in parts for file in part.find_foreign()])
    print(f"weights   {component.name}   ({source})")
    for line in data.label_counts.describe():
        print(f"          {line}")
    with Interrupt() as interrupt:
        for part in parts:
            missing = part.tasks if overwrite else part.find_missing()
            make_missing(part, missing, data, workers=workers, skip_bad=config.data.skip_bad, stop=interrupt)
            if interrupt.exit_code is not None:
                there = sum(len(part.facts) for part in parts)
                print(f"stopped   {there:,} maps are there -> the same command makes the others")
                return interrupt.exit_code
    for part in parts:
        write_summary(part, config)
        picture = draw_maps(part, data.palette)
        print("\n".join([*describe_maps(part), f"          pictures in {picture}"]))
    root = "" if output is None else f", root: {json.dumps(str(output))}"
    print(f"use them  data.weight_map={quote(f'{{name: file{root}}}')}")
    return 0


def require_computed(config: Config) -> Component:
    """The weight map of the configuration. Raises ConfigError unless it names one that can be computed."""
    weight_map = config.data.weight_map
    if weight_map is None:
        problem = "data.weight_map is not set, so there is nothing to make"
    elif weight_map.name == "file":
        problem = "data.weight_map.name=file reads maps, and makes none"
    else:
        return weight_map
    raise ConfigError(f"{problem}\n   -> data.weight_map='{{name: unet_border}}'")


def describe_settings(config: Config, component: Component, data: Data) -> str:
    """All that the maps are made by, but for the labels: options, class counts, classes, and the code of the map."""
    code = inspect.getsourcefile(WEIGHT_MAPS.get(component.name))
    counts = data.label_counts.asked
    facts = {
        "format": FORMAT,
        "weight_map": [component.name, component.params],
        "code": None if code is None else hashlib.sha256(Path(code).read_bytes()).hexdigest(),
        "counts": None if counts is None else asdict(counts),
        "classes": [list(data.train.class_names), data.train.ignore_index],
        "data": [config.data.name, {k: v for k, v in config.data.params.items() if k != "root"}],
    }
    return settings_text(facts)


def plan_tasks(dataset: Any, settings: str, output: Path | None, config: Config) -> list[MapTask]:
    """A task for every sample. Raises ConfigError for data that have no files."""
    tasks = []
    for index in range(len(dataset)):
        name, path = _name_and_path(dataset, index)
        if path is None:
            raise ConfigError(
                f"data.name={config.data.name} has no files that maps could lie beside\n"
                "   -> train with this weight map as it is: it is made while images are loaded"
            )
        # A copy of the data with the same times is the same data.
        labels = [[p.name, *describe_file(p).rsplit(" ", 2)[1:]] for p in label_files(dataset, index)]
        made_by = hashlib.sha256(json.dumps([settings, labels]).encode()).hexdigest()
        whose = str(path), *(dataset.parts_of(index) if hasattr(dataset, "parts_of") else ())
        tasks.append(MapTask(index, name, weight_stem(path, name, output), made_by, whose))
    return tasks


def _name_and_path(dataset: Any, index: int) -> tuple[str, Path | None]:
    paths = getattr(dataset, "weight_paths", None)
    if paths is not None:
        return dataset.names[index], paths[index]
    sample = require_sample(dataset[index], index=index, channels=dataset.channels)
    return sample.name, sample.weight_path


def refuse_shared(tasks: Sequence[MapTask]) -> None:
    """Raises ConfigError if two samples would have one file, of which the second would replace the first: below another
    folder, what tells them apart beside the images may be missing."""
    first: dict[Path, MapTask] = {}
    for task in tasks:
        other = first.setdefault(task.stem, task)
        if other.whose != task.whose:
            is_mix = len(task.whose) > 1
            ways = (
                'weights: "weights/{split}/NAME" in each part' if is_mix else "data.weights='weights/{split}'"
            )
            raise ConfigError(
                f"the maps of two samples would be one file, {task.stem}: {other.name} ({other.whose[0]}) and "
                f"{task.name} ({task.whose[0]})\n   -> {ways} keeps them apart, here and in training"
            )


def refuse_foreign(files: Sequence[Path]) -> None:
    """Raises ConfigError if there are such files."""
    if files:
        others = f" (and {len(files) - 1:,} more)" if len(files) > 1 else ""
        raise ConfigError(
            f"{files[0]}{others} is there, and was not made by this script\n"
            "   -> --output FOLDER writes elsewhere, --overwrite replaces all maps"
        )


def make_parts(planned: Mapping[str, tuple[Any, Sequence[MapTask]]], *, suffix: str) -> list[PartMaps]:
    """The parts of the data by name. Those whose maps lie in one folder share its record."""
    records: dict[Path, WeightRecord] = {}
    parts = []
    for name, (dataset, tasks) in planned.items():
        folder = tasks[0].stem.parents[len(Path(tasks[0].name).parts) - 1]
        record = records.setdefault(folder, WeightRecord(folder))
        parts.append(PartMaps(name, dataset, tasks, record, suffix=suffix))
    return parts


def make_missing(
    part: PartMaps, missing: Sequence[MapTask], data: Data, *, workers: int, skip_bad: bool, stop: Interrupt
) -> None:
    """Make and write these maps, with a progress bar on a terminal, until the process is asked to stop."""
    assert data.weight_map is not None  # see require_computed
    maker = WeightMaker(part.dataset, data.weight_map, suffix=part.suffix)
    with tqdm(
        desc=part.name,
        total=len(part.tasks),
        initial=len(part.tasks) - len(missing),
        unit="map",
        disable=None,
    ) as bar:
        places = [task.index for task in missing]
        results = in_workers(maker, places, workers=workers, skip_bad=skip_bad)
        try:
            for task, made in zip(missing, results, strict=True):
                part.keep(task, made)
                bar.update()
                if stop.requested:
                    return
        except WorkerDied:
            # What stops this process often reaches the workers too.
            if stop.requested:
                return
            raise
    part.record.tidy()
