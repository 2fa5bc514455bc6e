"""A trained model from its checkpoint alone, for evaluating and predicting."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resize_image

from segkit.config.load import config_from_mapping
from segkit.config.schema import Component, Config
from segkit.config.signature import download_parameters
from segkit.data.palette import Labels
from segkit.errors import CheckpointError, ConfigError
from segkit.evaluation.evaluate import output_logits
from segkit.evaluation.upsampled_scores import predict_pixels
from segkit.registry import MODELS
from segkit.runs.checkpoint import load_checkpoint, newest_intact
from segkit.system.device import choose_amp
from segkit.training.build import build_component, build_normalize


@dataclass(frozen=True)
class Predictor:
    """A model in eval mode, with all that its predictions need to be understood."""

    path: Path
    config: Config
    model: nn.Module
    preprocess: nn.Module
    labels: Labels
    channels: int
    resize: tuple[int, int] | None
    device: torch.device

    def forward(self, image: Tensor) -> Tensor | Mapping[str, Tensor]:
        """The model's output for uint8 images (N, channels, H, W) on its device."""
        dtype = choose_amp(self.config.train.amp, self.device)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            return self.model(self.preprocess(image))

    @torch.no_grad()
    def predict(self, image: Tensor) -> Tensor:
        """Class ids (H, W), uint8 or int64, of one uint8 image (channels, H, W), at the image's own size.

        An image is resized to the size the data set was resized to for training, if it was.
        """
        size = image.shape[-2:]
        batch = image[None].to(self.device)  # (1, C, H, W)
        if self.resize is not None and tuple(size) != self.resize:
            batch = resize_image(batch, list(self.resize), antialias=True)  # in uint8, as the data set does
        return predict_pixels(output_logits(self.forward(batch)), size)[0].cpu()


def load_predictor(weights: str | Path, device: torch.device) -> Predictor:
    """The model of a run folder (its best weights) or of a checkpoint file.

    Raises CheckpointError if there is none that can be used, ConfigError if its model is registered in a file
    that was not given to `--import`.
    """
    path, state = _load(Path(weights))
    try:
        config = _read_config(state["config"], path)
        channels, logits_channels = state["channels"], state["logits_channels"]
        tensors, resize = _model_state(state), state["resize"]
        palette = tuple((red, green, blue) for red, green, blue in state["palette"])
        labels = Labels(tuple(state["class_names"]), palette, state["ignore_index"])
    except KeyError as error:
        raise CheckpointError(f"{path} is no checkpoint of a segkit run: it has no {error}") from error
    component = without_downloads(config.model)
    model = build_component(
        MODELS, component, "model", total=1, num_classes=logits_channels, in_channels=channels
    )
    model.load_state_dict(tensors)
    if config.train.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return Predictor(
        path=path,
        config=config,
        model=model.to(device).eval(),
        preprocess=build_normalize(config, channels).to(device),
        labels=labels,
        channels=channels,
        resize=None if resize is None else (resize[0], resize[1]),
        device=device,
    )


def without_downloads(component: Component) -> Component:
    """The component with what would fetch pretrained weights set to `none`: the checkpoint has the weights."""
    off = dict.fromkeys(download_parameters(MODELS.get(component.name)) & set(component.params), "none")
    return component.model_copy(update={"params": {**component.params, **off}})


def _read_config(mapping: dict[str, Any], path: Path) -> Config:
    try:
        return config_from_mapping(mapping, origin=str(path))
    except ConfigError as error:
        hint = "   -> if a name in it is registered in a file of yours, give that with --import FILE"
        raise ConfigError([*error.problems, hint]) from error


def _load(path: Path) -> tuple[Path, dict[str, Any]]:
    if not path.exists():
        raise CheckpointError(
            f"no weights at {path}: give a run folder, such as runs/ohem/TIME, or a .pt file"
        )
    if path.is_file():
        return path, load_checkpoint(path)
    if (path / "best.pt").is_file():
        return path / "best.pt", load_checkpoint(path / "best.pt")
    found = newest_intact(path / "checkpoints")
    if found.path is None:
        reasons = "".join(f"\n   {item.path}: {item.reason}" for item in found.skipped)
        raise CheckpointError(
            f"no usable checkpoint in {path}: neither best.pt nor checkpoints/*.pt{reasons}"
        )
    return found.path, found.state


def _model_state(state: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that validation scored: best.pt holds just these, a numbered checkpoint the moving average apart."""
    if "trainer" not in state:
        return state["model"]
    ema = state["trainer"]["ema"]
    if ema is None:
        return state["trainer"]["model"]
    prefix = "module."
    return {key.removeprefix(prefix): value for key, value in ema.items() if key.startswith(prefix)}
