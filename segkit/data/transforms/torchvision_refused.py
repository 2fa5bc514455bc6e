"""Torchvision's transforms that would spoil labels, each with why, and what to use instead."""

from torchvision.transforms import v2

from segkit.registry import TRANSFORMS

_OWN_POLICY = (
    "RandomChoice or RandomApply of single transforms, whose geometry moves image and labels together"
)
_ONE_LABEL = "cut_out, or a registered transform of your own (--import)"
_TYPE = "nothing: images stay uint8 tensors, and are normalised on the device"
_STATISTICS = "data.mean and data.std, which normalise on the device"
_NO_BOXES = "nothing: there are no boxes or key points here"

#: Names: reason, replacement.
REFUSED = {
    ("AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix"): (
        "its policies move the image and leave the labels where they were",
        _OWN_POLICY,
    ),
    ("MixUp", "CutMix"): ("it mixes the images of a batch and expects one label per image", _ONE_LABEL),
    ("RandomErasing",): (
        "it erases parts of the image and keeps their labels",
        "{name: cut_out}, which makes the labels ignored and the weights 0",
    ),
    ("FiveCrop", "TenCrop"): ("it makes several images of one", "{name: RandomCrop, size: ...}"),
    ("RandomIoUCrop",): ("it needs bounding boxes", "{name: scale_crop, max_class_share: 0.75}"),
    ("ClampBoundingBoxes", "ClampKeyPoints", "ConvertBoundingBoxFormat", "SetClampingMode"): (
        "it is for boxes and key points",
        _NO_BOXES,
    ),
    ("SanitizeBoundingBoxes", "SanitizeKeyPoints"): ("it is for boxes and key points", _NO_BOXES),
    ("ToTensor", "ToImage", "PILToTensor", "ToPILImage", "ToPureTensor"): (
        "it changes the type of the image",
        _TYPE,
    ),
    ("ToDtype", "ConvertImageDtype"): ("it changes the type of the image", _TYPE),
    ("Normalize", "LinearTransformation"): ("it makes the image a float tensor", _STATISTICS),
    ("Grayscale", "RGB"): (
        "it changes the number of channels, which the model is built for",
        "{name: RandomGrayscale, p: 1.0} keeps them",
    ),
    ("UniformTemporalSubsample",): ("it is for videos", "nothing"),
    ("Lambda",): ("a file cannot hold a function", "a registered transform of your own (--import)"),
    ("Transform",): ("it is the base of the others and does nothing", "one of them"),
}


def refuse_all(offered: tuple[str, ...]) -> None:
    """Answer every transform of torchvision that is not offered, those of later versions included."""
    for names, (reason, instead) in REFUSED.items():
        for name in names:
            TRANSFORMS.refuse(name, reason, instead)
    known = {*offered, *(name for names in REFUSED for name in names)}
    for name, value in vars(v2).items():
        if isinstance(value, type) and issubclass(value, v2.Transform) and name not in known:
            TRANSFORMS.refuse(
                name, "segkit does not know whether it moves image and labels together", _ONE_LABEL
            )
