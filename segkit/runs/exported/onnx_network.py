"""An exported network in ONNX Runtime, in the place of the module that it was."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segkit.errors import CheckpointError, ConfigError

#: The names of the input and of the two outputs that there can be.
IMAGE, LOGITS, IDS = "image", "logits", "ids"
#: What is asked of the metadata.
ENTRIES = (
    "output", "size", "class_names", "palette", "ignore_index", "channels", "mean", "std", "resize", "temperature",
    "iteration", "config",
)  # fmt: skip
INSTALL = "pip install 'segkit[export]'"


class OnnxNetwork(nn.Module):
    """The network of a session: image (N, C, H, W) float, normalised -> logits (N, K, h, w).

    ONNX Runtime computes on the CPU, with as many threads as torch; images on another device are brought there, and the
    logits back. `size` is the only height and width that the network takes, None for any.
    """

    def __init__(self, session: Any, size: tuple[int, int] | None = None):
        super().__init__()
        self.session = session
        self.size = size

    def forward(self, image: Tensor) -> Tensor:
        """Raises ConfigError for images of another size than the one that the network takes."""
        if self.size is not None and tuple(image.shape[-2:]) != self.size:
            (height, width), (rows, columns) = image.shape[-2:], self.size
            raise ConfigError(
                f"the exported network takes images of {rows} x {columns} alone, and this one has {height} x {width} "
                f"-> predict.tile=[{rows},{columns}] for larger ones, or export it again"
            )
        (logits,) = self.session.run(None, {IMAGE: image.float().cpu().contiguous().numpy()})
        return torch.from_numpy(logits).to(image.device)


class OnnxFile(NamedTuple):
    """What is in a file: the network, and what `segkit.commands.export.about` wrote of it."""

    network: OnnxNetwork
    about: dict[str, Any]


def open_session(source: str | bytes) -> Any:
    """ONNX Runtime's session of a file or its content, with as many threads as torch has. Raises ConfigError where
    onnxruntime is missing."""
    try:
        import onnxruntime  # an extra
    except ImportError as error:
        raise ConfigError(
            f"an .onnx file needs onnxruntime, which cannot be imported ({error}) -> {INSTALL}"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors, which are raised too
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def open_onnx(path: Path) -> OnnxFile:
    """The network in an .onnx file that segkit has exported. Raises CheckpointError for another or a damaged one, and
    ConfigError for one that gives class ids: predictions are made from logits."""
    if not path.is_file():
        raise CheckpointError(f"no file {path}")
    try:
        session = open_session(str(path))
    except ConfigError:
        raise
    except Exception as error:  # ONNX Runtime's have no base of their own
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} cannot be read by ONNX Runtime: {reason}") from error
    found = session.get_modelmeta().custom_metadata_map
    try:
        about = {name: json.loads(text) for name, text in found.items()}
        about = {name: about[name] for name in ENTRIES}
    except (ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} was not exported by segkit, or by another version: its metadata have no usable {error}"
        ) from error
    output, size = about["output"], about["size"]
    if output != LOGITS:
        raise ConfigError(
            f"{path} gives {output} and no logits, from which predictions are made -> export it without "
            "--with-preprocessing"
        )
    return OnnxFile(OnnxNetwork(session, None if size is None else (size[0], size[1])), about)
