"""What counts as finished, what is continued, what is trained anew, and why."""

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from segkit.ablation.plan.plan import plan_run
from segkit.ablation.running.overview import changed_lines, headline, variant_lines
from segkit.ablation.running.state import inspect_plan, inspect_run
from segkit.config.load import load_config
from segkit.errors import RunFolderInUse
from segkit.runs.folder import RunFolder
from segkit.system.locks import find_holder, take_lock


def make_run(run, state, *, time="20260101-000000", iteration=20, checkpoints=(), per_image=True, error=None):
    """A run folder as train.py leaves it, as far as a plan looks at it."""
    folder = Path("runs/ab") / run.name / time
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(run.config.to_yaml())
    if state is not None:
        (folder / "status.json").write_text(
            json.dumps({"state": state, "iteration": iteration, "error": error})
        )
    for number in checkpoints:
        with zipfile.ZipFile(folder / "checkpoints" / f"{number:06d}.pt", "w") as archive:
            archive.writestr("data", "weights")
            archive.getinfo("data").external_attr = 0  # as torch writes it
    if per_image:
        (folder / "per_image.npz").write_bytes(b"")
    return folder


@pytest.fixture
def look(small):
    """`look(**options)`: the state of the first run of the plan after `make_run` with these options."""
    plan = small()

    def inspect(state, **options):
        make_run(plan.runs[0], state, **options)
        return inspect_run(plan.folder, plan.runs[0])

    return inspect


def test_nothing_there(small):
    plan = small()
    assert [state.words for state in inspect_plan(plan)] == ["new"] * 4
    assert headline(plan, inspect_plan(plan)) == (
        "ablation  ab  2 variants x 2 seeds = 4 runs: 4 new   runs/ab"
    )
    assert not Path("runs").exists()


def test_finished(look):
    state = look("done")
    assert (state.kind, state.iteration, state.words) == ("finished", 20, "finished 20260101-000000")


def test_finished_with_an_older_segkit_that_lacked_an_option(small):
    run = small().run_of("ohem")
    path = make_run(run, "done") / "config.yaml"
    text = path.read_text()
    assert text.count("  thresh: 0.7\n") == 1
    path.write_text(text.replace("  thresh: 0.7\n", ""))
    state = inspect_run(Path("runs/ab"), run)
    assert state.kind == "finished" and state.config.loss.params["thresh"] == 0.7


def test_finished_without_per_image_scores_is_trained_anew(look):
    state = look("done", per_image=False, checkpoints=[20])
    assert (state.kind, state.words) == ("new", "new (20260101-000000 has no per_image.npz)")


@pytest.mark.parametrize("state", ["stopped", "running", "failed", None])
def test_interrupted_is_resumed_from_its_newest_checkpoint(look, state):
    found = look(state, checkpoints=[5, 10], per_image=False)
    assert (found.kind, found.iteration, found.words) == ("resumes", 10, "resumes at 10 of 20")
    assert found.folder == Path("runs/ab/ce-seed0/20260101-000000")


def test_damaged_checkpoint_is_passed_over(look):
    found = look("stopped", checkpoints=[5, 10])
    file = found.folder / "checkpoints/000010.pt"
    file.write_bytes(file.read_bytes()[:-9])
    again = inspect_run(Path("runs/ab"), found.run)
    assert (again.kind, again.iteration) == ("resumes", 5)
    (found.folder / "checkpoints/000005.pt").write_bytes(b"")
    assert inspect_run(Path("runs/ab"), found.run).kind == "new"


def test_failure_is_remembered(look):
    state = look("failed", error="the loss is nan\n   -> a lower optimizer.lr")
    assert (state.kind, state.error) == ("new", "the loss is nan")


def test_damaged_status_is_not_trusted(look):
    found = look("done", checkpoints=[5])
    (found.folder / "status.json").write_text("{")
    assert inspect_run(Path("runs/ab"), found.run).words == "resumes at 5 of 20"


def test_changed_configuration_is_trained_anew_and_said(small):
    before = small()
    for run in before.runs:
        make_run(run, "done")
    plan = small("train.iterations=600", "train.workers=1", "device=cpu", "train.keep_checkpoints=3")
    assert changed_lines(inspect_plan(plan))[0] == (
        "note      ce-seed0: configuration changed (train.iterations: 20 -> 600), running anew"
    )
    assert {state.kind for state in inspect_plan(plan)} == {"new"}
    assert {state.kind for state in inspect_plan(small("train.workers=1", "device=cpu"))} == {"finished"}
    path = Path("ab.yaml")
    path.write_text(path.read_text().replace("ohem: {loss: {name: ohem_ce}}", "ohem: {loss: {name: dice}}"))
    notes = [state.note for state in inspect_plan(small())]
    change = "configuration changed (loss.name: ohem_ce -> dice)"
    assert notes == ["", change, "", change]


def test_many_changes_are_shortened(small):
    make_run(small().runs[0], "done")
    plan = small("train.iterations=9", "optimizer.lr=1", "data.size=32", "train.ema=0.9", "model.width=7")
    assert inspect_run(plan.folder, plan.runs[0]).note == (
        "configuration changed (model.width: 32 -> 7, data.size: 128 -> 32, optimizer.lr: 0.05 -> 1.0 and 2 more)"
    )


FILES = "{name: folder, root: x, classes: classes.txt}"


@pytest.mark.parametrize("data", [FILES, f"{{name: mix, classes: [a, b], parts: [{FILES}]}}"])
def test_what_a_run_found_out_for_an_option_that_is_auto_is_no_change(small, data):
    """A run keeps the range of values that it found in its images, where the plan says `auto`."""
    plan = small(f"data={data}")
    config = make_run(plan.runs[0], "done") / "config.yaml"
    text = config.read_text()
    assert text.count("value_range: auto") == 1
    config.write_text(text.replace("value_range: auto", "value_range: [100.0, 2100.0]"))
    found = inspect_run(plan.folder, plan.runs[0])
    assert found.kind == "finished" and "[100.0, 2100.0]" in found.config.to_yaml()
    config.write_text(text.replace("value_range: auto", "value_range: dtype"))
    assert "value_range: dtype -> auto" in inspect_run(plan.folder, plan.runs[0]).words
    asked = plan_run("ce", 0, load_config(config.parent, ["name=x"]), Path("runs"), ablation="ab")
    config.write_text(text.replace("value_range: auto", "value_range: [100.0, 2100.0]"))
    assert "value_range: [100.0, 2100.0] -> dtype" in inspect_run(plan.folder, asked).words


def test_a_finished_run_of_older_code_of_ones_own_is_kept_and_named(small, tmp_path, monkeypatch):
    plan, file = small(), tmp_path / "my_losses.py"
    file.write_text("# one")
    folder = make_run(plan.runs[0], "done")
    module = ModuleType("my_losses")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "my_losses", module)
    digest = hashlib.sha256(b"# one").hexdigest()[:16]
    (folder / "env.json").write_text(json.dumps({"own_code": {"my_losses.py": digest, "gone.py": "0"}}))
    assert changed_lines(inspect_plan(plan)) == []
    file.write_text("# two")
    assert inspect_run(plan.folder, plan.runs[0]).kind == "finished"
    assert changed_lines(inspect_plan(plan)) == [
        f"note      ce-seed0: kept, trained with another my_losses.py; delete {folder} to train it with the present one"
    ]


def test_another_seed_in_the_folder_is_not_this_run(small):
    plan = small()
    folder = make_run(plan.runs[0], "done")
    (folder / "config.yaml").write_text(plan.runs[2].config.to_yaml())
    assert inspect_run(plan.folder, plan.runs[0]).note == "seed of 20260101-000000 changed: 1 -> 0"


def test_configuration_that_cannot_be_read(small):
    plan = small()
    folder = make_run(plan.runs[0], "done")
    (folder / "config.yaml").write_text("loss: {name: no_such_loss}\ntrain: {epochs: 1}\n")
    state = inspect_run(plan.folder, plan.runs[0])
    assert state.kind == "new"
    assert state.note.startswith("configuration of 20260101-000000 cannot be read: ")


def test_the_best_of_several_folders_counts(small):
    plan = small()
    run, other = plan.runs[0], small("train.iterations=3").runs[0]
    make_run(run, "stopped", time="20260101-000000", checkpoints=[5])
    assert inspect_run(plan.folder, run).kind == "resumes"
    make_run(other, "done", time="20260101-000003")
    assert inspect_run(plan.folder, run).folder.name == "20260101-000000", (
        "a later one of another configuration"
    )
    make_run(run, "done", time="20260101-000001")
    make_run(run, "done", time="20260101-000002")
    make_run(run, "stopped", time="20260101-000004", checkpoints=[5])
    assert inspect_run(plan.folder, run).words == "finished 20260101-000002"


def test_added_seed_and_variant_leave_the_rest(small):
    for run in small().runs:
        make_run(run, "done")
    path = Path("ab.yaml")
    path.write_text(path.read_text().replace("[0, 1]", "[0, 1, 2]") + "  dice: {loss: {name: dice}}\n")
    kinds = {state.run.name: state.kind for state in inspect_plan(small())}
    assert [name for name, kind in kinds.items() if kind == "new"] == [
        "dice-seed0",
        "dice-seed1",
        "ce-seed2",
        "ohem-seed2",
        "dice-seed2",
    ]


def test_run_that_is_being_written(small):
    plan = small()
    run = plan.runs[0]
    folder = make_run(run, "running", checkpoints=[5])
    with RunFolder.reopen(folder):
        state = inspect_run(plan.folder, run)
        assert state.kind == "in use"
        assert state.words == f"in use by {find_holder(folder / '.lock')}"
        assert changed_lines([state]) == [f"note      ce-seed0: left alone, {state.words}"]
    assert inspect_run(plan.folder, run).kind == "resumes"


def test_run_that_is_about_to_start(small):
    """Before it has a folder, the lock of its name keeps others away."""
    import os
    import socket

    plan = small()
    lock = take_lock(plan.files.run_lock("ce-seed0"), "the run ce-seed0", "wait")
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert inspect_run(plan.folder, plan.runs[0]).words == f"in use by {who}"
    assert inspect_run(plan.folder, plan.runs[0], locked=True).kind == "new"
    with pytest.raises(RunFolderInUse) as caught:
        take_lock(plan.files.run_lock("ce-seed0"), "the run ce-seed0", "wait")
    assert str(caught.value) == f"the run ce-seed0 is in use by {who}\n   -> wait"
    os.close(lock)
    assert inspect_run(plan.folder, plan.runs[0]).kind == "new"


def test_what_the_variants_change(small):
    path = Path("ab.yaml")
    path.write_text(
        path.read_text()
        + "  mask: {loss: {name: weighted_mask_ce}, data: {weight_map: {name: boundary}}}\n"
        + "  wide: {model: {width: 16}, loss: {label_smoothing: 0.1}}\n"
    )
    assert variant_lines(small()) == [
        "variants  ce    the baseline",
        "          ohem  loss.name: ce -> ohem_ce",
        "          mask  data.weight_map.name: - -> boundary, loss.name: ce -> weighted_mask_ce",
        "          wide  model.width: 32 -> 16, loss.label_smoothing: 0.0 -> 0.1",
    ]


def test_variants_that_would_look_alike_are_told_apart(small):
    """A block of another name is one change, and two of that name were the same in this list."""
    path = Path("ab.yaml")
    path.write_text(
        path.read_text()
        + "  mined: {loss: {name: ohem_ce, thresh: 0.9}}\n"
        + "  dice: {loss: {name: sum, terms: [{name: ce}, {name: dice}]}}\n"
        + "  lovasz: {loss: {name: sum, terms: [{name: ce, weight: 0.5}, {name: lovasz}]}}\n"
    )
    lines = [line[10:] for line in variant_lines(small())]
    assert lines[:3] == [
        "ce      the baseline",
        "ohem    loss.name: ce -> ohem_ce, loss.thresh: 0.7",
        "mined   loss.name: ce -> ohem_ce, loss.thresh: 0.9",
    ]
    assert lines[3].startswith(
        "dice    loss.name: ce -> sum, loss.terms.1.name: dice, loss.terms.0.weight: 1.0"
    )
    assert lines[4].startswith(
        "lovasz  loss.name: ce -> sum, loss.terms.1.name: lovasz, loss.terms.0.weight: 0.5"
    )
