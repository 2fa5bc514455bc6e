"""What people call the two parts of a data set."""

from collections.abc import Iterable

#: The usual word first.
TRAIN = ("train", "training", "trn")
VAL = ("val", "valid", "validation", "test", "testing")


def find_parts(names: Iterable[str]) -> tuple[str, str] | None:
    """Which of the names are those of a training and of a validation part, in any case; None if one is not there."""
    words = {name.lower(): name for name in names}
    found = [next((words[word] for word in part if word in words), None) for part in (TRAIN, VAL)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def part_options(parts: tuple[str, str] | None, fraction: float) -> dict[str, str | float]:
    """The options that name the parts where they are not called train and val, or that divide what has none."""
    if parts is None:
        return {"val_fraction": fraction}
    return {f"{key}_split": name for key, name in zip(("train", "val"), parts, strict=True) if name != key}
