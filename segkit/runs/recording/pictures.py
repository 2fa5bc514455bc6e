"""The pictures of a run folder: what the network saw, what it answers, and which pixels the loss kept."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segkit.data.palette import Legend
from segkit.errors import CannotWrite
from segkit.evaluation import pictures
from segkit.evaluation.panels import Panel
from segkit.evaluation.scores import RankedImage
from segkit.runs.recording.arrays import save_examples
from segkit.runs.recording.events.event_sketches import EventSketches
from segkit.system.files import cannot_write
from segkit.system.run_files import RunFiles

#: Examples in loss_pixels.jpg, which shows them at three moments.
IMAGES_PER_MOMENT = 3
#: Pixels of the longer side above which a picture in a grid is reduced.
LARGEST_IN_GRID = 384


def draw_pictures(
    sketches: EventSketches, folder: Path, labels: Legend, method: str, *arguments: Any
) -> None:
    """Call a method of RunPictures by its name, in whatever process."""
    getattr(RunPictures(RunFiles(folder), labels, sketches), method)(*arguments)


def on_host(part: Any) -> Any:
    """Panels, a batch, or a part of one, with copies of its tensors in host memory."""
    if isinstance(part, Tensor):
        return part.detach().cpu().clone()
    if isinstance(part, Mapping):
        return {name: on_host(value) for name, value in part.items()}
    return [on_host(each) for each in part] if isinstance(part, list) else part


class RunPictures:
    """Draws into `folder`, and sketches what TensorBoard shows. All raise CannotWrite."""

    def __init__(self, folder: RunFiles, labels: Legend, events: EventSketches):
        self.folder, self.labels, self.events = folder, labels, events

    def training_batch(self, batch: Mapping[str, Any]) -> None:
        """train_batch0.jpg: the first batch as the network saw it."""
        picture = pictures.training_batch(batch, self.labels.palette, self.labels.ignore_index)
        pictures.save_jpeg(picture, self.folder.train_batch)
        self.events.image("train_batch", picture, 0)

    def show_examples(self, iteration: int, panels: Sequence[Panel]) -> None:
        """The example images: examples/, examples.npz, loss_pixels.jpg, val_batch0_*.jpg and a histogram."""
        palette, ignore = self.labels.palette, self.labels.ignore_index
        rows = [pictures.panel_row(panel, palette, ignore) for panel in panels]
        for number, row in enumerate(rows):
            self.events.image(f"examples/{number}", row, iteration)
        _make_folder(self.folder.moments)
        pictures.save_jpeg(pictures.stack(rows), self.folder.example_picture(iteration))
        pictures.save_jpeg(pictures.stack(rows[:IMAGES_PER_MOMENT]), self.folder.moment_picture(iteration))
        save_examples(self.folder.examples, panels, palette, ignore, iteration=iteration)
        self._show_grid(self.folder.val_labels, panels, "target")
        self._show_grid(self.folder.val_predictions, panels, "prediction")
        probabilities = (true_class_probability(panel, ignore) for panel in panels)
        self.events.probabilities("loss/true_class_probability", probabilities, iteration)
        self._show_moments(until=iteration)

    def ranked(self, path: Path, images: Sequence[RankedImage], panels: Sequence[Panel]) -> None:
        """`path`: each image with its score, label, prediction and errors. Nothing if there are no images."""
        rows = []
        for rank, (image, panel) in enumerate(zip(images, panels, strict=True), start=1):
            caption = f"{rank}.  mIoU {100 * image.score:.1f}  {image.name}"
            rows.append((caption, self._answer_row(panel)))
        if rows:
            shown = [panel[ids] for panel in panels for ids in ("target", "prediction")]
            self._save_with_legend(pictures.moments(rows), path, shown)

    def _answer_row(self, panel: Panel) -> Tensor:
        palette, ignore = self.labels.palette, self.labels.ignore_index
        parts = {
            "image": pictures.as_rgb(panel["image"]),
            "label": pictures.color_ids(panel["target"], palette, ignore),
            "prediction": pictures.color_ids(panel["prediction"], palette, ignore),
            "errors": pictures.errors_over(panel["image"], panel["target"], panel["prediction"], ignore),
        }
        return pictures.titled([_reduce(part) for part in parts.values()], list(parts))

    def _show_grid(self, path: Path, panels: Sequence[Panel], ids: str) -> None:
        """A grid of the images under their `ids` ("target" or "prediction"), with the colours of the classes."""
        labels = self.labels
        tiles = []
        for panel in panels:
            painted = pictures.overlay(panel["image"], panel[ids], labels.palette, labels.ignore_index)
            tiles.append(pictures.titled([_reduce(painted)], [panel["name"]]))
        self._save_with_legend(pictures.stack(tiles, columns=4), path, [panel[ids] for panel in panels])

    def _save_with_legend(self, picture: Tensor, path: Path, shown: Iterable[Tensor]) -> None:
        """The picture above the names of the classes that are in the label images (H, W) which it shows."""
        names, (height, width) = self.labels.class_names, picture.shape[1:]
        pixels = pictures.count_ids(shown, len(names))
        legend = pictures.legend(names, self.labels.palette, width=width, pixels=pixels, highest=height)
        pictures.save_jpeg(torch.cat([picture, legend], dim=1), path)

    def _show_moments(self, *, until: int) -> None:
        """loss_pixels.jpg: the first examples at the first, middle and last moment of the run so far whose pictures can
        be read. Raises CannotWrite also, once it is written, for one that cannot."""
        there = self.folder.list_moment_pictures()
        moments = [moment for moment in there if moment <= until]  # later ones: before a resume
        read: dict[int, Tensor] = {}
        damaged: list[str] = []
        while missing := [moment for moment in _first_middle_last(moments) if moment not in read]:
            try:
                read[missing[0]] = pictures.read_jpeg(there[missing[0]])
            except OSError as error:
                moments.remove(missing[0])
                damaged.append(f"{there[missing[0]]} cannot be read: {error}")
        if moments:
            shown = [(f"iteration {moment:,}", read[moment]) for moment in _first_middle_last(moments)]
            pictures.save_jpeg(pictures.moments(shown), self.folder.loss_pixels)
        if damaged:
            raise CannotWrite(f"{damaged[0]}; {self.folder.loss_pixels.name} is without it")


def _first_middle_last(moments: list[int]) -> list[int]:
    return [moments[n] for n in sorted({0, len(moments) // 2, len(moments) - 1})] if moments else []


def true_class_probability(panel: Panel, ignore_index: int) -> Tensor:
    """Softmax probability of the label's class at each valid pixel (V,): what `thresh` is compared with."""
    return torch.exp(-panel["ce"])[panel["target"] != ignore_index]


def _reduce(picture: Tensor) -> Tensor:
    """Every n-th pixel of a picture (3, H, W) that is larger than LARGEST_IN_GRID."""
    step = -(-max(picture.shape[-2:]) // LARGEST_IN_GRID)
    return picture[:, ::step, ::step]


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
