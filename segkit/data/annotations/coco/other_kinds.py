"""What a JSON file is that is not COCO's."""

from collections.abc import Sequence
from pathlib import Path

from segkit.data.files.validate import shorten
from segkit.errors import DataError
from segkit.system.printable import show_path

#: The lists that a COCO file has.
LISTS = ("images", "annotations", "categories")
#: What other files are, by keys that they have.
KINDS = (
    ({"shapes", "imagePath"}, "labelme's, one file for each image -> data.name=labelme"),
    ({"_via_img_metadata"}, "a project of the VGG Image Annotator -> export it as COCO"),
    ({"dm_format_version"}, "Datumaro's own -> export it as COCO"),
    (
        {"imgHeight", "objects"},
        "Cityscapes' polygons -> data.name=cityscapes reads the masks that come with them",
    ),
    ({"type", "features"}, "GeoJSON"),
    (
        {"info", "images", "categories"},
        "COCO's of images to be tested on, whose annotations are not published",
    ),
)


def refuse_other_kind(path: Path, keys: Sequence[str]) -> None:
    """Raises DataError for a file that holds an object with these keys and lacks one of COCO's."""
    missing = [key for key in LISTS if key not in keys]
    if not missing:
        return
    kind = next((f"\n   it looks like {text}" for known, text in KINDS if known <= set(keys)), "")
    has = f"it has {shorten(sorted(set(keys)), most=8)}" if keys else "it is empty"
    raise DataError(f"not COCO's JSON: {show_path(path)} has no {' and no '.join(missing)}; {has}{kind}")
