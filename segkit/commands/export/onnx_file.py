"""An exported program as the bytes of an .onnx file: names, metadata, and nothing of the machine that wrote it."""

import contextlib
import importlib
import io
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.export import ExportedProgram

from segkit.errors import ConfigError
from segkit.runs.exported.onnx_network import IMAGE, INSTALL

#: What a file in Google's protobuf may hold; ONNX keeps larger weights in files beside it.
MOST_BYTES = 2**31 - 1
#: What the exporter notes of where in the source each part comes from.
NOTES = ("doc_string", "metadata_props")


class OnnxModel(NamedTuple):
    """A ModelProto, and the operators' version in it."""

    proto: Any
    opset: int


def require_onnx() -> None:
    """Raises ConfigError, saying how to install it, where a package of the extra is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"--to onnx needs {name}, which cannot be imported ({error}) -> {INSTALL}"
            ) from error


def to_onnx(program: ExportedProgram, output: str) -> OnnxModel:
    """The program in ONNX's operators, with `image` as its input, its output's name, and sizes by name."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # what the exporter says of its own insides
        found = torch.onnx.export(
            program, (), input_names=[IMAGE], output_names=[output], dynamo=True, verbose=False
        )
    assert found is not None  # it is with dynamo
    proto = found.model_proto
    strip(proto)
    proto.graph.ClearField("value_info")  # shapes of what lies between, in names of the exporter
    name_sizes(proto.graph.input[0], ("N", "C", "H", "W"))
    name_sizes(
        proto.graph.output[0],
        ("N", "K", "h", "w") if len(_dims(proto.graph.output[0])) == 4 else ("N", "H", "W"),
    )
    return OnnxModel(proto, _opset(proto))


def read(content: bytes) -> OnnxModel:
    """The model in the bytes of a file that another tool has written, stripped."""
    proto = importlib.import_module("onnx").load_model_from_string(content)
    strip(proto)
    return OnnxModel(proto, _opset(proto))


def _opset(proto: Any) -> int:
    return next(each.version for each in proto.opset_import if each.domain == "")


def to_bytes(model: OnnxModel, texts: Mapping[str, str]) -> bytes:
    """The file, with these texts as its metadata. Raises ConfigError for a network that one file cannot hold."""
    del model.proto.metadata_props[:]
    for name, text in texts.items():
        model.proto.metadata_props.add(key=name, value=text)
    if model.proto.ByteSize() > MOST_BYTES:
        raise ConfigError(
            f"the network has {model.proto.ByteSize() / 1e9:.1f} GB, and an .onnx file 2 GB at most -> --to pt2"
        )
    return model.proto.SerializeToString(deterministic=True)


def strip(message: Any) -> None:
    """Remove what the exporter notes of the source, which has paths of the machine, from a message of protobuf and all
    in it."""
    for field, value in message.ListFields():
        if field.name in NOTES:
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE:
            for each in [value] if hasattr(value, "ListFields") else value:
                strip(each)


def name_sizes(value: Any, names: tuple[str, ...]) -> None:
    """Call the sizes of an input or output that are free by these names rather than by the exporter's."""
    for size, name in zip(_dims(value), names, strict=True):
        if size.WhichOneof("value") != "dim_value":
            size.dim_param = name


def _dims(value: Any) -> Any:
    return value.type.tensor_type.shape.dim
