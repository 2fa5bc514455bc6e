"""What is segmented, and which files the results of each image will be in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.data.containers.parted_files import files_of
from segkit.data.containers.unlabelled import Unlabelled
from segkit.data.decoding.parts import Source
from segkit.errors import ConfigError
from segkit.system.printable import show_path

#: What is added to an image's name, without its suffix, for each form of the result; of `volume`, what `whole_files`
#: has for the kind of the file.
ENDINGS = {
    "overlay": "_overlay.jpg",
    "palette": ".png",
    "ids": "_ids.png",
    "confidence": "_confidence.png",
    "probabilities": "_probabilities.npz",
    "geotiff": "_ids.tif",
}


@dataclass(frozen=True)
class Segmented:
    """An image, and the names of its results without their endings. It is image `number` of `file`, whose results of
    all images together are called `whole`."""

    image: Source
    stem: Path
    file: Unlabelled
    number: int
    whole: Path


def find_segmented(files: Sequence[Unlabelled], base: Path, output: Path) -> list[Segmented]:
    """Every image of the files, with results below `output` in the folders that the files have below `base`."""
    found = []
    for file in files:
        folder = output / file.place.parent.relative_to(base)
        pairs = zip(file.images, file.names, strict=True)
        found += [
            Segmented(image, folder / name, file, number, folder / file.stem)
            for number, (image, name) in enumerate(pairs)
        ]
    return found


def plan_results(
    source: Path, images: Sequence[Segmented], forms: Sequence[str], whole_ending: dict[str, str]
) -> dict[Path, Source]:
    """The image that each file to be written comes from, of one result for all images of a file the first of them.
    `whole_ending` are the endings of these by the names that they have without.

    Raises ConfigError if two images would have a result of one name, as `a.jpg` and `a.png`, or `a.jpg` and `a_ids.jpg`
    by `a_ids.png`, or if one's result would be where the folder of another's has to be.
    """
    results: dict[Path, Source] = {}
    for each in images:
        planned = [Path(f"{each.stem}{ENDINGS[form]}") for form in dict.fromkeys(forms) if form in ENDINGS]
        if each.number == 0 and "volume" in forms:
            planned.append(Path(f"{each.whole}{whole_ending[str(each.whole)]}"))
        for result in planned:
            if result in results:
                raise _clash(source, result, f"{show_path(results[result])} and {show_path(each.image)}")
            results[result] = each.image
    for result, image in results.items():
        for folder in result.parents:
            if folder in results:
                raise _clash(
                    source, folder, f"{show_path(results[folder])} and be the folder of {show_path(image)}"
                )
    return results


def _clash(source: Path, result: Path, images: str) -> ConfigError:
    return ConfigError(
        f"--source {source}: two results would be called {show_path(result)}: it would hold {images}\n"
        "   -> rename one of them, or segment them apart: --source IMAGE --output DIR"
    )


def refuse_replacing(images: Iterable[Source], results: Iterable[Path]) -> None:
    """Raises ConfigError if a result would have the name of one of the images."""
    sources = {path.resolve() for image in images for path in files_of(image)}
    for result in results:
        if result.resolve() in sources:
            raise ConfigError(
                f"--output: the result {show_path(result)} would replace that image -> another folder"
            )
