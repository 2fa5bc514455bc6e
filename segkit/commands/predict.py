"""Segmenting images that have no labels, at their original size."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from segkit.commands.beside import AHEAD, WriteBehind, read_ahead
from segkit.commands.by_windows import predict_by_windows, require_windows
from segkit.commands.predict_plan import ENDINGS, Segmented, find_segmented, plan_results, refuse_replacing
from segkit.commands.whole_files import WholeFiles, ending_of
from segkit.config.load import config_from_mapping
from segkit.data.containers.array_layout import Trained
from segkit.data.containers.unlabelled import Unlabelled, find_images, find_unlabelled, split_member
from segkit.data.palette import Color
from segkit.distributed.ranks import ALONE, Ranks
from segkit.errors import ConfigError, DataError
from segkit.evaluation.canvas import save_image
from segkit.evaluation.pictures import as_rgb, mix_with_colors
from segkit.runs.predictor import Predictor, load_predictor, read_temperature
from segkit.system.cpu.allocator import large_blocks_given_back
from segkit.system.device import choose_device, weights_cast_once
from segkit.system.files import cannot_write, write_atomically
from segkit.system.memory import lack_of_memory_explained
from segkit.system.run_files import RunFiles, folder_around
from segkit.training.build import build_views

#: What these need beside the ids.
ASKED = ("confidence", "probabilities")

#: Of PNG files: a third of the time of Pillow's default (6), and a seventh more bytes of noisy ids.
COMPRESSION = 3
#: Colours that a palette PNG holds.
PALETTE_ENTRIES = 256


@lack_of_memory_explained("tiles: predict.tile=[512,512], or --device cpu")
def predict_images(
    weights: str,
    source: Path,
    overrides: Sequence[str] = (),
    *,
    output: Path | None,
    forms: Sequence[str] | None,
    opacity: float,
    device: str,
    classes: Sequence[str] | None = None,
    ranks: Ranks = ALONE,
) -> int:
    """Segment an image, every image of a stack, an array, a volume or a table, or what is below a folder; returns the
    exit status. In several processes each takes its part of the images.

    `overrides` are `key=value` of the block `predict`: how the images are shown to the network. Writes
    `STEM_overlay.jpg`, `STEM.png` (ids with a palette), `STEM_ids.png` and so on as `forms` asks (see `choose_forms`),
    in the folders of the source; of `classes`, if some are named, overlays show the colours and
    probabilities are written, and of the others not. Raises DataError for an image that cannot be read, naming it, and
    ConfigError, before any is segmented, if a result would replace another or an image.
    """
    if not 0 <= opacity <= 1:
        raise ConfigError(f"--opacity {opacity}: must be in [0, 1]")
    if not source.exists() and "#" not in str(source):
        raise DataError(f"--source {source}: no such file or folder")
    place = choose_device(device, local=ranks.local, local_world=ranks.local_world)
    predictor = with_other_views(load_predictor(weights, place), overrides)
    chosen = find_classes(classes, predictor.labels.class_names)
    output = output or RunFiles(folder_around(predictor.path)).predictions
    forms = choose_forms(forms, len(predictor.labels.class_names))
    if chosen is not None and not {"overlay", "probabilities"} & set(forms):
        raise ConfigError(f"--classes is of overlay and probabilities, and --save has {', '.join(forms)}")
    files = find_files(source, trained_on(predictor), forms)
    base = source if source.is_dir() else split_member(source)[0].parent
    images = find_segmented(files, base, output)
    endings = {str(each.whole): ending_of(each.file) for each in images if "volume" in forms}
    results = plan_results(source, images, forms, endings)
    refuse_replacing([each.image for each in images], results)
    if "volume" in forms:  # all images of a file in one process
        of_file = {id(file): number for number, file in enumerate(files)}
        own = [each for each in images if of_file[id(each.file)] % ranks.world == ranks.rank]
    else:
        own = images[ranks.rank :: ranks.world]
    if "geotiff" in forms:
        require_windows(predictor)
        for each in own:
            each.stem.parent.mkdir(parents=True, exist_ok=True)
            result = Path(f"{each.stem}{ENDINGS['geotiff']}")
            predict_by_windows(predictor, each.file.place, result, quiet=not ranks.main)
        return _finish(predictor, images, output, forms, ranks)

    asked = [form for form in ASKED if form in forms]

    wholes = WholeFiles()

    def save(each: Segmented, image: Tensor, found: dict[str, Tensor]) -> None:
        stem = each.stem
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            palette = predictor.labels.palette
            save_prediction(stem, image, found["ids"], palette, forms=forms, opacity=opacity, classes=chosen)
            save_confidences(stem, found, predictor.labels.class_names, classes=chosen)
            if "volume" in forms:
                wholes.add(each, as_stored_ids(found["ids"]))
        except OSError as error:
            raise cannot_write(stem, error) from error

    # A CPU computes many times as long as it reads, with the threads that would read.
    ahead = 1 if predictor.device.type == "cpu" else AHEAD
    read = read_ahead(predictor.read_image, [each.image for each in own], ahead=ahead)
    shown = tqdm(read, total=len(own), unit="image", disable=None if ranks.main else True)
    with WriteBehind(save) as saver, weights_cast_once(predictor.device):
        for number, (image, each) in enumerate(zip(shown, own, strict=True)):
            # What stays of a network's first image, such as its kernels, would lie between blocks that are kept, and
            # those of the next image would not fit in what is free around it.
            with large_blocks_given_back() if number == 0 else nullcontext():
                found = predictor.predict_with(image, *asked)
            saver.submit(each, image, found)
    return _finish(predictor, images, output, forms, ranks)


def _finish(
    predictor: Predictor, images: Sequence[Segmented], output: Path, forms: Sequence[str], ranks: Ranks
) -> int:
    ranks.gather(None)  # when all are done
    if ranks.main:
        cooled = predictor.temperature != 1 and any(form in ASKED for form in forms)
        temperature = f"temperature {predictor.temperature:.4f}; " if cooled else ""
        print(
            f"{len(images)} images -> {output}   {', '.join(forms)}; {temperature}weights {predictor.path} "
            f"({predictor.why})"
        )
    return 0


def with_other_views(predictor: Predictor, overrides: Sequence[str]) -> Predictor:
    """The same predictor, which shows images as the `key=value` of the block `predict` say. Raises ConfigError for any
    other key: what a model was trained with is what it is."""
    if not overrides:
        return predictor
    for each in overrides:
        if not each.startswith("predict."):
            raise ConfigError(
                f"{each}: of a run's configuration only predict.tile, .overlap, .blend, .flip and .scales can be "
                "changed here"
            )
    config = config_from_mapping(
        predictor.config.to_mapping(), origin=str(predictor.path), overrides=overrides
    )
    temperature, trained = predictor.temperature, predictor.config.predict
    # A temperature is of what the network says of the views that it was fitted to.
    if config.predict != trained:
        temperature = read_temperature(predictor.path, predictor.iteration, trained, shown=config.predict)
    views = build_views(config, predictor.resize)
    return replace(predictor, config=config, views=views, temperature=temperature)


def find_classes(names: Sequence[str] | None, known: Sequence[str]) -> list[int] | None:
    """The ids of the classes of these names, None for all. Raises ConfigError for a name that the weights do not
    know."""
    if names is None:
        return None
    for name in names:
        if name not in known:
            raise ConfigError(f"--classes {name}: the weights know {', '.join(known)}")
    return sorted({known.index(name) for name in names})


def choose_forms(forms: Sequence[str] | None, classes: int) -> Sequence[str]:
    """The forms that are asked for; None: an overlay, and the ids in a file that can hold so many classes.

    Raises ConfigError for a palette of too many.
    """
    if forms is None:
        return ("overlay", "palette" if classes <= PALETTE_ENTRIES else "ids")
    if "geotiff" in forms and set(forms) != {"geotiff"}:
        raise ConfigError("--save geotiff: is written window by window, the others of whole images -> alone")
    if "palette" in forms and classes > PALETTE_ENTRIES:
        raise ConfigError(
            f"--save palette: a palette PNG holds {PALETTE_ENTRIES} classes at most, and there are {classes} "
            "-> --save ids"
        )
    return forms


def trained_on(predictor: Predictor) -> Trained:
    """The data that the network was trained on."""
    data = predictor.config.data
    return Trained(data.name, data.params, predictor.channels)


def find_files(source: Path, trained: Trained, forms: Sequence[str]) -> list[Unlabelled]:
    """What is segmented. Raises DataError where there is none, and ConfigError for what windows are not read of."""
    if "geotiff" not in forms:
        return find_unlabelled(source, trained)
    images = [source] if source.is_file() else find_images(source)
    return [Unlabelled("image", path, path.stem, [path.stem], [path]) for path in images]


def as_stored_ids(ids: Tensor) -> np.ndarray:
    """Class ids (H, W) in the type that files have them in, uint8 or uint16."""
    return ids.numpy().astype(np.uint8 if ids.dtype == torch.uint8 else np.uint16)


def save_prediction(
    stem: Path,
    image: Tensor,
    ids: Tensor,
    palette: Sequence[Color],
    *,
    forms: Sequence[str],
    opacity: float,
    classes: Sequence[int] | None = None,
) -> None:
    """Write class ids (H, W) of a uint8 image (C, H, W) in each of `forms`; overlays have the colours of `classes`, or
    of all. Raises CannotWrite."""

    def save(form: str, picture: Image.Image, **options: Any) -> None:
        save_image(picture, Path(f"{stem}{ENDINGS[form]}"), durable=False, **options)

    if "overlay" in forms:
        picture = mix_with_colors(image, ids, palette, opacity=opacity)
        if classes is not None:
            shown = torch.isin(ids, torch.tensor(classes, dtype=ids.dtype))
            picture = torch.where(shown, picture, as_rgb(image))
        save("overlay", Image.fromarray(picture.permute(1, 2, 0).numpy()), quality=92)
    if "palette" in forms:
        picture = Image.fromarray(ids.numpy())
        picture.putpalette([value for color in palette for value in color])
        save("palette", picture, compress_level=COMPRESSION)
    if "ids" in forms:
        save("ids", Image.fromarray(as_stored_ids(ids)), compress_level=COMPRESSION)


def save_confidences(
    stem: Path,
    found: Mapping[str, Tensor],
    class_names: Sequence[str],
    *,
    classes: Sequence[int] | None = None,
) -> None:
    """Write `confidence` as a grey PNG, and `probabilities`, of `classes` or of all, as NumPy's .npz with the names of
    the classes and the step, if they are there; both are in steps of 1 / 255. Raises CannotWrite."""
    if "confidence" in found:
        picture = Image.fromarray(found["confidence"].numpy())
        path = Path(f"{stem}{ENDINGS['confidence']}")
        save_image(picture, path, durable=False, compress_level=COMPRESSION)
    if "probabilities" in found:
        chosen = list(range(len(class_names))) if classes is None else list(classes)
        values = {"probabilities": found["probabilities"][chosen].numpy(), "step": np.float32(1 / 255)}
        write_atomically(
            Path(f"{stem}{ENDINGS['probabilities']}"),
            lambda file: np.savez_compressed(
                file, **values, classes=np.array([class_names[each] for each in chosen])
            ),
            durable=False,
        )
