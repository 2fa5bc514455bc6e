"""What text files with annotations are: JSON of several tools, XML, and the lines of YOLO and of Hugging Face."""

import json
import re
from pathlib import Path
from typing import Any

#: Bytes up to which a JSON file is read as a whole, to count what is in it.
MOST_JSON = 4_000_000
#: What a JSON file holds that is too long to be read as a whole, or cannot be: key of the script, text, words in it.
JSON_WORDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("panoptic", "COCO panoptic annotations", ('"segments_info"',)),
    ("coco", "COCO annotations", ('"annotations"', '"bbox"')),
    ("coco", "COCO annotations", ('"images"', '"file_name"', '"height"')),
    ("labelme", "labelme JSON", ('"shapes"', '"points"')),
    ("", "annotations of the VGG Image Annotator -> export them as COCO", ('"shape_attributes"',)),
    ("datumaro", "Datumaro's own format", ('"dm_format',)),
    ("label_studio", "Label Studio's tasks", ('"annotations"', '"result"')),
    ("", "Label Studio's JSON-MIN -> export the project as JSON", ('"annotation_id"', '"original_width"')),
    ("", "Supervisely's annotations -> export them as masks", ('"classTitle"',)),
    ("", "Cityscapes' polygons", ('"imgHeight"', '"objects"')),
    ("", "GeoJSON -> rasterio.features.rasterize makes masks of it", ('"FeatureCollection"',)),
    ("nnunet", "the description of an nnU-Net data set", ('"labels"', '"numTraining"')),
)


def describe_text(path: Path, head: bytes) -> tuple[str, str]:
    """Key of the script that makes masks of the file, or "", and what it is, or "" for no annotations."""
    try:
        text = head.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return "", ""
        text = head[: error.start].decode("utf-8-sig").strip()  # the last character is cut
    if "\0" in text or not text:
        return "", ""
    if path.suffix.lower() == ".jsonl":
        is_list = '"file_name"' in text.splitlines()[0]
        return ("jsonl", "the list of a Hugging Face image folder") if is_list else ("", "lines of JSON")
    if text[0] in "{[":
        return _describe_json(path, text)
    if text[0] == "<":
        return _describe_xml(text)
    return _describe_lines(text.splitlines()[:20])


def _describe_json(path: Path, text: str) -> tuple[str, str]:
    if path.stat().st_size <= MOST_JSON:
        try:
            data = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError, OSError):
            return "", "JSON, damaged"
        counted = _count_json(data)
        if counted is not None:
            return counted
    for name, what, words in JSON_WORDS:
        if all(word in text for word in words):
            return name, what
    return "", "JSON of no kind that is known here"


def _count_json(data: Any) -> tuple[str, str] | None:
    """COCO annotations and labelme's, with what is in them; None for anything else."""
    if not isinstance(data, dict):
        return None
    images, items, classes = (data.get(key) for key in ("images", "annotations", "categories"))
    if isinstance(images, list) and isinstance(items, list) and isinstance(classes, list):
        items = [item for item in items if isinstance(item, dict)]
        counts = f"{_counted(len(images), 'image')}, {_counted(len(classes), 'category', 'categories')}"
        if any("segments_info" in item for item in items):
            return "panoptic", f"COCO panoptic annotations, {counts}"
        forms = [item.get("segmentation") for item in items]
        if not items:
            return "", f"COCO annotations, {counts}, nothing annotated"
        if not any(forms):
            return "boxes", f"COCO annotations, {counts}, boxes alone, of which no mask can be made"
        kinds = [word for word, type_ in (("polygons", list), ("run lengths", dict)) if _has(forms, type_)]
        return "coco", f"COCO annotations, {counts}, {' and '.join(kinds)}"
    if data and all(key.isdecimal() and isinstance(name, str) for key, name in data.items()):
        return "", f"names of {_counted(len(data), 'class', 'classes')} by value"
    shapes = data.get("shapes")
    if isinstance(shapes, list) and all(isinstance(shape, dict) and "points" in shape for shape in shapes):
        return "labelme", f"labelme JSON, {_counted(len(shapes), 'shape')}"
    return None


def _has(forms: list[Any], type_: type) -> bool:
    return any(isinstance(form, type_) and form for form in forms)


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _describe_xml(text: str) -> tuple[str, str]:
    if "<annotations" in text and re.search(r"<(image|polygon|mask)\b", text):
        return "cvat", "CVAT's annotations, of which CVAT also exports masks (`Segmentation mask 1.1`)"
    if re.search(r"<(polygon|mask)\b", text):
        return "label_me", "polygons in XML, as LabelMe has them"
    if "<bndbox" in text:
        return "boxes", "boxes in XML, as Pascal VOC has them, of which no mask can be made"
    return "", "XML of no kind that is known here"


def _describe_lines(lines: list[str]) -> tuple[str, str]:
    rows = [line.split() for line in lines if line.strip()]
    if not rows or not all(
        re.fullmatch(r"\d+", row[0]) and len(row) >= 5 and _are_shares(row[1:]) for row in rows
    ):
        return "", "text"
    if any(len(row) >= 7 and len(row) % 2 == 1 for row in rows):
        return "yolo", "polygons, as YOLO has them"
    return "boxes", "boxes, as YOLO has them, of which no mask can be made"


def _are_shares(words: list[str]) -> bool:
    """Whether all words are numbers from 0 to 1."""
    return all(re.fullmatch(r"[01](\.\d*)?(e-\d+)?|\.\d+|\d(\.\d+)?e-\d+", word) for word in words)
