"""The events of a run, read back as TensorBoard reads them."""

import re

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer import event_file_writer

from segkit.runs.recording.events.event_sketches import BARS, EventSketches, summarise_probabilities
from segkit.runs.recording.events.tensorboard_log import (
    METRICS,
    TensorBoardLog,
    chart_layout,
    hyperparameters,
)

CONFIG = {
    "name": "x",
    "seed": 3,
    "loss": {"name": "ohem_ce", "thresh": 0.7, "n_min": "1/16", "class_weights": None, "flag": True},
    "model": {"name": "unet", "widths": [1, 2]},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": {"name": "poly", "warmup": "5%"},
    "data": {"name": "shapes", "size": 64},
    "train": {"iterations": None, "epochs": 2, "batch_size": 4, "amp": "auto"},
    "log": {"every": 5},
}


@pytest.fixture(autouse=True)
def numbered(monkeypatch):
    """The name of an event file ends with the number of those that its process made before. Of files of one second a
    reader takes 10 before 9, so that what earlier tests made would count."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))


def open_log(folder, purge_step=None) -> TensorBoardLog:
    return TensorBoardLog(folder / "tb", purge_step=purge_step, warn=pytest.fail)


def histogram(values, iteration) -> list:
    sketches = EventSketches(wanted=True)
    sketches.probabilities("p", [values], iteration)
    return sketches.made


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tb"), size_guidance={"histograms": 0, "tensors": 0})
    events.Reload()
    return events


def hparams_data(events: EventAccumulator, tag: str) -> HParamsPluginData:
    return HParamsPluginData.FromString(events.summary_metadata[f"_hparams_/{tag}"].plugin_data.content)


def test_hyperparameters_are_what_runs_differ_by():
    assert hyperparameters(CONFIG, iterations=16) == {
        "loss.name": "ohem_ce",
        "loss.thresh": 0.7,
        "loss.n_min": "1/16",
        "loss.flag": "True",
        "model.name": "unet",
        "model.widths": "[1, 2]",
        "optimizer.name": "sgd",
        "optimizer.lr": 0.05,
        "schedule.name": "poly",
        "schedule.warmup": "5%",
        "data.name": "shapes",
        "train.batch_size": 4,
        "train.iterations": 16,
        "seed": 3,
    }


def test_everything_is_in_one_file_that_has_the_hyperparameters_of_the_run(tmp_path):
    log = open_log(tmp_path)
    log.begin("a: 1", {"loss.name": "ohem_ce", "loss.thresh": 0.7}, 0)
    log.arrange_charts(["loss/threshold"])
    log.scalars(2, dict.fromkeys(METRICS, 0.5))
    log.finish()
    log.close()
    files = [path for path in (tmp_path / "tb").rglob("*") if path.is_file()]
    assert len(files) == 1 and files[0].parent == tmp_path / "tb"
    events = read(tmp_path)
    start = hparams_data(events, "session_start_info").session_start_info
    assert start.hparams["loss.name"].string_value == "ohem_ce"
    assert start.hparams["loss.thresh"].number_value == 0.7
    metrics = hparams_data(events, "experiment").experiment.metric_infos
    assert [metric.name.tag for metric in metrics] == ["val/mIoU", "val/ce", "val/best_mIoU"]
    assert set(events.Tags()["scalars"]) == set(METRICS)
    assert "_hparams_/session_end_info" in events.summary_metadata


def test_run_that_did_not_finish_has_no_end(tmp_path):
    log = open_log(tmp_path)
    log.begin("a: 1", {"seed": 1}, 0)
    log.close()
    assert "_hparams_/session_end_info" not in read(tmp_path).summary_metadata


def test_events_after_a_resume_replace_later_ones_and_keep_the_rest(tmp_path):
    for first, purge in ((0, None), (4, 5)):
        log = open_log(tmp_path, purge)
        log.begin("a: 1", {"seed": first}, first)
        log.arrange_charts([])
        for n in range(first + 1, first + 7):
            log.scalars(n, {"x": float(first)})
            log.add(histogram(torch.full((3,), 0.5), n))
        log.close()
    events = read(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("x")] == [
        *((n, 0.0) for n in range(1, 5)), *((n, 4.0) for n in range(5, 11)),
    ]  # fmt: skip
    assert [event.step for event in events.Histograms("p")] == list(range(1, 11))
    assert "custom_scalars__config__" in events.Tags()["tensors"]
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["loss/kept_fraction", "loss/threshold", "train/ce"], ["loss/kept_fraction", "loss/threshold"]),
        (["loss/kept_fraction"], ["loss/kept_fraction"]),
        (["train/ce"], None),
    ],
)
def test_charts_hold_the_curves_that_belong_together(tmp_path, names, kept):
    log = open_log(tmp_path)
    log.arrange_charts(names)
    log.close()
    (event,) = read(tmp_path).Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for part in layout.category for chart in part.chart}
    tags = ["val/iou/road", "val/mIoU", "train/loss", "train/loss_scale", "train/ce", "val/ce", *names]
    shown = {
        title: {tag for tag in tags if any(re.compile(rule).match(tag) for rule in rules)}
        for title, rules in charts.items()
    }
    expected = {
        "IoU of all classes": {"val/iou/road"},
        "training loss and cross-entropy": {"train/loss", "train/ce", "val/ce"},
    }
    assert shown == expected | ({"what the loss keeps": set(kept)} if kept else {})
    assert sum(len(part) for part in chart_layout(names).values()) == len(shown)


def test_histogram_counts_what_numpy_counts():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.rand(7, 11, generator=generator), torch.rand(50, generator=generator).bfloat16()]
    values = np.concatenate([part.float().numpy().ravel() for part in parts]).astype(np.float64)
    summary = summarise_probabilities(parts)
    counts, edges = np.histogram(values, bins=BARS, range=(0, 1))
    assert summary["bucket_counts"] == counts.tolist()
    assert summary["bucket_limits"] == pytest.approx(edges[1:])
    assert (summary["num"], summary["min"], summary["max"]) == (127, values.min(), values.max())
    assert summary["sum"] == pytest.approx(values.sum(), rel=1e-6)
    assert summary["sum_squares"] == pytest.approx((values**2).sum(), rel=1e-6)


def test_probabilities_of_no_pixel_leave_no_histogram():
    sketches = EventSketches(wanted=True)
    sketches.probabilities("p", [torch.zeros(0)], 1)
    sketches.probabilities("p", [], 1)
    assert sketches.made == []


def test_without_a_folder_nothing_is_written(tmp_path):
    log = TensorBoardLog(None, purge_step=None, warn=pytest.fail)
    log.begin("a: 1", {"seed": 1}, 0)
    log.scalars(1, {"x": 1.0})
    log.add(histogram(torch.ones(1), 1))
    log.finish()
    log.close()
    assert list(tmp_path.iterdir()) == []
