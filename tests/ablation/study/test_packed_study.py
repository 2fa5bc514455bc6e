"""The numbers of a study as one file: what is in it, the same report from it, what others could have put into it."""

import json
import platform
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import segkit
from segkit.ablation.compare import make_study, show_comparison
from segkit.ablation.study.gather import gather_runs
from segkit.ablation.study.pack import pack_study
from segkit.config.carried.places import clear_words
from segkit.errors import CheckpointError, ConfigError
from segkit.system.packed.members import STUDY
from segkit.system.packed.write import write_packed
from tests.ablation.run_folders import fake_run, make_run, study_of
from tests.ablation.study.packing import CE, about_with, packed, read, replant, study, train
from tests.scripts import run_script

#: Files of a report in which no path of a run and no picture is.
FILES = ("differences.json", "differences.csv", "report.tex")


@pytest.fixture
def runs(tmp_path):
    """Two seeds of ce and of ohem, trained on images that lie somewhere on this machine."""
    folder = tmp_path / "runs"
    (tmp_path / "images").mkdir()
    for seed in (0, 1, 2):
        train(folder, "ohem", seed, tmp_path / "images", errors=2 + seed)
        train(folder, "ce", seed, tmp_path / "images", CE, errors=16 + seed)
    return folder


# --- the same report


def test_the_report_of_a_packed_study_is_that_of_its_runs(runs, tmp_path, capsys):
    options = {"baseline": "ce", "group_by": 2, "margin": 0.5, "level": 0.9, "metrics": ["miou", "accuracy"]}
    show_comparison(
        [runs], **options, output=tmp_path / "a", pack=tmp_path / "numbers/study.zip", command="first"
    )
    show_comparison([tmp_path / "numbers/study.zip"], output=tmp_path / "b", command="second")
    out = capsys.readouterr().out
    assert re.search(
        r"packed    \S+study\.zip   0\.0 MB, 6 runs; it has the names of the validation images", out
    )
    assert "ce: seed 0, 1, 2   baseline, as the packed study says (--baseline NAME chooses another)" in out
    for name in FILES:
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    before, after = ((tmp_path / name / "report.md").read_text().splitlines() for name in "ab")
    gone, new = set(before) - set(after), set(after) - set(before)
    assert all(str(runs) in line or "in the examples.npz" in line or "comparison of" in line for line in gone)
    assert {line for line in new if "study.zip/" not in line} == {
        "# Ablation: comparison of finished runs", "second", "No example images: a packed study has none.",
    } - set(before)  # fmt: skip


def test_its_choices_stand_where_none_are_made(runs, tmp_path):
    kept = {"group_by": 2, "margin": 0.5, "level": 0.9, "metrics": ["accuracy", "miou"]}
    path = packed(tmp_path / "s.zip", runs, baseline="ohem", **kept)
    again = study(path)
    found = (again.baseline, again.group_by, again.margin, again.level, again.metrics)
    assert found == ("ohem", 2, 0.005, 0.9, ("accuracy", "miou"))
    again = study(path, baseline="ce", group_by=3, margin=1.0, level=0.8, metrics=["miou"])
    found = (again.baseline, again.group_by, again.margin, again.level, again.metrics)
    assert found == ("ce", 3, 0.01, 0.8, ("miou",))
    none = study(path, group_by=1, margin=0)
    assert (none.group_by, none.margin, none.level) == (None, None, 0.9)


def test_names_are_kept_and_can_be_others(runs, tmp_path):
    gathered = gather_runs([runs], names=["plain", "mined"])
    path = tmp_path / "s.zip"
    pack_study(make_study(gathered, baseline="mined", group_by=None), path)
    assert (study(path).variants, study(path).baseline) == (("plain", "mined"), "mined")
    again = make_study(gather_runs([path], names=["a", "b"]), baseline=None, group_by=None)
    assert (again.variants, again.baseline) == (("a", "b"), "b")


def test_a_name_need_not_be_one_of_a_folder(runs, tmp_path):
    names = ["../ce", "ce/.."]
    path = tmp_path / "s.zip"
    pack_study(make_study(gather_runs([runs], names=names), baseline=None, group_by=None), path)
    assert study(path).variants == tuple(names)
    assert {name.partition("/")[0] for name in read(path) if "/" in name} == {
        *(f"_ce-seed{seed}" for seed in range(3)), *(f"ce_..-seed{seed}" for seed in range(3)),
    }  # fmt: skip


def test_names_of_any_characters_stay_as_they_are(runs, tmp_path):
    names = ['a\nb \x1b[31m `x` | \u202e "q" \u00fc', "y" * 300]
    first = segkit.compare_runs([runs], names=names, report=tmp_path / "a", pack=tmp_path / "s.zip")
    again = segkit.compare_runs([tmp_path / "s.zip"], report=tmp_path / "b")
    assert again.study.variants == first.study.variants == tuple(names)
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in FILES)
    assert max(len(name) for name in read(tmp_path / "s.zip")) < 130
    assert "- `a\\nb \\x1b[31m `x` | \\u202e" in read(tmp_path / "s.zip")["README.md"].decode()


def test_bytes_that_are_no_text_are_escaped(runs, tmp_path):
    whole = study(runs, command="compare.py b\udcff")
    pack_study(replace(whole, missing=("b\udcff/T has not finished",)), tmp_path / "s.zip")
    about = json.loads(read(tmp_path / "s.zip")["study.json"])
    assert (about["command"], about["missing"]) == ("compare.py b\\udcff", ["b\\udcff/T has not finished"])
    with pytest.raises(ConfigError, match="--names has a name without a character"):
        gather_runs([runs], names=["", "x"])


def test_the_same_study_gives_the_same_bytes(runs, tmp_path):
    first = packed(tmp_path / "a.zip", runs).read_bytes()
    assert packed(tmp_path / "a.zip", runs).read_bytes() == first
    assert packed(tmp_path / "b.zip", tmp_path / "a.zip").read_bytes() == first


def test_variants_that_differ_in_nothing_that_matters_stay_apart(runs, tmp_path):
    one = [fake_run("a", seed, CE, folder=runs / f"ce-seed{seed}/T") for seed in (0, 1)]
    other = [fake_run("b", seed, CE, folder=runs / f"ohem-seed{seed}/T") for seed in (0, 1)]
    pack_study(study_of(*one, *other), tmp_path / "s.zip")
    gathered = gather_runs([tmp_path / "s.zip"])
    assert (gathered.variants, len(gathered.runs), gathered.notes) == (("a", "b"), 4, [])


def test_weights_to_begin_with_are_told_apart(runs, tmp_path):
    for variant in ("one", "two"):
        weights = f"model.init_from={tmp_path / variant}.pt"
        train(tmp_path / "begun", variant, 0, tmp_path, weights)
    path = packed(tmp_path / "s.zip", tmp_path / "begun")
    starts = [run.config["model"]["init_from"] for run in study(path).runs]
    assert len(set(starts)) == 2 and all(start.startswith("not-in-this-file") for start in starts)


# --- several, and runs beside them


def test_seeds_of_two_machines_are_one_study(runs, tmp_path):
    for variant, loss in (("ce", CE), ("ohem", "loss={name: ohem_ce}")):
        train(tmp_path / "more", variant, 7, tmp_path / "elsewhere", loss, errors=9)
    first = packed(tmp_path / "first.zip", runs, group_by=2)
    second = packed(tmp_path / "second.zip", tmp_path / "more")
    both = study(first, second)
    assert (both.variants, both.seeds, both.group_by) == (("ce", "ohem"), (0, 1, 2, 7), 2)
    assert study(first, tmp_path / "more").seeds == (0, 1, 2, 7)
    assert study(packed(tmp_path / "all.zip", first, second)).seeds == (0, 1, 2, 7)
    assert [str(run.folder) for run in both.of("ce")][-1] == f"{second}/ce-seed7"


def test_a_packed_study_is_given_once(runs, tmp_path):
    path = packed(tmp_path / "s.zip", runs)
    with pytest.raises(ConfigError, match=rf"^the run {path}/ce-seed0 is given twice, by {path} -> "):
        gather_runs([path, path])


def test_what_is_missing_is_still_said(runs, tmp_path):
    make_run(runs / "dice-seed0" / "T", "loss={name: dice}", status={"state": "stopped"})
    path = packed(tmp_path / "s.zip", runs)
    (line,) = gather_runs([path]).missing
    assert line == (
        "not-in-this-file/dice-seed0/T has not finished: stopped, at iteration 20 -> python train.py --resume "
        "not-in-this-file/dice-seed0/T"
    )


def test_a_metric_that_was_not_counted_is_counted_where_the_runs_are(runs, tmp_path):
    path = packed(tmp_path / "s.zip", runs)
    with pytest.raises(
        ConfigError, match=r"-> where the runs are: python scripts/evaluate.py --per-image --boundary"
    ):
        show_comparison([path], metrics=["boundary_iou"], output=tmp_path / "out")


# --- what is in it


def test_nothing_names_a_place_of_the_machine(runs, tmp_path):
    content = read(packed(tmp_path / "s.zip", runs))
    for name, text in content.items():
        for private in (str(tmp_path), "my-machine", platform.node() or "my-machine", str(Path.home())):
            assert private.encode() not in text, name
    assert {name.rpartition("/")[2] for name in content if "/" in name} == {
        "config.yaml", "env.json", "per_image.npz", "results.csv", "status.json", "summary.json",
    }  # fmt: skip
    config = yaml.safe_load(content["ce-seed0/config.yaml"])
    assert config["data"]["root"] == "not-in-this-file" and config["log"]["dir"] == "runs"
    assert content["ce-seed0/per_image.npz"] == (runs / "ce-seed0/T/per_image.npz").read_bytes()


def test_commands_lose_their_places():
    line = "python x.py --config a/b.yaml data.root=/data/x loss.n_min=1/16 'data={root: /d, classes: [a]}' ../c ~/d"
    assert clear_words(line) == (
        "python x.py --config a/b.yaml data.root=not-in-this-file loss.n_min=1/16 "
        "'data={root: not-in-this-file, classes: [a]}' not-in-this-file not-in-this-file"
    )
    assert clear_words("C:\\data\\x is damaged: it is") == "not-in-this-file is damaged: it is"


def test_the_card_says_what_was_compared(runs, tmp_path):
    card = read(packed(tmp_path / "s.zip", runs))["README.md"].decode()
    assert "6 trainings of 2 variants, scored on 4 validation images" in card
    assert "- `ce`, seed 0, 1, 2: the baseline" in card
    assert "command line" not in card  # which is left out


def test_folders_are_apart_on_any_system(runs, tmp_path):
    path = tmp_path / "s.zip"
    pack_study(make_study(gather_runs([runs], names=["CE", "ce"]), baseline=None, group_by=None), path)
    folders = {name.partition("/")[0].lower() for name in read(path) if "/" in name}
    assert len(folders) == 6 and study(path).variants == ("CE", "ce")


def test_it_opens_with_numpy_alone(runs, tmp_path):
    with (
        zipfile.ZipFile(packed(tmp_path / "s.zip", runs)) as archive,
        archive.open("ce-seed0/per_image.npz") as file,
    ):
        assert np.load(file)["names"].tolist() == ["val/0", "val/1", "val/2", "val/3"]


# --- commands


def test_a_library_packs_and_compares(runs, tmp_path):
    first = segkit.compare_runs([runs], baseline="ce", pack=tmp_path / "s.zip")
    assert (
        segkit.compare_runs([tmp_path / "s.zip"]).differences.keys() == first.differences.keys() == {"ohem"}
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("s.tar", "a packed study ends with .zip"),
        ("d.zip", "there is a folder"),
        ("f.zip", "it is not replaced"),
        ("x" * 300 + ".zip", "File name too long -> another name"),
        ("f.zip/s.zip", "f.zip is a file, so nothing can be written below it -> another name"),
    ],
)
def test_a_wrong_place_is_said_before_anything(runs, tmp_path, capsys, name, words):
    (tmp_path / "d.zip").mkdir()
    (tmp_path / "f.zip").write_bytes(b"something of one's own")
    assert run_script("compare", runs, "--pack", tmp_path / name, "--output", tmp_path / "out") == 2
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=words):
        segkit.compare_runs([runs], pack=tmp_path / name)
    assert (tmp_path / "f.zip").read_bytes() == b"something of one's own"


@pytest.mark.parametrize(
    "what", [["--run", "ce-seed0"], ["--dry-run"], ["--list-commands"], ["--launcher", "slurm"]]
)
def test_an_ablation_packs_with_its_report(what, capsys):
    assert run_script("ablate", "--config", "ablation.yaml", "--pack", "s.zip", *what) == 2
    assert "--pack is for a command that writes the report" in capsys.readouterr().err


def test_pack_shows_what_is_in_it(runs, tmp_path, capsys):
    path = packed(tmp_path / "s.zip", runs)
    assert run_script("pack", path) == 0
    assert f"{path}: 38 members, all as packed by segkit" in capsys.readouterr().out


def test_neither_is_taken_for_the_other(runs, tmp_path, capsys):
    path = packed(tmp_path / "s.zip", runs)
    assert run_script("evaluate", "--weights", path) == 4
    words = "it is a packed study, and a packed run is needed here -> python scripts/pack.py RUN makes one"
    assert f"packed run {path}: {words}" in capsys.readouterr().err
    assert run_script("ablate", "--config", path, "--report") == 2
    words = "is a packed study, which has the numbers of an ablation and not its file"
    assert f"{path} {words}\n   -> python scripts/compare.py {path}\n" in capsys.readouterr().err
    write_packed(tmp_path / "run.zip", {"a": b""}, segkit="0.2.0")
    assert run_script("compare", tmp_path / "run.zip") == 4
    advice = "python scripts/compare.py RUN RUN --pack FILE.zip makes one"
    assert f"it is a packed run, and a packed study is needed here -> {advice}" in capsys.readouterr().err


def test_one_that_was_renamed_is_named_as_such(runs, tmp_path, capsys):
    path = packed(tmp_path / "s.zip", runs).rename(tmp_path / "s")
    assert run_script("compare", path) == 4
    advice = "a packed run or study, whose name has to end with .zip -> rename it"
    assert f"no run folder at {path}: {advice}" in capsys.readouterr().err


# --- damaged, or made by somebody else


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        gather_runs([path])
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "dice"}, "no run is of the baseline dice"),
        ({"variants": ["ce"]}, "a run is of ohem, which is none of its variants"),
        ({"level": 95.0}, "expected the level of the intervals"),
        ({"margin": -0.1}, "expected points of mIoU that do not matter"),
        ({"runs": [{"folder": "ce-seed0", "variant": "ce"}] * 2}, "two runs have one folder"),
        ({"variants": ["ce", "ce", "ohem"]}, "two variants have one name"),
        ({"runs": []}, "study.json cannot be used: runs"),
        ({"metrics": "miou"}, "study.json cannot be used: metrics"),
        ({"more": 1}, "study.json cannot be used: more"),
    ],
)
def test_what_it_says_of_itself_is_checked(runs, tmp_path, changes, words):
    assert words in refusal(about_with(packed(tmp_path / "s.zip", runs), **changes))


def test_a_file_of_a_run_is_missing(runs, tmp_path):
    path = replant(packed(tmp_path / "s.zip", runs), **{"ce-seed1/env.json": None})
    assert refusal(path) == f"packed study {path}: it has no ce-seed1/env.json"


def test_folders_of_any_name_stay_in_the_file(runs, tmp_path):
    entry = {"folder": "../../away", "variant": "ce"}
    path = about_with(packed(tmp_path / "s.zip", runs), runs=[entry])
    assert refusal(path) == f"packed study {path}: it has no ../../away/config.yaml"


def test_a_configuration_reads_no_other_file(runs, tmp_path):
    path = replant(packed(tmp_path / "s.zip", runs), **{"ce-seed0/config.yaml": b"extends: ohem.yaml\n"})
    assert f"{path}/ce-seed0/config.yaml cannot be used" in refusal(path)
    assert "a packed configuration is whole and extends nothing" in refusal(path)


def test_damage_is_named_by_the_packed_file(runs, tmp_path):
    path = replant(packed(tmp_path / "s.zip", runs), **{"ce-seed0/per_image.npz": b"no archive"})
    assert refusal(path).startswith(f"{path}/ce-seed0/per_image.npz is damaged: ")
    path = replant(path, **{"ce-seed0/config.yaml": b"loss: {name: ce}\nmodel: {nam: unet}\n"})
    with pytest.raises(ConfigError) as caught:
        gather_runs([path])
    assert f"{path}/ce-seed0/config.yaml:2" in str(caught.value)


def test_counts_that_would_take_all_memory(runs, tmp_path, monkeypatch):
    path = packed(tmp_path / "s.zip", runs)
    monkeypatch.setattr("segkit.ablation.study.unpack.MOST_BYTES", 100)
    assert "per_image.npz would take" in refusal(path)


def test_nothing_is_left_behind(runs, tmp_path, monkeypatch):
    path = packed(tmp_path / "s.zip", runs)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    assert len(gather_runs([path]).runs) == 6
    assert refusal(replant(path, **{"ce-seed0/per_image.npz": b""}))
    assert not list((tmp_path / "temporary").iterdir())


def test_more_runs_than_one_file_takes(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.ablation.study.pack.STUDY", STUDY._replace(most_members=20))
    with pytest.raises(ConfigError, match="6 runs are more than one file takes"):
        packed(tmp_path / "s.zip", runs)
    assert not (tmp_path / "s.zip").exists()
