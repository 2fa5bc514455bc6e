"""torchvision's colour jitter, whose contrast does not depend on the number of threads, for any number of bands."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segkit.data.transforms.colours import change_contrast, find_mean


class ExactContrast:
    """Puts `change_contrast` in the place of torchvision's own in a transform of colours that comes behind it."""

    def _call_kernel(self, functional: Any, inpt: Any, *args: Any, **options: Any) -> Any:
        is_known = isinstance(inpt, tv_tensors.Image) and inpt.shape[-3] in (1, 3)
        if functional is F.adjust_contrast and is_known:
            changed = change_contrast(inpt.as_subclass(torch.Tensor), options["contrast_factor"])
            return tv_tensors.wrap(changed, like=inpt)
        kernel: Any = super()
        return kernel._call_kernel(functional, inpt, *args, **options)


class ColorJitter(ExactContrast, v2.ColorJitter):
    """Brightness, contrast, saturation and hue as torchvision changes them in greyscale and colour.

    Images of other bands (C, H, W) change in brightness and contrast: by factors of all values, and of their distance
    from the mean of all bands. What saturation and hue of them would be, nobody knows.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Image) or inpt.shape[-3] in (1, 3):
            return super().transform(inpt, params)
        values = inpt.as_subclass(torch.Tensor).float()
        for place in params["fn_idx"].tolist():
            if place == 0 and params["brightness_factor"] is not None:
                values = (values * params["brightness_factor"]).clamp(0, 255)
            elif place == 1 and params["contrast_factor"] is not None:
                mean = find_mean(values)
                values = (mean + params["contrast_factor"] * (values - mean)).clamp(0, 255)
        return tv_tensors.wrap(values.to(inpt.dtype), like=inpt)
