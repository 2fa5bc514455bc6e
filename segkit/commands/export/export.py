"""A trained network to one file: traced, written, compared with what it was made of, and only then kept."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from segkit.commands.export import onnx_file, pt2_file
from segkit.commands.export.about import as_texts, describe
from segkit.commands.export.int8 import Cost, measure, quantise, read_calibration
from segkit.commands.export.network import make_network
from segkit.commands.export.parity import (
    LEAST_EQUAL,
    Images,
    InTurn,
    Parity,
    compare,
    find_images,
    time_in_turn,
)
from segkit.commands.export.sweep import Run, sweep
from segkit.commands.export.trace import trace
from segkit.errors import ConfigError
from segkit.runs.exported.onnx_network import IDS, IMAGE, LOGITS, open_session
from segkit.runs.predictor import Predictor, load_predictor
from segkit.system.files import make_folder, write_bytes, write_json
from segkit.system.memory import lack_of_memory_explained
from segkit.system.run_files import RunFiles, folder_around

Form = Literal["onnx", "pt2"]


class Exported(NamedTuple):
    """The content of a file, its network as a function, and the version of ONNX's operators in it."""

    content: bytes
    run: Run
    opset: int | None


@lack_of_memory_explained("a machine with more memory: the network and its copy are there at once")
def export_weights(
    weights: str,
    overrides: Sequence[str] = (),
    *,
    to: Form,
    output: Path | None = None,
    with_preprocessing: bool = False,
    size: tuple[int, int] | None = None,
    int8: bool = False,
) -> int:
    """Write the network of a run or checkpoint as `to`, and what it says of itself beside it; returns the exit status.

    `overrides` are `key=value` of the data whose validation images it is tried on. The file is `output`, else lies in
    the run folder. With `int8` it computes in 8 bits, and what that costs is shown. Raises ConfigError, with nothing
    written, for a network that cannot be exported or whose file says something else than it.
    """
    if Path(weights).suffix == ".onnx":
        raise ConfigError(f"--weights {weights} is exported already -> the run it is of")
    if int8 and (to != "onnx" or with_preprocessing or size is not None):
        raise ConfigError("--int8 is for --to onnx without --with-preprocessing and --size -> leave it out")
    if to == "onnx":
        onnx_file.require_onnx()
    begun = time.perf_counter()
    predictor = load_predictor(weights, torch.device("cpu"))
    path = output or _default_path(predictor, to)
    if path.suffix != f".{to}":
        raise ConfigError(f"--output {path}: what --to {to} writes ends with .{to}")
    images = find_images(predictor, overrides, size)
    calibration = read_calibration(predictor, overrides) if int8 else []
    network = make_network(predictor, with_preprocessing=with_preprocessing)
    dtype = torch.uint8 if with_preprocessing else torch.float32
    program = trace(network, predictor.channels, size, dtype)
    found = write(predictor, program, to, with_preprocessing=with_preprocessing, size=size)
    seconds = time.perf_counter() - begun
    cases = sweep(network, found.run, predictor.channels, size, dtype)
    parity = compare(predictor, found.run, images.images, ids_inside=with_preprocessing)
    lines = report(predictor, path, found, seconds, cases, images, parity, size)
    precision = "fp32"
    if int8:
        small = _with_texts(predictor, quantise(found.content, calibration), size)
        # Of the logits the shape alone, and that they are numbers.
        sweep(network, small.run, predictor.channels, size, dtype, tolerance=math.inf)
        cost = measure(predictor, overrides, found.run, small.run)
        shown = predictor.preprocess(images.images[0])
        lines += report_int8(small, found, cost, time_in_turn(small.run, found.run, shown))
        found, precision = small, "int8"
    print("\n".join(lines), flush=True)
    make_folder(path.parent)
    write_bytes(path, found.content)
    about = describe(
        predictor, with_preprocessing=with_preprocessing, size=size, opset=found.opset, precision=precision
    )
    write_json(path.with_suffix(".json"), {"file": path.name, **about})
    return 0


def write(
    predictor: Predictor,
    program: ExportedProgram,
    to: Form,
    *,
    with_preprocessing: bool,
    size: tuple[int, int] | None,
) -> Exported:
    """The content of the file, and what reads it as others will."""
    if to == "pt2":
        about = describe(predictor, with_preprocessing=with_preprocessing, size=size, opset=None)
        content = pt2_file.to_bytes(program, json.dumps(about, ensure_ascii=False))
        return Exported(content, pt2_file.open_pt2(content), None)
    model = onnx_file.to_onnx(program, IDS if with_preprocessing else LOGITS)
    about = describe(predictor, with_preprocessing=with_preprocessing, size=size, opset=model.opset)
    content = onnx_file.to_bytes(model, as_texts(about))
    return Exported(content, _open(content), model.opset)


def _open(content: bytes) -> Run:
    session = open_session(content)

    def run(image: Tensor) -> Tensor:
        (answer,) = session.run(None, {IMAGE: image.contiguous().numpy()})
        return torch.from_numpy(answer)

    return run


def _with_texts(predictor: Predictor, content: bytes, size: tuple[int, int] | None) -> Exported:
    """What the quantiser has made, with what it says of itself, and nothing that the quantiser noted."""
    model = onnx_file.read(content)
    about = describe(predictor, with_preprocessing=False, size=size, opset=model.opset, precision="int8")
    content = onnx_file.to_bytes(model, as_texts(about))
    return Exported(content, _open(content), model.opset)


def _default_path(predictor: Predictor, to: Form) -> Path:
    folder = RunFiles(folder_around(predictor.path))
    return folder.onnx if to == "onnx" else folder.pt2


def report(
    predictor: Predictor,
    path: Path,
    found: Exported,
    seconds: float,
    cases: int,
    images: Images,
    parity: Parity,
    size: tuple[int, int] | None,
) -> list[str]:
    """The lines that say what was written, and how it compares with the network that it was made of."""
    opset = "torch.export" if found.opset is None else f"opset {found.opset}"
    runtime = "the exported program" if found.opset is None else "ONNX Runtime"
    exported, eager = 1000 * parity.timed.first, 1000 * parity.timed.second
    threads = torch.get_num_threads()
    logits = "" if parity.logits is None else f"logits differ by {parity.logits:.1e} at most, "
    height, width = images.images[0].shape[-2:]
    sizes = "even and odd heights and widths" if size is None else f"{size[0]} x {size[1]}, the only size"
    rows = {
        "file": f"{path}   {len(found.content) / 1e6:.1f} MB, {opset}, made in {seconds:.0f} s; and "
        f"{path.with_suffix('.json').name}",
        "weights": f"{predictor.path} ({predictor.why})",
        "sizes": f"{cases} of {cases} agree with PyTorch: one image and three, of {sizes}",
        "images": f"{len(images.images)} of {images.source}",
        "parity": f"{logits}{parity.equal:.4%} of the class ids are equal (at least {LEAST_EQUAL:.2%} have to be)",
        "latency": f"{exported:.1f} ms in {runtime}, {eager:.1f} ms in PyTorch fp32: {exported / eager:.2f} times "
        f"(medians of {parity.timed.rounds} in turn, one image of {height} x {width}, {threads} "
        f"{'thread' if threads == 1 else 'threads'})",
    }
    return [f"{name:<8} {text}" for name, text in rows.items()]


def report_int8(small: Exported, found: Exported, cost: Cost, timed: InTurn) -> list[str]:
    """The lines that say what 8 bits cost and gain."""
    before, after, low, high = (100 * each for each in cost[:4])
    quick, slow = 1000 * timed.first, 1000 * timed.second
    return [
        f"int8     {len(small.content) / 1e6:.1f} MB instead of {len(found.content) / 1e6:.1f}, {quick:.1f} ms "
        f"instead of {slow:.1f} in ONNX Runtime: {quick / slow:.2f} times; it is what is kept",
        f"         mIoU {after:.2f} instead of {before:.2f}: {after - before:+.2f}, 95 % interval {low:+.2f} to "
        f"{high:+.2f}, of {cost.images} validation images",
    ]
