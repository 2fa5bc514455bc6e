"""`--list`, `--print-config`, the JSON schema, and the files in configs/."""

import subprocess
import sys

import pytest
import yaml

from segkit.config.json_schema import json_schema
from segkit.config.listing import list_components
from segkit.config.load import config_from_mapping, load_config
from segkit.config.sources import shipped_names
from segkit.errors import ConfigError
from tests.paths import ROOT

SHIPPED = ROOT / "configs"
GOOD = "loss: {name: ohem_ce}\ntrain: {iterations: 100}\n"


def test_origins(folder):
    folder(base=GOOD, run="extends: base\ndata:\n  size: 64\n")
    config = load_config("run", ["loss.thresh=0.6", "optimizer.lr=0.1"])
    assert config.origin_of("data.size") == "run.yaml:3"
    lines = split_lines(config.describe_origins())
    assert ["name:", "ohem_ce", "#", "base.yaml:1"] in lines
    assert ["iterations:", "100", "#", "base.yaml:2"] in lines
    assert ["size:", "64", "#", "run.yaml:3"] in lines
    assert ["thresh:", "0.6", "#", "command", "line"] in lines
    assert ["lr:", "0.1", "#", "command", "line"] in lines
    assert ["momentum:", "0.9", "#", "default"] in lines
    assert yaml.safe_load(config.describe_origins()) == config.to_mapping()


@pytest.mark.parametrize(
    "kind",
    [
        "losses",
        "models",
        "datasets",
        "transforms",
        "schedules",
        "optimizers",
        "weight_maps",
        "criteria",
        "selections",
    ],
)
def test_lists(kind):
    text = list_components(kind)
    assert text.startswith(f"{kind}: the values of ")
    assert all(line == line.rstrip() for line in text.splitlines())


def split_lines(text):
    return [line.split() for line in text.splitlines()]


def test_a_list_in_full():
    assert list_components("schedules") == (
        "schedules: the values of schedule.name, each with the other keys of its schedule block\n"
        "A number of a loss can follow one too, between iterations or shares of the run:\n"
        "  thresh: {name: linear, from: 0.9, to: 0.6, start: 10%, end: 50%}\n"
        "\n"
        "constant            The same rate throughout.\n"
        "\n"
        "cosine              Half a cosine down to `final` x the base rate (SGDR without restarts).\n"
        "  final  0.0  a number in [0, 1]\n"
        "\n"
        "linear              A straight line down to `final` x the base rate.\n"
        "  final  0.0  a number in [0, 1]\n"
        "\n"
        "poly                (1 - progress)^power, down to `final` x the base rate (DeepLab's schedule).\n"
        "  power  0.9  a number > 0\n"
        "  final  0.0  a number in [0, 1]\n"
        "\n"
        "step                The rate times `gamma` at each share of the run listed in `at`.\n"
        "  at     [0.6, 0.8]  a non-empty list of numbers in [0, 1]\n"
        "  gamma  0.1         a number >= 0"
    )
    assert ["thresh", "0.7", "a", "number", "in", "(0,", "1]"] in split_lines(list_components("losses"))
    assert ["root", "(required)", "a", "string"] in split_lines(list_components("datasets"))


def test_unknown_list():
    with pytest.raises(ConfigError) as caught:
        list_components("loss")
    assert str(caught.value) == (
        "--list loss: there is no such list; there are: models, datasets, losses, optimizers, schedules, transforms, "
        "weight_maps, criteria, selections"
    )


def test_json_schema_knows_every_shipped_key():
    schema = json_schema()
    assert schema["properties"]["train"]["properties"]["iterations"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
    }
    for name in shipped_names():
        written = yaml.safe_load((SHIPPED / name).read_text())
        assert set(written) <= set(schema["properties"])
        for key, block in load_config(name).to_mapping().items():
            part = schema["properties"][key]
            if isinstance(block, dict) and "name" in block:
                (part,) = (p for p in part["anyOf"] if p["properties"]["name"] == {"const": block["name"]})
            if isinstance(block, dict):
                assert set(block) <= set(part["properties"])


def test_number_of_shipped_files():
    ablations = shipped_names(ablations=True)
    assert ablations == [
        "ablation.yaml",
        "losses.yaml",
        "models.yaml",
        "precision.yaml",
        "camvid/ablation.yaml",
        "camvid/fast_ablation.yaml",
        "membrane/ablation.yaml",
        "membrane/losses.yaml",
    ]
    assert len(list(SHIPPED.rglob("*.y*ml"))) - len(ablations) == len(shipped_names()) == 22


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_file(name):
    config = load_config(name)
    assert config.name == name.removesuffix(".yaml").replace("/", "-")
    assert config_from_mapping(yaml.safe_load(config.to_yaml()), origin=name) == config
    header = (SHIPPED / name).read_text().split("\n\n")[0]
    assert f"python train.py --config {name}" in (SHIPPED / name).read_text() and header.startswith("# ")


@pytest.mark.parametrize(
    ("base", "others"),
    [
        ("ohem.yaml", ["ce.yaml", "bootstrapped.yaml", "weighted_mask.yaml"]),
        ("camvid/ohem.yaml", ["camvid/ce.yaml", "camvid/bootstrapped.yaml", "camvid/weighted_mask.yaml"]),
        ("membrane/ce.yaml", ["membrane/weighted_mask.yaml", "membrane/unet_border.yaml"]),
    ],
)
def test_only_the_loss_differs(base, others):
    reference = load_config(base).to_mapping()
    for name in others:
        mapping = load_config(name).to_mapping()
        weight_map = mapping["data"].pop("weight_map")
        assert (weight_map is not None) == (mapping["loss"]["name"] == "weighted_mask_ce")
        mapping["data"] = {**mapping["data"], "weight_map": None}
        assert [key for key in reference if mapping[key] != reference[key]] == ["name", "loss"]


def test_configuration_needs_no_torch():
    code = "import sys, segkit.config.load; sys.exit(any(m.split('.')[0] in ('torch', 'numpy') for m in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SHIPPED.parent)
