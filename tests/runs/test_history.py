"""A run says what it was before it was resumed as something else, and which code of the user's own it was made of."""

import json
import sys
from pathlib import Path

import pytest

from segkit.cli.run_command import import_user_code
from segkit.config.load import load_config
from segkit.registry import SCHEDULES
from segkit.runs.checkpoint import Found
from segkit.runs.history.changes import describe_code
from segkit.runs.history.own_code import digest_own_code
from segkit.system.run_files import RunFiles
from tests.runs.planted_scores import TINY, only_run, run

SHORT = ("--config", "tiny.yaml", "eval.every=0", "log.images_every=0", "log.every=0")


@pytest.fixture
def tiny(tmp_path, monkeypatch, quick_plots):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)


def resumed(folder):
    env = json.loads((folder / "env.json").read_text())
    return [(c["iteration"], c["key"], c["before"], c["after"]) for c in env.get("resumed", [])]


def test_what_a_resumed_run_was_before_stands_in_its_env(tiny):
    assert run(*SHORT, "train.iterations=4") == 0
    folder = only_run()
    assert resumed(folder) == []
    assert run(*SHORT, "--resume", "auto", "train.iterations=8", "optimizer.lr=0.5", "train.workers=1") == 0
    first = [(4, "optimizer.lr", 0.05, 0.5), (4, "train.iterations", 4, 8)]
    assert resumed(folder) == first
    assert run(*SHORT, "--resume", "auto", "train.iterations=10", "optimizer.lr=0.5") == 0
    assert resumed(folder) == [*first, (8, "train.iterations", 8, 10)]
    back = str(folder / "checkpoints/000004.pt")
    assert run(*SHORT, "--resume", back, "train.iterations=4") == 0
    assert resumed(folder) == [], "what came after this checkpoint is given up"


def part(folder, env, *, iteration):
    """Write the env.json of a part of a run that goes on from a checkpoint at `iteration`, or begins at 0."""
    config = load_config("tiny.yaml")
    state = {"trainer": {"iteration": iteration}, "config": config.to_mapping()}
    found = Found(Path("x.pt"), state, []) if iteration else None
    folder.mkdir(exist_ok=True)
    written = {**env, **describe_code(RunFiles(folder), config, env, found)}
    (folder / "env.json").write_text(json.dumps(written))


def test_the_code_of_every_part_is_kept_but_that_of_parts_given_up(tiny, tmp_path):
    folder = tmp_path / "run"
    part(folder, {"torch": "1", "cpu": "a"}, iteration=0)
    part(folder, {"torch": "2", "cpu": "b"}, iteration=4)
    assert resumed(folder) == [(4, "env.torch", "1", "2")]
    part(folder, {"torch": "2"}, iteration=4)
    assert resumed(folder) == [(4, "env.torch", "1", "2")], "it was killed before its first checkpoint"
    part(folder, {"torch": "3"}, iteration=6)
    assert resumed(folder) == [(4, "env.torch", "1", "2"), (6, "env.torch", "2", "3")]
    part(folder, {"torch": "1"}, iteration=2)
    assert resumed(folder) == []
    (folder / "env.json").write_text("[")
    part(folder, {"torch": "9"}, iteration=4)
    assert resumed(folder) == [], "nothing is known of what was before"


def test_a_digest_of_ones_own_code(tmp_path, monkeypatch):
    name = "code_with_a_digest"
    file = tmp_path / f"{name}.py"
    file.write_text(
        "from segkit.registry import SCHEDULES\n"
        f"@SCHEDULES.register('{name}')\n"
        "def shape(progress: float): return progress\n"
    )
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    assert digest_own_code(load_config("tiny.yaml")) == {}
    monkeypatch.setattr(SCHEDULES, "_constructors", dict(SCHEDULES._constructors))
    monkeypatch.setattr(sys, "path", list(sys.path))
    import_user_code([str(file)])
    config = load_config("tiny.yaml", [f"schedule.name={name}"])
    before = digest_own_code(config)
    assert list(before) == [f"{name}.py"] and len(before[f"{name}.py"]) == 16
    file.write_text(file.read_text() + "# changed\n")
    assert digest_own_code(config) != before
