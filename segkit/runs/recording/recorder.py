"""What a run leaves behind, and the only place that reads values off the device.

The loop hands over detached tensors; they are read together once per `log.every` iterations, so that logging
never makes the device wait. A loss that is not finite is found at the same moment, before anything is saved.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from segkit.data.palette import Legend
from segkit.distributed.ranks import ALONE, Ranks
from segkit.errors import NotFiniteError
from segkit.evaluation import metrics
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.panels import Panel
from segkit.evaluation.scores import RankedImage, class_line, class_table, part_line, part_scores
from segkit.runs.recording.arrays import save_per_image
from segkit.runs.recording.best_effort import BestEffort
from segkit.runs.recording.drawing import Draw, DrawAtOnce, DrawBeside
from segkit.runs.recording.events.event_sketches import read_pictures
from segkit.runs.recording.events.tensorboard_log import TensorBoardLog
from segkit.runs.recording.log_window import Window, name_curves
from segkit.runs.recording.pending import PendingValues, describe_not_finite
from segkit.runs.recording.pictures import draw_pictures, on_host
from segkit.runs.recording.plots.confusion import save_confusion_table
from segkit.runs.recording.plots.draw import draw_plots
from segkit.runs.recording.results import ResultsTable, score_row, summarise
from segkit.runs.recording.trackers.trackers import Trackers
from segkit.schedule import due
from segkit.system.console import Console, duration, percent
from segkit.system.device import Wait, memory_in_use
from segkit.system.files import write_json
from segkit.system.run_files import RunFiles

#: Seconds between two drawings of the plots while training; drawing takes about one.
PLOT_EVERY = 60.0


class Recorder:
    """Console, TensorBoard, trackers and result files of one run folder.

    With several `ranks`, what is logged is of all; `first_batch` reads the first batch of all, to be shown. Pictures
    and plots are drawn `beside` the run, by another process, or at once.
    """

    def __init__(
        self,
        folder: RunFiles,
        *,
        labels: Legend,
        console: Console,
        total: int,
        log_every: int,
        first: int = 0,
        tensorboard: bool = True,
        trackers: Trackers | None = None,
        device: torch.device,
        amp: str,
        ranks: Ranks = ALONE,
        first_batch: Callable[[], Mapping[str, Any]] | None = None,
        beside: bool = False,
    ):
        self.folder, self.labels, self.console, self.device = folder, labels, console, device
        self.amp = amp
        self.total, self.log_every, self.iteration = total, log_every, first
        self.results = ResultsTable(folder.results, last_iteration=first)
        self.events = TensorBoardLog(
            folder.tensorboard if tensorboard else None,
            purge_step=first + 1 if first else None,
            warn=console.line,
        )
        self.trackers = Trackers() if trackers is None else trackers
        shown = tensorboard or self.trackers.want_pictures
        self.drawing = (DrawBeside if beside else DrawAtOnce)(tensorboard=shown)
        self.spared = BestEffort(console.line)
        self.pending = PendingValues(labels.class_names, ranks)
        self.processes = ranks.world
        self.first_batch = first_batch
        self.waits: list[Wait] = []
        self.window = Window()
        self.charts_arranged = False
        self.started = self.mark = time.perf_counter()
        self.last_evaluation: tuple[int, Evaluation] | None = None
        self.last_checkpoint: Path | None = None
        self.best_score = -1.0
        self.plotted = time.perf_counter()
        self.plots_are_current = False
        self.training_seconds = 0.0
        self.images_seen = 0
        self.first = first

    def start(self, config_text: str, hyperparameters: Mapping[str, Any] | None = None) -> None:
        """Begin the progress display and note the configuration."""
        self.events.begin(config_text, hyperparameters or {}, self.first)
        self.trackers.begin()
        if not self.log_every:
            self._arrange_charts({})
        self.console.start_progress(total=self.total, done=self.first)
        self.started = self.mark = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs so that its records go on without a seam; after a flush. Plain types and tensors."""
        last = None
        if self.last_evaluation is not None:
            iteration, result = self.last_evaluation
            last = {"iteration": iteration, "matrix": result.matrix, "ce": result.ce, "images": result.images}
        return {"window": self.window.state_dict(), "last_evaluation": last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. The last evaluation comes back without the matrices of single images."""
        self.window = Window.from_state(state["window"])
        last = state["last_evaluation"]
        if last is not None:
            result = Evaluation(last["matrix"].cpu(), last["ce"], last["images"])
            self.last_evaluation = (last["iteration"], result)

    # --- called by the loop

    def update(self, iteration: int, values: dict[str, Any], batches: list, *, waited: Wait) -> None:
        """Keep the values of one update, unread; log a line where one is due."""
        if iteration == 1:
            shown = batches[0] if self.first_batch is None else self.first_batch()
            self._draw_pictures("training_batch", on_host(shown))
        self.iteration = iteration
        names = [name for batch in batches for name in batch["name"]]
        self.pending.add(iteration, values, names)
        self.waits.append(waited)
        self.window.images += len(names) * self.processes
        self.window.updates += 1
        self.console.advance()
        if due(iteration, self.log_every, total=self.total):
            self.flush()
            self._log_window()

    def flush(self) -> None:
        """Read pending values off the device. Raises NotFiniteError for the first loss that is not finite."""
        for iteration, values, names in self.pending.read():
            if not math.isfinite(values["loss"]):
                raise NotFiniteError(
                    describe_not_finite(iteration, values["loss"], names, self.last_checkpoint)
                )
            if self.log_every:  # else no line would ever empty the window
                self.window.add(values)
        self.window.waited += sum(wait.seconds() for wait in self.waits)
        self.waits = []
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
        self.events.try_again()
        names = self.labels.class_names
        iou, accuracy = metrics.iou(result.matrix), metrics.accuracy(result.matrix)
        self._scalars(iteration, score_row(result, names))
        self.best_score = result.mean_iou if best else self.best_score
        if self.best_score >= 0:
            self._curves(iteration, {"val/best_mIoU": self.best_score})
        mark = " (best)" if best else ""
        self.console.line(
            f"val   {iteration:<6,} mIoU {percent(result.mean_iou)}{mark}  acc {percent(accuracy)}  "
            f"ce {result.ce:.3f}   {class_line(names, iou)}"
        )
        if parts := part_scores(result):
            self.console.line(f"      {'':<6} by part: {part_line(parts)}")
        save_per_image(self.folder.per_image, result, names, iteration=iteration, precision=self.amp)
        save_confusion_table(self.folder.confusion_matrix, result.matrix, names)
        if iteration == self.total or time.perf_counter() - self.plotted > PLOT_EVERY:
            self._plot()  # of the last one beside the last checkpoint, for which the end would wait
        self.restart_clock()

    def take_again(self, result: Evaluation | None) -> None:
        """Replace the last evaluation, which a checkpoint has without single images, by one with them; None: no."""
        if self.last_evaluation is not None and result is not None:
            self.last_evaluation = (self.last_evaluation[0], result)

    def pictures(self, iteration: int, panels: list[Panel]) -> None:
        """Show the example images: image | label | prediction | errors | cross-entropy | kept pixels."""
        if panels:
            self._draw_pictures("show_examples", iteration, on_host(panels))
        self.restart_clock()

    # --- called by the run around the loop

    def saved(self, path: Path) -> None:
        """A checkpoint was written; the time it took is not training time."""
        self.last_checkpoint = path
        self.restart_clock()

    def restart_clock(self) -> None:
        """What happened since the last flush was not training."""
        self.mark = time.perf_counter()

    def finish(self, *, best: dict[str, Any], finished: bool, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Final table, plots and summary.json, with `facts` about the run that are known from its start. Returns
        the summary."""
        self.console.close()
        if not self.plots_are_current:
            self._plot()
        if self.last_evaluation is not None:
            self.console.line()
            self.console.line(class_table(self.last_evaluation[1], self.labels.class_names))
        seconds, images = self.training_seconds + self.window.seconds, self.images_seen + self.window.images
        summary = summarise(
            facts,
            finished=finished,
            iterations=self.iteration,
            best=best,
            last=self.last_evaluation,
            class_names=self.labels.class_names,
            images_per_second=images / seconds if seconds else None,
            memory_gb=memory_in_use(self.device),
            training_seconds=seconds,
            seconds=time.perf_counter() - self.started,
        )
        write_json(self.folder.summary, summary)
        self.trackers.summary(summary)
        if finished:
            self.events.finish()
        return summary

    def ranked(self, path: Path, images: Sequence[RankedImage], panels: list[Panel]) -> None:
        """Show `images` with what the trained model makes of them, in the picture `path`."""
        self._draw_pictures("ranked", path, images, on_host(panels))

    def draw(self, what: str, draw: Draw, *arguments: Any) -> None:
        """Have `draw(sketches, *arguments)` done, which draws `what`. All is handed over by value; an error is a
        warning."""
        self.drawing.give(what, draw, *arguments)
        self._note_drawn()

    def await_pictures(self) -> None:
        """Wait until the pictures that were given so far are there: a checkpoint, which says that a run needs nothing
        from before it, comes after the pictures of its iteration."""
        self._note_drawn(until="pictures")

    def close(self, *, at_once: bool = False, state: str = "failed", code: int = 1, error: str = "") -> None:
        """Wait for what is being drawn, and for what trackers have left to send, unless `at_once`, and release the
        terminal and the events file; nothing more is recorded. Trackers learn how the run has ended: `state` is done,
        stopped or failed, `code` its exit status."""
        if not at_once:
            self._note_drawn(all_of_them=True)
        self.drawing.end(at_once=at_once)
        self.console.close()
        self.events.close()
        self.trackers.end(state, code, error, wait=not at_once)
        self.trackers.say(self.console.line, self.spared.note)

    # --- inside

    def _log_window(self) -> None:
        window, self.window = self.window, Window()
        means = window.means()
        self.training_seconds += window.seconds
        self.images_seen += window.images
        rate = window.images / window.seconds if window.seconds else float("nan")
        wait = min(1.0, window.waited / window.seconds) if window.seconds else 0.0
        memory = memory_in_use(self.device)
        scalars = name_curves(means) | {
            "perf/img_per_s": rate,
            "perf/data_wait": wait,
            "perf/memory_gb": memory,
        }
        self._scalars(self.iteration, scalars)
        self._arrange_charts(scalars)
        self._note_drawn()
        kept = f"  kept {100 * means['kept_fraction']:.0f} %" if "kept_fraction" in means else ""
        ce = f"  ce {means['ce']:.3f}" if "ce" in means else ""
        left = (self.total - self.iteration) * window.seconds / window.updates
        self.console.progress(
            f"iter  {self.iteration:,}/{self.total:,}  loss {means['loss']:.3f}{ce}{kept}  "
            f"lr {means['lr']:.3g}  {rate:,.0f} img/s  data {100 * wait:.0f} %  mem {memory:.1f} GB  "
            f"eta {duration(left)}"
        )

    def _plot(self) -> None:
        self.plotted = time.perf_counter()
        self.plots_are_current = True
        iteration, result = self.last_evaluation or (0, None)
        last = None if result is None else (iteration, result.matrix)
        sure = None if result is None or result.calibration is None else result.calibration.scores()
        self.draw("plots", draw_plots, self.folder.path, self.labels, self.results, last, sure)

    def _draw_pictures(self, method: str, *arguments: Any) -> None:
        self.draw("pictures", draw_pictures, self.folder.path, self.labels, method, *arguments)

    def _note_drawn(self, *, until: str | None = None, all_of_them: bool = False) -> None:
        """Record what came of the drawings that are done: events, and warnings."""
        for drawn in self.drawing.take(until=until, all_of_them=all_of_them):
            self.events.add(drawn.sketches)
            if self.trackers.want_pictures:
                self.trackers.pictures(read_pictures(drawn.sketches))
            if drawn.problem:
                self.spared.note(drawn.what, drawn.problem)
            if drawn.details:
                self.console.log(drawn.details)
        self.trackers.say(self.console.line, self.spared.note)

    def _scalars(self, iteration: int, scalars: dict[str, float]) -> None:
        self.plots_are_current = False
        self.results.add(iteration, scalars)
        self._curves(iteration, scalars)

    def _curves(self, iteration: int, scalars: dict[str, float]) -> None:
        self.events.scalars(iteration, scalars)
        self.trackers.scalars(iteration, scalars)

    def _arrange_charts(self, names: Mapping[str, float]) -> None:
        """Once, with the first values of training, which show whether the loss selects pixels."""
        if not self.charts_arranged:
            self.events.arrange_charts(names)
        self.charts_arranged = True
