"""Reading run folders: every file arrives, and whatever is wrong with one is said with what to do."""

import fcntl
import json
import re

import numpy as np
import pytest

from segkit.ablation.study import per_image
from segkit.ablation.study.read import read_examples, read_run
from segkit.errors import CheckpointError
from tests.ablation.run_folders import CLASSES, DEFINITION, IMAGES, arrays, make_run, matrices, write


def refusal(folder, **options):
    with pytest.raises(CheckpointError) as caught:
        read_run(folder, variant="ohem", **options)
    return str(caught.value)


def test_every_file_arrives(tmp_path):
    folder = make_run(tmp_path / "run", "seed=3", errors=2)
    run = read_run(folder, variant="ohem")
    assert (run.folder, run.variant, run.seed, run.label) == (folder, "ohem", 3, "ohem, seed 3")
    assert run.config["loss"]["name"] == "ohem_ce"
    assert (run.class_names, run.image_names) == (CLASSES, IMAGES)
    assert_counted(run.counts, matrices(2))
    assert (run.counts.ce, run.counts.borders, run.counts.tolerance) == (None, None, None)
    assert (run.counts.bins, run.counts.brier) == (None, None)
    assert (run.iteration, run.definition) == (20, DEFINITION)
    assert run.summary["iterations"] == 20
    assert run.env["torch"] == "2.9.0"
    assert run.fingerprints["data"] == "da7a"


def test_the_history_has_no_blanks(tmp_path):
    history = read_run(make_run(tmp_path / "run"), variant="ohem").history
    assert list(history) == ["train/loss", "val/mIoU"]
    assert [column.tolist() for column in history["val/mIoU"]] == [[10, 20], [0.25, 0.5]]
    assert [column.dtype for column in history["train/loss"]] == [np.int64, np.float64]


def test_a_run_without_fingerprints_has_none(tmp_path):
    folder = make_run(tmp_path / "run")
    write(folder / "env.json", {"torch": "2.9.0"})
    assert read_run(folder, variant="ohem").fingerprints == {}


def test_the_seed_can_be_demanded(tmp_path):
    folder = make_run(tmp_path / "run", "seed=3")
    assert read_run(folder, variant="ohem", seed=3).seed == 3
    assert refusal(folder, seed=1) == f"{folder}: expected a run with seed 1, but its config.yaml has 3"


def test_no_such_folder(tmp_path):
    assert refusal(tmp_path / "none") == f"no run folder at {tmp_path}/none: no such folder"


def test_not_a_run_folder(tmp_path):
    assert refusal(tmp_path) == (
        f"{tmp_path} is not a run folder: it has no config.yaml -> give a folder such as runs/ohem/TIME"
    )


@pytest.mark.parametrize(
    ("status", "how"),
    [
        ({"state": "running"}, "it was killed, at iteration 1,200"),
        ({"state": "stopped"}, "stopped, at iteration 1,200"),
        ({"state": "failed", "error": "the loss is nan"}, "failed, at iteration 1,200\n   the loss is nan"),
    ],
)
def test_a_run_that_did_not_finish(tmp_path, status, how):
    folder = make_run(tmp_path / "run", status={"iteration": 1200, **status})
    assert refusal(folder) == f"{folder} has not finished: {how}\n   -> python train.py --resume {folder}"


def test_a_run_that_is_still_running(tmp_path):
    folder = make_run(tmp_path / "run", status={"iteration": 12, "state": "running"})
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("12 host\n")
        lock.flush()
        message = refusal(folder)
    assert message == (
        f"{folder} has not finished: it is at iteration 12 and in use by process 12 on host -> wait for it"
    )


def test_a_run_that_never_began(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "status.json").unlink()
    assert refusal(folder) == (
        f"{folder} is not a finished run: it has no status.json, so its training never began -> start the run again"
    )


def test_a_run_of_an_older_segkit(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "per_image.npz").unlink()
    assert refusal(folder) == (
        f"{folder} has no per_image.npz: an older segkit did not write one\n"
        f"   -> python scripts/evaluate.py --weights {folder} --per-image, or train again"
    )


@pytest.mark.parametrize("name", ["results.csv", "summary.json", "env.json"])
def test_a_missing_file(tmp_path, name):
    folder = make_run(tmp_path / "run")
    (folder / name).unlink()
    expected = f"{folder / name} is missing, although the run is done -> restore the file, or train again"
    assert refusal(folder) == expected


@pytest.mark.parametrize("name", ["status.json", "results.csv", "summary.json", "env.json"])
def test_a_damaged_text_file(tmp_path, name):
    folder = make_run(tmp_path / "run")
    text = (folder / name).read_text()
    (folder / name).write_text(text[:-5] + "}x,,,,")
    assert re.fullmatch(
        rf"{re.escape(str(folder / name))} is damaged: .+\n   -> restore the file, or train again",
        refusal(folder),
    )


def test_a_json_file_of_another_kind(tmp_path):
    folder = make_run(tmp_path / "run")
    write(folder / "summary.json", [1])
    assert "summary.json is damaged: expected an object, got list" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("summary", {"iterations": None}, "iterations should be a whole number, is None"),
        ("summary", {"iterations": True}, "iterations should be a whole number, is True"),
        ("summary", {"parameters": 10**400}, "parameters should be a whole number, is 1000"),
        ("summary", {"seconds": "12"}, "seconds should be a number, is '12'"),
        ("summary", {"best": [1]}, "best should be an object, is [1]"),
        ("summary", {"last": {"ce": "x"}}, "last.ce should be a number, is 'x'"),
        ("summary", {"last": {"iou": {"a": []}}}, "last.iou.a should be a number, is []"),
        ("env", {"fingerprints": {"data": [1]}}, "fingerprints.data should be text, is [1]"),
        ("env", {"gpus": [{}]}, "gpus should be a list of text, is [{}]"),
        ("env", {"git_commit": 7}, "git_commit should be text, is 7"),
        ("env", {"own_code": {"a.py": 7}}, "own_code.a.py should be text, is 7"),
    ],
)
def test_an_entry_of_another_kind(tmp_path, name, changes, reason):
    """Edited by hand, or in a packed study of a stranger's."""
    folder = make_run(tmp_path / "run", **{name: changes} if name == "summary" else {})
    if name == "env":
        write(folder / "env.json", {**json.loads((folder / "env.json").read_text()), **changes})
    message = refusal(folder)
    assert message.startswith(f"{folder}/{name}.json is damaged: {reason}"), message
    assert len(message) < 300 + len(str(folder))


@pytest.mark.parametrize("iteration", ["inf", "1e300", "nan"])
def test_an_iteration_that_is_none(tmp_path, iteration):
    folder = make_run(tmp_path / "run")
    (folder / "results.csv").write_text(f"iteration,val/mIoU\n{iteration},0.5\n")
    assert "results.csv is damaged: " in refusal(folder)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"no archive at all", "truncated", "flipped", "single array", "pickle"]
)
def test_a_damaged_archive(tmp_path, content):
    folder = make_run(tmp_path / "run")
    path = folder / "per_image.npz"
    whole = path.read_bytes()
    if content == "single array":
        with path.open("wb") as file:
            np.save(file, matrices())
    elif content == "pickle":
        np.savez(path, **arrays(names=np.array([{"a": 1}], dtype=object)))
    else:
        flipped = whole[:80] + bytes(255 - byte for byte in whole[80:120]) + whole[120:]
        path.write_bytes({"truncated": whole[:-40], "flipped": flipped}.get(content, content))
    message = refusal(folder)
    assert message.startswith(f"{path} is damaged: ") and "unsafely" not in message
    assert message.endswith(
        f"\n   -> python scripts/evaluate.py --weights {folder} --per-image, or train again"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iteration": None}, "it has no iteration"),
        ({"definition": None}, "it has no definition"),
        ({"matrices": None}, "it has neither pixels nor matrices"),
        ({"names": np.array([1, 2, 3, 4])}, "names should be a list of texts, is int64 (4,)"),
        ({"class_names": np.array("abc")}, "class_names should be a list of texts, is <U3 ()"),
        ({"names": np.array([], dtype=str)}, "names should be a list of texts, is <U1 (0,)"),
        ({"names": np.array(["a", "b", "c", "a"])}, "names has the same entry twice"),
        ({"names": np.array(["a", "b"])}, "matrices should be int64 (2, 3, 3), is int64 (4, 3, 3)"),
        (
            {"matrices": matrices().astype(float)},
            "matrices should be int64 (4, 3, 3), is float64 (4, 3, 3)",
        ),
        ({"matrices": matrices() - 1}, "matrices has negative counts"),
        ({"iteration": np.array([1, 2])}, "iteration should be one whole number, is int64 (2,)"),
        ({"definition": np.array(3)}, "definition should be one text, is int64 ()"),
        ({"eval_at": np.array("sea level")}, "eval_at should be network or original, is <U9 ()"),
        ({"eval_at": np.array(["network"])}, "eval_at should be network or original, is <U7 (1,)"),
    ],
)
def test_arrays_that_do_not_fit_together(tmp_path, changes, reason):
    folder = make_run(tmp_path / "run")
    np.savez(folder / "per_image.npz", **arrays(**changes))
    assert refusal(folder).startswith(f"{folder}/per_image.npz is damaged: {reason}\n")


SPARSE = {
    "matrices": None,
    "image": np.array([0, 0, 1, 2, 3], dtype=np.int32),
    "label": np.array([0, 1, 0, 2, 2], dtype=np.uint8),
    "prediction": np.array([0, 2, 0, 0, 2], dtype=np.uint8),
    "pixels": np.array([7, 1, 5, 4, 2**40]),
    "ce_sums": np.array([1.5, 0.0, 2.0, 3.0]),
    "borders": np.arange(72).reshape(4, 3, 6),
    "boundary_tolerance": np.array(2.5),
    "calibration": np.array(
        [[[0, 0, 0]] * 14 + [row] for row in ([8, 7, 9], [5, 5, 4], [4, 0, 1], [2**40] * 3)]
    ),
    "confidence_unit": np.array(15 * 2**16),
    "class_calibration": np.array(
        [
            [[[0, 0, 0]] * 13 + [[pixels - 1, hits, 2], [1, 0, c]] for c, hits in enumerate(labels)]
            for pixels, labels in ((8, (7, 1, 0)), (5, (5, 0, 0)), (4, (0, 0, 4)), (2**40, (0, 0, 2**40)))
        ]
    ),
    "brier_sums": np.array([0.5, 10.0, 8.0, 0.0]),
    "objects": np.arange(120).reshape(4, 2, 15),
    "object_entropies": np.arange(16.0).reshape(4, 2, 2) / 8,
    "object_classes": np.array([2, 1]),
    "object_min_size": np.array(20),
}


def test_entries_are_the_matrices_they_stand_for(tmp_path):
    folder = make_run(tmp_path / "run", arrays_changed=SPARSE)
    dense = np.zeros((4, 3, 3), dtype=np.int64)
    dense[SPARSE["image"], SPARSE["label"], SPARSE["prediction"]] = SPARSE["pixels"]
    found = read_run(folder, variant="ohem").counts
    assert_counted(found, dense)
    assert found.ce.tolist() == [1.5, 0.0, 2.0, 3.0]
    assert found.table("ce")[:, :, 0].tolist() == [[1.5, 8], [0.0, 5], [2.0, 4], [3.0, 2**40]]
    assert found.tolerance == 2.5
    assert found.borders.shape == (4, 6, 3)
    assert found.borders[2, :, 1].tolist() == SPARSE["borders"][2, 1].tolist()
    assert found.bins.shape == (4, 3, 15) and found.bins[1, :, 14].tolist() == [5, 5, 4]
    assert found.class_bins.shape == (4, 3, 45) and found.class_bins[0, 1, 13::15].tolist() == [7, 1, 0]
    assert found.table("class_bins")[2, 2, 28:30].tolist() == [2, 1]
    assert found.table("brier")[:, :, 0].tolist() == [[0.5, 8], [10.0, 5], [8.0, 4], [0.0, 2**40]]
    assert (found.objects.classes, found.objects.min_size) == ((2, 1), 20)
    assert np.array_equal(found.objects.counts, SPARSE["objects"])
    assert np.array_equal(found.objects.entropies, SPARSE["object_entropies"])
    table = found.table("objects")
    assert table.shape == (4, 16, 2) and table[3, :2, 1].tolist() == SPARSE["objects"][3, 1, :2].tolist()
    older = make_run(tmp_path / "older", arrays_changed={"matrices": dense})
    assert read_run(older, variant="ohem").counts.digest == found.digest
    dense[0, 1, 2], dense[0, 1, 1] = 0, 1
    other = make_run(tmp_path / "other", arrays_changed={"matrices": dense})
    assert read_run(other, variant="ohem").counts.digest != found.digest


@pytest.mark.parametrize("block", [1, 9, 20, 10**6])
def test_matrices_are_read_in_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(per_image, "BLOCK", block)
    assert_counted(read_run(make_run(tmp_path / "run"), variant="ohem").counts, matrices(1))


def assert_counted(found, dense):
    """Against sums of the matrices (N, C, C)."""
    hits = np.stack([np.diag(matrix) for matrix in dense])
    np.testing.assert_array_equal(
        found.counts, np.stack([hits, dense.sum(axis=2), dense.sum(axis=1)], axis=1)
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": None}, "it has no image"),
        ({"image": np.array([0, 0, 1, 2, 4])}, "image has values from 0 to 4, beyond 0 to 3"),
        ({"label": np.array([0, 1, 0, -1, 2])}, "label has values from -1 to 2, beyond 0 to 2"),
        ({"pixels": np.array([7, 1, 0, 4, 1])}, "pixels has values from 0 to 7, beyond 1 to inf"),
        ({"pixels": np.ones(5)}, "pixels should be 5 whole numbers, is float64 (5,)"),
        ({"prediction": np.ones(4, dtype=int)}, "prediction should be 5 whole numbers, is int64 (4,)"),
        ({"image": np.array([0, 0, 2, 1, 3])}, "its entries are not in the order of images, labels and"),
        ({"label": np.zeros(5, int), "prediction": np.zeros(5, int)}, "its entries are not in the order"),
        ({"ce_sums": np.ones(3)}, "ce_sums should be 4 numbers, is float64 (3,)"),
        (
            {"borders": np.zeros((4, 6, 3), dtype=int)},
            "borders should be counts (4, 3, 6), is int64 (4, 6, 3)",
        ),
        ({"boundary_tolerance": None}, "it has no boundary_tolerance"),
        ({"boundary_tolerance": np.array("2")}, "boundary_tolerance should be one number, is <U1 ()"),
        (
            {"calibration": np.ones((4, 3, 15), int)},
            "calibration should be counts (4, 15, 3), is int64 (4, 3, 15)",
        ),
        (
            {"calibration": -SPARSE["calibration"]},
            "calibration should be counts (4, 15, 3), is int64 (4, 15, 3)",
        ),
        ({"calibration": SPARSE["calibration"][::-1]}, "calibration is of other pixels than the confusion"),
        (
            {"class_calibration": SPARSE["class_calibration"][:, :2]},
            "class_calibration should be counts (4, 3, 15, 3), is int64 (4, 2, 15, 3)",
        ),
        (
            {"class_calibration": SPARSE["class_calibration"][:, ::-1]},
            "class_calibration is of other pixels than the confusion",
        ),
        ({"confidence_unit": np.array(10)}, "confidence_unit should be 983040, is 10"),
        ({"confidence_unit": None}, "it has no confidence_unit"),
        ({"brier_sums": np.ones(3)}, "brier_sums should be 4 numbers, is float64 (3,)"),
        ({"object_min_size": None}, "it has no object_min_size"),
        ({"object_min_size": np.array(2.0)}, "object_min_size should be one whole number, is float64 ()"),
        ({"object_classes": np.array([1, 3])}, "object_classes should be ids from 0 to 2, is int64 (2,)"),
        ({"object_classes": np.array([1, 1])}, "object_classes should be ids, each once"),
        ({"object_classes": np.array([1])}, "objects should be counts (4, 1, 15), is int64 (4, 2, 15)"),
        ({"objects": -SPARSE["objects"]}, "objects should be counts (4, 2, 15), is int64 (4, 2, 15)"),
        (
            {"object_entropies": np.full((4, 2, 2), np.nan)},
            "object_entropies should be numbers (4, 2, 2), is float64 (4, 2, 2)",
        ),
    ],
)
def test_entries_that_do_not_fit_together(tmp_path, changes, reason):
    folder = make_run(tmp_path / "run", arrays_changed={**SPARSE, **changes})
    assert refusal(folder).startswith(f"{folder}/per_image.npz is damaged: {reason}")


def save_examples(folder, **changes):
    whole = {
        "names": np.array(["a", "b"]),
        "palette": np.zeros((3, 3), dtype=np.uint8),
        "ignore_index": np.array(255),
        "iteration": np.array(10),
    }
    for k in (0, 1):
        whole[f"image_{k}"] = np.full((2, 4, 3), k, dtype=np.uint8)
        whole[f"target_{k}"] = np.full((2, 4), k, dtype=np.uint8)
        whole[f"prediction_{k}"] = np.full((2, 4), k + 2, dtype=np.uint8)
    kept = {"kept_1": np.full((2, 4), 128, dtype=np.uint8)}
    merged = {**whole, **kept, **changes}
    np.savez(folder / "examples.npz", **{name: a for name, a in merged.items() if a is not None})


def test_the_examples(tmp_path):
    folder = make_run(tmp_path / "run")
    save_examples(folder)
    first, second = read_examples(read_run(folder, variant="ohem"))
    assert (first["name"], first["ignore_index"], first["iteration"]) == ("a", 255, 10)
    assert first["kept"] is None
    assert second["image"].shape == (2, 4, 3) and second["palette"].shape == (3, 3)
    assert [int(second[part][0, 0]) for part in ("target", "prediction", "kept")] == [1, 3, 128]


def test_a_run_without_pictures_has_no_examples(tmp_path):
    assert read_examples(read_run(make_run(tmp_path / "run"), variant="ohem")) == []


def test_damaged_examples(tmp_path):
    folder = make_run(tmp_path / "run")
    save_examples(folder, target_1=None)
    with pytest.raises(CheckpointError) as caught:
        read_examples(read_run(folder, variant="ohem"))
    assert str(caught.value) == (
        f"{folder}/examples.npz is damaged: it has no 'target_1'\n"
        "   -> delete it; the report then has no pictures of this run"
    )


@pytest.mark.parametrize(
    ("resize", "at", "words"),
    [
        (None, "original", ""),
        ([36, 48], None, "resized to 36 x 48"),
        ([36, 48], "network", "resized to 36 x 48"),
        ([36, 48], "original", "at the size of their files"),
    ],
)
def test_the_size_of_the_scores_is_that_of_who_scored_last(tmp_path, resize, at, words):
    data = {"name": "folder", "root": "data", "classes": [*CLASSES], "resize": resize}
    changed = {"eval_at": None if at is None else np.array(at)}
    folder = make_run(tmp_path / "run", f"data={json.dumps(data)}", arrays_changed=changed)
    run = read_run(folder, variant="ohem")
    assert run.scored_size == words
    assert run.scored_as_trained == (words != "at the size of their files")


def test_what_a_training_writes_can_be_read(tmp_path):
    """The writer's arrays, not this file's idea of them."""
    import torch

    from segkit.evaluation.evaluate import Evaluation
    from segkit.evaluation.image_matrices import ImageMatrices
    from segkit.evaluation.objects.counts import ObjectCounts
    from segkit.runs.recording.arrays import DEFINITION as WRITTEN
    from segkit.runs.recording.arrays import save_examples as write_examples
    from segkit.runs.recording.arrays import save_per_image

    folder = make_run(tmp_path / "run")
    counted = ImageMatrices.from_dense(torch.from_numpy(matrices()))
    ce_sums = torch.zeros(4, dtype=torch.float64)
    objects = ObjectCounts(np.ones((4, 1, 15), dtype=np.int64), np.ones((4, 1, 2)), (2,), 5)
    result = Evaluation(counted.sum(), 0.5, 4, counted, IMAGES, ce_sums=ce_sums, objects=objects)
    save_per_image(folder / "per_image.npz", result, CLASSES, iteration=20, precision="bf16")
    panel = {
        "name": "a",
        "image": torch.zeros(3, 4, 6, dtype=torch.uint8),
        "target": torch.zeros(4, 6, dtype=torch.uint8),
        "prediction": torch.zeros(4, 6, dtype=torch.int64),
        "kept": None,
    }
    write_examples(folder / "examples.npz", [panel], [(0, 0, 0)] * 3, 255, iteration=20)
    run = read_run(folder, variant="ohem")
    assert (run.image_names, run.iteration, run.definition) == (IMAGES, 20, WRITTEN)
    assert_counted(run.counts, matrices())
    assert run.counts.ce.tolist() == [0.0] * 4
    assert np.array_equal(run.counts.table("objects"), objects.table())
    assert run.counts.setting("objects") == ((2,), 5)
    (example,) = read_examples(run)
    assert example["image"].shape == (4, 6, 3) and example["kept"] is None
