"""scripts/compare.py: runs found, sorted into named variants, refused where no number would mean anything."""

import re
from pathlib import Path

import numpy as np
import pytest

from segkit.ablation.compare import default_output, make_study, show_comparison
from segkit.ablation.report.console_lines import diff_lines
from segkit.ablation.study.config_diff import diff_configs
from segkit.ablation.study.gather import Gathered, gather_runs
from segkit.ablation.study.variant_names import name_variants
from segkit.cli.compare import main, parse
from segkit.cli.run_command import run_command
from segkit.errors import CheckpointError, ConfigError, DataError
from tests.ablation.run_folders import fake_run, make_run, matrices, study_of

CE = "loss={name: ce}"


def at(hour):
    return {"updated": f"2026-11-21T{hour:02}:00:00+00:00"}


@pytest.fixture
def runs(tmp_path):
    """Two seeds of ohem and of ce below runs/, as four trainings leave them."""
    folder = tmp_path / "runs"
    for seed in (0, 1):
        make_run(folder / "ohem" / f"2026-{seed}", f"seed={seed}", "name=ohem", errors=2 + seed)
        make_run(folder / "ce" / f"2026-{seed}", f"seed={seed}", "name=ce", CE, errors=16 + seed)
    return folder


def variants_of(gathered):
    return {
        variant: [run.seed for run in gathered.runs if run.variant == variant]
        for variant in gathered.variants
    }


# --- finding and sorting


def test_runs_and_folders_above_them(runs):
    gathered = gather_runs([runs / "ce" / "2026-1", runs / "ohem"])
    assert variants_of(gathered) == {"ce": [1], "ohem": [0, 1]}
    assert (gathered.missing, gathered.notes) == ([], [])
    assert variants_of(gather_runs([runs])) == {"ce": [0, 1], "ohem": [0, 1]}


def test_the_names_of_an_ablation_lose_their_seed(tmp_path):
    for seed in (0, 1):
        make_run(tmp_path / f"thin-seed{seed}" / "T", f"seed={seed}", f"name=thin-seed{seed}")
    make_run(tmp_path / "wide-seed9" / "T", "model.width=16", "name=wide-seed9")  # its seed is 0
    assert variants_of(gather_runs([tmp_path])) == {"thin": [0, 1], "wide-seed9": [0]}


def test_what_no_result_depends_on_makes_no_variant(tmp_path):
    make_run(tmp_path / "a", "name=ohem")
    make_run(tmp_path / "b", "name=again", "seed=1", "train.workers=2", "log.every=1", "eval.images=3")
    assert variants_of(gather_runs([tmp_path])) == {"ohem": [0, 1]}


def test_a_number_that_is_a_default_is_that_in_a_file(tmp_path):
    """torch's default of dampening is 0, and a file's 0 becomes 0.0."""
    make_run(tmp_path / "sgd" / "T0", "name=sgd")
    make_run(tmp_path / "sgd" / "T1", "optimizer.dampening=0", "seed=1", "name=sgd")
    assert variants_of(gather_runs([tmp_path])) == {"sgd": [0, 1]}


def test_an_unfinished_run_below_a_folder_is_missing(runs):
    folder = make_run(
        runs / "dice" / "T", "loss={name: dice}", status={"state": "stopped", "iteration": 1200}
    )
    gathered = gather_runs([runs])
    assert gathered.missing == [
        f"{folder} has not finished: stopped, at iteration 1,200 -> python train.py --resume {folder}"
    ]
    assert variants_of(gathered) == {"ce": [0, 1], "ohem": [0, 1]}


def test_an_unfinished_run_that_was_trained_again_is_not_missing(runs):
    make_run(runs / "ce" / "2025", "name=ce", CE, status={"state": "failed"})
    assert gather_runs([runs]).missing == []


def test_an_unfinished_run_that_was_given_is_an_error(runs):
    folder = make_run(runs / "dice" / "T", "loss={name: dice}", status={"state": "stopped"})
    with pytest.raises(CheckpointError, match="has not finished: stopped, at iteration 20"):
        gather_runs([runs / "ce", folder])


def test_no_run_is_finished(tmp_path):
    folder = make_run(tmp_path / "T", status={"state": "failed", "error": "the loss is nan"})
    with pytest.raises(CheckpointError) as caught:
        gather_runs([tmp_path])
    assert str(caught.value) == (
        f"no finished run in {tmp_path}\n"
        f"   {folder} has not finished: failed, at iteration 20 -> python train.py --resume {folder}"
    )


def test_no_run_below(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "config.yaml").write_text("extends: ohem.yaml")
    with pytest.raises(CheckpointError) as caught:
        gather_runs([tmp_path])
    assert str(caught.value) == (
        f"{tmp_path}: there is no run folder in it -> give a folder such as runs/ohem/TIME"
    )


def test_no_such_run(tmp_path):
    with pytest.raises(CheckpointError, match=r"^no run folder at .*none: no such folder$"):
        gather_runs([tmp_path / "none"])


def test_a_run_given_twice(runs):
    run = runs / "ce" / "2026-0"
    with pytest.raises(ConfigError) as caught:
        gather_runs([run, run])
    assert str(caught.value) == f"the run {run} is given twice, by {run} -> give each run once"
    with pytest.raises(ConfigError) as caught:
        gather_runs([run, runs / "ce"])
    assert str(caught.value) == (
        f"the run {run} is given twice, by {run} and {runs / 'ce'} -> give each run once"
    )
    with pytest.raises(ConfigError, match="is given twice"):
        gather_runs([runs / "ce", runs / "ce"])
    with pytest.raises(ConfigError, match="is given twice"):
        gather_runs([run, runs / "ohem" / ".." / "ce" / "2026-0"])


def test_the_newest_of_two_runs_of_one_seed_is_taken(tmp_path):
    old = make_run(tmp_path / "b", status=at(10))
    new = make_run(tmp_path / "a", status=at(11))
    make_run(tmp_path / "c", "seed=1", status=at(9))
    gathered = gather_runs([tmp_path])
    assert sorted(run.folder for run in gathered.runs) == [new, tmp_path / "c"]
    assert gathered.notes == [
        f"2 runs of one configuration and seed 0: taken is the newest, {new}, not {old}"
    ]


def test_a_run_of_overfit_is_no_run_of_its_configuration(runs):
    folder = make_run(runs / "ce-overfit" / "T", CE, "name=ce-overfit", status=at(23))
    make_run(
        runs / "dice-overfit" / "T", "loss={name: dice}", "name=dice-overfit", status={"state": "stopped"}
    )
    gathered = gather_runs([runs])
    assert len(gathered.runs) == 4 and gathered.missing == []
    assert gathered.notes == [f"left out: {folder}, a run of --overfit, scored on the images that it learnt"]


def test_names_for_the_variants(runs):
    given = gather_runs([runs / "ohem", runs / "ce"], names=["mined", "plain"])
    assert variants_of(given) == {"mined": [0, 1], "plain": [0, 1]}
    assert {run.variant: run.config["loss"]["name"] for run in given.runs} == {
        "mined": "ohem_ce",
        "plain": "ce",
    }
    with pytest.raises(ConfigError) as caught:
        gather_runs([runs], names=["one", "two", "three"])
    assert str(caught.value) == "--names has 3 names for 2 variants: ce, ohem -> one for each"
    with pytest.raises(ConfigError) as caught:
        gather_runs([runs], names=["one", "one"])
    assert str(caught.value) == "--names has a name twice: one, one -> one for each variant"


# --- names


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([["name=a"], ["name=b", CE]], ["a", "b"]),
        ([["loss.thresh=0.6"], []], ["ohem thresh=0.6", "ohem thresh=0.7"]),
        (
            [["loss.thresh=0.6", "optimizer.lr=0.2"], [], ["name=c"]],
            ["ohem thresh=0.6 lr=0.2", "ohem thresh=0.7 lr=0.1", "c"],
        ),
        ([[], [CE]], ["ohem loss=ohem_ce", "ohem loss=ce"]),
        (
            [[], ["loss.thresh=0.6"], [CE]],
            ["ohem loss=ohem_ce thresh=0.7", "ohem loss=ohem_ce thresh=0.6", "ohem loss=ce"],
        ),
        (
            [["data.weight_map={name: boundary}"], ["model.width=16"], []],
            ["ohem width=8 weight_map=boundary", "ohem width=16", "ohem width=8"],
        ),
        (
            [["eval.every=5", "log.every=7"], ["eval.every=10", "train.ema=0.9"]],
            ["ohem ema=null", "ohem ema=0.9"],  # how often is looked changes nothing
        ),
        (
            [["data.size=32", "model.width=16"], ["data.train_size=16"], ["name=ohem size=32 x"]],
            ["ohem width=16 size=32 train_size=32", "ohem width=8 size=64 train_size=16", "ohem size=32 x"],
        ),
    ],
)
def test_names_say_what_differs_where_they_must(overrides, names):
    groups = [[fake_run("", 0, "name=ohem", *changes)] for changes in overrides]
    assert name_variants(groups) == names


def test_a_key_is_as_long_as_it_must_be():
    terms = "loss={{name: sum, terms: [{{name: ce, weight: {}}}, {{name: dice, weight: {}}}]}}"
    groups = [[fake_run("", 0, "name=ohem", terms.format(*weights))] for weights in ((1.0, 2.0), (3.0, 4.0))]
    assert name_variants(groups) == [
        "ohem 0.weight=1.0 1.weight=2.0",
        "ohem 0.weight=3.0 1.weight=4.0",
    ]


def test_a_name_that_another_variant_has_already_is_numbered():
    groups = [
        [fake_run("", 0, "name=ohem thresh=0.6", CE)],
        [fake_run("", 0, "name=ohem", "loss.thresh=0.6")],
        [fake_run("", 0, "name=ohem")],
    ]
    assert name_variants(groups) == ["ohem thresh=0.6", "ohem thresh=0.6 (2)", "ohem thresh=0.7"]


# --- the study


def gathered_of(*runs):
    return Gathered(list(runs))


def test_the_baseline_is_the_first_or_the_chosen():
    gathered = gathered_of(fake_run("b"), fake_run("a", 0, CE))
    assert make_study(gathered, baseline=None, group_by=None).baseline == "b"
    study = make_study(gathered, baseline="a", group_by=3)
    assert (study.baseline, study.variants, study.seeds, study.group_by) == ("a", ("b", "a"), (0,), 3)


def test_the_margin_is_in_points():
    gathered = gathered_of(fake_run("b"), fake_run("a", 0, CE))
    study = make_study(gathered, baseline=None, group_by=None, margin=0.5, level=0.9)
    assert (study.margin, study.level) == (0.005, 0.9)
    study = make_study(gathered, baseline=None, group_by=None)
    assert (study.margin, study.level) == (None, 0.95)
    with pytest.raises(
        ConfigError, match=r"^margin: expected points of mIoU that do not matter, such as 0.5, got -1"
    ):
        make_study(gathered, baseline=None, group_by=None, margin=-1)
    with pytest.raises(ConfigError, match=r"^level: expected the level of the intervals, .* got 95$"):
        make_study(gathered, baseline=None, group_by=None, level=95)
    with pytest.raises(ConfigError, match=r"^metrics: 'miou' is there twice$"):
        make_study(gathered, baseline=None, group_by=None, metrics=["miou", "miou"])


def test_no_such_baseline():
    with pytest.raises(ConfigError) as caught:
        make_study(gathered_of(fake_run("ohem"), fake_run("ce")), baseline="ohm", group_by=None)
    assert str(caught.value) == (
        "--baseline ohm: no such variant, did you mean 'ohem'?\n   there are: ohem, ce"
    )


def test_one_variant_only():
    with pytest.raises(ConfigError) as caught:
        make_study(gathered_of(fake_run("ohem", 0), fake_run("ohem", 2)), baseline=None, group_by=None)
    assert str(caught.value) == (
        "nothing to compare: there is one variant only, ohem, with 2 runs (seed 0, 2)"
        " -> give runs of another configuration too"
    )


def test_the_report_goes_beside_the_runs(tmp_path, monkeypatch):
    def folder_of(*folders):
        return default_output([fake_run("a", folder=Path(folder)) for folder in folders])

    monkeypatch.chdir(tmp_path)
    assert folder_of("runs/a/T", "runs/b/T").parent == Path("runs/compare")
    assert folder_of("runs/x/a/T", "runs/b/T").parent == Path("runs/compare")
    assert folder_of("/p/runs/a/T", "/p/runs/a/U").parent == Path("/p/runs/compare")
    assert re.fullmatch(r"\d{8}-\d{6}", folder_of("runs/a/T", "runs/b/T").name)


def test_the_settings_on_the_console():
    first, *lines = diff_lines(diff_configs(study_of(fake_run("a"), fake_run("b", 0, "loss.thresh=0.6"))))
    assert first.startswith("settings  Only the loss differs; the other ")
    assert lines == ["          loss.thresh: 0.7 | 0.6"]
    many = ["model.width=16", "model.depth=3", "data.size=32", "augment.crop_size=32", "optimizer.lr=0.2"]
    many += [
        "train.ema=0.9",
        "train.iterations=30",
        "train.batch_size=8",
        "train.clip_norm=1.0",
        "schedule.power=1.0",
    ]
    lines = diff_lines(diff_configs(study_of(fake_run("a"), fake_run("b", 0, *many))))
    assert len(lines) == 10 and lines[-1] == "          and 2 more, see the report"


# --- the command


@pytest.fixture
def unwritten(monkeypatch):
    """No report: another test writes one, which takes seconds."""
    monkeypatch.setattr(
        "segkit.ablation.compare.write_findings",
        lambda findings, output, *, pdf: output / f"report{'-pdf' * pdf}.html",
    )


def test_the_whole(runs, capsys, tmp_path):
    status = main([str(runs / "ohem"), str(runs / "ce"), "--output", str(tmp_path / "out")])
    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert lines[:3] == [
        "compare   4 runs of 2 variants",
        "          ohem: seed 0, 1   baseline, as the first given (--baseline NAME chooses another)",
        "          ce: seed 0, 1",
    ]
    assert [line for line in lines if line.startswith(("warning", "ERROR"))] == []
    heads = [line.split()[0] for line in lines if line]
    assert heads[3:6] == ["variant", "ohem", "ce"]
    assert any(line.startswith("ce: worse than ohem by ") for line in lines)
    assert "          loss.name: ohem_ce | ce" in lines
    assert lines[-1] == f"report    {tmp_path / 'out' / 'report.html'}"
    assert (tmp_path / "out" / "report.html").is_file()
    assert f"scripts/compare.py {runs / 'ohem'}" in (tmp_path / "out" / "report.md").read_text()


def test_warnings_come_before_the_numbers(runs, capsys, tmp_path, unwritten):
    make_run(runs / "ohem" / "2026-2", "seed=2", "name=ohem", errors=2, fingerprints={"data": "0ther"})
    show_comparison([runs / "ohem", runs / "ce"], baseline="ce", output=tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["          ohem: seed 0, 1, 2", "          ce: seed 0, 1   baseline"]
    assert lines[3].startswith("ERROR     data: not the same in ohem (seed 2) as in ")
    assert lines[4].startswith("warning   ohem has seed 0, 1, 2, the baseline ce seed 0, 1; ")
    assert lines[5] == "" and lines[6].startswith("variant")


@pytest.mark.parametrize(
    "changed", [{"class_names": np.array(["x", "y", "z"])}, {"names": np.array(["p", "q", "r", "s"])}]
)
def test_other_classes_or_images_are_refused(runs, capsys, tmp_path, changed):
    make_run(runs / "dice" / "T", "name=dice", "loss={name: dice}", arrays_changed=changed)
    arguments = [str(runs), "--output", str(tmp_path / "out")]
    assert run_command(main, arguments) == DataError.exit_code
    error = capsys.readouterr().err
    assert error.startswith("these runs cannot be compared:\n   ")
    assert ("x, y, z in dice (seed 0)" if "class_names" in changed else "(with p) in dice (seed 0)") in error
    assert not (tmp_path / "out").exists()


def test_identical_runs_can_be_compared(runs, capsys, tmp_path, unwritten):
    for seed in (0, 1):
        arrays = {"matrices": matrices(16 + seed)}
        make_run(runs / "b" / f"{seed}", f"seed={seed}", "name=b", "loss.thresh=0.6", arrays_changed=arrays)
    show_comparison([runs / "ce", runs / "b"], output=tmp_path / "out", names=["plain", "mined"])
    assert "mined: identical to plain" in capsys.readouterr().out


def test_pdf_reaches_the_report(runs, capsys, tmp_path, unwritten):
    arguments = [str(runs), "--baseline", "ce", "--output", str(tmp_path)]
    assert main([*arguments, "--pdf"]) == main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("report")] == [
        f"report    {tmp_path / name}" for name in ("report-pdf.html", "report.html")
    ]


def test_arguments():
    args = parse(["a", "b", "--baseline", "x", "--group-by", "3", "--names", "p", "q"])
    assert (args.runs, args.baseline, args.group_by, args.names) == (["a", "b"], "x", 3, ["p", "q"])
    assert parse(["a", "--group-by", r"^(\w+)_"]).group_by == r"^(\w+)_"
    assert parse(["a"]).names == []
    assert (parse(["a"]).margin, parse(["a"]).level) == (None, None)
    args = parse(["a", "--margin", "0.5", "--level", "0.9"])
    assert (args.margin, args.level) == (0.5, 0.9)
