"""Networks beside each other: operations, parameters, and the time of a training step and of a prediction.

Every network gets the same images, the same loss (interpolate and plain cross-entropy) and the same optimizer, in
channels_last, so that only the networks differ. What segkit's own losses add or save is measured elsewhere.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.bench.measure.clock import time_in_turns
from scripts.bench.measure.rows import Row, rows_of
from scripts.bench.measure.settings import Settings
from segkit.evaluation.operations import count_operations
from segkit.registry import MODELS
from segkit.system.cpu.fp32_convolutions import depthwise_in_fp32

TASK = "scripts.bench.training.models:measure"
CLASSES = 11
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}
TRAINING, PREDICTION = "training", "prediction"
BASELINE = "unet, width 32, depth 4"
#: Of segkit: what it is called here, the name it is registered by, and its options.
OWN: dict[str, tuple[str, dict[str, Any]]] = {
    BASELINE: ("unet", {"width": 32, "depth": 4}),
    "light_fpn": ("light_fpn", {}),
    "deeplabv3_mobilenet_v3_large": ("deeplabv3_mobilenet_v3_large", {}),
    "lraspp_mobilenet_v3_large": ("lraspp_mobilenet_v3_large", {}),
}


def build_smp() -> nn.Module:
    """The U-Net of segmentation_models_pytorch with its MobileNetV2 as encoder."""
    import segmentation_models_pytorch as smp

    return smp.Unet("mobilenet_v2", encoder_weights=None, classes=CLASSES)


def build_yolo() -> nn.Module:
    """The smallest network of Ultralytics' semantic task; in training it has an auxiliary head."""
    from ultralytics.nn.tasks import SemanticSegmentationModel

    return SemanticSegmentationModel("yolo26n-sem.yaml", nc=CLASSES, verbose=False)


PEERS: dict[str, Callable[[], nn.Module]] = {"smp Unet, mobilenet_v2": build_smp, "yolo26n-sem": build_yolo}


def bench_models(settings: Settings, *, tell: Callable[[str], None] = lambda text: None) -> list[Row]:
    """A case for each precision and each of training and prediction; times beside those of the U-Net."""
    side, images = (64, 2) if settings.small else (256, 4)
    tell(f"models: {images} images of {side} x {side}")
    arguments = {"side": side, "images": images, "rounds": settings.rounds, "device": settings.device}
    found = settings.measure(TASK, arguments, allocator=settings.allocators[-1])
    rows = []
    for case in found[0]["cases"]:
        name = f"{case}, {images} images of {side} x {side}"
        rows += rows_of(
            [each["cases"][case] for each in found],
            bench="models",
            case=name,
            baselines=[entry for entry in found[0]["cases"][case]["seconds"] if entry.startswith(BASELINE)],
            allocator=settings.allocators[-1],
            on_gpu=settings.device.startswith("cuda"),
        )
    return rows


def measure(*, side: int, images: int, rounds: int, device: str) -> dict[str, Any]:
    """In one process: seconds of each network, by precision and use. Networks that cannot be had are `missing`."""
    place = torch.device(device)
    image = torch.randn(images, 3, side, side, device=place).contiguous(memory_format=torch.channels_last)
    target = torch.randint(CLASSES, (images, side, side), device=place)
    networks, missing = build_networks(image)
    cases = {}
    for precision, dtype in PRECISIONS.items():
        for use in (TRAINING, PREDICTION):
            make = make_step if use == TRAINING else make_prediction
            calls = {
                name: make(network.train(use == TRAINING), image, target, dtype)
                for name, network in networks.items()
            }
            seconds = time_in_turns(calls, rounds=rounds, device=place)
            cases[f"{use}, {precision}"] = {"seconds": seconds, "missing": missing}
    return {"cases": cases}


def build_networks(image: Tensor) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The networks by a name that says their size, and why each of the others cannot be had."""
    networks, missing = {}, {}
    builders: dict[str, Callable[[], nn.Module]] = {
        name: lambda key=key, options=options: MODELS.get(key)(CLASSES, 3, **options)
        for name, (key, options) in OWN.items()
    }
    for name, build in {**builders, **PEERS}.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of packages that are not ours
                network = build()
        except ImportError as error:
            missing[name] = str(error)
            continue
        network = depthwise_in_fp32(network).to(image.device, memory_format=torch.channels_last)
        networks[f"{name} ({describe_size(network, image[:1])})"] = network
    return networks, missing


def describe_size(network: nn.Module, image: Tensor) -> str:
    """`2.4 M parameters, 1.7 GFLOPs`, the latter of a prediction of one image."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    with torch.no_grad():
        _, operations = count_operations(lambda: get_logits(network.eval()(image))[0])
    return f"{parameters / 1e6:.2f} M parameters, {operations / 1e9:.2f} GFLOPs"


def make_step(
    network: nn.Module, image: Tensor, target: Tensor, dtype: torch.dtype | None
) -> Callable[[], object]:
    """A training step: forward, cross-entropy of every output at the label's size, backward, SGD."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(image.device.type, dtype=dtype, enabled=dtype is not None):
            outputs = get_logits(network(image))
        wide = [
            F.interpolate(each.float(), target.shape[-2:], mode="bilinear", align_corners=False)
            for each in outputs
        ]
        sum(F.cross_entropy(each, target) for each in wide).backward()
        optimizer.step()

    return step


def make_prediction(
    network: nn.Module, image: Tensor, target: Tensor, dtype: torch.dtype | None
) -> Callable[[], object]:
    """Class ids at the label's size."""

    @torch.inference_mode()
    def predict() -> Tensor:
        with torch.autocast(image.device.type, dtype=dtype, enabled=dtype is not None):
            logits = get_logits(network(image))[0]
        size = target.shape[-2:]
        return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False).argmax(dim=1)

    return predict


def get_logits(output: Any) -> list[Tensor]:
    """The main output first, then the auxiliary ones, of whatever form."""
    if isinstance(output, Mapping):
        return list(output.values())
    return list(output) if isinstance(output, list | tuple) else [output]
