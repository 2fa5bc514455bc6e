"""What a process beside the run is asked for: the plots of its folder. TensorBoard shows nothing of them."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from segkit.data.check import CheckReport
from segkit.data.palette import Legend
from segkit.evaluation.calibration import CalibrationScores
from segkit.runs.recording.events.event_sketches import EventSketches
from segkit.runs.recording.plots.class_frequencies import plot_class_frequencies
from segkit.runs.recording.plots.confusion import plot_confusion
from segkit.runs.recording.plots.curves import plot_results
from segkit.runs.recording.plots.reliability import plot_calibration
from segkit.runs.recording.results import ResultsTable
from segkit.system.run_files import RunFiles


def draw_plots(
    sketches: EventSketches,
    folder: Path,
    labels: Legend,
    results: ResultsTable,
    last: tuple[int, Tensor] | None,
    calibration: CalibrationScores | None = None,
) -> None:
    """Draw the curves of `results`, and the confusion matrix (C, C) of the `last` evaluation with its iteration;
    `calibration` is of the same. Raises CannotWrite."""
    files, names = RunFiles(folder), list(labels.class_names)
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in labels.palette]
    plot_results(results, names, colors, files.results_plot)
    if last is not None:
        plot_confusion(files.confusion_matrix_plot, last[1], names, iteration=last[0])
    if last is not None and calibration is not None:
        plot_calibration(files.calibration_plot, calibration, iteration=last[0])


def draw_class_frequencies(
    sketches: EventSketches, path: Path, report: CheckReport, class_names: Sequence[str]
) -> None:
    """Draw how often each class occurs in the masks of `report`. Raises CannotWrite."""
    plot_class_frequencies(path, report, class_names)
