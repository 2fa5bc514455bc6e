"""What a packed study must not tell of the machine that its runs were trained on, and of whose it is."""

import json
import re
import socket
from pathlib import Path

import pytest

from segkit.ablation.collect import _why_missing
from segkit.ablation.compare import compare_runs, make_study
from segkit.ablation.study.gather import gather_runs
from segkit.ablation.study.pack import pack_study
from segkit.config.carried.places import clear_words
from segkit.errors import CheckpointError
from tests.ablation.run_folders import fake_run, make_run, study_of
from tests.ablation.study.packing import CE, packed, read, replant, study, train


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "jane doe" / "runs"
    train(folder, "ohem", 0, "/data/of jane/images", errors=5)
    train(folder, "ce", 0, "/data/of jane/images", CE)
    return folder


def all_text(path):
    return b"\n".join(content for name, content in read(path).items() if not name.endswith(".npz")).decode()


def test_accounts_are_not_told(tmp_path):
    logged = [
        "log.wandb={project: roads, entity: jane}",
        "log.mlflow={tracking_uri: 'http://jane:secret@tracker'}",
    ]
    train(tmp_path / "runs", "ohem", 0, tmp_path, *logged, errors=5)
    train(tmp_path / "runs", "ce", 0, tmp_path, CE, *logged)
    path = packed(tmp_path / "s.zip", tmp_path / "runs")
    assert not re.search("jane|secret|tracker", all_text(path))
    assert study(path).runs[0].config["log"]["wandb"] is None


def test_places_that_a_resumed_run_had_before_are_not_told(tmp_path):
    change = {"iteration": 5, "key": "data.root", "before": "jane", "after": "/home/jane"}
    for name, overrides in (("ohem", ()), ("ce", (CE,))):
        folder = train(tmp_path / "runs", name, 0, tmp_path, *overrides, errors=5 if overrides else 1)
        env = json.loads((folder / "env.json").read_text())
        (folder / "env.json").write_text(json.dumps({**env, "resumed": [change, "/home/jane"]}))
    path = packed(tmp_path / "s.zip", tmp_path / "runs")
    assert "jane" not in all_text(path)
    (kept,) = study(path).runs[0].env["resumed"]
    assert (kept["iteration"], kept["key"]) == (5, "data.root") and kept["before"] != kept["after"]


@pytest.mark.parametrize(
    ("line", "clear"),
    [
        ("'/home/jane doe/runs' ../x", "'not-in-this-file' not-in-this-file"),
        ("'data={root: /home/jane doe/d, classes: [a]}'", "'data={root: not-in-this-file, classes: [a]}'"),
        ("it's there (/home/jane/x), `~jane`", "it's there (not-in-this-file), `not-in-this-file`"),
        ("--config=/home/jane/x.yaml;/bin/x", "--config=not-in-this-file;not-in-this-file"),
        ("C:\\Users\\jane\\x is damaged", "not-in-this-file is damaged"),
        ("loss.n_min=1/16 a/b.yaml 'x y/z'", "loss.n_min=1/16 a/b.yaml 'x y/z'"),
    ],
)
def test_paths_in_a_line(line, clear):
    assert clear_words(line) == clear


def test_private_words_in_a_line():
    line = "/home/jane doe/runs/x is at node7, not at node77: node7-b"
    assert clear_words(line, ["/home/jane doe", "/home/jane doe/runs", "node7"]) == (
        "not-in-this-file/x is at not-in-this-file, not at node77: node7-b"
    )


def test_folders_with_blanks_are_left_out_of_what_is_missing(runs, tmp_path):
    train(runs, "dice", 0, "/data/x", "loss={name: dice}", status={"state": "stopped"})
    train(runs, "focal", 0, "/data/x", "loss={name: focal}")
    (runs / "focal-seed0" / "T" / "summary.json").write_text("{")
    pack_study(
        study(runs, command=f"compare.py '{runs}' --output '{tmp_path}/jane doe/out'"), tmp_path / "s.zip"
    )
    text = all_text(tmp_path / "s.zip")
    assert "jane" not in text and "not-in-this-file/dice-seed0/T has not finished" in text
    assert "compare.py 'not-in-this-file' --output 'not-in-this-file" in text


def test_errors_of_missing_runs_are_not_told(runs, tmp_path):
    """They may name anything, such as machines."""
    folder = runs / "ce-seed0" / "T"
    told = {
        "dice-seed0: failed: rank 1 on node17: no\nimages of jane -> ask jane": "dice-seed0: failed",
        "x-seed0: in use by process 7 on node17": "x-seed0: in use",
        "x-seed1: at 5 and in use by process 7 on node17 -> wait": "x-seed1: at 5 and in use -> wait",
        "failed-seed0: not trained yet": "failed-seed0: not trained yet",
    }  # fmt: skip
    found = [fake_run(name, 0, CE, folder=folder) for name in ("ce", "plain")]
    pack_study(study_of(*found, missing=tuple(told)), tmp_path / "s.zip")
    assert json.loads(read(tmp_path / "s.zip")["study.json"])["missing"] == list(told.values())


def test_errors_are_said_as_they_are_left_out():
    """The words of a plan are those that are looked for."""
    from segkit.ablation.running.state import RunState

    state = RunState.__new__(RunState)
    object.__setattr__(state, "error", "of node17")
    assert _why_missing(state) == "failed: of node17"


def test_no_end_of_a_path_stays_in_a_command(runs, tmp_path):
    beside = tmp_path / "images" / "camvid"
    pack_study(study(runs, command=f"ablate.py --config a.yaml data.root={beside}"), tmp_path / "s.zip")
    command = json.loads(read(tmp_path / "s.zip")["study.json"])["command"]
    assert command == "ablate.py --config a.yaml data.root=not-in-this-file"


def test_machines_in_a_command(runs, tmp_path):
    command = f"ssh my-machine compare.py runs; ssh {socket.gethostname()} ls {Path.home()}"
    pack_study(study(runs, command=command), tmp_path / "s.zip")
    assert json.loads(read(tmp_path / "s.zip")["study.json"])["command"] == (
        "ssh not-in-this-file compare.py runs; ssh not-in-this-file ls not-in-this-file"
    )


def test_variants_are_not_called_by_places(tmp_path):
    """As `compare` calls those that differ in a path alone; their packed study has the names of its report."""
    for errors, place in enumerate(("jane", "john"), start=1):
        make_run(
            tmp_path / place / "T",
            CE,
            "name=ce",
            f"model.init_from=/home/{place}/x.pt",
            errors=errors,
        )
    findings = compare_runs([tmp_path], pack=tmp_path / "s.zip")
    assert findings.study.variants == ("ce init_from=not-in-this-file", "ce init_from=not-in-this-file-2")
    assert compare_runs([tmp_path / "s.zip"]).study.variants == findings.study.variants
    assert not re.search("jane|john", all_text(tmp_path / "s.zip"))
    beside = make_study(gather_runs([tmp_path]), baseline=None, group_by=None)
    assert beside.variants[0] == "ce init_from=/home/jane/x.pt"


def test_a_command_of_several_lines_stays_one_block(runs, tmp_path):
    first = tmp_path / "a.zip"
    pack_study(study(runs, command="first"), first)
    pack_study(study(first, command="second"), tmp_path / "b.zip")
    assert "\n    first\n    second\n" in read(tmp_path / "b.zip")["README.md"].decode()


# --- what others may have written


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("status.json", b'{"state": "done", "iteration": 20}', "does not say when a training has ended"),
        ("status.json", b'{"state": "done", "iteration": 20, "updated": "soon"}', "does not say when"),
        ("status.json", b'{"state": "done", "iteration": 2, "updated": "2026-11-21T10:00:00"}', "does not say"),
        ("status.json", b'{"state": "stopped", "iteration": 2, "updated": "2026-11-21T10:00Z"}', "does not say"),
        ("status.json", b"[]", "does not say when"),
        ("status.json", b"\xff", "does not say when"),
        ("env.json", b'{"fingerprints": [1]}', "fingerprints should be an object, is [1]"),
        ("summary.json", b'{"iterations": "x"}', "iterations should be a whole number, is 'x'"),
    ],
)  # fmt: skip
def test_files_of_runs_are_checked(runs, tmp_path, file, content, words):
    path = replant(packed(tmp_path / "s.zip", runs), **{f"ce-seed0/{file}": content})
    with pytest.raises(CheckpointError) as caught:
        gather_runs([path])
    assert str(caught.value).startswith(f"{path}/ce-seed0/{file} ") and words in str(caught.value)
    assert str(caught.value).endswith(
        "\n   -> fetch the packed study again, or pack it again where the runs are"
    )
