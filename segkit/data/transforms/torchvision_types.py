"""What the parameters of torchvision's transforms may be in a file, where their own annotations do not say."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from torchvision.transforms import InterpolationMode

from segkit.data.transforms.joint import GREY
from segkit.types import (
    ComponentsOf,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PositiveRange,
    Range,
    Share,
    ShareRange,
    Size,
    check_order,
)

_Byte = Annotated[int, Field(ge=0, le=255)]
_Quality = Annotated[int, Field(ge=1, le=100)]
_Qualities = Annotated[list[_Quality], Field(min_length=2, max_length=2), AfterValidator(check_order)]


def _check_odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"must be an odd integer, got {size}")
    return size


def _check_weights(weights: list) -> list:
    if not any(weights):
        raise ValueError("must have a number above 0")
    return weights


def _pair(item: Any) -> Any:
    return Annotated[list[item], Field(min_length=2, max_length=2)]


_Odd = Annotated[int, Field(ge=1), AfterValidator(_check_odd)]
_Transforms = Annotated[list, ComponentsOf("transform")]
#: New pixels of the image; those of the labels are always ignored, and their weights 0.
_Fill = _Byte | Annotated[list[_Byte], Field(min_length=1, max_length=3)]
_Warp = Literal["nearest", "bilinear"]
_Resize = Literal["nearest", "bilinear", "bicubic"]
_Factors = Annotated[list[NonNegativeFloat], Field(min_length=2, max_length=2), AfterValidator(check_order)]
_Factor = NonNegativeFloat | _Factors | None
_Hue = Annotated[float, Field(ge=-0.5, le=0.5)]
_Hues = Annotated[list[_Hue], Field(min_length=2, max_length=2), AfterValidator(check_order)]

#: By name of the parameter.
TYPES = {
    "p": Share,
    "fill": _Fill,
    "size": PositiveInt | Size,
    "degrees": NonNegativeFloat | Range,
    "translate": _pair(Share) | None,
    "shear": float | Range | Annotated[list[float], Field(min_length=4, max_length=4)] | None,
    "padding": NonNegativeInt | Annotated[list[NonNegativeInt], Field(min_length=2, max_length=4)],
    "distortion_scale": Share,
    "ratio": PositiveRange,
    "scale_range": PositiveRange,
    "side_range": PositiveRange,
    "target_size": Size,
    "transforms": _Transforms,
    "brightness": _Factor,
    "contrast": _Factor,
    "saturation": _Factor,
    "center": _pair(float) | None,
    "kernel_size": _Odd | _pair(_Odd),
    "sharpness_factor": NonNegativeFloat,
    "bits": Annotated[int, Field(ge=0, le=8)],
    "threshold": Annotated[float, Field(ge=0, le=255)],
    "quality": _Quality | _Qualities,
    "antialias": bool,
    "alpha": NonNegativeFloat | _pair(NonNegativeFloat),
    "max_size": PositiveInt | None,
    "min_size": PositiveInt,
}

#: By transform and name, where they differ from the above.
SPECIAL = {
    ("RandomAffine", "scale"): PositiveRange | None,
    ("RandomAffine", "interpolation"): _Warp,
    ("RandomRotation", "interpolation"): _Warp,
    ("RandomPerspective", "interpolation"): _Warp,
    ("ElasticTransform", "interpolation"): _Warp,
    ("ElasticTransform", "sigma"): NonNegativeFloat | _pair(NonNegativeFloat),
    ("GaussianBlur", "sigma"): PositiveFloat | PositiveRange,
    ("GaussianNoise", "sigma"): NonNegativeFloat,
    ("RandomCrop", "padding"): TYPES["padding"] | None,
    ("RandomChoice", "p"): Annotated[list[NonNegativeFloat], AfterValidator(_check_weights)] | None,
    ("RandomResizedCrop", "scale"): ShareRange,
    ("RandomResize", "max_size"): PositiveInt,
    ("RandomShortestSize", "min_size"): PositiveInt | Annotated[list[PositiveInt], Field(min_length=1)],
    ("ColorJitter", "hue"): Annotated[float, Field(ge=0, le=0.5)] | _Hues | None,
    **{("RandomPhotometricDistort", name): _Factors for name in ("brightness", "contrast", "saturation")},
    ("RandomPhotometricDistort", "hue"): _Hues,
    **{
        (name, "interpolation"): _Resize
        for name in ("Resize", "RandomResize", "RandomResizedCrop", "RandomShortestSize", "ScaleJitter")
    },
}

#: Left out of files: an image of uint8 cannot leave 0 ... 255 anyway.
LEFT_OUT = {("GaussianNoise", "clip")}

#: Where segkit's default is another than torchvision's.
DEFAULTS = {"fill": GREY}


def find_type(transform: str, parameter: str, annotation: Any) -> Any:
    """The type of a parameter in a file."""
    return SPECIAL.get((transform, parameter)) or TYPES.get(parameter) or annotation


def find_default(parameter: str, default: Any) -> Any:
    """The default of a parameter as a file would have it."""
    if isinstance(default, InterpolationMode):
        return default.value
    return list(default) if isinstance(default, tuple) else DEFAULTS.get(parameter, default)
