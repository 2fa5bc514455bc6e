"""`standard`: scale, crop, flips, rotation and photometric changes.

Images stay uint8. The target is only ever taken from the nearest pixel, and the weights with it. Pixels that lie
outside the image are grey, ignored and of weight 0.
"""

import functools
from typing import Annotated, Any

from pydantic import Field

from segkit.data.augments.plain_steps import PlainSteps
from segkit.data.sample import Sample
from segkit.data.transforms.windows import Windows
from segkit.registry import AUGMENTS
from segkit.types import Angle, NonNegativeFloat, PositiveInt, PositiveRange, Probability, Share, Size


@AUGMENTS.register("standard")
class Standard:
    """Random scale and crop, flips, rotation, brightness, contrast, saturation, hue and cut-out.

    crop_size   side in pixels, or [height, width], of what the model sees; null for the size of each image
    scale       [lowest, highest] factor of enlargement, drawn uniformly; [1, 1] for none
    max_class_share  if one class has more of the window's valid pixels, another place is tried, ten at most
    hflip       probability of a mirror image, left to right
    vflip       probability of a mirror image, top to bottom
    quarter_turns  whether to turn by 0, 90, 180 or 270 degrees (for aerial and microscope images)
    rotate      the image is turned by up to this many degrees, either way
    brightness, contrast, saturation   each factor is drawn from [1 - value, 1 + value]; the last is
                of colour only
    hue         the hue is shifted by up to this share of the colour circle; costs the most time
    cut_out     probability of greying out, and ignoring, a rectangle of 2 to 20 % of the image
    """

    takes_plain_tensors = takes_any_layout = draws_from_torch = True

    def __init__(
        self,
        ignore_index: int,
        *,
        crop_size: PositiveInt | Size | None = None,
        scale: PositiveRange = [0.5, 2.0],  # noqa: B006 (shown as the default, never mutated)
        max_class_share: Probability | None = None,
        hflip: Share = 0.5,
        vflip: Share = 0.0,
        quarter_turns: bool = False,
        rotate: Angle = 0.0,
        brightness: NonNegativeFloat = 0.3,
        contrast: NonNegativeFloat = 0.3,
        saturation: NonNegativeFloat = 0.3,
        hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0,
        cut_out: Share = 0.0,
    ):
        # The default steps need nothing of torchvision, which takes a second to import; the others do.
        plain = not (quarter_turns or rotate or hue or cut_out)
        windows = Windows(ignore_index, crop_size=crop_size, scale=scale, max_class_share=max_class_share)
        flips, colours = (hflip, vflip), (brightness, contrast, saturation)
        self._plain = PlainSteps(ignore_index, windows, flips=flips, colours=colours) if plain else None
        self._make_steps = functools.partial(
            _make_steps,
            ignore_index,
            crop={"crop_size": crop_size, "scale": scale, "max_class_share": max_class_share},
            flips=flips,
            colours=(*colours, hue),
            quarter_turns=quarter_turns,
            rotate=rotate,
            cut_out=cut_out,
        )

    @functools.cached_property
    def steps(self) -> list[Any]:
        """The transforms that it is made of, each of which can be used alone. Imports torchvision."""
        return self._make_steps()

    def __call__(self, sample: Sample) -> Sample:
        if self._plain is not None:
            return self._plain(sample)
        from segkit.data.transforms.joint import apply_transforms

        return apply_transforms(self.steps, sample)


def _make_steps(
    ignore_index: int,
    *,
    crop: dict[str, Any],
    flips: tuple[float, float],
    colours: tuple[float, float, float, float],
    quarter_turns: bool,
    rotate: float,
    cut_out: float,
) -> list[Any]:
    from torchvision.transforms import v2

    from segkit.data.transforms.cut_out import CutOut
    from segkit.data.transforms.jitter import ColorJitter
    from segkit.data.transforms.quarter_turns import QuarterTurn
    from segkit.data.transforms.rotate import Rotate
    from segkit.data.transforms.scale_crop import ScaleCrop

    # A step that is off is not there at all: the others then draw the same numbers as ever.
    return [
        *([QuarterTurn()] if quarter_turns else []),
        *([Rotate(ignore_index, degrees=rotate)] if rotate else []),
        ScaleCrop(ignore_index, **crop),
        v2.RandomHorizontalFlip(flips[0]),
        v2.RandomVerticalFlip(flips[1]),
        ColorJitter(*colours),
        *([CutOut(ignore_index, p=cut_out)] if cut_out else []),
    ]
