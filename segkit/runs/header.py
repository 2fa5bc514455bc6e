"""The header of a run: the lines that say what is about to be trained, on what and how."""

from typing import Any

import torch

from segkit.config.yaml_source import dump_inline
from segkit.data.check import CheckReport
from segkit.data.files.validate import shorten
from segkit.errors import ConfigError
from segkit.evaluation.model_output import output_logits
from segkit.evaluation.operations import count_operations
from segkit.losses.calls import call_accepted, find_method
from segkit.models.parts import find_part, parameters_with_names
from segkit.system.device import describe_slow_amp
from segkit.training.experiment import Experiment

#: Entries of a list that the data set found which are shown.
MOST_LISTED = 8


def header(
    experiment: Experiment, report: CheckReport, source: str, *, flops: int | None = None
) -> list[str]:
    """The lines that say what is about to be trained, on what and how; `source` is where the configuration is from.

    `flops` is what `count_flops` gives for the images of training, if that is known already.
    """
    config, plan, data = experiment.config, experiment.plan, experiment.data
    epochs = plan.iterations * plan.accumulate * experiment.batch_size / len(data.train)
    accumulate = f" x {plan.accumulate}" if plan.accumulate > 1 else ""
    warmup = f", warm-up {config.schedule.warmup}" if config.schedule.warmup else ""
    height, width = experiment.image_size
    flops = count_flops(experiment, height, width) if flops is None else flops
    return [
        f"config    {source}",
        f"data      {config.data.name}  {len(data.train):,} train / {len(data.val):,} val  "
        f"{data.train.num_classes} classes  ignore {data.train.ignore_index}   check: {report.summary}",
        *describe_found_options(experiment),
        *(f"          warning: {text}" for text in report.warnings),
        *describe_cache(experiment),
        *(f"          {line}" for text in data.label_counts.describe() for line in text.splitlines()),
        f"model     {config.model.name}  {_describe_parameters(experiment)}  "
        f"{flops / 1e9:.2f} GFLOPs at {width}x{height}",
        f"loss      {describe_loss(experiment)}",
        f"schedule  {plan.iterations:,} iterations = {epochs:.1f} epochs · batch {experiment.batch_size}{accumulate} · "
        f"{config.optimizer.name} lr {config.optimizer.params['lr']:g} {config.schedule.name}{warmup}",
        *describe_groups(experiment),
        f"device    {describe_device(experiment.device, experiment.ranks.world)}  amp {experiment.precision.amp}  "
        + describe_workers(experiment),
        *(
            f"          warning: {text}"
            for text in describe_slow_amp(
                experiment.precision.amp, experiment.device, kept=config.train.amp == "auto"
            )
        ),
    ]


def _describe_parameters(experiment: Experiment) -> str:
    """How many are trained, and how many are not."""
    frozen = sum(each.numel() for each in experiment.model.parameters() if not each.requires_grad)
    return f"{experiment.parameters / 1e6:.2f} M parameters" + (
        f" and {frozen / 1e6:.2f} M frozen" if frozen else ""
    )


def describe_groups(experiment: Experiment) -> list[str]:
    """A line on each part of the model whose learning rate is multiplied: by what, and of how many parameters."""
    parts = experiment.config.optimizer.groups
    factors = {
        id(parameter): group["lr_factor"]
        for group in experiment.optimizer.param_groups
        for parameter in group["params"]
        if "lr_factor" in group
    }
    sizes: dict[str, dict[float, int]] = {part: {} for part in parts}
    for parameter, names in parameters_with_names(experiment.model):
        part = find_part(names, parts)
        if part is not None and id(parameter) in factors:
            found = sizes[part]
            factor = factors[id(parameter)]
            found[factor] = found.get(factor, 0) + parameter.numel()
    lines = []
    for part, found in sizes.items():
        low, high = min(found), max(found)
        text = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}, in {len(found)} groups of layers"
        lines.append(f"          lr x {text}: {part}, {sum(found.values()):,} parameters")
    return lines


def describe_workers(experiment: Experiment) -> str:
    """How many processes load data, and why so many if they were not asked for."""
    why = f" ({experiment.workers_why})" if experiment.workers_why else ""
    return f"{experiment.workers} workers{why}"


def describe_found_options(experiment: Experiment) -> list[str]:
    """A line on each option that is `auto` and that the data set found out from its files."""
    found = getattr(experiment.data.train, "found_options", {})
    return [
        f"          data.{key}: {_shortened(value)}, from the training images; kept with the run"
        for key, value in found.items()
    ]


def _shortened(value: Any) -> str:
    """A value as YAML has it; of a long list, such as that of classes, the beginning."""
    if isinstance(value, list) and len(value) > MOST_LISTED:
        return f"[{shorten(value, most=MOST_LISTED)}]"
    return dump_inline(value)


def describe_cache(experiment: Experiment) -> list[str]:
    """A line on each cached data set."""
    if experiment.config.data.cache == "off":
        return []
    data = experiment.data
    return [
        f"cache     {part}: {each.describe()}" for part, each in (("train", data.train), ("val", data.val))
    ]


def describe_loss(experiment: Experiment) -> str:
    """The loss with its options as they work out in this run, and the weight map."""
    config, text = experiment.config, experiment.config.loss.name
    describe = find_method(experiment.loss, "describe")
    if describe is not None:
        text = call_accepted(
            describe,
            iterations=experiment.plan.iterations,
            pixels_per_batch=experiment.pixels_per_batch,
            images_per_batch=experiment.batch_size,
        )
    return text + (f"  x weight map {config.data.weight_map.name}" if config.data.weight_map else "")


def describe_device(device: torch.device, processes: int = 1) -> str:
    """The device of a process, and how many processes there are if there are several."""
    several = f"{processes} processes, the first on " if processes > 1 else ""
    return f"{several}{_describe_one(device)}"


def _describe_one(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


@torch.no_grad()
def count_flops(experiment: Experiment, height: int, width: int) -> int:
    """Floating-point operations of one image's forward pass (a multiply-add counts as two).

    Raises ConfigError if what comes out are no logits for the data's classes, or probabilities, and for layers that the
    model makes only when it is called, which nothing would train.
    """
    model, channels = experiment.model, experiment.data.train.channels
    image = torch.zeros(1, channels, height, width, dtype=torch.uint8, device=experiment.device)

    def forward() -> torch.Tensor:
        return output_logits(model(experiment.preprocess(image)))  # (1, num_classes, h, w)

    model.eval()
    logits, flops = count_operations(forward, plain=not experiment.config.train.shard)
    model.train()
    expected = experiment.logits_channels
    if logits.ndim != 4 or logits.shape[:2] != (1, expected):
        raise ConfigError(
            f"model: {experiment.config.model.name} gave {tuple(logits.shape)} for one image; logits of "
            f"{experiment.plan.num_classes} classes have the shape (1, {expected}, h, w)"
        )
    _refuse_probabilities(experiment, logits)
    _refuse_later_parameters(experiment)
    return flops


def _refuse_probabilities(experiment: Experiment, logits: torch.Tensor) -> None:
    if logits.shape[1] < 2 or bool((logits < 0).any()):
        return
    if bool((logits.float().sum(dim=1) - 1).abs().max() < 1e-3):
        raise ConfigError(
            f"model: {experiment.config.model.name} gives probabilities in evaluation mode (they add up to 1), and "
            "losses and scores take logits\n   -> leave out its softmax"
        )


def _refuse_later_parameters(experiment: Experiment) -> None:
    known = {id(each) for group in experiment.optimizer.param_groups for each in group["params"]}
    later = [
        name
        for name, each in experiment.model.named_parameters()
        if each.requires_grad and id(each) not in known
    ]
    if later:
        raise ConfigError(
            f"model: {experiment.config.model.name} made parameters when it was called: {shorten(later)}\n   the "
            "optimizer does not know them, and its checkpoints could not be loaded -> make them in its constructor"
        )
