"""Finding the files of published data sets where their archives put them, and saying what is missing."""

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

from segkit.config.yaml_source import setting
from segkit.errors import DataError
from segkit.system.typed import typed

#: Entries of a folder that a message lists.
SHOWN = 8


def find_root(dataset: str, root: str, needed: Sequence[str], *, how: str | None = None) -> Path:
    """The folder `root`, in which all of `needed` (relative paths of folders or files) are.

    Raises DataError that says what is missing and what is there instead; if a folder near by has what is needed, that
    it is the root, and otherwise how to get the data: `how`, or with the command that prepares it.
    """
    path = Path(os.path.expanduser(root))
    missing = [part for part in needed if not _is_there(path / part)]
    if not missing:
        return path
    if path.is_dir():
        problem = f"no {missing[0]} in {path}, {_describe_content(path)}"
    else:
        problem = f"dataset folder not found: {path}"
    near = next((folder for folder in _near(path) if _has_all(folder, needed)), None)
    raise DataError(
        f"{problem}\n   {dataset} is read from {_join(needed)} in data.root\n"
        + (
            f"   -> {setting('data.root', str(near))}"
            if near is not None
            else f"   -> {how or prepare_command(dataset, path)}"
        )
    )


def find_pairs(
    dataset: str, image_folder: Path, label_folder: Path, *, image_end: str, label_end: str
) -> tuple[list[str], list[Path], list[Path], list[str]]:
    """Names, image files, label files and notes of two folders whose files have the same name but for its end.

    Raises DataError if there are no images, or images without labels.
    """
    images, labels = _by_name(image_folder, image_end), _by_name(label_folder, label_end)
    if not images:
        raise DataError(f"no images in {image_folder} (*{image_end})")
    names = sorted(images)
    label_paths = [labels.get(name, label_folder / f"{name}{label_end}") for name in names]
    check_files(dataset, label_paths, what="label")
    unused = sorted(labels.keys() - images.keys())
    notes = [f"{len(unused)} label files have no image: {labels[unused[0]]}"] if unused else []
    return names, [images[name] for name in names], label_paths, notes


def check_files(dataset: str, paths: Iterable[Path], *, what: str) -> None:
    """Raises DataError for files that are not there. `what` says what they are: "image", "label"."""
    present: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        if path.parent not in present:
            present[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        if path.name not in present[path.parent]:
            missing.append(path)
    if missing:
        count = f"{len(missing)} {what} files are" if len(missing) > 1 else f"1 {what} file is"
        raise DataError(
            f"{count} missing: {missing[0]}\n   -> unpack the archive of {dataset} again; "
            "a download or a copy that was cut short leaves files out"
        )


def listed_pairs(
    dataset: str, images: Sequence[Path | str], labels: Sequence[Path | str], *, names_file: Path
) -> tuple[list[str], list[Path], list[Path]]:
    """Names, images and labels of the files that `names_file` names. Raises DataError if there are none, or if one is
    missing."""
    if not images:
        raise DataError(f"no images: {names_file} is empty")
    image_paths, label_paths = [Path(file) for file in images], [Path(file) for file in labels]
    check_files(dataset, image_paths, what="image")
    check_files(dataset, label_paths, what="label")
    return [path.stem for path in image_paths], image_paths, label_paths


@contextmanager
def listing(dataset: str) -> Generator[None, None, None]:
    """What torchvision cannot make of lists and folders becomes a DataError."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"cannot list the images of {dataset}: {error}\n   -> unpack its archive again"
        ) from error


def read_lines(dataset: str, path: Path) -> list[str]:
    """The lines of a list of images, without empty ones. Raises DataError for one that is missing or empty."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise DataError(f"no file {path}, the list of the images of {dataset}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not lines:
        raise DataError(f"no images: {path} is empty")
    return lines


def prepare_command(dataset: str, root: Path) -> str:
    """The command that says how to get a data set, and fetches it where that is allowed."""
    return typed("prepare_data", dataset, "--root", root)


def _by_name(folder: Path, end: str) -> dict[str, Path]:
    return {
        path.name.removesuffix(end): path
        for path in folder.iterdir()
        if path.name.endswith(end) and not path.name.startswith(".")
    }


def _near(path: Path) -> Iterable[Path]:
    """Folders that may have been meant instead of `path`: up to three above, and those in it."""
    yield from list(path.parents)[:3]
    if path.is_dir():
        yield from sorted(child for child in path.iterdir() if child.is_dir())


def _has_all(folder: Path, needed: Sequence[str]) -> bool:
    return all(_is_there(folder / part) for part in needed)


def _is_there(path: Path) -> bool:
    """Whether there is the list (a text file) or the folder `path`."""
    return path.is_file() if path.suffix == ".txt" else path.is_dir()


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _describe_content(path: Path) -> str:
    found = sorted(child.name for child in path.iterdir() if not child.name.startswith("."))
    if not found:
        return "which is empty"
    return f"which has {', '.join(found[:SHOWN])}{', ...' if len(found) > SHOWN else ''}"
