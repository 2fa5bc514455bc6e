"""Finished runs from their run folders, for statistics and reports."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from segkit.ablation.study.configs import read_config
from segkit.ablation.study.per_image import Damaged, PerImage, read_arrays, read_per_image
from segkit.ablation.study.phrases import IN_USE
from segkit.ablation.study.study import Run
from segkit.config.schema import Config
from segkit.errors import CheckpointError
from segkit.runs.folder import read_status
from segkit.runs.written.checks import wrong_in_env, wrong_in_summary
from segkit.system.locks import find_holder
from segkit.system.run_files import RunFiles
from segkit.system.typed import typed


def read_run(
    folder: str | Path, *, variant: str, seed: int | None = None, config: Config | None = None
) -> Run:
    """The finished run in `folder`, as a run of `variant`.

    `seed` is what its configuration must say, if given; `config` is that configuration, if it was read already.
    Raises CheckpointError, with what to do, for a folder that is no run folder, a run that has not finished, and files
    that are missing, damaged or of an older segkit; ConfigError for a configuration that does not load.
    """
    folder, files = Path(folder), RunFiles(folder)
    config = config or read_config(folder)
    require_finished(folder)
    if seed is not None and config.seed != seed:
        raise CheckpointError(
            f"{folder}: expected a run with seed {seed}, but its {files.config.name} has {config.seed}"
        )
    images = _read_per_image(files)
    env, summary = _read_json(files.env), _read_json(files.summary)
    for file, wrong in ((files.env, wrong_in_env(env)), (files.summary, wrong_in_summary(summary))):
        if wrong is not None:
            raise CheckpointError(_damaged(file, wrong))
    return Run(
        folder=folder,
        variant=variant,
        seed=config.seed,
        config=config.to_mapping(),
        class_names=images.class_names,
        image_names=images.names,
        counts=images.counts,
        iteration=images.iteration,
        definition=images.definition,
        history=read_history(files.results),
        summary=summary,
        env=env,
        fingerprints=env.get("fingerprints") or {},
        scored_at=images.at,
        scored_in=images.precision,
    )


def require_finished(folder: Path) -> None:
    """Raises CheckpointError, saying how the run stands, unless it trained to its end."""
    files = RunFiles(folder)
    try:
        status = read_status(folder)
    except ValueError as error:
        raise CheckpointError(_damaged(files.status, error)) from error
    if status is None:
        raise CheckpointError(
            f"{folder} is not a finished run: it has no {files.status.name}, so its training never began"
            " -> start the run again"
        )
    state, iteration = status["state"], status["iteration"]
    if state == "done":
        return
    holder = find_holder(files.lock)
    if holder is not None:
        raise CheckpointError(
            f"{folder} has not finished: it is at iteration {iteration:,} and {IN_USE} by {holder} -> wait for it"
        )
    how = "it was killed" if state == "running" else state
    reason = f"\n   {status['error']}" if status.get("error") else ""
    raise CheckpointError(
        f"{folder} has not finished: {how}, at iteration {iteration:,}{reason}\n"
        f"   -> {typed('train', '--resume', Path(folder))}"
    )


def read_history(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The columns of a results.csv as (iterations int64 (K,), values float64 (K,)), without their blanks.

    Raises CheckpointError if there is no such file or it is damaged.
    """
    if not path.is_file():
        raise CheckpointError(_missing(path))
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            rows = [{name: float(text) for name, text in row.items() if text} for row in reader]
            columns = {
                name: [(int(row["iteration"]), row[name]) for row in rows if name in row]
                for name in reader.fieldnames or ()
                if name != "iteration"
            }
            return {
                name: (
                    np.array([iteration for iteration, _ in points], dtype=np.int64),
                    np.array([value for _, value in points], dtype=np.float64),
                )
                for name, points in columns.items()
            }
        except (ValueError, TypeError, KeyError, OverflowError, csv.Error) as error:
            raise CheckpointError(_damaged(path, error)) from error


def read_examples(run: Run) -> list[dict[str, Any]]:
    """The example images of a run as of its last pictures; empty if it made none.

    Each has `name`, `image` uint8 (H, W, 3), `target` and `prediction` (H, W) class ids, `kept` uint8 (H, W), 255 for
    a pixel that the loss keeps entirely, or None for a loss that cannot tell, `palette` uint8 (C, 3),
    `ignore_index` and `iteration`. Raises CheckpointError if the file is damaged.
    """
    path = RunFiles(run.folder).examples
    if not path.is_file():
        return []
    try:
        arrays = read_arrays(path)
        shared = {
            "palette": arrays["palette"],
            "ignore_index": int(arrays["ignore_index"]),
            "iteration": int(arrays["iteration"]),
        }
        return [
            {
                "name": name,
                **{part: arrays[f"{part}_{k}"] for part in ("image", "target", "prediction")},
                "kept": arrays.get(f"kept_{k}"),
                **shared,
            }
            for k, name in enumerate(arrays["names"].tolist())
        ]
    except Damaged as error:
        raise CheckpointError(_damaged(path, error)) from error
    except KeyError as error:
        raise CheckpointError(_damaged(path, f"it has no {error}")) from error


def _read_per_image(files: RunFiles) -> PerImage:
    path = files.per_image
    if not path.is_file():
        raise CheckpointError(
            f"{files} has no {path.name}: an older segkit did not write one\n"
            f"   -> {typed('evaluate', '--weights', files.path, '--per-image')}, or train again"
        )
    try:
        return read_per_image(path)
    except Damaged as error:
        raise CheckpointError(_damaged(path, error)) from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(_missing(path))
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(_damaged(path, error)) from error
    if not isinstance(value, dict):
        raise CheckpointError(_damaged(path, f"expected an object, got {type(value).__name__}"))
    return value


def _missing(path: Path) -> str:
    return f"{path} is missing, although the run is done -> restore the file, or train again"


def _damaged(path: Path, reason: object) -> str:
    advice = {
        RunFiles.per_image.name: f"{typed('evaluate', '--weights', path.parent, '--per-image')}, or train again",
        RunFiles.examples.name: "delete it; the report then has no pictures of this run",
    }.get(path.name, "restore the file, or train again")
    return f"{path} is damaged: {reason}\n   -> {advice}"
