"""A trained model from its checkpoint alone, for evaluating and predicting."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from segkit.config.load import config_from_mapping
from segkit.config.schema import Component, Config, Predict
from segkit.data.decoding.images_and_masks import ValueRange, common_range, read_image
from segkit.data.decoding.parts import Source
from segkit.data.palette import Legend
from segkit.data.sample import band_by_band
from segkit.errors import CheckpointError, ConfigError
from segkit.evaluation.upsampled_scores import confidence_pixels, predict_pixels, probability_pixels
from segkit.evaluation.views import PixelFunction, Views, view_pixels
from segkit.registry import MODELS
from segkit.runs.best import scored_weights
from segkit.runs.checkpoint import NoneIntact, load_checkpoint, newest_intact
from segkit.runs.exported.onnx_network import open_onnx
from segkit.runs.packed.open import as_state, open_packed
from segkit.runs.resume import with_earlier_meanings
from segkit.system.device import Normalize, amp_for_predictions, choose_device, to_device
from segkit.system.memory import lacks_memory
from segkit.system.packed.members import is_packed
from segkit.system.run_files import NUMBERED_CHECKPOINTS, RunFiles, folder_around, name_runs_below
from segkit.system.typed import typed
from segkit.training.build import build_component, build_normalize, build_views
from segkit.training.build_component import without_downloads

#: PIL images that turn into grey or RGB without another range.
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


#: What helps where a checkpoint's configuration cannot be read.
ASK_FOR_IMPORT = "   -> if a name in it is registered in a file of yours, give that with --import FILE"
#: What can be asked of an image.
PIXEL_FUNCTIONS: dict[str, PixelFunction] = {
    "ids": predict_pixels,
    "confidence": confidence_pixels,
    "probabilities": probability_pixels,
}


@dataclass(frozen=True)
class Predictor:
    """A model in eval mode, with all that its predictions need to be understood.

    `path` is the file that its weights are from, `iteration` the updates in them (None if it does not say), `why` says
    in words which they are and why these. `temperature` is what logits are divided by for probabilities: that which
    `evaluate --calibrate` has fitted to these weights and views, or 1. `logits_channels` is None of an exported
    network.
    """

    path: Path
    iteration: int | None
    why: str
    config: Config
    model: nn.Module
    preprocess: nn.Module
    labels: Legend
    channels: int
    resize: tuple[int, int] | None
    device: torch.device
    views: Views
    temperature: float = 1.0
    logits_channels: int | None = None

    @property
    def value_range(self) -> ValueRange:
        """Which numbers were black and white in training; None for images of 8 bits, and for several data sets in one
        that differ in it."""
        return _value_range(self.config.data)

    def read_image(self, path: Source) -> Tensor:
        """An image file as uint8 (channels, H, W), read as training reads its images. Raises DataError."""
        of = "8 bits" if self.value_range is None else "more than 8 bits"
        if self.value_range is None and self.config.data.params.get("parts"):
            of = "8 bits, or with another value_range in each part of the data"
        advice = f"the weights were trained on images of {self.channels} channels and {of}: bring it to that"
        image, _ = read_image(path, channels=self.channels, value_range=self.value_range, advice=advice)
        return band_by_band(torch.from_numpy(image))

    def forward(self, image: Tensor) -> Any:
        """The model's output, which `split_output` takes apart, for uint8 images (N, channels, H, W) on its device."""
        dtype = amp_for_predictions(self.config.train.amp, self.device)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            return self.model(self.preprocess(image))

    @torch.no_grad()
    def predict(self, image: Tensor | np.ndarray | Image.Image | str | os.PathLike[str]) -> Tensor:
        """Class ids (H, W), uint8 or int64, of one image at its own size.

        The image is a uint8 tensor (channels, H, W), a uint8 array (H, W) or (H, W, channels), a PIL image, or a file,
        which is read as training reads its images. It is resized to the size that the data set was resized to for
        training, if it was, and shown to the model as `views` says. Raises DataError for a file that cannot be read,
        ValueError for another shape or type.
        """
        return self.look(image, {"ids": predict_pixels})["ids"]

    @torch.no_grad()
    def predict_with(
        self, image: Tensor | np.ndarray | Image.Image | str | os.PathLike[str], *what: str
    ) -> dict[str, Tensor]:
        """The same as `ids`, and of `what`: `confidence`, the probability of the class in `ids`, uint8 (H, W), and
        `probabilities`, those of all classes, uint8 (C, H, W); both in steps of 1 / 255, at the `temperature`."""
        functions = {name: self._cooled(PIXEL_FUNCTIONS[name]) for name in what}
        return self.look(image, {"ids": predict_pixels, **functions})

    def _cooled(self, function: PixelFunction) -> PixelFunction:
        """The function of the logits divided by the temperature."""
        if self.temperature == 1:
            return function
        return lambda logits, size: function(logits.float() / self.temperature, size)

    def look(
        self,
        image: Tensor | np.ndarray | Image.Image | str | os.PathLike[str],
        functions: Mapping[str, PixelFunction],
    ) -> dict[str, Tensor]:
        """What the functions make of the logits of one image, at its own size; see `view_pixels`."""
        pixels = self._as_tensor(image)
        size = (pixels.shape[-2], pixels.shape[-1])
        batch = pixels[None].to(self.device)  # (1, C, H, W)
        found = view_pixels(self.forward, batch, size, self.views, functions)
        return {name: each[0].cpu() for name, each in found.items()}

    def _as_tensor(self, image: Tensor | np.ndarray | Image.Image | str | os.PathLike[str]) -> Tensor:
        if isinstance(image, str | os.PathLike):
            return self.read_image(Path(image))
        if isinstance(image, Image.Image):
            if image.mode not in EIGHT_BIT_MODES:
                raise ValueError(
                    f"a PIL image of mode {image.mode} is not of 8 bits; convert it, or give its file"
                )
            if self.channels in (1, 3):
                image = image.convert("RGB" if self.channels == 3 else "L")
            image = np.asarray(image)
        if isinstance(image, np.ndarray):
            image = torch.tensor(image[..., None] if image.ndim == 2 else image).movedim(-1, 0)  # (C, H, W)
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != self.channels:
            raise ValueError(
                f"expected one uint8 image with {self.channels} channels, as a tensor (C, H, W) or an array (H, W, C); "
                f"got {image.dtype} of shape (C, H, W) = {tuple(image.shape)}"
            )
        return image


def _value_range(data: Component) -> ValueRange:
    """What a data set was read with or, of several in one, what they have in common."""
    parts = data.params.get("parts")
    if parts:
        return common_range(map(_value_range, parts))
    kept = data.params.get("value_range", "auto")  # `auto` found no image of more bits
    return None if kept == "auto" else "dtype" if kept == "dtype" else (kept[0], kept[1])


def load_predictor(weights: str | os.PathLike[str], device: str | torch.device = "auto") -> Predictor:
    """The model of a run folder (its best weights), of a checkpoint file or of a packed run, on a device ("auto",
    "cpu", "cuda:1" ...); or the network in a file of `segkit export --to onnx`, which computes on the CPU.

    Raises CheckpointError if there is none that can be used, ConfigError if its model is registered in a file
    that was not given to `--import`.
    """
    device = choose_device(device) if isinstance(device, str) else device
    if Path(weights).suffix == ".onnx":
        return _from_onnx(Path(weights), device)
    if Path(weights).suffix == ".pt2":
        raise CheckpointError(
            f"{weights} is for torch.export.load -> the run, or a file of {typed('export')} --to onnx"
        )
    packed = open_packed(Path(weights)) if is_packed(weights) and not Path(weights).is_dir() else None
    if packed is None:
        (path, state, which), hints = _load(Path(weights)), [ASK_FOR_IMPORT]
    else:
        path, state, which, hints = (
            Path(weights),
            as_state(packed),
            f"packed: {packed.which}, {{}}",
            packed.missing,
        )
    try:
        config = _read_config(dict(with_earlier_meanings(state["config"])), path, hints)
        channels, logits_channels = state["channels"], state["logits_channels"]
        tensors, resize = scored_weights(state), state["resize"]
        palette = tuple((red, green, blue) for red, green, blue in state["palette"])
        labels = Legend(tuple(state["class_names"]), palette, state["ignore_index"])
    except KeyError as error:
        raise CheckpointError(f"{path} is no checkpoint of a segkit run: it has no {error}") from error
    component = without_downloads(config.model)
    model = build_component(
        MODELS, component, "model", total=1, num_classes=logits_channels, in_channels=channels
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        if lacks_memory(error):
            raise
        raise CheckpointError(
            f"{path}: its weights are not of the model {component.name} as it is built here: "
            f"{' '.join(str(error).split()[:60])}\n   -> the code that it was trained with, your own by --import FILE"
        ) from error
    model = to_device(model, device, channels_last=config.train.channels_last)
    iteration = state.get("trainer", state).get("iteration")
    of = "of an unknown iteration" if iteration is None else f"of iteration {iteration:,}"
    return Predictor(
        path=path,
        iteration=iteration,
        why=which.format(of),
        config=config,
        model=model.eval(),
        preprocess=build_normalize(config, channels).to(device),
        labels=labels,
        channels=channels,
        resize=None if resize is None else (resize[0], resize[1]),
        device=device,
        views=build_views(config, None if resize is None else (resize[0], resize[1])),
        temperature=packed.about.temperature if packed else read_temperature(path, iteration, config.predict),
        logits_channels=logits_channels,
    )


def _from_onnx(path: Path, device: torch.device) -> Predictor:
    """The same of an exported network, which needs no run: all is in the file."""
    network, about = open_onnx(path)
    config = _read_config(
        dict(with_earlier_meanings(yaml.safe_load(about["config"]))), path, [ASK_FOR_IMPORT]
    )
    resize, iteration = about["resize"], about["iteration"]
    size = None if resize is None else (resize[0], resize[1])
    palette = tuple((red, green, blue) for red, green, blue in about["palette"])
    return Predictor(
        path=path,
        iteration=iteration,
        why=f"exported, {'of an unknown iteration' if iteration is None else f'of iteration {iteration:,}'}",
        config=config,
        model=network.eval(),
        preprocess=Normalize(about["mean"], about["std"]).to(device),
        labels=Legend(tuple(about["class_names"]), palette, about["ignore_index"]),
        channels=about["channels"],
        resize=size,
        device=device,
        views=build_views(config, size),
        temperature=about["temperature"],
    )


def read_temperature(
    weights: Path, iteration: int | None, trained: Predict, *, shown: Predict | None = None
) -> float:
    """What was fitted to these weights, to images `shown` in this way (None: as `trained`), by the file in the run
    folder, or 1. An older file does not say to which, so to images shown as `trained`. Raises CheckpointError for a
    file that cannot be used: probabilities without it would be others than before it was damaged."""
    file = RunFiles(folder_around(weights)).temperature
    if not file.is_file():
        return 1.0
    try:
        found = json.loads(file.read_text())
        if (found["weights"], found["iteration"]) != (weights.name, iteration):
            return 1.0
        fitted = Predict.model_validate(found["predict"]) if "predict" in found else trained
        if fitted != (trained if shown is None else shown):
            return 1.0
        temperature = float(found["temperature"])
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature {temperature}")
    except (ValueError, KeyError, TypeError, OSError) as error:
        again = typed("evaluate", "--calibrate", "--weights", file.parent)
        raise CheckpointError(f"{file} cannot be used ({error}) -> {again}, or remove it") from error
    return temperature


def _read_config(mapping: dict[str, Any], path: Path, hints: Sequence[str]) -> Config:
    try:
        return config_from_mapping(mapping, origin=str(path))
    except ConfigError as error:
        raise ConfigError([*error.problems, *hints]) from error


def _load(path: Path) -> tuple[Path, dict[str, Any], str]:
    """The checkpoint that `path` stands for, its state, and which it is, with {} for its iteration."""
    if not path.exists():
        raise CheckpointError(
            f"no weights at {path}: give a run folder, such as runs/ohem/TIME, or a .pt file"
        )
    if path.is_file():
        state = load_checkpoint(path)
        return path, state, "{}" if "trainer" in state else "the best, {}"
    run = RunFiles(path)
    if run.best.is_file():
        return run.best, load_checkpoint(run.best), "the best, {}"
    found = newest_intact(run.checkpoints)
    if isinstance(found, NoneIntact):
        reasons = "".join(f"\n   {item.path}: {item.reason}" for item in found.skipped)
        raise CheckpointError(
            f"no usable checkpoint in {path}: neither {RunFiles.best.name} nor {NUMBERED_CHECKPOINTS}"
            f"{reasons}{name_runs_below(path)}"
        )
    newer = ", ".join(item.path.name for item in found.skipped)
    last, unusable = (
        ("the last that is intact", f", and {newer} cannot be used") if newer else ("the last", "")
    )
    return found.path, found.state, f"{last}, {{}}: there is no {RunFiles.best.name}{unusable}"
