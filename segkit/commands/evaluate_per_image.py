"""Scoring finished runs once more, for the per_image.npz in their folders."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from segkit.commands.evaluate import require_tolerance, score
from segkit.config.load import config_from_mapping
from segkit.config.schema import Config
from segkit.errors import CheckpointError, ConfigError, SegkitError
from segkit.evaluation.calibration import Calibration
from segkit.evaluation.objects.request import ObjectRequest
from segkit.runs.checkpoint import NoneIntact, newest_intact
from segkit.runs.folder import RunFolder
from segkit.runs.predictor import load_predictor
from segkit.runs.recording.arrays import save_per_image
from segkit.runs.recording.plots.reliability import plot_calibration
from segkit.runs.resume import run_folder_of
from segkit.system.device import amp_for_predictions, choose_device, name_of_amp
from segkit.system.run_files import NUMBERED_CHECKPOINTS, RunFiles, iteration_of, list_checkpoints


def evaluate_per_image(
    runs: Sequence[str | Path],
    overrides: Sequence[str],
    *,
    split: str,
    device: str,
    output: Path | None,
    boundary: float | None = None,
    calibration: Calibration = False,
    objects: ObjectRequest | None = None,
) -> int:
    """Score the last weights of each run and write per_image.npz into its folder, as training does at its end.

    With `boundary`, also the borders between classes, with that tolerance in pixels; with `calibration`, also how far
    confidence and accuracy are apart; with `objects`, also those. `output` is for a single run.
    Returns the exit status, 0. One of several runs that fails does not keep the others from being scored; a SegkitError
    names it in the end, with the exit code that all which failed share, 1 if they differ. Raises ConfigError at once
    for what would not be the own score of any run.
    """
    if split != "val":
        raise ConfigError(f"--per-image is of the validation set, got --split {split} -> leave --split out")
    require_tolerance(boundary)
    also = {"boundary": boundary, "calibration": calibration, "objects": objects}
    place = choose_device(device)
    if len(runs) == 1:
        score_run(runs[0], overrides, device=place, output=output, **also)
        return 0
    if output is not None:
        raise ConfigError(f"--output is for the scores of one run, got {len(runs)} runs -> leave it out")
    failed: list[tuple[str | Path, SegkitError]] = []
    for number, run in enumerate(runs, start=1):
        print(f"\nrun {number} of {len(runs)}   {run}", flush=True)
        try:
            score_run(run, overrides, device=place, output=None, **also)
        except SegkitError as error:
            failed.append((run, error))
            print(f"failed, see the end: {run}", file=sys.stderr, flush=True)
    if failed:
        raise _failure(failed, len(runs)) from failed[0][1]
    return 0


def score_run(
    weights: str | Path,
    overrides: Sequence[str],
    *,
    device: torch.device,
    output: Path | None,
    boundary: float | None,
    calibration: Calibration,
    objects: ObjectRequest | None,
) -> None:
    """Score the last weights of one run and write its per_image.npz.

    Refuses, with ConfigError or CheckpointError, what would not be the run's own score: other data, weights outside of
    a run folder or chosen by the score. Raises RunFolderInUse while the run goes on.
    """
    checkpoint, run = last_checkpoint_of(Path(weights))
    predictor = load_predictor(checkpoint, device)
    asked = refuse_other_data(predictor.config, overrides, origin=str(predictor.path))
    with RunFolder.reopen(run) as folder:
        result = score(
            predictor,
            overrides,
            split="val",
            output=output,
            boundary=boundary,
            calibration=calibration,
            objects=objects,
        )
        iteration = iteration_of(predictor.path)
        names = predictor.labels.class_names
        other_size = asked.eval.at if asked.eval.at != predictor.config.eval.at else None
        amp = name_of_amp(amp_for_predictions(predictor.config.train.amp, predictor.device))
        save_per_image(folder.per_image, result, names, iteration=iteration, precision=amp, at=other_size)
        print(f"wrote {folder.per_image}: {result.images} images at iteration {iteration:,}")
        if result.calibration is not None:
            plot_calibration(folder.calibration_plot, result.calibration.scores(), iteration=iteration)
            print(f"wrote {folder.calibration_plot}")


def last_checkpoint_of(weights: Path) -> tuple[Path, Path]:
    """The numbered checkpoint that `weights` is, or the newest intact one of that run folder, and the run folder.

    Raises CheckpointError for anything else: best.pt was chosen by the score of the images that are to be scored.
    """
    if weights.is_dir():
        found = newest_intact(RunFiles(weights).checkpoints)
        if isinstance(found, NoneIntact) or run_folder_of(found.path) is None:
            reasons = "".join(f"\n   {item.path}: {item.reason}" for item in found.skipped)
            raise CheckpointError(
                f"--per-image scores the newest of {NUMBERED_CHECKPOINTS} in a run folder, and {weights} has none"
                f"{reasons}\n"
                "   -> give a run folder, such as runs/ohem/TIME"
            )
        return found.path, weights
    run = run_folder_of(weights)
    numbered = [] if run is None else list_checkpoints(RunFiles(run).checkpoints)
    if run is None or weights.resolve() not in [path.resolve() for path in numbered]:
        raise CheckpointError(
            f"--per-image writes into a run folder what its last weights score, got {weights}\n"
            f"   -> give the run folder, or a numbered checkpoint in its {RunFiles.checkpoints.name}/"
        )
    return weights, run


def refuse_other_data(trained: Config, overrides: Sequence[str], *, origin: str) -> Config:
    """The configuration as changed by `overrides`. Raises ConfigError for some after which the score would be of other
    images, or of images shown otherwise."""
    asked = config_from_mapping(trained.to_mapping(), origin=origin, overrides=overrides)
    for block in ("data", "predict"):
        if getattr(asked, block) != getattr(trained, block):
            raise ConfigError(
                f"--per-image is the run's own score on its own data, which an override below {block} changes "
                "-> leave out --per-image, or the override"
            )
    return asked


def _failure(failed: Sequence[tuple[str | Path, SegkitError]], count: int) -> SegkitError:
    """All that went wrong with some of `count` runs, as one error."""
    lines = [f"{len(failed)} of {count} runs failed:"]
    for run, error in failed:
        lines.append(f"  {run}  exit status {error.exit_code}")
        lines += [f"     {line}" for line in str(error).splitlines()]
    codes = {error.exit_code for _, error in failed}
    failure = SegkitError("\n".join(lines))
    failure.exit_code = codes.pop() if len(codes) == 1 else SegkitError.exit_code
    return failure
