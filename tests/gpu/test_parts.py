"""The parts: what can be named, how long they may take together, and that what they run is there."""

import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import pytest

from scripts.gpu.commands import Place
from scripts.gpu.parts import GROUPS, INSTALL, PARTS, choose_parts, seconds_of
from scripts.gpu.run import main
from tests.paths import ROOT

#: Seconds of two calls, in which everything has to end: one for what is correct, one for numbers.
FIRST, SECOND = 8 * 60, 5 * 60


def place(folder: Path, **options) -> Place:
    return Place(folder / "work", Path("python"), folder / ".gpu", **options)


def names(*words: str) -> list[str]:
    return [part.name for part in choose_parts(words)]


def test_groups_and_parts_are_chosen_in_their_order_after_the_installation():
    assert names() == [part.name for part in PARTS] and PARTS[0].name == INSTALL
    assert names("camvid", "step") == [INSTALL, "step", "camvid-ohem", "camvid-ce"]
    assert names("resume", "resume") == [INSTALL, "resume"]
    groups = [part.group for part in choose_parts(["numbers", "correctness"])]
    assert groups == [
        "",
        *["correctness"] * groups.count("correctness"),
        *["numbers"] * groups.count("numbers"),
    ]


def test_a_name_that_is_none_is_refused_with_those_there_are(capsys):
    with pytest.raises(ValueError, match=r"(?s)^stp, correct: no part and no group.*numbers.*check-losses"):
        choose_parts(["stp", "camvid", "correct"])
    with pytest.raises(SystemExit) as ended:
        main(["stp"])
    assert ended.value.code == 2 and "stp: no part and no group" in capsys.readouterr().err


def test_two_calls_have_time_for_all():
    assert seconds_of(choose_parts(["correctness"])) == GROUPS["correctness"] <= FIRST
    assert seconds_of(choose_parts(["numbers", "camvid"])) <= SECOND
    assert all(0 < part.limit <= GROUPS.get(part.group, FIRST) for part in PARTS)
    timed = [part.limit for part in PARTS if part.group == "numbers"]
    assert sum(timed) <= GROUPS["numbers"] + 60, "they run one after the other"


@pytest.mark.parametrize("dry", [False, True])
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_what_a_part_runs_is_there(part, dry, tmp_path):
    words = [str(word) for word in part.words(place(tmp_path, dry=dry, gpus=1))]
    modules = [after for word, after in pairwise(words) if word == "-m" and after]
    assert modules and all(importlib.util.find_spec(name) for name in modules)
    files = [word for word in words if re.fullmatch(r"tests/[\w/.]+", word)]
    assert files if "pytest" in modules else not files
    assert all((ROOT / name).exists() for name in files)
    configs = [words[n + 1] for n, word in enumerate(words) if word == "--config"]
    assert all((ROOT / "configs" / name).is_file() for name in configs)
    assert ("cuda" in words) == (not dry and "pytest" not in modules and part.name != INSTALL)


def test_every_test_of_the_kernels_is_run():
    (part,) = (part for part in PARTS if part.name == "tests-triton")
    words = part.words(place(Path("x")))
    assert {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/losses").glob("test_triton*.py")
    } <= {*words}


def test_two_processes_where_there_are_two_gpus(tmp_path):
    chosen = {part.name: part for part in PARTS}
    for gpus, processes in {1: "1", 2: "2", 8: "2"}.items():
        at = place(tmp_path, gpus=gpus)
        for name, option in {"torchrun": "--processes", "nccl": "--nproc-per-node"}.items():
            words = chosen[name].words(at)
            assert words[words.index(option) + 1] == processes


def test_camvid_is_skipped_where_it_is_not(tmp_path):
    (part,) = (part for part in PARTS if part.name == "camvid-ce")
    for folder in ("images/train", "images/val", "labels/train"):
        (tmp_path / ".gpu/camvid" / folder).mkdir(parents=True)
    assert "has no labels/val" in part.refuse(place(tmp_path))
    (tmp_path / ".gpu/camvid/labels/val").mkdir()
    assert part.refuse(place(tmp_path)) is None


def test_fp16_is_not_rehearsed(tmp_path):
    (part,) = (part for part in PARTS if part.name == "train-fp16")
    assert part.refuse(place(tmp_path, dry=True)) == "no CPU trains in fp16"
    assert part.refuse(place(tmp_path)) is None and "train.amp=fp16" in part.words(place(tmp_path))
