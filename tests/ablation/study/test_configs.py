"""Saved configurations: read as they are, and checked by the components only where runs of two segkits meet."""

import pytest

from segkit.ablation.study import configs
from segkit.ablation.study.configs import read_config, read_configs
from segkit.config.load import load_config
from segkit.errors import ConfigError
from tests.ablation.run_folders import make_run

TERMS = "loss={name: sum, terms: [{name: ce, weight: 2.0}, {name: dice}]}"
MOVES = "loss={name: ohem_ce, thresh: {name: linear, from: 0.5, to: 0.7}}"


@pytest.fixture
def unchecked(monkeypatch):
    """Nothing asks a component."""

    def refuse(folder):
        raise AssertionError(f"{folder} was checked by its components")

    monkeypatch.setattr(configs, "load_checked", refuse)


def change(folder, old, new):
    text = (folder / "config.yaml").read_text()
    assert text.count(old) == 1
    (folder / "config.yaml").write_text(text.replace(old, new))
    return folder


@pytest.mark.parametrize(
    "overrides", [[], [TERMS], [MOVES], ["data.weight_map={name: boundary}", "data.size=32"]]
)
def test_it_is_what_the_run_was_made_with(tmp_path, unchecked, overrides):
    folder = make_run(tmp_path / "run", *overrides)
    found, made = read_config(folder), load_config(folder)
    assert found.to_mapping() == made.to_mapping()
    assert list(found.to_mapping()["loss"]) == list(made.to_mapping()["loss"])


def test_a_component_of_the_users_own_needs_no_import(tmp_path, unchecked):
    folder = change(make_run(tmp_path / "run"), "name: ohem_ce", "name: my_own_loss")
    assert read_config(folder).to_mapping()["loss"]["name"] == "my_own_loss"


def test_what_an_older_segkit_did_not_have_is_filled_in_where_another_run_has_it(tmp_path):
    old = change(make_run(tmp_path / "old"), "  thresh: 0.7\n", "")
    new = make_run(tmp_path / "new", "seed=1")
    other = make_run(tmp_path / "other", "loss={name: ce}")
    assert "thresh" not in read_configs([old, other])[old].loss.params
    assert read_configs([old, other, new])[old].loss.params["thresh"] == 0.7


def test_so_are_the_options_of_blocks_inside_of_blocks(tmp_path):
    new = make_run(tmp_path / "new", TERMS)
    lines = (new / "config.yaml").read_text().splitlines(keepends=True)
    (smooth,) = [line for line in lines if line.startswith("    smooth:")]
    old = change(make_run(tmp_path / "old", TERMS, "seed=1"), smooth, "")
    found = {folder: config.to_mapping()["loss"] for folder, config in read_configs([old, new]).items()}
    assert found[old] == found[new]


def test_runs_of_other_components_are_as_they_are(tmp_path, unchecked):
    folders = [make_run(tmp_path / name, f"loss={{name: {name}}}") for name in ("ce", "dice", "ohem_ce")]
    folders += [make_run(tmp_path / "moves", MOVES), make_run(tmp_path / "sum", TERMS)]
    assert list(read_configs(folders)) == folders


def test_a_component_that_nobody_knows_cannot_be_checked(tmp_path):
    old = change(make_run(tmp_path / "old"), "name: ohem_ce", "name: my_own_loss")
    new = change(make_run(tmp_path / "new"), "name: ohem_ce", "name: my_own_loss")
    change(new, "  thresh: 0.7\n", "")
    with pytest.raises(ConfigError, match="no loss named 'my_own_loss'") as caught:
        read_configs([old, new])
    assert str(caught.value).endswith(
        "   -> if a name in it is registered in a file of yours, give that with --import FILE"
    )


def test_every_mistake_is_named(tmp_path):
    folder = make_run(tmp_path / "run")
    change(folder, "  batch_size: 4\n", "  batch_size: 0\n")
    change(folder, "  thresh: 0.7\n", "  thresh: 7\n")
    with pytest.raises(ConfigError) as caught:
        read_config(folder)
    assert [problem.partition("\n")[0].partition(": ")[2] for problem in caught.value.problems[:2]] == [
        "loss.thresh: expected a number in (0, 1], got 7",
        "train.batch_size: expected an integer >= 1, got 0",
    ]
    assert caught.value.problems[-1].endswith("give that with --import FILE")
