"""The TensorBoard events of one process: curves, pictures, histograms and hyperparameters in one file."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.summary.writer import record_writer
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from segkit.config.keys import covers, flatten
from segkit.runs.recording.events.checksums import masked_crc32c
from segkit.runs.recording.events.event_sketches import Sketch

#: Settings that are shown as hyperparameters: whole blocks and single keys.
HYPERPARAMETERS = (
    *("loss", "model", "optimizer", "schedule"),
    *("data.name", "train.batch_size", "train.iterations", "seed"),
)
#: Scalars beside the hyperparameters in the table of runs.
METRICS = ("val/mIoU", "val/ce", "val/best_mIoU")
#: The module of TensorBoard's thread.
WRITING_THREADS = ("tensorboard.summary.writer.event_file_writer",)
#: Bytes of a record from which its checksum is computed by us.
LARGE_RECORD = 4096
_sum_of_small_record = record_writer.masked_crc32c


def _sum_of_record(data: bytes) -> int:
    """The checksum of a record. TensorBoard's is in Python, which holds up training while pictures are written."""
    return _sum_of_small_record(data) if len(data) < LARGE_RECORD else masked_crc32c(data)


record_writer.masked_crc32c = _sum_of_record


class TensorBoardLog:
    """Writes events below `folder`, or nothing if that is None.

    Curves are not worth a run: if the events file cannot be written, `warn` gets one line the first time, and nothing
    is recorded until `try_again` can open another. Earlier events from `purge_step` on are superseded: the run resumed
    before them.

    TensorBoard writes in a thread of its own. What fails there is raised again by the next event, so that Python need
    not print the thread's traceback.
    """

    def __init__(self, folder: Path | None, *, purge_step: int | None, warn: Callable[[str], Any]):
        self.warn, self.folder = warn, folder
        self.writer: SummaryWriter | None = None
        self.failed = False
        self._shown_before = threading.excepthook
        threading.excepthook = self._show_unless_ours
        self._open(purge_step)

    def try_again(self) -> None:
        """After a failure, go on in another file if one can be opened."""
        if self.failed and self.writer is None:
            self._open(None)

    def _open(self, purge_step: int | None) -> None:
        if self.folder is None:
            return
        try:
            self.writer = SummaryWriter(str(self.folder), purge_step=purge_step)
        except OSError as error:
            self._stop(error)

    def begin(self, config_text: str, hyperparameters: Mapping[str, Any], iteration: int) -> None:
        """Note the configuration, as text and as hyperparameters."""
        self._write(lambda writer: writer.add_text("config", f"```yaml\n{config_text}\n```", iteration))
        # SummaryWriter.add_hparams would open a second file in a folder of its own, which looks like another run.
        experiment, start, _ = hparams(dict(hyperparameters), dict.fromkeys(METRICS, 0.0))
        self._summary(experiment)
        self._summary(start)

    def arrange_charts(self, names: Collection[str]) -> None:
        """Say which curves belong in one chart (the page "Custom scalars"), given the names of those there are."""
        layout = chart_layout(names)
        self._write(lambda writer: writer.add_custom_scalars(layout))

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """A point of each curve."""
        for name, value in values.items():
            self._write(lambda writer, n=name, v=value: writer.add_scalar(n, v, iteration))

    def add(self, sketches: Iterable[Sketch]) -> None:
        """Pictures and histograms that were made elsewhere."""
        parse: Any = summary_pb2  # its classes are made when it is imported
        for encoded, iteration in sketches:
            self._summary(parse.Summary.FromString(encoded), iteration)

    def finish(self) -> None:
        """Mark the run as finished in the table of hyperparameters."""
        end = hparams({}, {})[2]
        self._summary(end)

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        self._write(lambda writer: writer.close())
        self.writer = self.folder = None
        if threading.excepthook == self._show_unless_ours:  # else somebody has put another over it
            threading.excepthook = self._shown_before

    def _show_unless_ours(self, raised: threading.ExceptHookArgs) -> None:
        if not (isinstance(raised.exc_value, OSError) and type(raised.thread).__module__ in WRITING_THREADS):
            self._shown_before(raised)

    def _summary(self, summary: Any, iteration: int | None = None) -> None:
        """Write what SummaryWriter has no method for."""

        def add(writer: SummaryWriter) -> None:
            events: Any = writer.file_writer  # declared None, and there from the start
            events.add_summary(summary, iteration)

        self._write(add)

    def _write(self, action: Callable[[SummaryWriter], Any]) -> None:
        if self.writer is None:
            return
        try:
            action(self.writer)
        except OSError as error:
            self._stop(error)

    def _stop(self, error: OSError) -> None:
        self.writer = None
        if not self.failed:
            self.warn(
                f"warning: TensorBoard stopped recording: {error}; training goes on, and it is tried again"
            )
        self.failed = True


def hyperparameters(config: Mapping[str, Any], *, iterations: int) -> dict[str, str | float]:
    """The settings that runs are compared by, under dotted keys; `iterations` where the configuration has epochs."""
    flat = {**flatten(config), "train.iterations": iterations}
    chosen = {
        key: value
        for key, value in flat.items()
        if value is not None and any(covers(rule, key) for rule in HYPERPARAMETERS)
    }
    return {
        key: value if isinstance(value, str | float) or type(value) is int else str(value)
        for key, value in chosen.items()
    }


def chart_layout(names: Collection[str]) -> dict[str, dict[str, list]]:
    """Charts with several curves, for `SummaryWriter.add_custom_scalars`: regular expressions over tags."""
    layout = {
        "validation": {"IoU of all classes": ["Multiline", ["^val/iou/"]]},
        "loss": {
            "training loss and cross-entropy": ["Multiline", ["^train/loss$", "^train/ce$", "^val/ce$"]]
        },
    }
    kept = [name for name in ("loss/kept_fraction", "loss/threshold") if name in names]
    if kept:
        layout["selection"] = {
            "what the loss keeps": ["Multiline", [f"^{name}$" for name in kept]],
        }
    return layout
