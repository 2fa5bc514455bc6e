"""The folder of a data set of nnU-Net's: what dataset.json says, and which files belong to a case.

    root/dataset.json                      channel_names, labels, file_ending
    root/imagesTr/CASE_0000.png            a file for each channel, or one for all of red, green and blue
    root/labelsTr/CASE.png

Source: nnU-Net's documentation, dataset_format.md (https://github.com/MIC-DKFZ/nnUNet), version 2, and of version 1,
which the Medical Segmentation Decathlon (http://medicaldecathlon.com) shares: `modality` for channel_names, labels as
value: name, the cases as a list, and always NIfTI.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.data.containers.parted_files import shown_below
from segkit.data.files.validate import shorten
from segkit.errors import DataError
from segkit.system.printable import show_path

DESCRIPTION, SPLITS = "dataset.json", "splits_final.json"
IMAGES, LABELS = "imagesTr", "labelsTr"
#: The files of version 1, which does not say it.
ENDING_1 = ".nii.gz"
#: What nnU-Net calls the label of pixels that count for nothing.
IGNORE = "ignore"


@dataclass(frozen=True)
class Description:
    """What dataset.json says: names of the classes by id, the value that is ignored, channels, and the end of files;
    `listed` are the cases that it lists itself, `training` those in the list of version 1."""

    path: Path
    class_names: list[str]
    ignored: int | None
    channels: int
    ending: str
    listed: Mapping[str, Any] | None = None
    training: Sequence[Any] | None = None


@dataclass(frozen=True)
class CaseFiles:
    """A case: its name, the files of its channels, and that of its labels."""

    name: str
    images: tuple[Path, ...]
    labels: Path


def read_description(root: Path) -> Description:
    """Raises DataError, naming the key, for what is missing or cannot be trained on."""
    path = root / DESCRIPTION
    data = read_json(path)
    channels = _take(data, "channel_names", path, dict, older="modality")
    labels = _take(data, "labels", path, dict)
    is_first = all(re.fullmatch("[0-9]+", key) for key in labels)
    if is_first:
        labels = _turn_labels(labels, path)
        data = {"file_ending": ENDING_1, **data}
    ending = _take(data, "file_ending", path, str)
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        raise DataError(
            f"{show_path(path)}: labels: {shorten(regions, most=3)} "
            f"{'is a region' if len(regions) == 1 else 'are regions'} of several values, which overlap\n"
            "   -> a pixel has one class here: name each value by itself"
        )
    wrong = [name for name, value in labels.items() if type(value) is not int]
    if wrong:
        raise DataError(
            f"{show_path(path)}: labels: {wrong[0]!r}: expected a whole number, got {labels[wrong[0]]!r}"
        )
    classes = {name: value for name, value in labels.items() if name != IGNORE}
    names = sorted(classes, key=lambda name: classes[name])
    if [classes[name] for name in names] != list(range(len(names))) or len(names) < 2:
        raise DataError(
            f"{show_path(path)}: labels: expected the values 0, 1, 2 ... of at least 2 classes, got "
            f"{shorten(sorted(classes.values()))}"
        )
    training = data.get("training") if is_first else None
    if training is not None and not isinstance(training, list):
        raise DataError(f"{show_path(path)}: training: expected a list of cases")
    ignored = labels.get(IGNORE)
    return Description(path, names, ignored, len(channels), ending, data.get("dataset"), training)


def _turn_labels(labels: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Labels as version 2 has them, name: value, of those of version 1. Raises DataError."""
    turned: dict[str, Any] = {}
    for value, name in labels.items():
        if not isinstance(name, str) or not name:
            raise DataError(f"{show_path(path)}: labels: {value!r}: expected a name, got {name!r}")
        if name in turned:
            raise DataError(f"{show_path(path)}: labels: {turned[name]} and {value} are both called {name!r}")
        turned[name] = int(value)
    return turned


def find_cases(root: Path, description: Description) -> dict[str, CaseFiles]:
    """The cases by name. Raises DataError for a folder without, and for channels or labels that are missing."""
    if description.listed is not None:
        return _find_listed(root, description.listed)
    if description.training:
        return _find_training(root, description, description.training)
    ending, folder = description.ending, root / IMAGES
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        named = re.fullmatch(r"(.+)_(\d{4})", path.name.removesuffix(ending))
        if named is not None and not path.name.startswith("."):
            found.setdefault(named[1], {})[int(named[2])] = path
    if not found:
        raise DataError(f"no images {IMAGES}/CASE_0000{ending} in {show_path(root)}")
    cases = {}
    for name, channels in found.items():
        count = len(channels)
        if sorted(channels) != list(range(count)) or count not in (1, description.channels):
            there = shorten([f"_{number:04}" for number in sorted(channels)])
            raise DataError(
                f"case {name} has the channels {there}, and {DESCRIPTION} names {description.channels} (channel_names)"
            )
        labels = root / LABELS / f"{name}{ending}"
        if not labels.is_file():
            raise DataError(f"case {name} has no labels: {LABELS}/{labels.name} is missing")
        cases[name] = CaseFiles(name, tuple(channels[number] for number in range(count)), labels)
    return cases


def read_split(path: Path, fold: int, names: Mapping[str, Any]) -> dict[str, list[str]]:
    """The cases that train and validate in a fold of splits_final.json. Raises DataError for names of none."""
    folds = read_json(path)
    if not isinstance(folds, list) or not all(isinstance(each, dict) for each in folds):
        raise DataError(f'{show_path(path)}: expected [{{"train": [...], "val": [...]}}, ...]')
    if fold >= len(folds):
        raise DataError(f"data.fold={fold}: {show_path(path)} has {len(folds)} folds (from 0)")
    chosen = {}
    for part in ("train", "val"):
        listed = folds[fold].get(part)
        if not isinstance(listed, list) or not listed:
            raise DataError(f"{show_path(path)}: fold {fold}: {part!r} is no list of cases")
        unknown = [name for name in listed if name not in names]
        if unknown:
            raise DataError(
                f"{show_path(path)}: fold {fold}: {part!r} names {shorten(unknown, most=3)}: no such case"
            )
        chosen[part] = list(dict.fromkeys(listed))
    both = set(chosen["train"]) & set(chosen["val"])
    if both:
        raise DataError(
            f"{show_path(path)}: fold {fold}: {shorten(sorted(both), most=3)} trains and validates"
        )
    return chosen


def read_json(path: Path) -> Any:
    """Raises DataError for a file that is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"cannot read {show_path(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"cannot read {show_path(path)}: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise DataError(f"cannot read {show_path(path)}: it is no JSON, or damaged") from None


def _find_listed(root: Path, listed: Mapping[str, Any]) -> dict[str, CaseFiles]:
    """The cases that the key `dataset` of dataset.json lists, with paths seen from it."""
    cases = {}
    for name, entry in listed.items():
        try:
            images, labels = entry["images"], entry["label"]
            paths = tuple(root / image for image in images)
        except (TypeError, KeyError):
            raise DataError(
                f'{DESCRIPTION}: dataset: {name}: expected {{"images": [...], "label": ...}}'
            ) from None
        cases[name] = CaseFiles(name, paths, root / labels)
    return cases


def _find_training(root: Path, description: Description, training: Sequence[Any]) -> dict[str, CaseFiles]:
    """The cases that version 1 lists: by the file itself, as the Decathlon has it, or by the name to which nnU-Net adds
    the number of a channel."""
    cases: dict[str, CaseFiles] = {}
    for place, entry in enumerate(training):
        try:
            image, labels = root / entry["image"], root / entry["label"]
        except (TypeError, KeyError):
            raise DataError(
                f'{DESCRIPTION}: training: entry {place}: expected {{"image": ..., "label": ...}}, got '
                f"{shorten([entry])}"
            ) from None
        name = image.name.removesuffix(description.ending)
        if name in cases:
            raise DataError(f"{DESCRIPTION}: training: case {name} is listed twice")
        numbered = [
            image.with_name(f"{name}_{number:04}{description.ending}")
            for number in range(description.channels)
        ]
        there = [path for path in numbered if path.is_file()]
        if there and len(there) < len(numbered):
            missing = next(path for path in numbered if path not in there)
            raise DataError(
                f"case {name} has no {missing.name}: {DESCRIPTION} names {len(numbered)} channels (modality)"
            )
        for path, what in ((labels, "labels"), *([] if there else [(image, "image")])):
            if not path.is_file():
                raise DataError(f"case {name} has no {what}: {shown_below(path, root)} is missing")
        cases[name] = CaseFiles(name, tuple(there) or (image,), labels)
    return cases


def _take(data: Any, key: str, path: Path, kind: type, *, older: str = "") -> Any:
    value = data.get(key, data.get(older)) if isinstance(data, dict) else None
    if not isinstance(value, kind) or not value:
        raise DataError(f"{show_path(path)}: expected the key {key!r}, as nnU-Net 2 writes it")
    return value
