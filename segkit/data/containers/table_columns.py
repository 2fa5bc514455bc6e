"""The columns of Hugging Face's tables: which are images, which their labels, and how their classes are called."""

import re
from collections.abc import Mapping
from typing import Any

from segkit.data.containers.tables import Table, read_features, read_json, show_names
from segkit.errors import DataError
from segkit.system.printable import show_path

#: The names of classes by value, as the models of the hub have them.
ID2LABEL = "id2label.json"
#: What columns of images and of labels are usually called.
IMAGE_WORDS = ("image", "images", "img", "pixel_values", "photo", "input", "picture")
LABEL_WORDS = (
    "label", "labels", "annotation", "annotations", "mask", "masks", "segmentation", "segmentation_mask", "seg",
    "semantic_segmentation", "gt", "target", "label_map",
)  # fmt: skip


def image_columns(features: Mapping[str, Any]) -> list[str]:
    """The columns that hold images, or say nothing of their bytes and paths but that they are such."""
    return [
        name
        for name, feature in features.items()
        if type(feature).__name__ == "Image"
        or (isinstance(feature, dict) and feature.keys() == {"bytes", "path"})
    ]


def find_columns(table: Table, image: str | None, label: str | None) -> tuple[str, str]:
    """The columns of images and of labels: those that are named, or else told by type and name. Raises DataError."""
    features = read_features(table)
    images = image_columns(features)
    for key, name in (("image_column", image), ("label_column", label)):
        if name is not None and name not in images:
            what = f"is of type {features[name]}" if name in features else "is not there"
            raise DataError(
                f"data.{key}={name}: {what} in {table.split}; columns of images: {show_names(images)}"
            )
    if image is not None and image == label:
        raise DataError(
            f"data.image_column and data.label_column are both {image}: images cannot be their labels"
        )
    labels = [name for name in images if name.lower() in LABEL_WORDS and name != image]
    found_label = label or (labels[0] if len(labels) == 1 else None)
    others = [name for name in images if name != found_label]
    usual = [name for name in others if name.lower() in IMAGE_WORDS]
    found_image = image or next((each[0] for each in (others, usual) if len(each) == 1), None)
    if found_image is None or found_label is None:
        raise DataError(
            f"which columns of {show_path(table.root)} are images, and which their labels? of images there are: "
            f"{show_names(images)}; others: {show_names([name for name in features if name not in images])}\n"
            "   -> data.image_column=NAME data.label_column=NAME"
        )
    return found_image, found_label


def find_image_column(table: Table, image: str | None, label: str | None) -> str:
    """The column of images where none of labels need be: the one that is named, or else the only one that is not of
    labels by its name, or has a usual one. Raises DataError."""
    images = image_columns(read_features(table))
    if image is not None:
        if image not in images:
            raise DataError(
                f"no column {image!r} of images, on which the weights were trained, in {show_path(table.root)}, "
                f"{table.split}; there are: {show_names(images)}"
            )
        return image
    others = [name for name in images if name != label and name.lower() not in LABEL_WORDS]
    usual = [name for name in others if name.lower() in IMAGE_WORDS]
    found = next((each[0] for each in (others, usual) if len(each) == 1), None)
    if found is None:
        raise DataError(
            f"which column of {show_path(table.root)}, {table.split}, are the images? of images there are: "
            f"{show_names(images)} -> leave one, or train with data.image_column=NAME"
        )
    return found


def find_names(table: Table) -> dict[int, str] | None:
    """The names of the classes by value: of id2label.json, or of the only column that lists classes; None if neither
    says them. Raises DataError for a file that cannot be used."""
    path = table.root / ID2LABEL
    if path.is_file():
        names = read_json(path)
        if not isinstance(names, dict) or not all(re.fullmatch("[0-9]+", str(key)) for key in names):
            raise DataError(f'{show_path(path)}: expected {{"0": NAME, "1": NAME ...}}')
        wrong = [key for key, name in names.items() if type(name) not in (str, int) or not str(name).strip()]
        if wrong:
            raise DataError(
                f"{show_path(path)}: {wrong[0]!r}: expected the name of a class, got {names[wrong[0]]!r}"
            )
        if len(names) < 2 or len({int(key) for key in names}) < len(names):
            raise DataError(f"{show_path(path)}: expected at least 2 classes, each once")
        return {int(key): str(name) for key, name in sorted(names.items(), key=lambda item: int(item[0]))}
    listed = [
        feature.feature.names
        for feature in read_features(table).values()
        if type(getattr(feature, "feature", None)).__name__ == "ClassLabel"
    ]
    return dict(enumerate(listed[0])) if len(listed) == 1 else None


def as_label_map(names: Mapping[int, str]) -> dict[int | str, int | str]:
    """The label map of values that have names: none if they count from 0."""
    places: dict[int | str, int | str] = {value: place for place, value in enumerate(names)}
    return {} if all(value == place for value, place in places.items()) else places
