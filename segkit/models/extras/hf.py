"""Networks for semantic segmentation of Hugging Face's transformers that give a logit for each pixel and class."""

import math
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from segkit.errors import ConfigError
from segkit.models.extras.library import built, cut_to, import_library, pad_to_multiple
from segkit.registry import MODELS
from segkit.system.cpu.fp32_convolutions import depthwise_in_fp32, in_fp32
from segkit.types import Downloads, PositiveInt

Architecture = Literal["segformer", "upernet", "dpt", "mobilevit", "mobilevitv2"]

#: Where the last convolution is the one that gives the logits.
HEADS = {
    "segformer": "decode_head.classifier",
    "upernet": "decode_head.classifier",
    "dpt": "head",
    "mobilevit": "segmentation_head.classifier",
    "mobilevitv2": "segmentation_head.classifier",
}

#: What a configuration of the library says of the classes, and of the file that it is in.
LABELS = ("num_labels", "id2label", "label2id", "semantic_loss_ignore_index")
NAMES = ("_name_or_path", "name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype")


@MODELS.register("hf")
class Transformers(nn.Module):
    """transformers: SegFormer, UperNet, DPT and others with a head for semantic segmentation.

    `architecture` is the library's model type and `options` are of its configuration, such as {depths: [2, 2, 2, 2]};
    their defaults are the library's. `weights` is none, or a folder or a name on the hub with weights of a network with
    these options, which are loaded; of other classes the head is new. Images are padded on the right and below
    to a multiple of `multiple`, and the logits cut. Networks that answer with masks of objects (Mask2Former, EoMT) give
    no logits of pixels, and are not offered.

    forward: image (N, in_channels, H, W) -> logits (N, num_classes, h, w) at the network's stride.
    Raises ConfigError where the library is missing or refuses its options.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        architecture: Architecture = "segformer",
        weights: Annotated[str, Downloads()] = "none",
        multiple: PositiveInt = 32,
        options: dict[str, Any] = {},  # noqa: B006 (shown as the default, never mutated)
    ):
        super().__init__()
        library = import_library("transformers", model="hf", package="transformers")
        self.multiple = multiple
        pretrained = weights != "none"
        self.network = built(
            lambda: _build(library, architecture, weights, num_classes, in_channels, options),
            what=f"transformers' {weights if pretrained else architecture}",
            pretrained=pretrained,
        )
        self.patches = _find_patches(self.network, in_channels)
        depthwise_in_fp32(self.network)
        head = self.network.get_submodule(HEADS[architecture])
        in_fp32([each for each in head.modules() if isinstance(each, nn.Conv2d)][-1])

    def forward(self, image: Tensor) -> Tensor:
        padded = pad_to_multiple(image, self.multiple)
        logits = self.network(pixel_values=padded).logits
        return cut_to(logits, image.shape[-2:], padded.shape[-2:])

    def check_run(self, *, batch_size: int, height: int, width: int) -> None:
        """Raises ConfigError for training where padded images may have rows or columns that fill no patch: transformers
        leaves these out without a word, and stretches the logits over them."""
        for rows, columns in self.patches:
            if self.multiple % rows or self.multiple % columns:
                raise ConfigError(
                    f"model.multiple: images are padded to a multiple of {self.multiple}, and the network looks at "
                    f"patches of {rows} x {columns}, so that some of their last rows and columns would not be seen\n"
                    f"   -> model.multiple={math.lcm(rows, columns)}"
                )


def _find_patches(network: nn.Module, channels: int) -> list[tuple[int, int]]:
    """The height and width of the patches that the image is cut into, of networks that do so."""
    return [
        (each.kernel_size[0], each.kernel_size[1])
        for each in network.modules()
        if isinstance(each, nn.Conv2d) and each.in_channels == channels
        if each.kernel_size == each.stride and max(each.kernel_size) > 1
    ]


def _build(
    library: Any, architecture: str, weights: str, num_classes: int, in_channels: int, options: dict[str, Any]
) -> nn.Module:
    plain = library.AutoConfig.for_model(architecture).to_dict()
    for name in options:
        if name not in plain or name in ("num_channels", *LABELS):
            raise ConfigError(
                f"model.options: transformers' {architecture} has no option '{name}' that is free"
            )
    known = {"num_labels": num_classes, **({"num_channels": in_channels} if "num_channels" in plain else {})}
    config = library.AutoConfig.for_model(architecture, **known, **options)
    kind = library.AutoModelForSemanticSegmentation
    if weights == "none":
        model = kind.from_config(config)
    else:
        _require_same_options(
            config.to_dict(), library.AutoConfig.from_pretrained(weights).to_dict(), weights
        )
        model = kind.from_pretrained(weights, config=config, ignore_mismatched_sizes=True)
    channels = next(each for each in model.modules() if isinstance(each, nn.Conv2d)).in_channels
    if channels != in_channels:
        raise ConfigError(
            f"model: the network takes images of {channels} channels, and data.channels is {in_channels}"
        )
    if getattr(model, "auxiliary_head", None) is not None:
        model.auxiliary_head = None  # which the network's own loss would use
    return model.float()


def _require_same_options(ours: dict[str, Any], theirs: dict[str, Any], weights: str) -> None:
    """Raises ConfigError unless the network is the one that the weights are of. Its options stand in the configuration,
    so that it can be built again without them."""
    other = {
        name: theirs[name]
        for name in ours
        if name not in (*LABELS, *NAMES) and name in theirs and theirs[name] != ours[name]
    }
    if other:
        raise ConfigError(
            f"model.weights: {weights} is of a network with other options -> model.options: {other}, and the "
            f"architecture {theirs.get('model_type')}"
        )
