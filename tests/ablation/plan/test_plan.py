"""Ablation files: the runs they make, and every mistake in one message."""

from pathlib import Path

import pytest

from segkit.ablation.plan.plan import load_plan
from segkit.ablation.statistics.metrics import WHOLE
from segkit.ablation.study.claims import OF_CONFIDENCE
from segkit.config.load import load_config
from segkit.config.sources import shipped_names
from segkit.errors import ConfigError
from tests.paths import ROOT

GOOD = """\
base: base.yaml
seeds: [0, 1]
baseline: ce
settings:
  train: {iterations: 400}
variants:
  ce: {loss: {name: ce}}
  ohem:
    loss: {name: ohem_ce}
"""
BASE = "name: other\nloss: {name: ohem_ce, thresh: 0.6}\ntrain: {iterations: 100, batch_size: 4}\nlog: {dir: out}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory with base.yaml; `folder(text)` writes mine.yaml there."""
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)
    return lambda text: Path("mine.yaml").write_text(text)


@pytest.fixture
def mistakes(folder):
    """`mistakes(text, *overrides)`: every message about that ablation."""

    def find(text, *overrides, **options):
        folder(text)
        with pytest.raises(ConfigError) as caught:
            load_plan("mine.yaml", overrides, **options)
        return caught.value.problems

    return find


@pytest.fixture
def mistake(mistakes):
    """`mistake(text, *overrides)`: the only message."""

    def find(*arguments, **options):
        (problem,) = mistakes(*arguments, **options)
        return problem

    return find


def test_a_margin_is_points_in_the_file_and_a_share_from_there_on(folder):
    folder(GOOD + "margin: 0.5\nlevel: 0.9\nmetrics: [rand_error/cell, ce]\n")
    plan = load_plan("mine.yaml")
    assert (plan.margin, plan.level) == (0.005, 0.9)


def test_runs_are_every_variant_with_every_seed(folder):
    folder(GOOD)
    plan = load_plan("mine.yaml", ["train.batch_size=8"])
    assert [run.name for run in plan.runs] == ["ce-seed0", "ohem-seed0", "ce-seed1", "ohem-seed1"]
    assert (plan.name, plan.folder, plan.baseline) == ("mine", Path("out/mine"), "ce")
    assert (plan.variants, plan.seeds, plan.group_by) == (("ce", "ohem"), (0, 1), None)
    assert (plan.margin, plan.level) == (None, 0.95)
    config = plan.runs[3].config
    assert (config.name, config.seed, config.log.dir) == ("ohem-seed1", 1, "out/mine")
    assert (config.train.iterations, config.train.batch_size) == (400, 8)
    assert plan.command == "python scripts/ablate.py --config mine.yaml train.batch_size=8"


def test_the_command_that_repeats_the_whole_has_its_seeds_and_imports(folder):
    """Reports and packed studies say it, as the way to get the same numbers."""
    folder(GOOD)
    plan = load_plan("mine.yaml", ["train.batch_size=8"], seeds=[3, 4], imports=["my losses.py", "mine"])
    assert plan.command == (
        "python scripts/ablate.py --config mine.yaml --import 'my losses.py' --import mine train.batch_size=8 "
        "--seeds 3 4"
    )


def test_variant_is_merged_as_extends_merges(folder):
    """A loss of another name is a new block; the same name changes only what is written."""
    folder(GOOD)
    plan = load_plan("mine")
    assert plan.run_of("ohem").config.loss.params["thresh"] == 0.6
    for variant, text in (("ce", "loss: {name: ce}"), ("ohem", "loss: {name: ohem_ce}")):
        own = f"name: {variant}-seed1\nseed: 1\nlog: {{dir: out/mine}}\n{text}\ntrain: {{iterations: 400}}"
        Path("one.yaml").write_text(f"extends: base.yaml\n{own}")
        assert plan.find(f"{variant}-seed1").config == load_config("one.yaml")


def test_runs_count_confidences_if_they_are_to_be_compared_by_them(folder):
    """A finished run that did not is kept: nothing that was learnt depends on it."""
    folder(GOOD)
    assert not any(run.config.eval.calibration for run in load_plan("mine.yaml").runs)
    for metric in OF_CONFIDENCE:
        folder(f"metrics: [miou, {metric}]\n{GOOD}")
        assert all(run.config.eval.calibration for run in load_plan("mine.yaml").runs)
        wanted = "classwise" if metric == "classwise_ece" else True
        assert load_plan("mine.yaml").runs[0].config.eval.calibration == wanted
    folder(f"metrics: [miou, classwise_ece/line]\n{GOOD}")
    assert load_plan("mine.yaml").runs[0].config.eval.calibration == "classwise"
    of_confidence = ("bins", "class_bins", "brier")
    assert {*OF_CONFIDENCE} == {name for name, metric in WHOLE.items() if metric.kind in of_confidence}


def test_the_base_as_it_is_can_be_a_variant(folder):
    folder(GOOD.replace("  ohem:\n    loss: {name: ohem_ce}\n", "  plain: {}\n"))
    assert load_plan("mine").run_of("plain").config.loss.name == "ohem_ce"


def test_seeds_of_the_command_line_replace_those_of_the_file(folder):
    folder(GOOD)
    plan = load_plan("mine", seeds=[7])
    assert [run.name for run in plan.runs] == ["ce-seed7", "ohem-seed7"]


def test_grid_makes_a_variant_of_each_combination(folder):
    folder(GOOD + "    grid: {loss.thresh: [0.6, 0.7], loss.n_min: [1/16, 1/8]}\n")
    plan = load_plan("mine")
    assert plan.variants == (
        "ce",
        "ohem-thresh-0.6-n_min-1_16",
        "ohem-thresh-0.6-n_min-1_8",
        "ohem-thresh-0.7-n_min-1_16",
        "ohem-thresh-0.7-n_min-1_8",
    )
    params = plan.run_of("ohem-thresh-0.6-n_min-1_8").config.loss.params
    assert (params["thresh"], params["n_min"]) == (0.6, "1/8")


def test_numbers_of_two_kinds_are_two_values_of_a_grid(folder):
    """One pixel, and all of them: as "1.0 appears twice" they were refused."""
    folder(GOOD + "    grid: {loss.n_min: [1, 1.0]}\n")
    assert load_plan("mine").variants == ("ce", "ohem-n_min-1", "ohem-n_min-1.0")


def test_grid_labels_tell_keys_and_blocks_apart(folder):
    folder(
        GOOD
        + "    grid:\n      model.name: [unet]\n      optimizer.lr: [0.1, 1e-3]\n"
        + "      loss: [{name: dice}, {name: ohem_ce, thresh: 0.5}]\n      schedule.name: [poly]\n"
    )
    variants = load_plan("mine").variants
    assert variants[1] == "ohem-model.name-unet-optimizer.lr-0.1-loss-dice-schedule.name-poly"
    assert variants[4] == "ohem-model.name-unet-optimizer.lr-0.001-loss-ohem_ce-thresh-0.5-schedule.name-poly"


@pytest.mark.parametrize("name", ["ablation.yaml", "ablation", "camvid/ablation.yaml"])
def test_shipped_ablations(name):
    plan = load_plan(name)
    assert plan.variants == ("ce", "weighted_mask", "bootstrapped", "ohem")
    assert len(plan.runs) == 12 and plan.baseline == "ce"
    if name.startswith("camvid/"):  # the same variants as the files that are shipped one by one
        for variant in plan.variants:
            overrides = ["seed=2", f"log.dir={plan.folder}", f"name={variant}-seed2"]
            config = load_config(f"camvid/{variant}.yaml", overrides)
            assert plan.find(f"{variant}-seed2").config == config


def test_shipped_ablation_of_weight_maps():
    plan = load_plan("membrane/ablation.yaml")
    assert plan.variants == ("ce", "class_balanced", "unet_border")
    shipped = load_config("membrane/unet_border.yaml")
    run = plan.find("unet_border-seed0").config
    assert (run.data, run.loss, run.augment) == (shipped.data, shipped.loss, shipped.augment)


def test_shipped_ablations_are_found_beside_configurations():
    shipped = ["ablation.yaml", "losses.yaml", "models.yaml", "precision.yaml"]
    shipped += ["camvid/ablation.yaml", "camvid/fast_ablation.yaml"]
    shipped += ["membrane/ablation.yaml", "membrane/losses.yaml"]
    assert shipped_names(ablations=True) == shipped
    assert "ablation.yaml" not in shipped_names()
    with pytest.raises(ConfigError) as caught:
        load_plan("ablatoin.yaml")
    assert str(caught.value) == (
        f"no ablation 'ablatoin.yaml', did you mean 'ablation.yaml'?\n   in configs/: {', '.join(shipped)}"
    )


def test_each_program_knows_the_other_kind_of_file(folder):
    folder(GOOD)
    with pytest.raises(ConfigError) as caught:
        load_config("mine.yaml")
    assert str(caught.value) == (
        "mine.yaml is an ablation, not the configuration of one run\n"
        "   -> python scripts/ablate.py --config mine.yaml"
    )
    with pytest.raises(ConfigError) as caught:
        load_plan("base.yaml")
    assert str(caught.value) == (
        "base.yaml is the configuration of one run, not an ablation\n   -> python train.py --config base.yaml"
    )


def test_all_mistakes_at_once(mistakes):
    assert mistakes("""\
base: ohm.yaml
seed: [0, 0]
baseline: cee
group_by: ab
settigns: {}
loss: {name: ce}
settings: {seed: 3, name: x, log: {dir: here}}
variants:
  ce: {loss: {name: ce}}
  a/b: {loss: {name: ce}}
  ohem:
  bad: 3
  own: {name: x, seed: 4, log: {dir: y}, extends: ohem.yaml}
""") == [
        "mine.yaml:1:7: base: no file 'ohm.yaml', did you mean 'ohem.yaml'?\n"
        "      1 | base: ohm.yaml\n   looked in . and configs and " + str(ROOT / "configs"),
        "mine.yaml:2:1: unknown key 'seed', did you mean 'seeds'?\n      2 | seed: [0, 0]\n"
        "   an ablation has: name, base, seeds, baseline, group_by, margin, level, metrics, settings, variants",
        "mine.yaml:3:11: baseline: there is no variant 'cee', did you mean 'ce'?\n      3 | baseline: cee\n"
        "   there are: ce, ohem, bad, own",
        "mine.yaml:4:11: group_by: 'ab' has 0 groups, expected one\n      4 | group_by: ab\n"
        "   the image name's part in parentheses names its group: '(seq[0-9]+)_[0-9]+'",
        "mine.yaml:5:1: unknown key 'settigns', did you mean 'settings'?\n      5 | settigns: {}",
        "mine.yaml:6:1: unknown key 'loss'\n      6 | loss: {name: ce}\n"
        "   -> settings: {loss: ...}   (for every variant), or below one variant",
        "mine.yaml:7:12: settings: 'seed' is set by segkit, remove it\n"
        "      7 | settings: {seed: 3, name: x, log: {dir: here}}\n   every variant is trained with each of `seeds`",
        "mine.yaml:7:21: settings: 'name' is set by segkit, remove it\n"
        "      7 | settings: {seed: 3, name: x, log: {dir: here}}\n   a run is named after its variant and seed",
        "mine.yaml:10:3: the variant's name must be usable as a folder name: without / and \\, not starting with a "
        "dot or dash, got 'a/b'\n     10 |   a/b: {loss: {name: ce}}",
        "mine.yaml:11:3: ohem: expected a block of settings, got nothing\n     11 |   ohem:\n"
        "   -> ohem: {loss: {name: ...}}, or ohem: {} for the base as it is",
        "mine.yaml:12:3: bad: expected a block of settings, got 3\n     12 |   bad: 3\n"
        "   -> bad: {loss: {name: ...}}, or bad: {} for the base as it is",
        "mine.yaml:13:9: own: 'name' is set by segkit, remove it\n"
        "     13 |   own: {name: x, seed: 4, log: {dir: y}, extends: ohem.yaml}",
        "mine.yaml:13:18: own: 'seed' is set by segkit, remove it\n"
        "     13 |   own: {name: x, seed: 4, log: {dir: y}, extends: ohem.yaml}",
        "mine.yaml:13:33: own: 'log.dir' is set by segkit, remove it\n"
        "     13 |   own: {name: x, seed: 4, log: {dir: y}, extends: ohem.yaml}\n"
        "   the runs of one ablation lie in one folder; `settings` may choose where",
        "mine.yaml:13:42: own: extends belongs in a file of its own\n"
        "     13 |   own: {name: x, seed: 4, log: {dir: y}, extends: ohem.yaml}\n"
        "   `base` is what all variants start from; write here what differs",
    ]


def test_mistake_in_a_variant_points_at_its_line(mistakes):
    text = GOOD.replace(
        "loss: {name: ohem_ce}", "loss: {name: ohem_ce, tresh: 0.6}\n    train: {batch_size: 3.0}"
    )
    assert mistakes(text) == [
        "mine.yaml:9:27: unknown key 'loss.tresh', did you mean 'thresh'?\n"
        "      9 |     loss: {name: ohem_ce, tresh: 0.6}\n"
        "   ohem_ce takes: thresh, n_min, class_weights, scope, allow_inactive, backend\n"
        "      (python train.py --list losses)",
        "mine.yaml:10:25: train.batch_size: expected an integer >= 1, got 3.0\n"
        "     10 |     train: {batch_size: 3.0}\n   -> 3",
    ]


def test_mistake_elsewhere_names_the_variants_that_have_it(mistake):
    assert mistake(GOOD, "loss.thresh=0.7") == (
        "command line: 'loss.thresh=0.7': unknown key 'loss.thresh'\n"
        "   ce takes: class_weights, label_smoothing, scope, backend   (python train.py --list losses)\n"
        "   in the variant ce"
    )


def test_mistake_in_all_variants_stands_once(mistakes):
    assert mistakes(GOOD.replace("400", "many"), "train.batch_siz=3", "x") == [
        "mine.yaml:5:23: train.iterations: expected an integer >= 1 or null, got 'many'\n"
        "      5 |   train: {iterations: many}",
        "command line: 'train.batch_siz=3': unknown key 'train.batch_siz', did you mean 'batch_size'?\n"
        "   train takes: iterations, epochs, batch_size, accumulate, amp, clip_norm, ema, aux_weight, compile,\n"
        "      channels_last, workers, checkpoint_every, keep_checkpoints, determinism, sync_batchnorm,\n"
        "      find_unused_parameters, shard",
        "command line: 'x': expected key=value, such as train.batch_size=8",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "seed=3",
            "every run: 'seed' is set by segkit, remove it\n   every variant is trained with each of `seeds`",
        ),
        (
            "name=x",
            "every run: 'name' is set by segkit, remove it\n   a run is named after its variant and seed",
        ),
    ],
)
def test_override_of_what_segkit_sets(mistake, override, message):
    assert mistake(GOOD, override) == f"command line: '{override}': {message}"


def test_folder_can_be_chosen(folder):
    folder("name: other\n" + GOOD)
    assert load_plan("mine", ["log.dir=there"]).folder == Path("there/other")


def test_variants_that_are_the_same(mistake):
    assert mistake(GOOD + "  mined: {loss: {name: ohem_ce, thresh: 0.6}, train: {workers: 1}}\n") == (
        "mine.yaml:10:3: the variants 'ohem' and 'mined' are the same configuration; remove or change one\n"
        "     10 |   mined: {loss: {name: ohem_ce, thresh: 0.6}, train: {workers: 1}}"
    )
    assert mistake(GOOD, "loss.name=ce").startswith(
        "mine.yaml:8:3: the variants 'ce' and 'ohem' are the same configuration"
    )


SMALL = {
    "seeds: [0, 0]": "2:8: seeds: the seed 0 appears twice; runs of the same seed would be the same run",
    "seeds: []": "2:8: seeds: expected a non-empty list, got []",
    "seeds: 3": "2:8: seeds: expected a non-empty list, got 3",
    "seeds: [-1]": "2:8: seeds: expected integers in [0, 4294967295], got -1",
    "seeds: [true]": "2:8: seeds: expected integers in [0, 4294967295], got true",
    "seeds: [0]\ngroup_by: 1": "3:11: group_by: expected a regular expression with one group on image names, or a "
    "number of consecutive images >= 2, got 1",
    "seeds: [0]\ngroup_by: '(a'": "3:11: group_by: '(a' is no regular expression: missing ), unterminated subpattern "
    "at position 0",
    "seeds: [0]\nmargin: 0": "3:9: margin: expected points of mIoU that do not matter, such as 0.5, got 0",
    "seeds: [0]\nmargin: half": "3:9: margin: expected points of mIoU that do not matter, such as 0.5, got 'half'",
    "seeds: [0]\nmetrics: [vi/cell, miou]\nmargin: 1": "4:9: margin: it is in points, and vi/cell is not "
    "-> put another metric first, or leave the margin out",
    "seeds: [0]\nlevel: 95": "3:8: level: expected the level of the intervals, 0.5 to 0.999, such as 0.95, got 95",
    "seeds: [0]\nlevel: true": "3:8: level: expected the level of the intervals, 0.5 to 0.999, such as 0.95, "
    "got true",
    "seeds: [0]\nmetrics: miou": "3:10: metrics: expected a list of names, got 'miou'",
    "seeds: [0]\nmetrics: [miou, mio]": "3:10: metrics: there is no metric 'mio', did you mean 'miou'? "
    "-> one of miou, mdice, macc, accuracy, ce,"
    " boundary_iou, boundary_f1, ece, classwise_ece, brier, objects_f1, objects_f1_50, objects_precision, "
    "objects_recall, rand_error, vi, vi_split, vi_merge, iou/CLASS, dice/CLASS, recall/CLASS, "
    "boundary_iou/CLASS, boundary_f1/CLASS, classwise_ece/CLASS, objects_f1/CLASS, objects_f1_50/CLASS, "
    "objects_precision/CLASS, objects_recall/CLASS, rand_error/CLASS, vi/CLASS, vi_split/CLASS, "
    "vi_merge/CLASS",
    "seeds: [0]\nmetrics: [miou, miou]": "3:10: metrics: 'miou' is there twice",
    "seeds: [0]\nname: a/b": "3:7: name must be usable as a folder name: without / and \\, not starting with a dot "
    "or dash, got 'a/b'",
    "seeds: [0]\nname: "
    + "\u65e5" * 77: "3:7: name must have at most 230 bytes to name a folder, got 231 (in 77 characters)",
    "seeds: [0]\nname: 3": "3:7: name must be text, got 3 -> '3' in quotes",
    "seeds: [0]\nextends: a.yaml": "3:1: unknown key 'extends'",
}


@pytest.mark.parametrize(("text", "message"), SMALL.items(), ids=SMALL)
def test_small_mistake(mistake, text, message):
    assert mistake(GOOD.replace("seeds: [0, 1]", text)).splitlines()[0] == f"mine.yaml:{message}"


def test_seeds_of_the_command_line_are_checked(mistake):
    assert mistake(GOOD, seeds=[1, 1]) == (
        "command line: --seeds: the seed 1 appears twice; runs of the same seed would be the same run"
    )


VARIANTS = {
    "variants: {}": "7:11: variants: expected a block for each variant, got {}",
    "variants: [ce]": "7:11: variants: expected a block for each variant, got [ce]",
    "variants:\n  0.5: {}\n  ce: {}": "8:3: the variant's name must be text, got 0.5 -> '0.5' in quotes",
    "variants:\n  null: {}\n  ce: {}": "8:3: the variant's name must be text, got null -> 'null' in quotes",
    "variants:\n  true: {}\n  ce: {}": "8:3: the variant's name must be text, got true -> 'true' in quotes",
    "variants:\n  "
    + "\U0001f600" * 58
    + ": {}\n  ce: {}": "8:3: the variant's name must have at most 230 bytes to "
    "name a folder, got 232 (in 58 characters)",
    "variants:\n  ce: {loss: {name: ce}}": "7:1: variants: there is one; a comparison needs two",
    "variants:\n  ce: {}\n  CE: {seed: 1}": "9:3: the variant 'CE' would share its folders with 'ce'; rename one",
}


@pytest.mark.parametrize(("text", "message"), VARIANTS.items(), ids=VARIANTS)
def test_mistake_in_variants(mistakes, text, message):
    found = mistakes(GOOD.split("variants:")[0].replace("seeds", "\nseeds") + text + "\n")
    assert f"mine.yaml:{message}" in [problem.splitlines()[0] for problem in found]


GRIDS = {
    "3": "ohem.grid: expected lists of values by key, got 3",
    "{loss.thresh: 0.6}": "ohem.grid.loss.thresh: expected a non-empty list of values, got 0.6",
    "{loss.thresh: []}": "ohem.grid.loss.thresh: expected a non-empty list of values, got []",
    "{loss.thresh: [0.6, 0.6]}": "ohem.grid.loss.thresh: 0.6 appears twice",
    "{loss.thresh: [0.6, 6e-1]}": "ohem.grid.loss.thresh: 0.6 appears twice",
    "{loss.thresh: [1, 1.0]}": "the variants 'ohem-thresh-1' and 'ohem-thresh-1.0' are the same configuration",
    "{seed: [0, 1]}": "ohem.grid.seed: 'seed' is set by segkit",
    "{log: [{dir: a}, {dir: b}]}": "ohem: 'log.dir' is set by segkit, remove it",
    "{loss..thresh: [0.5]}": "ohem.grid.loss..thresh: expected a key such as loss.thresh",
    "{loss.n_min: [1/16, '1:16']}": "ohem.grid: two combinations would be called 'ohem-n_min-1_16'; write them as",
    "{loss.tresh: [0.6]}": "unknown key 'loss.tresh', did you mean 'thresh'?",
    "{loss.thresh: [0.6, 7]}": "loss.thresh: expected a number in (0, 1], got 7",
}


@pytest.mark.parametrize(("grid", "message"), GRIDS.items(), ids=GRIDS)
def test_mistake_in_a_grid(mistakes, grid, message):
    found = mistakes(GOOD + f"    grid: {grid}\n")
    first = [problem.splitlines()[0] for problem in found]
    assert any(line.startswith("mine.yaml:10:") and message in line for line in first), first


def test_what_is_missing(mistakes):
    assert mistakes("settings: {}\n") == [
        "mine.yaml: 'base' is missing: the configuration that all variants start from, such as ohem.yaml",
        "mine.yaml: 'seeds' is missing: such as [0, 1, 2]; every variant is trained with each",
        "mine.yaml: 'baseline' is missing: the variant that the others are compared with",
        "mine.yaml: 'variants' is missing: a block of settings for each thing to compare",
    ]


def test_an_empty_file_is_told_what_an_ablation_needs(mistake):
    assert mistake("# nothing yet\n") == (
        "mine.yaml: the file is empty\n"
        "   an ablation needs:\n"
        "   - base: the configuration that all variants start from, such as ohem.yaml\n"
        "   - seeds: such as [0, 1, 2]; every variant is trained with each\n"
        "   - baseline: the variant that the others are compared with\n"
        "   - variants: a block of settings for each thing to compare"
    )


def test_an_empty_name_is_that_of_the_file(folder):
    folder("name:\n" + GOOD)
    assert load_plan("mine").name == "mine"


def test_base_that_is_an_ablation(mistake):
    text = GOOD.replace("base.yaml", "mine.yaml")
    assert (
        mistake(text).splitlines()[0] == "mine.yaml:1:7: base goes round in a circle: mine.yaml -> mine.yaml"
    )
    Path("second.yaml").write_text(GOOD)
    assert mistake(GOOD.replace("base.yaml", "second.yaml")).splitlines()[0] == (
        "mine.yaml:1:7: base: second.yaml is an ablation, not the configuration of one run"
    )


def test_run_that_is_not_planned(folder):
    folder(GOOD)
    with pytest.raises(ConfigError) as caught:
        load_plan("mine").find("ohem-seed7")
    assert str(caught.value) == (
        "--run ohem-seed7: there is no such run\n   there are: ce-seed0, ohem-seed0, ce-seed1, ohem-seed1"
    )


def test_grid_names_a_component_before_it_sets_its_options(folder):
    folder(GOOD + "    grid: {optimizer.weight_decay: [0.5], optimizer.name: [adamw]}\n")
    optimizer = load_plan("mine").runs[1].config.optimizer
    assert (optimizer.name, optimizer.params["weight_decay"]) == ("adamw", 0.5)


def test_grid_sets_outer_keys_before_inner_ones(folder):
    block = "loss: [{name: pixel, criterion: {name: ce}, selection: {name: ohem}}]"
    folder(GOOD + f"    grid: {{loss.selection.thresh: [0.5], {block}}}\n")
    loss = load_plan("mine").runs[1].config.loss
    assert loss.name == "pixel" and loss.params["selection"].params["thresh"] == 0.5


def test_a_number_in_a_key_of_a_grid_is_one(folder):
    data = "data: {name: folder, root: x, classes: [a, b], label_map: {0: a, 7: a}}"
    folder(GOOD.replace("settings:\n", f"settings:\n  {data}\n") + "    grid: {data.label_map.7: [b]}\n")
    assert load_plan("mine").runs[1].config.data.params["label_map"] == {0: "a", 7: "b"}
