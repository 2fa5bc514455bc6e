"""best.pt, summary.json and the model card are of one history, whatever was resumed, given up or deleted."""

from pathlib import Path

import pytest
import torch

from segkit.distributed.ranks import Ranks
from tests.runs.planted_scores import TINY, average_of, read_summary, train_with_scores, weights_of

SCORES = {2: 0.3, 4: 0.2, 6: 0.1, 8: 0.4}


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    return monkeypatch


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_best_of_a_continuation_that_was_given_up_is_not_that_of_the_run(tiny, capsys):
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    given_up = weights_of(folder / "best.pt")
    assert given_up[:2] == (8, 0.4)
    scored = average_of(folder / "checkpoints/000002.pt")
    capsys.readouterr()
    train_with_scores(tiny, {6: 0.25}, "--resume", f"{folder}/checkpoints/000004.pt", "train.iterations=6")
    iteration, score, weights = weights_of(folder / "best.pt")
    assert (iteration, score) == (2, 0.3)
    assert_same(weights, scored)
    summary = read_summary(folder)
    assert summary["best"] == {"mIoU": pytest.approx(0.3), "iteration": 2} == summary["best_weights"]
    card = (folder / "README.md").read_text()
    assert "The best mIoU was 30.0 at iteration 2; `best.pt` has those weights." in card
    assert_same(weights_of(folder / "best.pt.aside")[2], given_up[2])
    shown = capsys.readouterr().out
    assert "aside     best.pt -> best.pt.aside: it is of iteration 8, which is not of this run\n" in shown
    assert "best      best.pt made again from checkpoints/000002.pt: iteration 2, mIoU 30.0\n" in shown


def test_where_the_best_weights_are_lost_the_best_that_are_left_count(tiny, capsys):
    """Iteration 2 was the best of this history, and its checkpoint is gone."""
    folder = train_with_scores(tiny, SCORES, "--config", "tiny.yaml")
    (folder / "checkpoints/000002.pt").unlink()
    second = average_of(folder / "checkpoints/000004.pt")
    command = ("--resume", f"{folder}/checkpoints/000004.pt")
    train_with_scores(tiny, {6: 0.15}, *command, "train.iterations=6")
    assert weights_of(folder / "best.pt")[:2] == (4, 0.2)
    assert_same(weights_of(folder / "best.pt")[2], second)
    summary = read_summary(folder)
    assert summary["best"] == {"mIoU": pytest.approx(0.3), "iteration": 2}  # that is what was scored
    assert summary["best_weights"] == {"mIoU": pytest.approx(0.2), "iteration": 4}
    card = " ".join((folder / "README.md").read_text().split())
    assert (
        "The best mIoU was 30.0 at iteration 2, whose weights are no longer there; `best.pt` has those of"
        in card
    )
    assert "iteration 4, the best that are: mIoU 20.0." in card
    assert (
        "best      best.pt made again from checkpoints/000004.pt: iteration 4, mIoU 20.0, "
        "the best that is left (iteration 2 had 30.0)\n"
    ) in capsys.readouterr().out
    # Going on: what is no better than the weights that are there is not written, what is better is.
    train_with_scores(tiny, {8: 0.25}, "--resume", str(folder), "train.iterations=8")
    assert weights_of(folder / "best.pt")[:2] == (8, 0.25)
    assert read_summary(folder)["best_weights"]["iteration"] == 8
    assert read_summary(folder)["best"]["iteration"] == 2


def test_deleted_best_weights_are_made_again_where_they_can_be(tiny, capsys):
    folder = train_with_scores(tiny, {2: 0.1, 4: 0.3, 6: 0.2, 8: 0.2}, "--config", "tiny.yaml")
    before = weights_of(folder / "best.pt")
    (folder / "best.pt").unlink()
    train_with_scores(tiny, {10: 0.2}, "--resume", str(folder), "train.iterations=10")
    again = weights_of(folder / "best.pt")
    assert again[:2] == before[:2] == (4, 0.3)
    assert_same(again[2], before[2])
    assert "best.pt was not there, made again from checkpoints/000004.pt" in capsys.readouterr().out


def test_deleted_best_weights_come_with_the_next_evaluation_where_they_cannot(tiny, capsys):
    """No numbered checkpoint was evaluated: the score of iteration 5 is all that is left of the best."""
    options = ("eval.every=5", "train.checkpoint_every=3", "train.keep_checkpoints=2")
    folder = train_with_scores(tiny, {5: 0.3, 8: 0.2}, "--config", "tiny.yaml", *options)
    (folder / "best.pt").unlink()
    (folder / "checkpoints/000008.pt").unlink()
    train_with_scores(tiny, {8: 0.2, 10: 0.3}, "--resume", str(folder), "train.iterations=10")
    assert weights_of(folder / "best.pt")[:2] == (10, 0.3)
    assert read_summary(folder)["best"]["iteration"] == 5  # the first of two that are as good
    assert read_summary(folder)["best_weights"]["iteration"] == 10
    shown = capsys.readouterr().out
    assert (
        "best      best.pt is not there, and no checkpoint was evaluated; the next evaluation writes it "
        "(iteration 5 had 30.0)\n"
    ) in shown


def test_what_was_deleted_while_the_run_went_on_is_not_named_at_its_end(tiny):
    """The weights of the best moment are gone from best.pt and from the checkpoints."""

    def delete(trainer, batch):
        for path in Path("runs").rglob("best.pt"):
            path.unlink()
        return original(trainer, batch)

    from segkit.training.trainer import Trainer

    original = Trainer.update
    with tiny.context() as patch:
        patch.setattr(Trainer, "update", delete)
        folder = train_with_scores(
            patch, {2: 0.3, 4: 0.2, 6: 0.1, 8: 0.2}, "--config", "tiny.yaml", "train.keep_checkpoints=2"
        )
    assert weights_of(folder / "best.pt")[:2] == (8, 0.2)
    assert read_summary(folder)["best"]["iteration"] == 2
    assert read_summary(folder)["best_weights"]["iteration"] == 8


def test_all_processes_go_on_with_what_is_found_of_the_best_weights(tiny):
    """Else they would disagree on whether the next evaluation writes best.pt, which takes all of them."""
    options = ("eval.every=5", "train.checkpoint_every=3", "train.keep_checkpoints=2")
    folder = train_with_scores(tiny, {5: 0.3, 8: 0.2}, "--config", "tiny.yaml", *options)
    (folder / "best.pt").unlink()
    (folder / "checkpoints/000008.pt").unlink()
    shared = []
    tiny.setattr(Ranks, "share", lambda self, value=None: shared.append(value) or value)
    train_with_scores(tiny, {8: 0.2, 10: 0.1}, "--resume", str(folder), "train.iterations=10")
    (state,) = [value[1] for value in shared if isinstance(value, tuple)]
    assert state["best"] == {"mean_iou": pytest.approx(0.3), "iteration": 5}
    assert state["kept"]["mean_iou"] < 0  # so that all write best.pt at the next one


def test_damaged_best_weights_do_not_keep_a_run_from_being_resumed(tiny, capsys):
    folder = train_with_scores(tiny, {2: 0.1, 4: 0.3, 6: 0.2, 8: 0.2}, "--config", "tiny.yaml")
    (folder / "best.pt").write_bytes((folder / "best.pt").read_bytes()[:-40])
    train_with_scores(tiny, {10: 0.2}, "--resume", str(folder), "train.iterations=10")
    assert weights_of(folder / "best.pt")[:2] == (4, 0.3)
    shown = capsys.readouterr().out
    assert "aside     best.pt -> best.pt.aside: it is damaged\nbest      best.pt made again from" in shown


@pytest.mark.parametrize("ema", ["0.9", "null"])
def test_intact_best_weights_stay_as_they_are(tiny, capsys, ema):
    scores = {2: 0.1, 4: 0.3, 6: 0.2, 8: 0.2}
    folder = train_with_scores(tiny, scores, "--config", "tiny.yaml", f"train.ema={ema}")
    before = (folder / "best.pt").read_bytes()
    train_with_scores(tiny, {10: 0.2}, "--resume", str(folder), "train.iterations=10")
    assert (folder / "best.pt").read_bytes() == before
    shown = capsys.readouterr().out
    assert "best      " not in shown and "aside     " not in shown
