"""What is written once, at the end of a run: best and worst images, the model card; and what a failure leaves."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from segkit.data.loading.faults import WorkerDied, explain_worker_death
from segkit.data.scored_size import scored_size
from segkit.errors import NotFiniteError, OutOfMemory
from segkit.evaluation.scores import rank_images
from segkit.runs.aside import remove_set_aside
from segkit.runs.best import settle_best
from segkit.runs.checkpoint import remove_older
from segkit.runs.folder import RunFolder
from segkit.runs.header import describe_device, describe_loss
from segkit.runs.recording.arrays import save_per_image
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.runs.recording.model_card import CardFacts, Code, model_card
from segkit.runs.recording.plots.confusion import save_confusion_table
from segkit.runs.recording.recorder import Recorder
from segkit.runs.recording.results import moment_as_json, score_row
from segkit.system.files import write_text
from segkit.system.memory import describe_request, find_lack_of_memory
from segkit.system.typed import typed
from segkit.training.experiment import Experiment
from segkit.training.trainer import Trainer

#: Images in best8.jpg and in worst8.jpg.
RANKED = 8


def finish_run(
    folder: RunFolder,
    experiment: Experiment,
    trainer: Trainer,
    recorder: Recorder,
    bad: BadSampleLog,
    *,
    finished: bool,
    code: int,
    flops: int,
    env: Mapping[str, Any],
) -> None:
    """Write the summary, the plots, the best and worst images of a finished run, and the model card.

    `code` is the exit status that the run will end with, `flops` are the operations per image, `env` is the content of
    env.json. The last checkpoint is on the disk already: if a file cannot be written, resuming the run writes it.
    """
    # best.pt may have been deleted meanwhile: the summary and the card name what is there
    settled = settle_best(folder, trainer.best, trainer.kept, until=trainer.iteration)
    trainer.kept = settled.kept
    for line in settled.notes:
        recorder.console.line(line)
    facts = {
        "best_weights": moment_as_json(trainer.kept),
        "parameters": experiment.parameters,
        "flops_per_image": flops,
        "device": describe_device(experiment.device, experiment.ranks.world),
        "bad_samples": bad.counts(),
    }
    bad.write()
    if finished:
        redo_what_was_set_aside(folder, trainer, recorder)
    summary = recorder.finish(best=trainer.best, finished=finished, facts=facts)
    if finished:
        show_best_and_worst(experiment, trainer, recorder)
    recorder.close(
        state="done" if finished else "stopped", code=code
    )  # all is drawn now, which the card shows
    card = card_facts(experiment, trainer, recorder, flops=flops, env=env, seconds=summary["seconds"])
    recorder.spared.write("the card", lambda: write_text(folder.model_card, model_card(card)))
    if finished:  # a run that was killed between its last checkpoint and now writes no other
        remove_set_aside(folder, trainer.iteration)
        remove_older(folder.checkpoints, keep=experiment.config.train.keep_checkpoints)


def redo_what_was_set_aside(folder: RunFolder, trainer: Trainer, recorder: Recorder) -> None:
    """Write what a run would lack that ends where it was resumed: what was there was of a later moment."""
    if recorder.last_evaluation is not None and not folder.results.is_file():
        iteration, result = recorder.last_evaluation
        recorder.results.add(iteration, score_row(result, recorder.labels.class_names))
    if recorder.last_evaluation is not None and not folder.confusion_matrix.is_file():
        result = recorder.last_evaluation[1]
        save_confusion_table(folder.confusion_matrix, result.matrix, recorder.labels.class_names)
    if recorder.last_evaluation is not None and not folder.per_image.is_file():
        iteration, result = recorder.last_evaluation
        if result.matrices is not None:
            names = recorder.labels.class_names
            save_per_image(folder.per_image, result, names, iteration=iteration, precision=recorder.amp)
    if trainer.plan.pictures_every and not folder.examples.is_file():
        recorder.pictures(trainer.iteration, trainer.panels(trainer.examples, loss=trainer.loss))


def show_best_and_worst(experiment: Experiment, trainer: Trainer, recorder: Recorder) -> None:
    """Write best8.jpg and worst8.jpg, if the weights at the end were evaluated. Reads those images once more."""
    if recorder.last_evaluation is None:
        return
    iteration, result = recorder.last_evaluation
    if iteration != trainer.iteration or result.matrices is None:
        return
    pictures = (recorder.folder.best_images, recorder.folder.worst_images)
    for picture, images in zip(pictures, rank_images(result, RANKED), strict=True):
        panels = trainer.panels(experiment.val_images([image.place for image in images]))
        recorder.ranked(picture, images, panels)


def card_facts(
    experiment: Experiment,
    trainer: Trainer,
    recorder: Recorder,
    *,
    flops: int,
    env: Mapping[str, Any],
    seconds: float,
) -> CardFacts:
    """What the model card of this run says."""
    return CardFacts(
        name=experiment.config.name,
        folder=recorder.folder,
        model=_model_rows(experiment, flops),
        loss=[("loss", describe_loss(experiment))],
        data=_data_rows(experiment, env["fingerprints"]["data"]),
        training=_training_rows(experiment),
        environment=_environment_rows(env),
        class_names=recorder.labels.class_names,
        iteration=trainer.iteration,
        total=experiment.plan.iterations,
        seconds=seconds,
        best=trainer.best,
        kept=trainer.kept,
        last=recorder.last_evaluation,
        # Of `--overfit` images are scored as they are trained on, whatever eval.at says.
        size=scored_size(experiment.config.to_mapping(), at="network" if experiment.overfit else None),
        resumed=recorder.first > 0,
        overfit=experiment.overfit,
    )


def _model_rows(experiment: Experiment, flops: int) -> list[tuple[str, str]]:
    model, (height, width) = experiment.config.model, experiment.image_size
    return [
        ("model", _named(model.name, model.params)),
        ("parameters", f"{experiment.parameters:,}"),
        ("operations", f"{flops / 1e9:.2f} GFLOPs for one image of {width}x{height} (a multiply-add is two)"),
    ]


def _data_rows(experiment: Experiment, fingerprint: str) -> list[tuple[str, str]]:
    data, config = experiment.data, experiment.config.data
    rows = [
        ("data set", _named(config.name, config.params)),
        ("images", f"{len(data.train):,} for training, " + _validation(experiment)),
        ("classes", f"{data.train.num_classes}: {', '.join(data.train.class_names)}"),
        ("ignored", f"pixels with the id {data.train.ignore_index}"),
        ("channels", str(data.train.channels)),
        ("fingerprint", fingerprint),
    ]
    if config.weight_map is not None:
        rows.insert(-1, ("weight map", _named(config.weight_map.name, config.weight_map.params)))
    return rows


def _validation(experiment: Experiment) -> str:
    return "and scored on the same" if experiment.overfit else f"{len(experiment.data.val):,} for validation"


def _training_rows(experiment: Experiment) -> list[tuple[str, str]]:
    config, plan = experiment.config, experiment.plan
    height, width = experiment.image_size
    epochs = plan.iterations * plan.accumulate * experiment.batch_size / len(experiment.data.train)
    accumulate = f" x {plan.accumulate} accumulated" if plan.accumulate > 1 else ""
    rows = [
        ("length", f"{plan.iterations:,} iterations, {epochs:.1f} epochs"),
        ("batch", f"{experiment.batch_size} images{accumulate} of {width}x{height}"),
        ("optimizer", _named(config.optimizer.name, config.optimizer.params)),
        ("learning rate", f"{_named(config.schedule.name, config.schedule.params)}, warm-up {config.schedule.warmup}"),
        ("augmentation", "none" if experiment.overfit else _named(config.augment.name, config.augment.params)),
        ("seed", str(config.seed)),
        ("precision", str(plan.amp_dtype).removeprefix("torch.") if plan.amp_dtype else "float32"),
        ("device", describe_device(experiment.device, experiment.ranks.world)),
    ]  # fmt: skip
    if plan.ema_decay is not None:
        rows.append(("weights scored", f"moving average with decay {plan.ema_decay:g}"))
    if plan.clip_norm is not None:
        rows.append(("gradient norm", f"at most {plan.clip_norm:g}"))
    return rows


def _environment_rows(env: Mapping[str, Any]) -> list[tuple[str, str]]:
    commit = env.get("git_commit", "not known")
    changed = ", with uncommitted changes" if env.get("git_dirty") else ""
    versions = {name: env[name] for name in ("segkit", "python", "torch", "torchvision", "cuda")}
    hardware = ", ".join(env["gpus"]) or env["cpu"]
    return [
        *((name, str(version)) for name, version in versions.items() if version is not None),
        ("code", f"git commit {commit}{changed}"),
        ("hardware", hardware),
        ("command", Code(env["command"])),
    ]


def _named(name: str, params: Mapping[str, Any]) -> str:
    """`sgd (lr 0.05, momentum 0.9)`: a component with its settings; those that are not set are left out."""
    settings = ", ".join(f"{key} {_value(value)}" for key, value in params.items() if value is not None)
    return f"{name} ({settings})" if settings else name


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    name = getattr(value, "name", None)
    return _named(name, value.params) if name else str(value)


def rescue(trainer: Trainer, error: BaseException, folder: str, *, tell: Callable[[str], None]) -> None:
    """Save the present iteration, unless it is saved, or the error is that loss or weights are not finite.

    `tell` gets a line on what came of it. Nothing that goes wrong here hides `error`, which is to be raised afterwards.
    Neither Ctrl-C nor the end of the interpreter waits for a save.
    """
    iteration = trainer.iteration
    if not isinstance(error, Exception) or isinstance(error, NotFiniteError):
        return
    if trainer.stepping:
        tell(f"not saved: the error came within the optimizer's step after iteration {iteration:,}")
        return
    if iteration <= max(trainer.saved, 0):
        return
    try:
        trainer.save()
    except Exception as failure:  # of any kind: a GPU after an error refuses everything
        reason = str(failure).partition("\n")[0] or type(failure).__name__
        tell(f"not saved: iteration {iteration:,}: {reason}")
        return
    tell(f"saved     iteration {iteration:,}; continue with: {typed('train', '--resume', Path(folder))}")


def explain(error: BaseException, experiment: Experiment) -> BaseException:
    """The error to show: for memory that ran out or a dead loader process, one that says what to change."""
    if isinstance(error, OutOfMemory):
        return error
    cause = find_lack_of_memory(error)
    if cause is not None:
        return OutOfMemory(describe_lack_of_memory(cause, experiment))
    # torch reports the death of a loader process wherever the main process happens to be.
    death = explain_worker_death(error) if isinstance(error, RuntimeError) else None
    return error if death is None else WorkerDied(death)


def describe_lack_of_memory(error: BaseException, experiment: Experiment) -> str:
    """What was asked of the device, and what to change."""
    needed = describe_request(error)
    if isinstance(error, torch.OutOfMemoryError) and experiment.device.type == "cuda":
        total = torch.cuda.get_device_properties(experiment.device).total_memory / 1e9
        peak = torch.cuda.max_memory_allocated(experiment.device) / 1e9
        needed = f": peak {peak:.1f} of {total:.1f} GB"
    batch, accumulate, own = experiment.batch_size, experiment.plan.accumulate, experiment.images_per_process
    height, width = experiment.image_size
    changes = ["smaller crops (augment.crop_size)", "eval.batch_size=1 if it happened while validating"]
    if own > 1:
        # The same images in an update, which the same processes can share: else the run could not go on with it.
        times = next(number for number in range(2, own + 1) if own % number == 0)
        changes.insert(0, f"train.batch_size={batch // times} train.accumulate={accumulate * times}")
    if experiment.config.data.cache == "ram":
        changes.append("data.cache=disk")
    return f"out of memory{needed} at batch {batch}, {width}x{height} pixels\n   -> {', '.join(changes)}"
