"""Any architecture and encoder of segmentation-models-pytorch, with logits at the architecture's own stride."""

import inspect
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from segkit.models.extras.library import (
    built,
    cut_to,
    import_library,
    pad_to_multiple,
    require_name,
    require_options,
)
from segkit.registry import MODELS
from segkit.system.cpu.fp32_convolutions import depthwise_in_fp32, in_fp32
from segkit.types import Downloads

#: What images are brought to a multiple of, for the architectures that ask for it.
STRIDE = 32
GIVEN = (
    "encoder_name",
    "encoder_weights",
    "in_channels",
    "classes",
    "activation",
    "aux_params",
    "upsampling",
)
Architecture = Literal[
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
    "Segformer", "DPT",
]  # fmt: skip


@MODELS.register("smp")
class SegmentationModelsPytorch(nn.Module):
    """segmentation-models-pytorch: an architecture with one of its encoders, or of timm's as `tu-NAME`.

    `architecture` and `encoder` are the library's names, `options` further ones of the architecture, such as
    {decoder_channels: 128}. `weights: imagenet` downloads the encoder's, or another name that the library has for it.
    Images of sizes that the architecture does not take are padded on the right and below, and the logits cut.

    forward: image (N, in_channels, H, W) -> logits (N, num_classes, h, w) before the library's own upsampling.
    Raises ConfigError where the library is missing or refuses its options. https://github.com/qubvel-org, MIT.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        architecture: Architecture = "Unet",
        encoder: str = "resnet34",
        weights: Annotated[str, Downloads()] = "none",
        options: dict[str, Any] = {},  # noqa: B006 (shown as the default, never mutated)
    ):
        super().__init__()
        library = import_library(
            "segmentation_models_pytorch", model="smp", package="segmentation-models-pytorch"
        )
        constructor = getattr(library, architecture)
        what = f"{architecture} with {encoder}"
        if not encoder.startswith("tu-"):
            names = library.encoders.get_encoder_names()
            require_name(encoder, names, key="model.encoder", what="segmentation-models-pytorch")
        require_options(options, constructor.__init__, taken=GIVEN, what=f"smp's {architecture}")
        upsampling = "upsampling" in inspect.signature(constructor.__init__).parameters
        pretrained = None if weights == "none" else weights
        self.network = built(
            lambda: constructor(
                encoder_name=encoder,
                encoder_weights=pretrained,
                in_channels=in_channels,
                classes=num_classes,
                **({"upsampling": 1} if upsampling else {}),
                **options,
            ),
            what=what,
            pretrained=pretrained is not None,
        )
        # Many of timm's backbones leave out the rows and columns that do not fill a patch.
        self.divisible = bool(self.network.requires_divisible_input_shape) or encoder.startswith("tu-")
        depthwise_in_fp32(self.network)
        for module in self.network.segmentation_head.modules():
            if type(module) is nn.Conv2d:
                in_fp32(module)

    def forward(self, image: Tensor) -> Tensor:
        if not self.divisible:
            return self.network(image)
        padded = pad_to_multiple(image, STRIDE)
        logits = self.network(padded)
        return cut_to(logits, image.shape[-2:], padded.shape[-2:])
