"""Any data set as a folder of images and masks, and a configuration that trains on it to the same result."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from segkit.commands.convert.pair_writer import (
    MaskForm,
    PairMaker,
    PairWriter,
    can_copy,
    keeps_size,
    refuse_channels,
)
from segkit.commands.convert.record import Record, remove_file
from segkit.commands.convert.shard_writer import MASK, ShardWriter, refuse_strange_shards
from segkit.config.schema import Config
from segkit.data.cache.settings import settings_text
from segkit.data.files.label_map import IGNORE
from segkit.data.loading.faults import WorkerDied
from segkit.data.loading.parallel import in_workers
from segkit.data.loading.view import read_sample
from segkit.errors import ConfigError, DataError
from segkit.system.files import write_text
from segkit.system.interrupt import Interrupt
from segkit.system.locks import take_lock
from segkit.system.typed import typed
from segkit.training.build_dataset import build_dataset, data_settings, with_found

CONFIG, LOCK = "train.yaml", ".segkit-lock"
#: Names that are kept as names of files.
PLAIN = re.compile(r"[^\W_.][\w.+= -]{0,150}(/[^\W_.][\w.+= -]{0,150})*")


def convert(config: Config, folder: Path, *, workers: int, shard_size: int | None = None) -> int:
    """Write images, masks and a configuration into `folder`, and say how to train; returns the exit status, 0 or that
    of a signal. With `shard_size` so many samples go into each of a few tar files. What is there of an earlier call,
    made from the same files, stays.

    Raises ConfigError for a folder with other files, or in the way of the data, for weight maps that are files, and for
    scores of a size that cannot be written; DataError for a sample that cannot be used; CannotWrite; RunFolderInUse.
    """
    if config.data.weight_map is not None and config.data.weight_map.name == "file":
        raise ConfigError(
            "data.weight_map={name: file} has its files beside the images that are converted\n"
            "   -> data.weight_map=null here, and make_weights for what was written"
        )
    # What a cache keeps is not what the files hold, and would be filled in vain.
    plain = config.model_copy(update={"data": config.data.model_copy(update={"cache": "off"})})
    parts = {split: build_dataset(plain, split) for split in ("train", "val")}
    for dataset in parts.values():
        refuse_place(dataset, folder)
        refuse_lost_size(config, dataset)
    record = Record(folder)
    record.begin()
    lock = take_lock(folder / LOCK, f"folder {folder}", "wait for it")
    try:
        return _convert(config, parts, record, workers=workers, shard_size=shard_size)
    finally:
        os.close(lock)


def _convert(
    config: Config, parts: dict[str, Any], record: Record, *, workers: int, shard_size: int | None
) -> int:
    copy = all(can_copy(dataset) for dataset in parts.values())
    writers: dict[str, PairWriter | ShardWriter] = {}
    for split, dataset in parts.items():
        refuse_channels(dataset, copy=copy)
        own_size = keeps_size(dataset) and dataset.resize is not None
        settings = [data_settings(config, split), getattr(dataset, "found_options", {}), copy or own_size]
        maker = PairMaker(dataset, copy=copy, settings=settings_text(settings))
        if shard_size is None:
            names = name_files(dataset)
            writers[split] = PairWriter(maker, split, record.folder, names=names, known=record.entries)
        else:
            writers[split] = ShardWriter(maker, split, record.folder, size=shard_size, known=record.entries)
    planned = {
        file for writer in writers.values() for n in range(len(writer.names)) for file in writer.files_of(n)
    }
    record.refuse_strangers(planned)
    if shard_size is not None:
        refuse_strange_shards(record.folder, parts, planned | record.files.keys())
    # Until all is written, files of before may hold the same samples once more: nothing is to be trained on them.
    remove_file(record.folder / CONFIG)
    what, done = "samples" if shard_size is None else "shards", 0
    with Interrupt() as interrupt:
        for split, writer in writers.items():
            new, there = write_part(writer, record, workers=workers, stop=interrupt)
            done += there
            if interrupt.exit_code is not None:
                print(
                    f"stopped   {done:,} {what} are there -> the same command writes the others, and then {CONFIG}"
                )
                return interrupt.exit_code
            print(f"{split:9} {say_parts(writer)}, {new:,} of them new")
    gone = record.finish((split, name) for split, writer in writers.items() for name in writer.names)
    if gone:
        print(f"removed   {gone:,} files that an earlier call has written and nothing needs any more")
    written = converted_config(config, parts["train"], record.folder, copy=copy)
    if shard_size is not None:
        written = sharded_config(written, [writer.maker for writer in writers.values()])
    write_text(record.folder / CONFIG, written.to_yaml())
    for split, dataset in parts.items():
        require_equal(build_dataset(written, split), dataset)
    if hasattr(parts["train"], "epoch_order"):
        print(
            f"but       {config.data.name} says which images an epoch draws, a folder does not: another order"
        )
    elif shard_size is not None:
        print(
            "but       shards are read in windows: another order -> data.shuffle=null for that of the source"
        )
    print(f"train     {typed('train', '--config', record.folder / CONFIG)}")
    return 0


def say_parts(writer: PairWriter | ShardWriter) -> str:
    """`367 samples`, or `4 shards of 367 samples`."""
    samples = f"{len(writer.maker):,} samples"
    return samples if isinstance(writer, PairWriter) else f"{len(writer.names):,} shards of {samples}"


def write_part(
    writer: PairWriter | ShardWriter, record: Record, *, workers: int, stop: Interrupt
) -> tuple[int, int]:
    """Write what is missing of a part, with a progress bar on a terminal, until asked to stop; returns how many entries
    (samples, or shards) are new, and how many there are of the part."""
    new, there, total = 0, 0, len(writer.names)
    with tqdm(
        desc=writer.part,
        total=total,
        unit="image" if isinstance(writer, PairWriter) else "shard",
        disable=None,
        leave=False,
    ) as bar:
        try:
            for entry in in_workers(writer, range(total), workers=workers):
                if record.entries.get((entry.part, entry.name)) != entry:
                    record.add(entry)
                    new += 1
                there += 1
                bar.update()
                if stop.requested:
                    break
        except WorkerDied:
            # What stops this process often reaches the workers too.
            if not stop.requested:
                raise
    return new, there


def name_files(dataset: Any) -> Sequence[str]:
    """Names of files, in the order of which `folder` finds the samples in the order of `dataset`: those of the samples
    where they do, else with numbers before them."""
    width = len(str(max(0, len(dataset) - 1)))
    names = getattr(dataset, "names", None)
    if names is None:
        return [f"{index:0{width}d}" for index in range(len(dataset))]
    if all(map(PLAIN.fullmatch, names)) and list(names) == sorted(set(names)):
        return names
    return [f"{index:0{width}d}_{_as_plain(name)}" for index, name in enumerate(names)]


def _as_plain(name: str) -> str:
    return re.sub(r"[^\w.+= -]", "_", name)[-100:]


def refuse_place(dataset: Any, folder: Path) -> None:
    """Raises ConfigError for a folder among the files of the data."""
    place = os.path.realpath(folder)
    roots = [os.path.realpath(dataset.root)] if hasattr(dataset, "root") else []
    for root in roots:
        if _is_in(place, root):
            raise ConfigError(f"--to {folder} is in the folder of the data, {dataset.root} -> another folder")
    seen: set[str] = set()
    for index in range(len(dataset)) if hasattr(dataset, "files") else ():
        for path in dataset.files(index):
            parent = os.path.dirname(path)
            if parent not in seen:
                seen.add(parent)
                if _is_in(os.path.realpath(parent), place):
                    raise ConfigError(f"--to {folder} has files of the data: {path} -> another folder")


def refuse_lost_size(config: Config, dataset: Any) -> None:
    """Raises ConfigError where scores are of a size that cannot be written."""
    if config.eval.at == "original" and config.data.params.get("resize") and not keeps_size(dataset):
        raise ConfigError(
            f"eval.at=original: {config.data.name} gives its samples in the size data.resize alone, so that what is "
            "written would be scored in that\n   -> eval.at=network, or data.resize=null"
        )


def _is_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def converted_config(config: Config, dataset: Any, folder: Path, *, copy: bool) -> Config:
    """The configuration with the data that were written in the place of its own."""
    form = MaskForm.of(dataset)
    params: dict[str, Any] = {
        "root": str(folder),
        "classes": list(dataset.class_names),
        "ignore_index": dataset.ignore_index,
        "channels": dataset.channels,
    }
    if form.ignored != dataset.ignore_index:
        params["label_map"] = {form.ignored: IGNORE}
    if keeps_size(dataset):  # the files are as large as they were
        params |= {"resize": None if dataset.resize is None else list(dataset.resize)}
    if copy:  # and have as many bits
        found = with_found({}, getattr(dataset, "found_options", {}))
        ends = found.get("value_range", dataset.value_range)
        params |= {} if ends is None else {"value_range": ends if isinstance(ends, str) else list(ends)}
    data = config.data.model_copy(update={"name": "folder", "params": params})
    return config.model_copy(update={"data": data})


def sharded_config(config: Config, makers: Sequence[PairMaker]) -> Config:
    """The configuration of the same samples in shards: `config` has them in a folder of files."""
    endings = {maker.suffix(index).lstrip(".").lower() for maker in makers for index in range(len(maker))}
    params = {**config.data.params, "images": sorted(endings), "masks": [MASK]}
    params |= {part: f"{part}-*.tar" for part in ("train", "val")}
    return config.model_copy(
        update={"data": config.data.model_copy(update={"name": "shards", "params": params})}
    )


def require_equal(written: Any, source: Any) -> None:
    """Raises DataError if the first sample of what was written is not that of the source: a bug, or a disk at fault."""
    first, second = (read_sample(dataset, 0, None) for dataset in (written, source))
    same = len(written) == len(source) and first.image.equal(second.image)
    if not (same and first.target.tolist() == second.target.tolist()):
        raise DataError(f"what was written is not what was read: {json.dumps(second.name)}, {written.root}")
