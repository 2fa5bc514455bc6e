"""What an array of images holds where no labels say it: by the data that a network was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from segkit.data.files.file_patterns import STEM
from segkit.errors import DataError


@dataclass(frozen=True)
class Trained:
    """The data that a network was trained on: the name of its data set, its options, and the channels of an image."""

    name: str
    options: Mapping[str, Any]
    channels: int


def find_layout(
    shape: tuple[int, ...], what: str, trained: Trained
) -> tuple[bool, Literal["first", "last"] | None]:
    """Whether an array is one image, and where its channels are. Raises DataError where the data of the training does
    not tell it."""
    size = "x".join(map(str, shape))
    if 0 in shape or not 2 <= len(shape) <= 4:
        raise DataError(f"cannot use {what}: an array of {size or 'one number'} holds no images")
    if trained.name == "arrays":
        one = STEM in str(trained.options.get("train_images", "")) or len(shape) == 2
        # So narrow are no images: the last axis is that of channels, of the one image that there is.
        if not one and len(shape) == 3 and shape[2] in (1, 3, trained.channels):
            return True, "last"
    else:
        # Of three axes, the last one may be that of channels, unless it is as well the width of images.
        one = len(shape) == 2 or (len(shape) == 3 and shape[2] == trained.channels)
        if len(shape) == 3 and not one and shape[0] == trained.channels > 1:
            raise DataError(
                f"cannot tell what {what} is: {size} may be an image of {trained.channels} channels, or as many "
                "images\n"
                f"   -> save it as (H, W, {trained.channels}), or as (N, H, W, {trained.channels})"
            )
    image = shape if one else shape[1:]
    if len(image) == 2:
        return one, None
    if len(image) != 3:
        raise DataError(
            f"cannot use {what}: {size} is not {'(H, W)' if one else '(N, H, W)'}, nor that with an axis of channels, "
            "as the weights were trained on"
        )
    option = trained.options.get("channel_axis", "auto") if trained.name == "arrays" else "auto"
    if option in ("first", "last"):
        return one, "first" if option == "first" else "last"
    fits = [
        place
        for place, count in (("last", image[2]), ("first", image[0]))
        if count == trained.channels or (count, trained.channels) in ((1, 3), (3, 1))
    ]
    if len(fits) != 1:
        why = "either may be the channels" if fits else f"no axis is of {trained.channels} channels"
        raise DataError(
            f"cannot tell where the channels of {what} are: an image is {'x'.join(map(str, image))}, and {why}\n"
            "   -> save it with the channels last, of which the weights were trained on "
            f"{trained.channels}, or train with data.channel_axis"
        )
    return one, "last" if fits == ["last"] else "first"
