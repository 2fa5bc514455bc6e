"""Which files of a run are packed as they are, and what an exported network has to be for that."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from segkit.errors import CheckpointError, ConfigError
from segkit.runs.exported.onnx_network import open_session
from segkit.runs.fingerprints import weights_fingerprint
from segkit.runs.predictor import Predictor
from segkit.runs.recording.model_card import ENDINGS, PICTURES
from segkit.system.memory import lacks_memory
from segkit.system.run_files import RunFiles, folder_around
from segkit.system.typed import typed

#: Numbers that the run has written, and what they are.
NUMBERS = {
    RunFiles.summary.name: "The final numbers of the whole run.",
    RunFiles.results.name: "Everything logged, a row at a time.",
    RunFiles.confusion_matrix.name: "Pixel counts of the last evaluation, a row per true class.",
}
CAPTIONS = (*PICTURES, (RunFiles.calibration_plot.name, "Confidence against accuracy"))
#: What an exported network has to agree in with the weights that it is packed beside. Two runs of one length mostly
#: have the same iterations, so that only the fingerprint tells their weights apart.
FINGERPRINT = "weights_fingerprint"
SAME = ("iteration", "class_names", "channels", "temperature", FINGERPRINT)


class Exported(NamedTuple):
    """An exported network, and what it says of itself."""

    content: bytes
    about: dict[str, Any]

    @property
    def description(self) -> str:
        """What it takes and gives, in words."""
        inside = (
            "images in bytes to class ids" if self.about["output"] == "ids" else "normalised images to logits"
        )
        size = self.about.get("size")
        only = "" if size is None else f", of {size[0]} x {size[1]} pixels alone"
        return f"ONNX, {self.about.get('precision', 'fp32')}: {inside}{only}"


def pictures_of(run: RunFiles, *, finished: bool) -> list[tuple[str, str]]:
    """Name and caption of the pictures that the run has drawn of itself, in the order in which they are worth a
    look."""
    stale = () if finished else ENDINGS
    return [(name, text) for name, text in CAPTIONS if name not in stale and (run.path / name).is_file()]


def read_files(run: RunFiles, names: Collection[str]) -> dict[str, bytes]:
    """Those of the files that there are, by name. Raises CheckpointError for one that cannot be read."""
    try:
        return {name: (run.path / name).read_bytes() for name in names if (run.path / name).is_file()}
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}") from error


def read_onnx(path: Path, predictor: Predictor) -> Exported:
    """The exported network at `path`. Raises ConfigError where it is not one of segkit's, or of other weights than
    those of the predictor: it would answer otherwise than what is packed beside it. An older segkit did not note of
    which weights a file is, so such a file cannot be told from one of others."""
    again = typed("export", "--weights", folder_around(predictor.path), "--to", "onnx")
    try:
        content = path.read_bytes()
        found = open_session(content).get_modelmeta().custom_metadata_map
        about = {name: json.loads(text) for name, text in found.items()}
        said = {FINGERPRINT: None, **about}
        differing = next((name for name in SAME if said[name] != _own(predictor, name)), None)
        Exported(content, about).description  # noqa: B018  says what it needs
    except ConfigError:
        raise
    except Exception as error:  # ONNX Runtime's have no base of their own
        if lacks_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{path} is no network that segkit has exported ({reason}) -> {again}") from error
    if differing == FINGERPRINT and FINGERPRINT not in about:
        raise ConfigError(f"{path} is of an older segkit, which did not note of which weights -> {again}")
    if differing is not None:
        raise ConfigError(
            f"{path} is not of the weights that are packed: its {differing} is {about[differing]} instead of "
            f"{_own(predictor, differing)} -> {again}"
        )
    return Exported(content, about)


def _own(predictor: Predictor, name: str) -> Any:
    if name == FINGERPRINT:
        return weights_fingerprint(predictor.model)
    return list(predictor.labels.class_names) if name == "class_names" else getattr(predictor, name)
