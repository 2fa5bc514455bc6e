"""What a run leaves behind, and the only place that reads values off the device.

The loop hands over detached tensors; they are read together once per `log.every` iterations, so that logging
never makes the device wait. A loss that is not finite is found at the same moment, before anything is saved.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from segkit import metrics, pictures
from segkit.colors import Color
from segkit.console import Console, duration, percent
from segkit.device import memory_in_use
from segkit.errors import NotFiniteError
from segkit.evaluate import Evaluation
from segkit.files import write_json
from segkit.panels import Panel
from segkit.results import ResultsTable, plot_results
from segkit.schedule import due
from segkit.scores import class_table, scores_as_json

#: Values of an update that are logged under `train/`; what else a loss reports goes under `loss/`.
TRAIN_VALUES = ("loss", "ce", "aux_loss", "lr", "grad_norm", "grad_scale")

#: Seconds between two drawings of results.png while training; drawing takes about one.
PLOT_EVERY = 60.0


@dataclass(frozen=True)
class Labels:
    """How classes are named and drawn."""

    class_names: Sequence[str]
    palette: Sequence[Color]
    ignore_index: int


@dataclass
class Window:
    """Values of the updates since the last logged line, read from the device."""

    values: dict[str, list[float]] = field(default_factory=dict)
    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def means(self) -> dict[str, float]:
        return {name: sum(values) / len(values) for name, values in self.values.items()}


class Recorder:
    """Console, TensorBoard and result files of one run folder."""

    def __init__(
        self,
        folder: Path,
        *,
        labels: Labels,
        console: Console,
        total: int,
        log_every: int,
        first: int = 0,
        tensorboard: bool = True,
        device: torch.device,
    ):
        self.folder, self.labels, self.console, self.device = folder, labels, console, device
        self.total, self.log_every, self.iteration = total, log_every, first
        self.results = ResultsTable(folder / "results.csv", last_iteration=first)
        self.writer: SummaryWriter | None = None
        if tensorboard:
            self._open_writer(purge_step=first + 1 if first else None)
        self.pending: list[tuple[int, dict[str, Any], list[str]]] = []
        self.window = Window()
        self.started = self.mark = time.perf_counter()
        self.last_evaluation: tuple[int, Evaluation] | None = None
        self.last_checkpoint: Path | None = None
        self.plotted = time.perf_counter()
        self.training_seconds = 0.0
        self.images_seen = 0
        self.first = first

    def start(self, config_text: str) -> None:
        """Begin the progress display and note the configuration."""
        self._tensorboard(
            lambda writer: writer.add_text("config", f"```yaml\n{config_text}\n```", self.first)
        )
        self.console.start_progress(total=self.total, done=self.first)
        self.started = self.mark = time.perf_counter()

    # --- called by the loop

    def update(self, iteration: int, values: dict[str, Any], batches: list, *, waited: float) -> None:
        """Keep the values of one update, unread; log a line where one is due."""
        if iteration == 1:
            self._save_training_batch(batches[0])
        self.iteration = iteration
        names = [name for batch in batches for name in batch["name"]]
        self.pending.append((iteration, values, names))
        self.window.waited += waited
        self.window.images += len(names)
        self.console.advance()
        if due(iteration, self.log_every, total=self.total):
            self.flush()
            self._log_window()

    def flush(self) -> None:
        """Read pending values off the device. Raises NotFiniteError for the first loss that is not finite."""
        pending, self.pending = self.pending, []
        for iteration, values, names in _read(pending, self.labels.class_names):
            if not math.isfinite(values["loss"]):
                raise NotFiniteError(self._not_finite(iteration, values["loss"], names))
            for name, value in values.items():
                self.window.values.setdefault(name, []).append(value)
        now = time.perf_counter()
        self.window.seconds += now - self.mark
        self.mark = now

    def untrained(self, result: Evaluation) -> None:
        """Note where training starts from, on a few validation images."""
        self.console.line(
            f"val   0      mIoU {percent(result.mean_iou)} untrained, on the first {result.images} images  "
            f"ce {result.ce:.3f}"
        )

    def evaluation(self, iteration: int, result: Evaluation, *, best: bool) -> None:
        """Log a validation score."""
        self.last_evaluation = (iteration, result)
        names, iou, accuracy = (
            self.labels.class_names,
            metrics.iou(result.matrix),
            metrics.accuracy(result.matrix),
        )
        scalars = {"val/mIoU": result.mean_iou, "val/accuracy": accuracy, "val/ce": result.ce}
        scalars |= {f"val/iou/{name}": value for name, value in zip(names, iou, strict=True)}
        self._scalars(iteration, scalars)
        classes = "  ".join(f"{name} {percent(value)}" for name, value in zip(names, iou, strict=True))
        mark = " (best)" if best else ""
        self.console.line(
            f"val   {iteration:<6,} mIoU {percent(result.mean_iou)}{mark}  acc {percent(accuracy)}  "
            f"ce {result.ce:.3f}   {classes}"
        )
        if time.perf_counter() - self.plotted > PLOT_EVERY:
            self._plot()
        self.restart_clock()

    def pictures(self, iteration: int, panels: list[Panel]) -> None:
        """Show the example images: image | label | prediction | errors | cross-entropy | kept pixels."""
        rows = [pictures.panel_row(panel, self.labels.palette, self.labels.ignore_index) for panel in panels]
        if rows:
            for number, row in enumerate(rows):
                self._tensorboard(lambda w, n=number, r=row: w.add_image(f"examples/{n}", r, iteration))
            folder = self.folder / "examples"
            folder.mkdir(exist_ok=True)
            pictures.save_jpeg(pictures.stack(rows), folder / f"{iteration:06d}.jpg")
            self._show_moments(folder)
        self.restart_clock()

    # --- called by the run around the loop

    def saved(self, path: Path) -> None:
        """A checkpoint was written; the time it took is not training time."""
        self.last_checkpoint = path
        self.restart_clock()

    def restart_clock(self) -> None:
        """What happened since the last flush was not training."""
        self.mark = time.perf_counter()

    def finish(self, *, parameters: int, best: dict[str, Any], finished: bool) -> None:
        """Final table, plots and summary.json."""
        self.console.close()
        self._plot()
        if self.last_evaluation is not None:
            self.console.line()
            self.console.line(class_table(self.last_evaluation[1], self.labels.class_names))
        write_json(self.folder / "summary.json", self._summary(parameters, best, finished))
        self.close()

    def close(self) -> None:
        """Release the terminal and the events file; nothing more is recorded."""
        self.console.close()
        if self.writer is not None:
            self._tensorboard(lambda writer: writer.close())
            self.writer = None

    # --- inside

    def _log_window(self) -> None:
        window, self.window = self.window, Window()
        means = window.means()
        self.training_seconds += window.seconds
        self.images_seen += window.images
        rate = window.images / window.seconds if window.seconds else float("nan")
        wait = min(1.0, window.waited / window.seconds) if window.seconds else 0.0
        scalars = {
            f"{'train' if name in TRAIN_VALUES else 'loss'}/{name}": value for name, value in means.items()
        }
        memory = memory_in_use(self.device)
        scalars |= {"perf/img_per_s": rate, "perf/data_wait": wait, "perf/memory_gb": memory}
        self._scalars(self.iteration, scalars)
        kept = f"  kept {100 * means['kept_fraction']:.0f} %" if "kept_fraction" in means else ""
        ce = f"  ce {means['ce']:.3f}" if "ce" in means else ""
        updates = len(window.values["loss"])
        left = (self.total - self.iteration) * window.seconds / updates
        self.console.progress(
            f"iter  {self.iteration:,}/{self.total:,}  loss {means['loss']:.3f}{ce}{kept}  "
            f"lr {means['lr']:.3g}  {rate:,.0f} img/s  data {100 * wait:.0f} %  mem {memory:.1f} GB  "
            f"eta {duration(left)}"
        )

    def _summary(self, parameters: int, best: dict[str, Any], finished: bool) -> dict[str, Any]:
        summary = {
            "finished": finished,
            "iterations": self.iteration,
            "best": {"mIoU": best["mean_iou"] if best["iteration"] else None, "iteration": best["iteration"]},
            "parameters": parameters,
            "images_per_second": self.images_seen / self.training_seconds if self.training_seconds else None,
            "memory_gb": memory_in_use(self.device),
            "seconds": time.perf_counter() - self.started,
        }
        if self.last_evaluation is not None:
            iteration, result = self.last_evaluation
            summary["last"] = {"iteration": iteration, **scores_as_json(result, self.labels.class_names)}
        return summary

    def _show_moments(self, folder: Path) -> None:
        """loss_pixels.jpg: the examples at the first, middle and last moment of the run so far."""
        found = sorted(
            (path for path in folder.glob("*.jpg") if path.stem.isdigit()), key=lambda p: int(p.stem)
        )
        found = [path for path in found if int(path.stem) <= self.iteration]  # later ones: before a resume
        chosen = sorted({0, len(found) // 2, len(found) - 1}) if len(found) > 2 else range(len(found))
        shown = [(f"iteration {int(found[n].stem):,}", pictures.read_jpeg(found[n])) for n in chosen]
        pictures.save_jpeg(pictures.moments(shown), self.folder / "loss_pixels.jpg")

    def _plot(self) -> None:
        self.plotted = time.perf_counter()
        colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in self.labels.palette]
        plot_results(self.results, list(self.labels.class_names), colors, self.folder / "results.png")

    def _save_training_batch(self, batch: dict[str, Any]) -> None:
        picture = pictures.training_batch(batch, self.labels.palette, self.labels.ignore_index)
        pictures.save_jpeg(picture, self.folder / "train_batch0.jpg")
        self._tensorboard(lambda writer: writer.add_image("train_batch", picture, 0))

    def _scalars(self, iteration: int, scalars: dict[str, float]) -> None:
        self.results.add(iteration, scalars)
        for name, value in scalars.items():
            self._tensorboard(lambda writer, n=name, v=value: writer.add_scalar(n, v, iteration))

    def _open_writer(self, *, purge_step: int | None) -> None:
        """Begin an events file. Earlier events from `purge_step` on are superseded: the run resumed before them."""
        try:
            self.writer = SummaryWriter(str(self.folder / "tb"), purge_step=purge_step)
        except OSError as error:
            self._stop_tensorboard(error)

    def _tensorboard(self, write) -> None:
        if self.writer is None:
            return
        try:
            write(self.writer)
        except OSError as error:
            self._stop_tensorboard(error)

    def _stop_tensorboard(self, error: OSError) -> None:
        """Curves are not worth a run: if the events file cannot be written, say so once and train on."""
        self.writer = None
        self.console.line(f"warning: TensorBoard stopped recording: {error}; training goes on")

    def _not_finite(self, iteration: int, value: float, names: list[str]) -> str:
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        last = (
            f"last good checkpoint: {self.last_checkpoint}" if self.last_checkpoint else "no checkpoint yet"
        )
        return (
            f"the loss is {value} in the update after iteration {iteration - 1}; nothing of it was saved\n"
            f"   images: {shown}\n"
            f"   {last}\n"
            "   -> a lower optimizer.lr, a longer schedule.warmup, train.clip_norm=1, or train.amp=off"
        )


def _read(
    pending: list[tuple[int, dict[str, Any], list[str]]], class_names: Sequence[str]
) -> list[tuple[int, dict[str, float], list[str]]]:
    """Floats for the tensors of all pending updates, with one copy from the device.

    A tensor with a value per class becomes as many values, `NAME/CLASS`.
    """
    tensors = [v.detach() for _, values, _ in pending for v in values.values() if isinstance(v, Tensor)]
    numbers = iter(torch.cat([t.float().reshape(-1) for t in tensors]).tolist() if tensors else [])
    read = []
    for iteration, values, names in pending:
        floats: dict[str, float] = {}
        for name, value in values.items():
            if not isinstance(value, Tensor):
                floats[name] = float(value)
            elif value.numel() == 1:
                floats[name] = next(numbers)
            else:
                floats |= {f"{name}/{class_name}": next(numbers) for class_name in class_names}
        read.append((iteration, floats, names))
    return read
