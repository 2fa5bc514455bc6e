"""Which checkpoint a run continues from, and whether its configuration still allows that."""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from segkit.config.keys import covers, flatten, is_backend
from segkit.config.load import config_from_mapping, load_config
from segkit.config.schema import Config
from segkit.errors import CheckpointError, ConfigError, RunFolderInUse
from segkit.runs.checkpoint import Found, NoneIntact, Skipped, load_checkpoint, newest_intact
from segkit.system.locks import find_holder
from segkit.system.packed.members import is_packed
from segkit.system.run_files import RunFiles, folder_around, list_checkpoints, name_runs_below
from segkit.system.typed import quote
from segkit.training.optimizer_state import refuse_unfit

REFUSE, WARN, SILENT = "refuse", "warn", "silent"

#: What a changed key means for a resumed run. The first line that is the key, or a block around it, decides.
CHANGES = (
    # the same images, read in another way
    ("data.cache", SILENT),
    # the same images as long as all of them can be read
    ("data.on_bad_sample", WARN),
    # another experiment
    ("seed", REFUSE),
    ("model", REFUSE),
    ("data", REFUSE),
    ("loss", REFUSE),
    ("optimizer.name", REFUSE),
    ("train.batch_size", REFUSE),  # only warned about as long as
    ("train.accumulate", REFUSE),  # their product is the same
    ("train.amp", REFUSE),
    # nothing that was learnt depends on it
    ("name", SILENT),
    ("device", SILENT),
    ("train.workers", SILENT),
    ("train.keep_checkpoints", SILENT),
    ("train.shard", SILENT),
    ("eval.batch_size", SILENT),
    ("eval.images", SILENT),
    ("eval.calibration", SILENT),
    ("log", SILENT),
    # the rest: length, learning rate and its schedule, intervals, augmentation, EMA, clipping ...
    ("", WARN),
)

ABSENT = object()


def find_resume(
    target: str | Path, *, runs_dir: str | Path, name: str, map_location: str | torch.device = "cpu"
) -> Found | None:
    """The checkpoint to continue from.

    `target` is `"auto"` (the newest intact checkpoint of the run folder of this name that was written last),
    a run folder (its newest intact checkpoint), or a checkpoint file (that one only).

    None only for `"auto"` where no run of this name has written a checkpoint yet, so that one command starts a run and
    goes on with it. Raises CheckpointError if those that there are cannot be used or nothing is at the path, and
    RunFolderInUse if a run that has no checkpoint yet is being trained.
    """
    if str(target) == "auto":
        return _find_newest(Path(runs_dir) / name, map_location)
    target = Path(target)
    refuse_packed(target)
    if target.is_dir():
        return _find_in_run(target, map_location)
    if not target.exists():
        link = (
            f"a link to {target.parent / target.readlink()}, which does not exist"
            if target.is_symlink()
            else ""
        )
        raise CheckpointError(
            f"nothing to resume at {target}: {link or 'no such file or folder'}{_list_runs(Path(runs_dir) / name)}"
        )
    return Found(target, load_checkpoint(target, map_location=map_location), [])


def refuse_packed(target: Path) -> None:
    """Raises CheckpointError for a packed run, which has weights, and no state of training to go on from."""
    if is_packed(target) and target.is_file():
        raise CheckpointError(
            f"nothing to resume at {target}: a packed run has the weights alone\n"
            f"   -> --config {quote(target)} for the same training anew, or model.init_from={quote(target)} to begin "
            "with its weights"
        )


def run_folder_of(checkpoint: str | Path) -> Path | None:
    """The run folder a checkpoint lies in, or None for a file that was moved elsewhere."""
    run = folder_around(Path(checkpoint))
    return run if RunFiles(run).is_run else None


def describe_skipped(skipped: Iterable[Skipped]) -> list[str]:
    """One console line for each checkpoint or run folder that was passed over."""
    return [f"skipped   {item.path}: {item.reason}" for item in skipped]


def compare_configs(
    old: Mapping[str, Any], new: Mapping[str, Any], *, allow: Sequence[str] = (), checkpoint: str | Path = ""
) -> list[str]:
    """Warnings about what changed between the configuration in a checkpoint and the present one.

    Both are `Config.to_mapping()`. `allow` holds the keys given with `--allow-change`; a key stands for all
    below it. Raises CheckpointError listing every change that makes it another experiment, and ConfigError
    for a key in `allow` that neither configuration has.
    """
    _check_allowed_keys(allow, old, new)
    refuse_unfit(old, new, checkpoint or "the checkpoint")
    same_batch = _images_per_update(old) == _images_per_update(new)
    warnings, refused = [], {}
    for key, (before, after) in find_changes(old, new).items():
        line = f"{key}: {_show(before)} -> {_show(after)}"
        verdict = verdict_of(key)
        if verdict == SILENT:
            continue
        allowed = any(covers(given, key) for given in allow)
        harmless = same_batch and key in ("train.batch_size", "train.accumulate")
        if verdict == REFUSE and not allowed and not harmless:
            refused[key] = line
        else:
            warnings.append(f"resumed with another configuration: {line}{' (allowed)' if allowed else ''}")
    if refused:
        source = f"checkpoint {checkpoint}" if checkpoint else "the checkpoint"
        raise CheckpointError(
            f"{source} is from another experiment:\n"
            + "".join(f"   {line}\n" for line in refused.values())
            + "   -> restore these values, start a new run without --resume, or accept the change:\n"
            + "      "
            + " ".join(f"--allow-change {key}" for key in refused)
        )
    return warnings


#: What settings meant before they could be set, where that is not their default, by the data set that has them.
BEFORE = {"folder": {"value_range": "dtype"}}


def with_earlier_meanings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a checkpoint with what it meant by options that came later, where that is not their default."""
    data = settings.get("data")
    before = BEFORE.get(str(data.get("name")), {}) if isinstance(data, Mapping) else {}
    return {**settings, "data": {**before, **data}} if isinstance(data, Mapping) and before else settings


def with_defaults(settings: Mapping[str, Any], *, origin: str) -> Mapping[str, Any]:
    """The settings of a checkpoint with the defaults of options that came later, which change nothing of before.

    Settings that this segkit no longer has stay as they are; comparing them names them.
    """
    try:
        return config_from_mapping(dict(with_earlier_meanings(settings)), origin=origin).to_mapping()
    except ConfigError:
        return settings


def describe_nothing(parent: Path) -> str:
    """The line for `"auto"` where there is nothing to resume in `parent`."""
    has = " has a checkpoint" if _runs_newest_first(parent) else ""
    return f"resume    no run in {parent}{has} yet: a new one"


def _find_newest(parent: Path, map_location: str | torch.device) -> Found | None:
    """The newest intact checkpoint of the run folder below `parent` that was written last; None if none was written."""
    runs = _runs_newest_first(parent)
    skipped: list[Skipped] = []
    for run in runs:
        found = newest_intact(RunFiles(run).checkpoints, map_location=map_location)
        skipped += found.skipped
        if isinstance(found, Found):
            return Found(found.path, found.state, skipped)
        if not found.skipped:
            skipped.append(Skipped(run, "no checkpoint in it"))
    if all(item.path in runs for item in skipped):
        _refuse_run_in_use(runs)
        return None
    raise CheckpointError(_no_usable(parent, skipped))


def _refuse_run_in_use(runs: Iterable[Path]) -> None:
    """Raises RunFolderInUse for a run without a checkpoint that is being trained: another would be begun beside it."""
    for run in runs:
        holder = find_holder(RunFiles(run).lock)
        if holder is not None:
            raise RunFolderInUse(
                f"run folder {run} is in use by {holder}, and has no checkpoint yet\n"
                "   -> wait for it or stop it; a new run without --resume gets a folder of its own"
            )


def _find_in_run(folder: Path, map_location: str | torch.device) -> Found:
    """The newest intact checkpoint of one run folder (or of the folder of checkpoints itself)."""
    inner = RunFiles(folder).checkpoints
    found = newest_intact(inner if inner.is_dir() else folder, map_location=map_location)
    if isinstance(found, NoneIntact):
        skipped = found.skipped or [Skipped(folder, "no checkpoint in it")]
        raise CheckpointError(_no_usable(folder, skipped) + _list_runs(folder))
    return found


def _runs_newest_first(parent: Path) -> list[Path]:
    runs = [path for path in parent.glob("*") if RunFiles(path).checkpoints.is_dir()]
    return sorted(runs, key=_last_written, reverse=True)


def _last_written(run: Path) -> tuple[int, str]:
    """When its newest checkpoint was written (the folder, if it has none); then its name, a time."""
    folder = RunFiles(run).checkpoints
    # of a link itself, which may lead nowhere; one that was removed meanwhile does not count
    times = [path.lstat().st_mtime_ns for path in list_checkpoints(folder) if os.path.lexists(path)]
    return max(times, default=folder.stat().st_mtime_ns), run.name


def _no_usable(folder: Path, skipped: list[Skipped]) -> str:
    reasons = "".join(f"   {item.path}: {item.reason}\n" for item in skipped)
    advice = "leave out --resume to start a new run, or give the PATH of another run or checkpoint"
    return f"no usable checkpoint in {folder}\n{reasons}   -> {advice}"


def _list_runs(parent: Path) -> str:
    runs = _runs_newest_first(parent)
    return f"\n   the newest run in {parent} is {runs[0]}" if runs else ""


def find_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Changed keys, in the order of the new configuration, with both values or ABSENT. A block with another
    `name` is that one change."""
    before, after = flatten(old), flatten(new)
    changed = {
        key: (before.get(key, ABSENT), after.get(key, ABSENT))
        for key in [*after, *(key for key in before if key not in after)]
        if before.get(key, ABSENT) != after.get(key, ABSENT)
    }
    renamed = [key.removesuffix("name") for key in changed if key.endswith(".name")]
    return {
        key: values
        for key, values in changed.items()
        if not any(key.startswith(block) and key != f"{block}name" for block in renamed)
    }


def verdict_of(key: str) -> str:
    """What a change of the key means for a resumed run: REFUSE, WARN or SILENT."""
    if is_backend(key):
        return WARN  # the same loss, but rounded differently: the run goes on, not to the bit
    return next(verdict for rule, verdict in CHANGES if covers(rule, key))


def _images_per_update(config: Mapping[str, Any]) -> int:
    train = config.get("train", {})
    return train.get("batch_size", 1) * train.get("accumulate", 1)


def _check_allowed_keys(allow: Sequence[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    keys = list(dict.fromkeys([*flatten(new), *flatten(old)]))
    problems = []
    for given in allow:
        if not given or not any(covers(given, key) for key in keys):
            close = difflib.get_close_matches(given, keys, n=1)
            hint = f", did you mean '{close[0]}'?" if close else ""
            problems.append(f"--allow-change {given}: no such key{hint}")
    if problems:
        raise ConfigError(problems)


def _show(value: Any) -> str:
    return (
        "(absent)" if value is ABSENT else repr(value) if isinstance(value, str) and not value else str(value)
    )


def resumed_config(resume: str, overrides: Sequence[str]) -> Config:
    """The configuration of the run that `--resume PATH` continues, with overrides."""
    if resume == "auto":
        raise ConfigError("--resume auto needs --config, to know which run is meant")
    refuse_packed(Path(resume))
    folder = Path(resume) if Path(resume).is_dir() else run_folder_of(Path(resume))
    if folder is None or not RunFiles(folder).is_run:
        inside = name_runs_below(Path(resume)) if Path(resume).is_dir() else ""
        raise CheckpointError(
            f"nothing to resume at {resume}: there is no run folder with a {RunFiles.config.name}"
            + (
                inside
                or "\n   -> give a run folder or a checkpoint in one; if that file was lost: "
                f"--config FILE --resume {quote(Path(resume))}"
            )
        )
    return load_config(folder, overrides)
