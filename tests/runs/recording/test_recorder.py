"""What a run leaves behind: windows, messages, files, TensorBoard, and when values leave the device."""

import csv
import errno
import io
import json
import math
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.overrides import TorchFunctionMode

from segkit.errors import NotFiniteError
from segkit.evaluation.evaluate import Evaluation
from segkit.evaluation.image_matrices import ImageMatrices
from segkit.evaluation.scores import class_line, class_table, scores_as_json
from segkit.runs.checkpoint import check_plain
from segkit.runs.recording import recorder as recorder_module
from segkit.runs.recording.events.tensorboard_log import TensorBoardLog
from segkit.runs.recording.recorder import Legend, Recorder
from segkit.system.console import Console
from segkit.system.run_files import RunFiles
from tests.processes import HANG_LIMIT

LABELS = Legend(("road", "car", "bird"), [(0, 0, 0), (230, 159, 0), (86, 180, 233)], 255)
MATRICES = torch.tensor(
    [[[4, 0, 0], [0, 0, 0], [0, 0, 0]], [[2, 2, 0], [0, 4, 0], [0, 0, 0]], [[0, 0, 0]] * 3]
)


def evaluation(matrices, *names) -> Evaluation:
    """Of images with these names and confusion matrices (N, C, C)."""
    sums = torch.zeros(len(names), dtype=torch.float64)
    found = ImageMatrices.from_dense(matrices)
    return Evaluation(found.sum(), 0.5, len(names), found, names, ce_sums=sums)


RESULT = evaluation(MATRICES, "one", "two", "blank")
CPU = torch.device("cpu")
NO_WAIT = SimpleNamespace(seconds=lambda: 0.0)


class Clock:
    """Time that passes only when the test says so."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _quickly(request):
    """Plots are drawn by one test, and otherwise only noticed."""
    if request.function is not test_summary:
        request.getfixturevalue("quick_plots")


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(recorder_module, "time", clock)
    monkeypatch.setattr(recorder_module, "memory_in_use", lambda device: 0.5)
    return clock


@pytest.fixture
def open_recorder(tmp_path):
    """A function giving a recorder of `tmp_path`, its output in `recorder.console.stream`; closed at the end."""
    opened = []

    def make(**changes) -> Recorder:
        arguments = {
            "total": 10,
            "log_every": 2,
            "tensorboard": False,
            "device": CPU,
            "labels": LABELS,
            "amp": "off",
        }
        console = Console(stream=io.StringIO(), log_file=tmp_path / "train.log")
        opened.append(Recorder(RunFiles(tmp_path), console=console, **{**arguments, **changes}))
        opened[-1].start("loss: {name: ce}")
        return opened[-1]

    yield make
    for recorder in opened:
        recorder.close()


def batch(*names: str) -> dict:
    size = len(names)
    return {
        "image": torch.zeros(size, 3, 8, 8, dtype=torch.uint8),
        "target": torch.zeros(size, 8, 8, dtype=torch.uint8),
        "name": list(names),
    }


def record(
    recorder: Recorder, iteration: int, loss: float, *, names=("a", "b"), waited: float = 0.0, **values
) -> None:
    tensors = {name: torch.tensor(value) for name, value in values.items()}
    recorder.update(
        iteration,
        {"loss": torch.tensor(loss), **tensors, "lr": 0.1 / iteration},
        [batch(*names)],
        waited=SimpleNamespace(seconds=lambda: waited),
    )


def lines(recorder: Recorder) -> list[str]:
    return recorder.console.stream.getvalue().splitlines()


def read_events(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tb"))
    events.Reload()
    return events


def test_values_are_means_over_the_window(open_recorder):
    recorder = open_recorder(log_every=3)
    for n, loss in enumerate((1.0, 2.0, 6.0, 5.0, 5.0, 5.0), start=1):
        record(recorder, n, loss, ce=loss / 2, kept_fraction=0.25)
    assert recorder.results.column("train/loss") == ([3, 6], [3.0, 5.0])
    assert recorder.results.column("train/ce") == ([3, 6], [1.5, 2.5])
    assert recorder.results.column("loss/kept_fraction") == ([3, 6], [0.25, 0.25])
    assert recorder.results.column("train/lr")[1] == pytest.approx(
        [(1 + 1 / 2 + 1 / 3) / 30, (1 / 4 + 1 / 5 + 1 / 6) / 30]
    )


def test_flushing_early_does_not_split_a_window(open_recorder):
    recorder = open_recorder(log_every=4)
    for n, loss in enumerate((1.0, 2.0, 3.0, 6.0), start=1):
        record(recorder, n, loss)
        recorder.flush()
    assert recorder.results.column("train/loss") == ([4], [3.0])


def test_last_window_is_logged_even_if_shorter(open_recorder):
    recorder = open_recorder(total=5, log_every=4)
    for n in range(1, 6):
        record(recorder, n, float(n))
    assert recorder.results.column("train/loss") == ([4, 5], [2.5, 5.0])


def test_nothing_is_logged_if_log_every_is_0(open_recorder):
    recorder = open_recorder(log_every=0)
    for n in range(1, 11):
        record(recorder, n, 1.0)
    assert lines(recorder) == [] and recorder.results.rows == []


def test_line_of_training(open_recorder, clock):
    recorder = open_recorder(total=2000)
    for n in (1, 2):
        clock.now += 2.0
        record(recorder, n, n + 0.5, names=("a", "b", "c", "d"), waited=0.5, ce=0.25 * n, kept_fraction=0.18)
    assert lines(recorder) == [
        "iter  2/2,000  loss 2.000  ce 0.375  kept 18 %  lr 0.075  2 img/s  data 25 %  mem 0.5 GB  eta 1:06:36"
    ]
    row = recorder.results.rows[-1]
    assert (row["perf/img_per_s"], row["perf/data_wait"], row["perf/memory_gb"]) == (2.0, 0.25, 0.5)


def test_line_of_a_loss_that_reports_nothing_else(open_recorder, clock):
    recorder = open_recorder(total=2)
    for n in (1, 2):
        clock.now += 0.001
        record(recorder, n, 1.0)
    assert lines(recorder) == [
        "iter  2/2  loss 1.000  lr 0.075  2,000 img/s  data 0 %  mem 0.5 GB  eta 0:00:00"
    ]


def test_validation_pictures_and_saving_are_not_training_time(open_recorder, clock, tmp_path):
    recorder = open_recorder(log_every=4)
    for n in range(1, 5):
        clock.now += 1.0
        record(recorder, n, 1.0)
        recorder.flush()  # as the loop does before each of these
        clock.now += 100.0
        if n == 1:
            recorder.evaluation(n, RESULT, best=True)
        elif n == 2:
            recorder.pictures(n, [])
        elif n == 3:
            recorder.saved(tmp_path / "checkpoints/000003.pt")
    assert recorder.results.column("perf/img_per_s") == ([4], [2.0])


class Reads(TorchFunctionMode):
    """Counts what makes the host wait for a device."""

    WAITS = ("tolist", "item", "cpu", "numpy", "__float__", "__int__", "__bool__", "__format__", "__repr__")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in self.WAITS:
            self.names.append(function.__name__)
        return function(*args, **(kwargs or {}))


def test_values_leave_the_device_together_once_per_window(open_recorder):
    recorder = open_recorder(log_every=5)
    record(recorder, 1, 1.0)  # the first update saves the training batch as a picture
    with Reads() as reads:
        for n in range(2, 5):
            record(recorder, n, 1.0, ce=0.5, kept_fraction=0.25)
        assert reads.names == []
        record(recorder, 5, 1.0, ce=0.5, kept_fraction=0.25)
        assert reads.names == ["tolist"]
        recorder.flush()  # nothing is pending
        assert reads.names == ["tolist"]


def test_values_of_any_type_and_shape_are_read(open_recorder):
    recorder = open_recorder(log_every=1)
    values = {
        "loss": torch.tensor([2.0], requires_grad=True),
        "k": torch.tensor(7),
        "half": torch.tensor(0.5).bfloat16(),
    }
    recorder.update(1, {**values, "keep_share": 0.75, "lr": 0.1}, [batch("a")], waited=NO_WAIT)
    row = recorder.results.rows[0]
    assert [row[name] for name in ("train/loss", "loss/k", "loss/half", "loss/keep_share")] == [
        2.0,
        7.0,
        0.5,
        0.75,
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_first_loss_that_is_not_finite_is_named(open_recorder, tmp_path, bad):
    recorder = open_recorder(log_every=100)
    record(recorder, 1, 1.0, names=("one", "two"))
    recorder.saved(tmp_path / "checkpoints/000001.pt")
    record(recorder, 2, bad, names=("masks/7", "masks/8"))
    record(recorder, 3, math.nan, names=("five", "six"))
    with pytest.raises(NotFiniteError) as caught:
        recorder.flush()
    assert str(caught.value) == (
        f"the loss is {bad} in the update after iteration 1; nothing of it was saved\n"
        "   images: masks/7, masks/8\n"
        f"   last good checkpoint: {tmp_path}/checkpoints/000001.pt\n"
        "   -> a lower optimizer.lr, a longer schedule.warmup, train.clip_norm=1, or train.amp=off"
    )


def test_message_without_a_checkpoint_and_with_many_images(open_recorder):
    recorder = open_recorder()
    micro_batches = [batch(*"abcdef"), batch(*"ghijkl")]  # of one update
    recorder.update(1, {"loss": torch.tensor(math.nan), "lr": 0.1}, micro_batches, waited=NO_WAIT)
    with pytest.raises(NotFiniteError) as caught:
        recorder.flush()
    assert str(caught.value).splitlines()[1:3] == [
        "   images: a, b, c, d, e, f, g, h and 4 more",
        "   no checkpoint yet",
    ]


def test_window_with_a_loss_that_is_not_finite_leaves_no_row(open_recorder):
    recorder = open_recorder()
    record(recorder, 1, 1.0)
    with pytest.raises(NotFiniteError):
        record(recorder, 2, math.inf)
    assert recorder.results.rows == []


def test_other_values_may_be_nan(open_recorder):
    """A value that is not defined for a batch is not a loss that went wrong."""
    recorder = open_recorder(log_every=1)
    record(recorder, 1, 1.0, threshold=math.nan)
    assert math.isnan(recorder.results.rows[0]["loss/threshold"])


def test_line_and_row_of_a_validation(open_recorder):
    recorder = open_recorder()
    recorder.untrained(RESULT)
    recorder.evaluation(1400, RESULT, best=True)
    recorder.evaluation(1600, RESULT, best=False)
    assert lines(recorder) == [
        "val   0      mIoU 70.8 untrained, on the first 3 images  ce 0.500",
        "val   1,400  mIoU 70.8 (best)  acc 83.3  ce 0.500   road 75.0  car 66.7  bird -",
        "val   1,600  mIoU 70.8  acc 83.3  ce 0.500   road 75.0  car 66.7  bird -",
    ]
    row = recorder.results.rows[-1]
    assert (row["val/iou/road"], row["val/ce"], row["val/accuracy"]) == (0.75, 0.5, pytest.approx(10 / 12))
    assert math.isnan(row["val/iou/bird"])


def test_a_line_names_every_class_unless_they_are_many():
    names = [f"c{n}" for n in range(25)]
    scores = [n / 100 for n in range(24)] + [math.nan]
    every = class_line(names[:24], scores[:24])
    assert every.startswith("c0 0.0  c1 1.0  c2 2.0  ") and every.endswith("  c23 23.0")
    assert class_line(names, scores) == (
        "lowest: c0 0.0  c1 1.0  c2 2.0  c3 3.0  c4 4.0   highest: c23 23.0  c22 22.0  c21 21.0  c20 20.0  c19 19.0"
    )
    assert class_line(names, [math.nan] * 23 + [0.5, 0.25]) == "c24 25.0  c23 50.0"


def test_class_table():
    assert class_table(RESULT, LABELS.class_names).split("\n") == [
        "class   IoU  Dice  recall  pixels %",
        "road   75.0  85.7    75.0      66.7",
        "car    66.7  80.0   100.0      33.3",
        "bird      -     -       -       0.0",
        "mean   70.8  82.9    87.5",
    ]


def test_scores_are_valid_json_where_nothing_is_defined():
    nothing = Evaluation(torch.zeros(3, 3, dtype=torch.int64), math.nan, 2)
    assert scores_as_json(nothing, LABELS.class_names) == {
        "mIoU": None, "accuracy": None, "ce": None, "images": 2, "iou": {"road": None, "car": None, "bird": None},
    }  # fmt: skip
    assert class_table(nothing, LABELS.class_names).splitlines()[-1].split() == ["mean", "-", "-", "-"]


def read_strict_json(path) -> dict:
    """What any other program would read: NaN is no JSON."""
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in {path.name}"))


def test_summary(open_recorder, clock, tmp_path):
    recorder = open_recorder()
    for n in (1, 2):
        clock.now += 2.0
        record(recorder, n, 1.0)
    recorder.evaluation(2, RESULT, best=True)
    clock.now += 6.0
    recorder.finish(best={"mean_iou": 0.75, "iteration": 2}, finished=True, facts={"parameters": 123})
    assert read_strict_json(tmp_path / "summary.json") == {
        "finished": True,
        "iterations": 2,
        "best": {"mIoU": 0.75, "iteration": 2},
        "classes": ["road", "car", "bird"],
        "parameters": 123,
        "images_per_second": 1.0,
        "memory_gb": 0.5,
        "training_seconds": 4.0,
        "seconds": 10.0,
        "last": {"iteration": 2, **scores_as_json(RESULT, LABELS.class_names)},
    }
    assert "\n".join(lines(recorder)).endswith(class_table(RESULT, LABELS.class_names))
    assert (tmp_path / "results.png").stat().st_size > 1000


def test_summary_of_a_run_that_was_never_validated(open_recorder, tmp_path):
    open_recorder().finish(best={"mean_iou": -1.0, "iteration": 0}, finished=False, facts={})
    summary = read_strict_json(tmp_path / "summary.json")
    assert (summary["finished"], summary["images_per_second"]) == (False, None)
    assert summary["best"] == {"mIoU": None, "iteration": 0}
    assert "last" not in summary


def test_training_batch_is_shown_once(open_recorder, tmp_path):
    recorder = open_recorder()
    record(recorder, 1, 1.0)
    with Image.open(tmp_path / "train_batch0.jpg") as picture:
        assert picture.format == "JPEG"
    (tmp_path / "train_batch0.jpg").unlink()
    record(recorder, 2, 1.0)
    assert not (tmp_path / "train_batch0.jpg").exists()


def panel() -> dict:
    target = torch.zeros(8, 8, dtype=torch.uint8)
    return {
        "name": "one",
        "image": torch.zeros(3, 8, 8, dtype=torch.uint8),
        "target": target,
        "prediction": target.long(),
        "ce": torch.zeros(8, 8),
        "kept": None,
    }


def test_events_of_all_kinds_read_back(open_recorder, tmp_path):
    recorder = open_recorder(tensorboard=True)
    for n in (1, 2):
        record(recorder, n, float(n), ce=0.5, kept_fraction=0.25)
    recorder.evaluation(2, RESULT, best=True)
    recorder.pictures(2, [panel(), panel()])
    recorder.close()
    events = read_events(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(2, 1.5)]
    expected = {
        "train/loss",
        "train/ce",
        "train/lr",
        "loss/kept_fraction",
        "val/mIoU",
        "val/accuracy",
        "val/ce",
        "val/best_mIoU",
    }
    expected |= {f"perf/{name}" for name in ("img_per_s", "data_wait", "memory_gb")}
    expected |= {f"val/iou/{name}" for name in LABELS.class_names}
    assert set(events.Tags()["scalars"]) == expected
    assert set(events.Tags()["images"]) == {"train_batch", "examples/0", "examples/1"}
    assert (tmp_path / "loss_pixels.jpg").exists()


def test_loss_pixels_show_the_first_middle_and_last_moment(open_recorder, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "segkit.evaluation.pictures.moments",
        lambda pairs: shown.append([name for name, _ in pairs]) or pairs[0][1],
    )
    recorder = open_recorder()
    for n in (2, 4, 6, 8, 10):
        recorder.iteration = n
        recorder.pictures(n, [panel()])
    assert [len(names) for names in shown] == [1, 2, 3, 3, 3]
    assert shown[-1] == ["iteration 2", "iteration 6", "iteration 10"]
    recorder.iteration = 6  # resumed from before 8 and 10
    recorder.pictures(6, [panel()])
    assert shown[-1] == ["iteration 2", "iteration 4", "iteration 6"]


def test_value_per_class_is_logged_by_name(open_recorder):
    recorder = open_recorder(log_every=1)
    shares = [0.25 * n for n in range(len(LABELS.class_names))]
    values = {"loss": torch.tensor(1.0), "kept_class": torch.tensor(shares), "lr": 0.1}
    recorder.update(1, values, [batch("a")], waited=NO_WAIT)
    row = recorder.results.rows[0]
    assert [row[f"loss/kept_class/{name}"] for name in LABELS.class_names] == shares


def test_resumed_run_supersedes_events_and_rows_after_its_checkpoint(open_recorder, tmp_path):
    recorder = open_recorder(tensorboard=True)
    for n in range(1, 7):
        record(recorder, n, 1.0)
    recorder.close()
    resumed = open_recorder(tensorboard=True, first=4)
    for n in range(5, 9):
        record(resumed, n, 2.0)
    resumed.close()
    expected = [(2, 1.0), (4, 1.0), (6, 2.0), (8, 2.0)]
    assert [(event.step, event.value) for event in read_events(tmp_path).Scalars("train/loss")] == expected
    assert list(zip(*resumed.results.column("train/loss"), strict=True)) == expected


DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
WARNING = f"warning: TensorBoard stopped recording: {DISK_FULL}; training goes on, and it is tried again"


def test_full_disk_under_tensorboard_warns_once_and_training_goes_on(open_recorder, monkeypatch):
    recorder = open_recorder(tensorboard=True)
    calls = []

    def full(*arguments, **options):
        calls.append(arguments)
        raise DISK_FULL

    monkeypatch.setattr(recorder.events.writer, "add_scalar", full)
    for n in range(1, 7):
        record(recorder, n, 1.0)
    recorder.evaluation(6, RESULT, best=True)
    recorder.close()
    assert len(calls) == 1
    assert lines(recorder).count(WARNING) == 1
    assert recorder.results.column("train/loss")[0] == [2, 4, 6]


def test_failure_in_the_thread_that_writes_events_does_not_hang_or_end_the_run(open_recorder):
    """The events file is written by a thread of TensorBoard's, which hands its error to a later call. That Python shows
    nothing of it is seen too: pytest makes a warning of what it shows, and warnings are errors."""
    recorder = open_recorder(tensorboard=True)

    def full(data):
        raise DISK_FULL

    thread = recorder.events.writer.file_writer.event_writer._async_writer
    thread._writer = thread._worker._record_writer = SimpleNamespace(
        write=full, flush=lambda: None, close=lambda: None
    )
    for n in range(1, 11):
        record(recorder, n, 1.0)
    thread._worker.join(HANG_LIMIT)
    assert not thread._worker.is_alive(), "the error that ends it was to happen"
    recorder.evaluation(10, RESULT, best=True)
    recorder.close()
    assert lines(recorder).count(WARNING) == 1
    assert recorder.results.column("train/loss")[0] == [2, 4, 6, 8, 10]


def test_what_other_threads_raise_is_shown(open_recorder, monkeypatch):
    shown = []
    monkeypatch.setattr(threading, "excepthook", lambda raised: shown.append(raised.exc_value))
    before = threading.excepthook
    recorder = open_recorder(tensorboard=True)

    def fail():
        raise DISK_FULL

    other = threading.Thread(target=fail)
    other.start()
    other.join()
    assert shown == [DISK_FULL]
    recorder.close()
    assert threading.excepthook is before


def test_events_folder_that_cannot_be_made_warns_and_training_goes_on(open_recorder, tmp_path):
    (tmp_path / "tb").write_text("a file where a folder should be")
    recorder = open_recorder(tensorboard=True)
    for n in (1, 2):
        record(recorder, n, 1.0)
    warnings = [
        line for line in lines(recorder) if line.startswith("warning: TensorBoard stopped recording: ")
    ]
    assert len(warnings) == 1
    assert recorder.results.column("train/loss")[0] == [2]
    recorder.evaluation(2, RESULT, best=True)  # tried again, in vain
    (tmp_path / "tb").unlink()
    recorder.evaluation(4, RESULT, best=False)
    recorder.close()
    assert [event.step for event in read_events(tmp_path).Scalars("val/mIoU")] == [4]
    assert [line for line in lines(recorder) if "TensorBoard stopped" in line] == warnings


def test_another_error_under_tensorboard_is_not_hidden(open_recorder, monkeypatch):
    recorder = open_recorder(tensorboard=True)

    def bug(*arguments):
        raise TypeError("a bug")

    monkeypatch.setattr(recorder.events.writer, "add_scalar", bug)
    with pytest.raises(TypeError, match="a bug"):
        for n in (1, 2):
            record(recorder, n, 1.0)


def test_results_are_drawn_while_training_but_not_at_every_validation(open_recorder, clock, tmp_path):
    recorder = open_recorder()
    recorder.evaluation(1, RESULT, best=True)
    assert not (tmp_path / "results.png").exists()
    clock.now += recorder_module.PLOT_EVERY + 1
    recorder.evaluation(2, RESULT, best=True)
    assert (tmp_path / "results.png").exists()
    (tmp_path / "results.png").unlink()
    recorder.evaluation(3, RESULT, best=True)
    assert not (tmp_path / "results.png").exists()


def test_the_last_validation_is_drawn_at_once_and_not_again_at_the_end(open_recorder, tmp_path):
    recorder = open_recorder()
    finish = {"best": {"mean_iou": 0.5, "iteration": 10}, "finished": True, "facts": {}}
    recorder.evaluation(10, RESULT, best=True)  # of 10: the checkpoint comes afterwards
    (tmp_path / "results.png").unlink()
    recorder.finish(**finish)
    assert not (tmp_path / "results.png").exists()
    recorder.evaluation(10, RESULT, best=False)
    (tmp_path / "results.png").unlink()
    recorder.results.add(10, {"val/mIoU": 0.5})
    recorder._scalars(10, {"val/other": 1.0})  # something that the plots do not have yet
    recorder.finish(**finish)
    assert (tmp_path / "results.png").exists()


def test_peak_memory_of_this_process_is_plausible():
    assert 0.05 < recorder_module.memory_in_use(CPU) < 100


def read_rows(folder) -> list[dict]:
    """results.csv without what depends on the clock."""
    rows = csv.DictReader((folder / "results.csv").read_text().splitlines())
    return [{key: text for key, text in row.items() if not key.startswith("perf/")} for row in rows]


@pytest.mark.parametrize("stop", range(1, 10))
def test_rows_of_a_resumed_run_are_those_of_a_whole_one(open_recorder, tmp_path, stop):
    losses = [0.1 * 3.7**n for n in range(10)]

    def train(recorder, first, last):
        for n in range(first, last):
            record(recorder, n + 1, losses[n], ce=losses[n] / 3, threshold=0.1 * n)
            if (n + 1) % 5 == 0:
                recorder.evaluation(n + 1, RESULT, best=False)

    train(open_recorder(log_every=4), 0, 10)
    whole = read_rows(tmp_path)
    (tmp_path / "results.csv").unlink()
    stopped = open_recorder(log_every=4)
    train(stopped, 0, stop)
    stopped.flush()
    state = stopped.state_dict()
    check_plain(state)
    train(stopped, stop, min(stop + 2, 10))  # updates that a kill lost
    resumed = open_recorder(log_every=4, first=stop)
    resumed.load_state_dict(state)
    train(resumed, stop, 10)
    assert [int(row["iteration"]) for row in whole] == [4, 5, 8, 10]
    assert read_rows(tmp_path) == whole


def test_state_holds_the_last_evaluation_for_the_summary_of_a_run_stopped_again(open_recorder, tmp_path):
    recorder = open_recorder()
    recorder.evaluation(2, RESULT, best=True)
    state = recorder.state_dict()
    resumed = open_recorder(first=2)
    resumed.load_state_dict(state)
    summary = resumed.finish(best={"mean_iou": 0.7, "iteration": 2}, finished=False, facts={})
    assert summary["last"] == {"iteration": 2, **scores_as_json(RESULT, LABELS.class_names)}
    assert resumed.last_evaluation[1].matrices is None
    nothing = open_recorder()
    nothing.load_state_dict(open_recorder().state_dict())
    assert nothing.last_evaluation is None


def test_time_to_the_end_counts_the_updates_of_this_process_only(open_recorder, clock):
    stopped = open_recorder(total=100, log_every=10)
    for n in range(1, 10):
        record(stopped, n, 1.0)
    stopped.flush()
    resumed = open_recorder(total=100, log_every=10, first=9)
    resumed.load_state_dict(stopped.state_dict())
    clock.now += 2.0
    record(resumed, 10, 1.0)
    assert lines(resumed)[0].endswith("  1 img/s  data 0 %  mem 0.5 GB  eta 0:03:00")


def test_window_is_not_kept_where_no_line_would_empty_it(open_recorder):
    recorder = open_recorder(log_every=0)
    record(recorder, 1, 1.0)
    recorder.flush()
    assert recorder.state_dict()["window"] == {"values": {}}
    record(recorder, 2, math.nan)
    with pytest.raises(NotFiniteError):
        recorder.flush()


def test_files_of_an_evaluation(open_recorder, tmp_path):
    recorder = open_recorder()
    recorder.evaluation(2, RESULT, best=True)
    assert (tmp_path / "confusion_matrix.csv").read_text().splitlines()[1:] == [
        "road,6,2,0",
        "car,0,4,0",
        "bird,0,0,0",
    ]
    assert not (
        tmp_path / "confusion_matrix.png"
    ).exists()  # drawing takes a second: at the end, or once a minute
    other = evaluation(MATRICES[:1], "one")
    recorder.evaluation(4, other, best=False)
    assert (tmp_path / "confusion_matrix.csv").read_text().splitlines()[1:] == [
        "road,4,0,0",
        "car,0,0,0",
        "bird,0,0,0",
    ]
    with np.load(tmp_path / "per_image.npz") as arrays:
        assert (arrays["names"].tolist(), int(arrays["iteration"])) == (["one"], 4)
    recorder.finish(best={"mean_iou": 0.7, "iteration": 2}, finished=True, facts={})
    assert (tmp_path / "confusion_matrix.png").exists()


def test_best_score_so_far_is_a_curve(open_recorder, tmp_path):
    recorder = open_recorder(tensorboard=True, first=2)
    worse = evaluation(MATRICES[1:2], "two")
    recorder.evaluation(4, worse, best=False)  # before the first best one there is nothing to show
    recorder.best_score = 0.25  # as a resumed run sets it
    recorder.evaluation(6, worse, best=False)
    recorder.evaluation(8, RESULT, best=True)
    recorder.close()
    points = [(event.step, event.value) for event in read_events(tmp_path).Scalars("val/best_mIoU")]
    assert points == [(6, 0.25), (8, pytest.approx(RESULT.mean_iou))]


def test_charts_are_arranged_once_with_the_first_values_of_training(open_recorder, monkeypatch):
    arranged = []
    monkeypatch.setattr(TensorBoardLog, "arrange_charts", lambda log, names: arranged.append(set(names)))
    recorder = open_recorder(tensorboard=True)
    assert arranged == []
    for n in range(1, 5):
        record(recorder, n, 1.0, kept_fraction=0.5)
    assert len(arranged) == 1 and {"loss/kept_fraction", "train/loss"} <= arranged[0]
    open_recorder(tensorboard=True, log_every=0)  # no values will come
    assert arranged[1:] == [set()]


def test_seconds_before_a_stop_count_though_no_line_was_due(open_recorder, clock):
    recorder = open_recorder(log_every=10)
    for n in range(1, 4):
        clock.now += 2.0
        record(recorder, n, 1.0)
    recorder.flush()
    clock.now += 4.0
    summary = recorder.finish(best={"mean_iou": 0.0, "iteration": 0}, finished=False, facts={"device": "cpu"})
    assert (summary["training_seconds"], summary["images_per_second"], summary["seconds"]) == (6.0, 1.0, 10.0)
    assert summary["device"] == "cpu"


def test_only_a_finished_run_is_marked_as_ended(open_recorder, tmp_path):
    for finished in (False, True):
        recorder = open_recorder(tensorboard=True)
        recorder.finish(best={"mean_iou": 0.0, "iteration": 0}, finished=finished, facts={})
        recorder.close()
        assert ("_hparams_/session_end_info" in read_events(tmp_path).summary_metadata) is finished
