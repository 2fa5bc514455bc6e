"""Several packed studies, or one and runs beside it: whose runs are of one variant where places are not said."""

import json
from dataclasses import replace

import pytest

from segkit.ablation.compare import make_study, show_comparison
from segkit.ablation.report.findings import find_all
from segkit.ablation.study.gather import gather_runs
from segkit.ablation.study.pack import pack_study
from segkit.config.carried.places import StandIns, clear_places
from segkit.config.load import load_config
from tests.ablation.run_folders import fake_run, make_run, study_of
from tests.ablation.study.packing import CE, about_with, packed, study, train


def begun(folder, variant, seed, *overrides, weights, errors=1):
    """A run that began with other weights, on images that segkit generates."""
    overrides = [f"name={variant}-seed{seed}", f"seed={seed}", f"model.init_from={weights}", *overrides]
    return make_run(folder / f"{variant}-seed{seed}" / "T", *overrides, errors=errors)


@pytest.fixture
def two_machines(tmp_path):
    """Runs of `one` and `two`, which differ in the weights that they began with, and further seeds of `two`, with
    another variant, of elsewhere."""
    here, there = tmp_path / "here", tmp_path / "there"
    for seed in (0, 1):
        begun(here, "one", seed, weights="/w/one.pt", errors=3 + seed)
        begun(here, "two", seed, weights="/w/two.pt", errors=6 + seed)
    for seed in (2, 3):
        begun(there, "two", seed, weights="/v/two.pt", errors=6 + seed)
        begun(there, "mined", seed, "loss={name: dice}", weights="/v/two.pt", errors=9 + seed)
    return here, there


def names_and_seeds(found):
    return {variant: [run.config["name"] for run in found.of(variant)] for variant in found.variants}


EXPECTED = {
    "one": ["one-seed0", "one-seed1"],
    "two": ["two-seed0", "two-seed1", "two-seed2", "two-seed3"],
    "mined": ["mined-seed2", "mined-seed3"],
}


def test_the_weights_of_one_are_not_those_of_another(two_machines, tmp_path):
    here, there = two_machines
    first, second = packed(tmp_path / "a.zip", here), packed(tmp_path / "b.zip", there)
    for paths in ([first, second], [first, there], [second, here], [there, first]):
        assert names_and_seeds(study(*paths)) == EXPECTED
    both = packed(tmp_path / "both.zip", first, second)
    assert names_and_seeds(study(both)) == EXPECTED


def test_runs_of_one_variant_are_not_said_to_differ(two_machines, tmp_path):
    here, there = two_machines
    checks = find_all(
        study(packed(tmp_path / "a.zip", here), packed(tmp_path / "b.zip", there), baseline="two")
    ).checks
    assert not [check.text for check in checks if "differ in more than the seed" in check.text]


def test_other_names_for_one_thing_are_told_by_its_images(tmp_path):
    """Where only the place of images is not said, the data's fingerprint tells whether they are the same."""
    train(tmp_path / "a", "ce", 0, tmp_path, CE)
    train(tmp_path / "a", "ohem", 0, tmp_path, errors=5)
    train(tmp_path / "b", "plain", 1, tmp_path / "other", CE)
    train(tmp_path / "b", "ohem", 1, tmp_path / "other", errors=5)
    first, second = packed(tmp_path / "a.zip", tmp_path / "a"), packed(tmp_path / "b.zip", tmp_path / "b")
    assert names_and_seeds(study(first, second)) == {
        "ce": ["ce-seed0", "plain-seed1"],
        "ohem": ["ohem-seed0", "ohem-seed1"],
    }


def test_other_images_are_another_variant(tmp_path):
    train(tmp_path / "a", "clean", 0, tmp_path / "clean", CE)
    train(tmp_path / "a", "ohem", 0, tmp_path / "clean", errors=5)
    train(tmp_path / "b", "noisy", 0, tmp_path / "noisy", CE, errors=3, fingerprints={"data": "0ther"})
    train(tmp_path / "b", "ohem", 1, tmp_path / "clean", errors=5)
    first, second = packed(tmp_path / "a.zip", tmp_path / "a"), packed(tmp_path / "b.zip", tmp_path / "b")
    assert {*study(first, second).variants} == {"clean", "noisy", "ohem"}


def test_what_a_study_tells_apart_stays_apart_beside_another(tmp_path):
    """Variants that differ in nothing that a result should depend on, such as the backend of a loss."""
    paths = []
    for seed in (0, 1):
        found = []
        for number, name in enumerate(("auto", "torch")):
            settings = (CE, f"name={name}", f"seed={seed}")
            folder = make_run(tmp_path / f"{name}-{seed}" / "T", *settings, errors=number + seed)
            found.append(fake_run(name, seed, *settings, folder=folder))
        paths.append(tmp_path / f"{seed}.zip")
        pack_study(study_of(*found), paths[-1])
    gathered = gather_runs(paths)
    assert (gathered.variants, len(gathered.runs), gathered.notes) == (("auto", "torch"), 4, [])


def test_the_baseline_is_that_of_the_first(tmp_path):
    """Even if another study calls something else so."""
    train(tmp_path / "a", "ohem", 0, tmp_path, errors=5)
    train(tmp_path / "a", "ce", 0, tmp_path, CE)
    train(tmp_path / "b", "ce", 0, tmp_path, "loss={name: dice}", errors=3)
    train(tmp_path / "b", "focal", 0, tmp_path, "loss={name: focal}", errors=4)
    first = packed(tmp_path / "a.zip", tmp_path / "a", baseline="ce")
    both = study(first, packed(tmp_path / "b.zip", tmp_path / "b", baseline="focal"))
    (run,) = both.of(both.baseline)
    assert run.config["loss"]["name"] == "ce" and len(both.variants) == 4


def test_a_run_that_was_trained_again_is_not_missing_beside_a_packed_study(tmp_path):
    train(tmp_path / "a", "ce", 0, tmp_path, CE)
    train(tmp_path / "a", "ohem", 0, tmp_path, errors=5)
    train(tmp_path / "b", "ce", 1, tmp_path, CE)
    stopped = train(tmp_path / "b" / "first", "ce", 1, tmp_path, CE, status={"state": "stopped"})
    path = packed(tmp_path / "a.zip", tmp_path / "a")
    assert gather_runs([path, tmp_path / "b"]).missing == [] and stopped.is_dir()


def with_missing(path, folder, *missing):
    """The runs in `folder` as a packed study that says that others are missing."""
    pack_study(replace(study(folder), missing=missing), path)
    return path


def test_a_seed_that_another_machine_has_trained_is_not_missing(tmp_path):
    train(tmp_path / "a", "ce", 0, tmp_path, CE)
    train(tmp_path / "a", "ohem", 0, tmp_path, errors=5)
    train(tmp_path / "b", "ohem", 1, tmp_path, errors=6)
    train(tmp_path / "b", "focal", 0, tmp_path, "loss={name: focal}", errors=4)
    lost = ("ohem-seed1: failed", "ohem-seed11: failed", "focal-seed0: not trained yet", "b/T: was killed")
    first = with_missing(tmp_path / "a.zip", tmp_path / "a", *lost)
    about_with(first, variants=["ce", "ohem", "focal"])
    second = packed(tmp_path / "b.zip", tmp_path / "b")
    for paths in ([first, second], [second, first], [first, tmp_path / "b"]):
        assert gather_runs(paths).missing == ["ohem-seed11: failed", "b/T: was killed"]
    assert gather_runs([first]).missing == list(lost)


def test_a_run_of_another_configuration_that_is_called_alike_is_not_the_missing_one(tmp_path):
    train(tmp_path / "a", "ce", 0, tmp_path, CE)
    train(tmp_path / "a", "ohem", 0, tmp_path, errors=5)
    train(tmp_path / "b", "ohem", 1, tmp_path, "train.iterations=30", errors=6)
    first = with_missing(tmp_path / "a.zip", tmp_path / "a", "ohem-seed1: failed")
    assert gather_runs([first, tmp_path / "b"]).missing == ["ohem-seed1: failed"]


def test_a_run_is_taken_rather_than_itself_packed(tmp_path):
    """It has pictures, and may have been scored since."""
    for variant, loss in (("ce", CE), ("ohem", "loss={name: ohem_ce}")):
        for seed in (0, 1, 2):
            train(tmp_path / "runs", variant, seed, tmp_path, loss, errors=len(variant) + seed)
    path = packed(tmp_path / "s.zip", tmp_path / "runs")
    for given in ([path, tmp_path / "runs"], [tmp_path / "runs", path]):
        gathered = gather_runs(given)
        assert len(gathered.notes) == 6 and not any(run.is_packed for run in gathered.runs)


def test_variants_and_runs_stand_as_they_were_packed(tmp_path):
    """Also those of which no run is there, since their lack is said and gives the others their colours."""
    folders = {(name, seed): train(tmp_path / "runs", name, seed, tmp_path, CE, errors=seed + len(name))
               for seed in (0, 1) for name in ("ce", "ohem")}  # fmt: skip
    found = [fake_run(name, seed, CE, folder=folder) for (name, seed), folder in folders.items()]
    whole = study_of(*found, baseline="ce", variants=("dice", "ce", "ohem"))
    pack_study(whole, tmp_path / "s.zip")
    again = study(tmp_path / "s.zip")
    assert again.variants == ("dice", "ce", "ohem")
    assert [(run.variant, run.seed) for run in again.runs] == [(run.variant, run.seed) for run in found]
    assert "dice has no finished run" in str([check.text for check in find_all(again).checks])
    renamed = make_study(gather_runs([tmp_path / "s.zip"], names=["x", "dice"]), baseline=None, group_by=None)
    assert (renamed.variants, renamed.baseline) == (("dice", "x"), "x")


def test_a_variant_without_a_run_is_not_listed(tmp_path, capsys):
    train(tmp_path / "runs", "ce", 0, tmp_path, CE)
    train(tmp_path / "runs", "ohem", 0, tmp_path, errors=5)
    path = about_with(packed(tmp_path / "s.zip", tmp_path / "runs"), variants=["ce", "ghost", "ohem"])
    show_comparison([path], output=tmp_path / "out")
    assert capsys.readouterr().out.startswith(
        "compare   2 runs of 2 variants\n          ce: seed 0   baseline"
    )


def test_numbers_do_not_depend_on_where_runs_lie():
    config = load_config("debug.yaml", ["log.dir=/somewhere", "model.init_from=/w/one.pt"]).to_mapping()
    other = json.loads(json.dumps(config)) | {"model": {**config["model"], "init_from": "/w/two.pt"}}
    stand_ins = StandIns()
    found = [clear_places(each, stand_ins)["model"]["init_from"] for each in (config, other)]
    assert found == ["not-in-this-file", "not-in-this-file-2"]
