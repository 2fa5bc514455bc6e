"""The features of any backbone of timm, with a light feature pyramid of segkit's on them."""

from typing import Annotated, Any

import torch.nn.functional as F
from torch import Tensor, nn

from segkit.models.extras.library import built, cut_to, import_library, pad_to_multiple, require_name
from segkit.models.norms import Norm, build_norm
from segkit.registry import MODELS
from segkit.system.cpu.fp32_convolutions import Fp32Conv2d, depthwise_in_fp32
from segkit.types import Downloads, PositiveInt

GIVEN = ("features_only", "pretrained", "in_chans", "num_classes", "out_indices")


@MODELS.register("timm")
class TimmFeatures(nn.Module):
    """A backbone of timm and a feature pyramid on its last feature maps (Lin et al. 2017, arXiv:1612.03144).

    `backbone` is timm's name, such as resnet34 or convnext_tiny, `options` further arguments of its constructor, such
    as {img_size: 256} for those of a fixed size. Maps of stride 2 are left aside; from the coarsest to the finest each
    is brought to `decoder` channels and added to what came from below. `weights: imagenet` downloads timm's default
    weights. Images are padded on the right and below to a multiple of the coarsest stride, and the logits cut.

    forward: image (N, in_channels, H, W) -> logits (N, num_classes, h, w) at the stride of the finest map, 4 for most.
    Raises ConfigError where timm is missing, or has no such backbone or no feature maps of it.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        *,
        backbone: str = "resnet34",
        weights: Annotated[str, Downloads()] = "none",
        decoder: PositiveInt = 96,
        norm: Norm = "batch",
        options: dict[str, Any] = {},  # noqa: B006 (shown as the default, never mutated)
    ):
        super().__init__()
        library = import_library("timm", model="timm", package="timm")
        for name in GIVEN:
            if name in options:
                raise ValueError(f"options: {name} is given by segkit -> remove it")
        require_name(backbone.partition(".")[0], library.list_models(), key="model.backbone", what="timm")
        if weights not in ("none", "imagenet"):
            raise ValueError(
                f"weights must be none or imagenet, got {weights!r}; another tag: backbone=NAME.TAG"
            )
        pretrained = weights == "imagenet"
        self.backbone = built(
            lambda: library.create_model(
                backbone, features_only=True, pretrained=pretrained, in_chans=in_channels, **options
            ),
            what=f"timm's {backbone}",
            pretrained=pretrained,
        )
        depthwise_in_fp32(self.backbone)
        strides, channels = self.backbone.feature_info.reduction(), self.backbone.feature_info.channels()
        self.used = [n for n, stride in enumerate(strides) if stride >= 4]
        self.strides = [strides[n] for n in self.used]
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels[n], decoder, 1, bias=norm == "none"), build_norm(norm, decoder))
            for n in self.used
        )
        self.joins = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(decoder, decoder, 3, padding=1, bias=norm == "none"),
                build_norm(norm, decoder),
                nn.ReLU(inplace=True),
            )
            for _ in self.used
        )
        self.classifier = Fp32Conv2d(decoder, num_classes, 1)
        # Near zero, so that the first loss is close to log(num_classes): a wrong class count shows at once.
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, image: Tensor) -> Tensor:
        padded = pad_to_multiple(image, max(self.strides))
        maps = self.backbone(padded)
        joined: Tensor | None = None
        for n, lateral, join in reversed(list(zip(self.used, self.laterals, self.joins, strict=True))):
            here = lateral(self._channels_second(maps[n], n))
            if joined is not None:
                if joined.shape[-2:] != here.shape[-2:]:
                    joined = F.interpolate(joined, here.shape[-2:], mode="bilinear", align_corners=False)
                here = here + joined
            joined = join(here)
        assert joined is not None
        return cut_to(self.classifier(joined), image.shape[-2:], padded.shape[-2:])

    def _channels_second(self, features: Tensor, n: int) -> Tensor:
        """Some backbones, such as Swin, give (N, h, w, C), and timm says of which. The shape alone does not tell: the
        first map of swin_tiny has 96 channels, and 96 rows of an image of 384."""
        wanted = self.backbone.feature_info.channels()[n]
        is_last = getattr(self.backbone, "output_fmt", None) == "NHWC"
        return features.permute(0, 3, 1, 2) if is_last or features.shape[1] != wanted else features
