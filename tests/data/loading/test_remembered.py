"""Samples that are read once, and the places that two looks at a data set share."""

import pickle

import pytest

from segkit.config.load import load_config
from segkit.data.check import check_data
from segkit.data.datasets.shapes import Shapes
from segkit.data.loading.remembered import Remembered
from segkit.data.loading.spread import FEW, among_which_few, spread
from segkit.runs.fingerprints import data_fingerprint
from segkit.runs.run import look_at_data
from segkit.training.build import build

READ = Shapes.__getitem__


class Counted(Shapes):
    """Counts how often each sample is read."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.reads = []

    def __getitem__(self, index):
        self.reads.append(index)
        return READ(self, index)


def test_it_can_be_sent_to_another_process():
    data = pickle.loads(pickle.dumps(Remembered(Shapes("train", size=32))))
    assert data.class_names == Shapes("train", size=32).class_names


def test_a_sample_is_read_once():
    data = Counted("train", size=32)
    kept = Remembered(data)
    assert [kept[3].name, kept[4].name, kept[3].name] == ["train_00003", "train_00004", "train_00003"]
    assert data.reads == [3, 4]
    assert len(kept) == len(data) and kept.class_names is data.class_names


def test_what_is_beyond_the_bytes_is_read_again():
    data = Counted("train", size=32)
    first = data[0]
    kept = Remembered(data, most_bytes=first.image.nbytes + first.target.nbytes)
    data.reads.clear()
    for index in (0, 1, 0, 1):
        assert kept[index].index == index
    assert data.reads == [0, 1, 1]


def test_what_is_wrong_with_a_sample_is_said_each_time():
    kept = Remembered(Shapes("train", size=32))
    for _ in range(2):
        with pytest.raises(IndexError):
            kept[10**6]


@pytest.mark.parametrize("limit", [16, 17, 31, 48, 64])
@pytest.mark.parametrize("total", [5, 16, 17, 47, 61, 62, 200, 1999, 10_007])
def test_the_few_are_among_the_many(total, limit):
    many = among_which_few(limit)
    assert limit - FEW < many - 1 < limit
    assert set(spread(total, FEW)) <= set(spread(total, many))


def test_less_than_few_are_all():
    assert [among_which_few(limit) for limit in (0, 1, 15)] == [0, 1, 15]


def test_the_check_and_the_fingerprint_of_a_run_read_each_sample_once(monkeypatch):
    monkeypatch.setattr("segkit.data.datasets.shapes.Shapes.__getitem__", Counted.__getitem__)
    monkeypatch.setattr("segkit.data.datasets.shapes.Shapes.reads", [], raising=False)
    experiment = build(
        load_config("debug.yaml", ["data.train_size=200", "data.val_size=50", "train.workers=0"])
    )
    data = experiment.data
    Shapes.reads.clear()
    alone = data_fingerprint(data.train, data.val)
    in_fingerprint = len(Shapes.reads)
    check_data(data.train, data.val)
    apart = len(Shapes.reads)
    Shapes.reads.clear()
    _, digests = look_at_data(experiment)
    assert digests["data"] == alone
    first_batch = experiment.batch_size
    assert len(Shapes.reads) - first_batch == apart - in_fingerprint
