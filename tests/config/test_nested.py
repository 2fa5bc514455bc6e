"""Blocks in a loss block: schedules in the place of numbers, the terms of a sum, the parts of a pixel loss."""

import json
from pathlib import Path
from typing import Annotated

import pytest
import yaml

from segkit.config.json_schema import json_schema
from segkit.config.load import config_from_mapping, load_config
from segkit.config.schema import Component, OptionSchedule
from segkit.registry import LOSSES, MODELS, SCHEDULES
from segkit.types import ComponentOf, Count, PositiveInt, Probability

BASE = "loss: {name: ce}\ntrain: {iterations: 100}\n"
EVERYTHING = """
loss:
  name: sum
  terms:
    - name: ohem_ce
      thresh: {name: poly, from: 0.9, to: 0.5, start: 2, power: 2}
      n_min: {name: linear, from: 1/2, to: 1/16, end: 50%}
    - {name: sum, weight: 2, terms: [{name: ce}]}
    - name: pixel
      weight: {name: constant, from: 0.5}
      criterion: {name: focal, gamma: {name: cosine, from: 2, to: 0}}
      selection: {name: top_k, k: 100}
train: {iterations: 100}
"""


@pytest.fixture
def register(monkeypatch):
    """Register a component for one test."""

    def add(registry, name, constructor):
        registry.names()  # loads what is there
        monkeypatch.setitem(registry._constructors, name, constructor)

    return add


# --- values


def test_a_schedule_has_all_its_values(folder):
    folder(run="loss: {name: ohem_ce, thresh: {name: LINEAR, from: 1, to: 0.6}}\ntrain: {iterations: 9}\n")
    thresh = load_config("run").loss.params["thresh"]
    assert thresh == OptionSchedule(
        name="linear", params={"from": 1.0, "to": 0.6, "start": "0%", "end": "100%", "final": 0.0}
    )
    assert type(thresh.params["from"]) is float


def test_terms_and_parts_have_all_their_values(folder):
    folder(run=EVERYTHING)
    first, second, third = load_config("run").loss.params["terms"]
    assert (first.name, first.params["weight"], first.params["class_weights"]) == ("ohem_ce", 1.0, None)
    assert second.params["terms"][0].name == "ce" and second.params["weight"] == 2.0
    assert third.params["weight"] == OptionSchedule(name="constant", params={"from": 0.5})
    assert third.params["criterion"].params["gamma"].name == "cosine"
    assert third.params["selection"] == Component(name="top_k", params={"k": 100})


def test_a_block_that_is_left_out_has_its_default_with_all_values(folder):
    folder(run="loss: {name: pixel}\ntrain: {iterations: 9}\n")
    params = load_config("run").loss.params
    assert params["criterion"].name == "ce" and params["criterion"].params["label_smoothing"] == 0.0
    assert params["selection"] == Component(name="all", params={})


def test_an_optional_block_may_be_null(folder, register):
    def choosy(*, part: Annotated[object, ComponentOf("selection")] = None, other: int = 1): ...

    register(LOSSES, "choosy", choosy)
    folder(
        run="loss: {name: choosy}\ntrain: {iterations: 9}\n",
        null="extends: run\nloss: {part: null}\n",
        some="extends: run\nloss: {part: {name: all}}\n",
    )
    assert load_config("run").loss.params["part"] is load_config("null").loss.params["part"] is None
    assert load_config("some").loss.params["part"].name == "all"
    assert load_config("run").to_mapping()["loss"] == {"name": "choosy", "part": None, "other": 1}


def test_round_trips(folder):
    folder(run=EVERYTHING)
    config = load_config("run")
    mapping = config.to_mapping()
    assert config_from_mapping(mapping, origin="test") == config
    assert config_from_mapping(json.loads(json.dumps(mapping)), origin="test") == config
    assert yaml.safe_load(config.to_yaml()) == mapping
    assert yaml.safe_load(config.describe_origins()) == mapping
    Path("again.yaml").write_text(config.to_yaml())
    assert load_config("again") != load_config("again", ["loss.terms.0.thresh.from=0.8"])
    assert load_config("again", ["name=run"]) == config
    assert "\n  - name: ohem_ce\n" in config.to_yaml(), "a block of its own for each term"


def test_nothing_inside_can_be_changed(folder):
    folder(run=EVERYTHING)
    thresh = load_config("run").loss.params["terms"][0].params["thresh"]
    with pytest.raises(TypeError, match="a configuration is read-only"):
        thresh.params["from"] = 0.1


def test_origins_inside_lists(folder):
    folder(run=EVERYTHING)
    lines = [
        line.split() for line in load_config("run", ["loss.terms.1.weight=3"]).describe_origins().splitlines()
    ]
    assert ["-", "name:", "ohem_ce", "#", "run.yaml:5"] in lines
    assert ["power:", "2.0", "#", "run.yaml:6"] in lines
    assert ["weight:", "3.0", "#", "command", "line"] in lines
    assert ["weight:", "1.0", "#", "default"] in lines
    assert ["k:", "100", "#", "run.yaml:12"] in lines


# --- what may be scheduled


def test_any_number_of_any_loss_can_be_scheduled(folder, register):
    def custom(
        *,
        gamma=2.0,
        k: PositiveInt = 3,
        share: Probability | None = None,
        n: Count = "1/4",
        mixed: float | str = 1,
    ): ...

    register(LOSSES, "custom", custom)
    ways = {"gamma": (3, 0.5), "k": (9, 1), "share": (1.0, 0.1), "n": ("1/2", "5%"), "mixed": (1.0, 2.0)}
    for option, (before, after) in ways.items():
        way = f"{{name: linear, from: {before}, to: {after}}}"
        folder(run=f"loss: {{name: custom, {option}: {way}}}\ntrain: {{epochs: 9}}\n")
        params = load_config("run").loss.params[option].params
        assert (params["from"], params["to"]) == (before, after)


def test_a_schedule_of_the_users_own(folder, register, mistake):
    register(SCHEDULES, "wave", lambda progress, *, waves: 1.0)
    folder(run=BASE.replace("ce", "ohem_ce, thresh: {name: wave, from: 1, to: 0.5, waves: 3}"))
    assert load_config("run").loss.params["thresh"].params["waves"] == 3
    register(SCHEDULES, "clash", lambda progress, *, start=1: 1.0)
    folder(run=BASE.replace("ce", "ohem_ce, thresh: {name: clash, from: 1, to: 0.5}"))
    with pytest.raises(TypeError, match="schedule 'clash': a parameter cannot be called 'start'"):
        load_config("run")


def test_only_a_loss_can_be_scheduled(folder, mistake):
    folder(base=BASE, run="extends: base\noptimizer: {lr: {name: linear, from: 1, to: 0}}\n")
    assert mistake("run") == (
        "run.yaml:2:17: optimizer.lr: expected a number, got {name: linear, from: 1, to: 0}\n"
        "      2 | optimizer: {lr: {name: linear, from: 1, to: 0}}"
    )


def test_only_a_loss_can_be_scheduled_in_its_parts_too(folder, register, first_line):
    def net(*, part: Annotated[object, ComponentOf("selection")] = None): ...

    register(MODELS, "net", net)
    block = "{name: top_k, k: {name: linear, from: 9, to: 1}}"
    folder(base=BASE, run=f"extends: base\nmodel: {{name: net, part: {block}}}\n")
    assert first_line("run") == (
        "run.yaml:2:43: model.part.k: expected an integer >= 1, got {name: linear, from: 9, to: 1}"
    )


# --- overrides


def test_a_schedule_from_the_command_line(folder):
    folder(run="loss: {name: ohem_ce, thresh: 0.7}\ntrain: {iterations: 9}\n")
    config = load_config(
        "run", ["loss.thresh={name: linear, from: 0.9, to: 0.6, end: 50%}", "loss.thresh.to=0.5"]
    )
    way = config.loss.params["thresh"]
    assert (way.name, way.params["to"], way.params["end"]) == ("linear", 0.5, "50%")
    assert config.origin_of("loss.thresh.from") == "command line"


def test_a_number_replaces_a_schedule_and_another_shape_its_options(folder):
    folder(
        base="loss: {name: ohem_ce, thresh: {name: poly, from: 0.9, to: 0.6, power: 3}}\ntrain: {iterations: 9}\n",
        number="extends: base\nloss: {thresh: 0.5}\n",
        shape="extends: base\nloss: {thresh: {name: linear, from: 0.8, to: 0.4}}\n",
    )
    assert load_config("number").loss.params["thresh"] == 0.5
    assert "power" not in load_config("shape").loss.params["thresh"].params


@pytest.mark.parametrize("written", ["loss.terms.1.weight=5", "loss.terms[1].weight=5"])
def test_an_override_reaches_into_a_list(folder, written):
    folder(run=EVERYTHING)
    plain, changed = (
        load_config("run").loss.params["terms"],
        load_config("run", [written]).loss.params["terms"],
    )
    assert changed[1].params["weight"] == 5.0
    assert changed[1].params["terms"] == plain[1].params["terms"]
    assert (changed[0], changed[2]) == (plain[0], plain[2])


def test_a_file_replaces_a_list_whole(folder):
    folder(base=EVERYTHING, run="extends: base\nloss: {terms: [{name: ce}]}\n")
    assert [term.name for term in load_config("run").loss.params["terms"]] == ["ce"]


def test_a_file_does_not_reach_into_a_list(folder, first_line):
    folder(base=EVERYTHING, run="extends: base\nloss: {terms: {0: {weight: 2}}}\n")
    assert first_line("run") == (
        "run.yaml:2:15: loss.terms: expected a list of loss blocks, such as [{name: ...}], got {0: {weight: 2}}"
    )


def test_a_place_that_is_not_in_the_list(folder, first_line):
    folder(run=EVERYTHING)
    assert first_line("run", "loss.terms.7.weight=5") == (
        "command line: 'loss.terms.7.weight=5': loss.terms: expected a list of loss blocks, such as [{name: ...}], "
        "got {7: {weight: 5}}"
    )


def test_a_loss_whose_option_is_a_key_of_a_term_is_its_authors_mistake(folder, register):
    register(LOSSES, "heavy", lambda *, weight=1.0: None)
    folder(
        run="loss: {name: heavy}\ntrain: {iterations: 9}\n",
        term="extends: run\nloss: {name: sum, terms: [{name: heavy}]}\n",
    )
    assert load_config("run").loss.params == {"weight": 1.0}
    with pytest.raises(TypeError, match="loss 'heavy': a parameter cannot be called 'weight'"):
        load_config("term")


# --- JSON schema


def test_json_schema_takes_schedules_terms_and_parts():
    schema = json_schema()
    (ohem,) = (
        p for p in schema["properties"]["loss"]["anyOf"] if p["properties"]["name"] == {"const": "ohem_ce"}
    )
    assert {"$ref": "#/$defs/schedule"} in ohem["properties"]["thresh"]["anyOf"]
    assert ohem["properties"]["thresh"]["default"] == 0.7
    assert "anyOf" not in ohem["properties"]["allow_inactive"]
    (total,) = (
        p for p in schema["properties"]["loss"]["anyOf"] if p["properties"]["name"] == {"const": "sum"}
    )
    inner, keys = total["properties"]["terms"]["items"]["allOf"]
    assert inner == {"$ref": "#/$defs/loss"} and list(keys["properties"]) == ["weight"]
    assert set(schema["$defs"]) >= {"loss", "criterion", "selection", "schedule"}
    (unet,) = (
        p for p in schema["properties"]["model"]["anyOf"] if p["properties"]["name"] == {"const": "unet"}
    )
    assert "anyOf" not in unet["properties"]["width"], "only a loss has schedules"
    json.dumps(schema)
