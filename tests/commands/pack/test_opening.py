"""Opening a packed run: its configuration, the code that it needs and has not, and what does not fit together."""

import inspect
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from segkit.config.carried.places import NOT_SAID
from segkit.config.load import load_config, load_data_config
from segkit.errors import CheckpointError, ConfigError
from segkit.models.unet import UNet
from segkit.registry import MODELS, TRANSFORMS
from segkit.runs.checkpoint import load_checkpoint
from segkit.runs.initial.read import read_source
from segkit.runs.packed.about import About, read_about
from segkit.runs.packed.tensors import from_bytes, to_bytes
from segkit.runs.predictor import load_predictor
from segkit.system.packed.read import read_packed
from segkit.system.packed.write import write_packed
from tests.commands.pack.test_pack import CPU, pack, seen, write_files
from tests.runs.test_predictor import MAPPING, make_run
from tests.scripts import run_script

pytest.importorskip("safetensors", reason="safetensors is not installed: pip install 'segkit[weights]'")


# --- the configuration


def test_the_same_training(tmp_path, monkeypatch, quick_plots, capsys):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path, model={**MAPPING["model"], "dropout": 0.1}).path
    path = pack(run, tmp_path / "net.zip")
    before, after = load_config(run), load_config(path)
    assert before.to_mapping() | {"log": None} == after.to_mapping() | {"log": None}
    assert after.origin_of("seed") == "net.zip/config.yaml:2"
    assert load_data_config(path).data.name == "shapes"
    assert run_script("train", "--config", path, "--print-config") == 0
    assert "net.zip/config.yaml:" in capsys.readouterr().out
    quick = ("log.tensorboard=false", "log.images_every=0", "eval.images=0")
    for source, folder in ((run, "x"), (path, "y")):
        assert run_script("train", "--config", source, f"log.dir={folder}", *quick) == 0
    weights = [load_checkpoint(next(Path(each).glob("tiny/*")) / "best.pt")["model"] for each in "xy"]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_a_run_that_begins_with_its_weights(tmp_path):
    run = make_run(tmp_path).path
    path = pack(run, tmp_path / "net.zip")
    found, wanted = read_source(path), read_source(run)
    assert found.class_names == wanted.class_names and found.path == path
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in wanted.tensors.items())
    with pytest.raises(CheckpointError, match=r"model\.init_from: no weights at .*none\.zip"):
        read_source(tmp_path / "none.zip")


def test_one_that_was_renamed_is_named_as_such(tmp_path):
    path = pack(make_run(tmp_path).path, tmp_path / "net.zip").rename(tmp_path / "net")
    advice = r"a packed run or study, whose name has to end with \.zip -> rename it"
    for opened in (load_predictor, read_source, load_config):
        with pytest.raises((CheckpointError, ConfigError), match=advice):
            opened(path)
    with zipfile.ZipFile(tmp_path / "other", "w") as archive:
        archive.writestr("a", "b")
    for opened in (load_predictor, read_source, load_config):
        with pytest.raises((CheckpointError, ConfigError)) as caught:
            opened(tmp_path / "other")
        assert "packed" not in str(caught.value)


def test_places_stay_behind_and_are_asked_for(tmp_path, capsys):
    data = {**write_files(tmp_path / "set"), "weight_map": {"name": "file", "root": str(tmp_path / "maps")}}
    first = make_run(tmp_path, data={"name": "folder", "root": data["root"], "classes": ["a", "b"]})
    model = {**MAPPING["model"], "init_from": str(first.path)}
    shutil.copytree(tmp_path / "set/masks", tmp_path / "maps/weights")
    run = make_run(tmp_path / "again", data=data, model=model, log={"dir": str(tmp_path / "logs")}).path
    (run / "env.json").write_text(
        json.dumps({"command": f"{tmp_path}/train.py", "host": "pluto", "torch": "2"})
    )
    path = pack(run, tmp_path / "net.zip")
    assert (
        "left out  model.init_from, data.root, data.weight_map.root, log.dir: places of this machine"
        in capsys.readouterr().out
    )
    content = path.read_bytes()
    assert str(tmp_path).encode() not in content and b"pluto" not in content
    text = read_packed(path, ["config.yaml"]).members["config.yaml"].decode()
    assert text.count(NOT_SAID) == 3 and "dir: runs" in text

    def problem(*words) -> str:
        assert run_script("train", "--config", path, "device=cpu", *words) == 2
        return capsys.readouterr().err

    keys = "model.init_from=PATH data.root=PATH data.weight_map.root=PATH"
    assert problem().endswith(
        f"net.zip/config.yaml leaves out the places of the machine that it was made on -> {keys}\n"
    )
    root = f"data.root={data['root']}"
    assert "-> model.init_from=PATH data.weight_map.root=PATH\n" in problem(root, "data.name=folder")
    assert (
        "says that training began with other weights, and not with which -> model.init_from=PATH, or"
        in problem(root, f"data.weight_map.root={tmp_path / 'maps'}")
    )
    assert run_script("evaluate", "--weights", path, "--device", "cpu") == 2
    assert capsys.readouterr().err == f"{path} does not say where its data is -> data.root=PATH\n"
    assert run_script("evaluate", "--weights", path, "--device", "cpu", root) == 0


def test_there_is_nothing_to_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path).path
    path = pack(run, run / "run.zip").relative_to(tmp_path)
    for words in (("--resume", path), ("--config", path, "--resume", path)):
        assert run_script("train", *words) == 4
        assert capsys.readouterr().err == (
            f"nothing to resume at {path}: a packed run has the weights alone\n"
            f"   -> --config {path} for the same training anew, or model.init_from={path} to begin with its weights\n"
        )
    assert run_script("evaluate", "--weights", path, "--calibrate") == 2
    assert capsys.readouterr().err == (
        f"--calibrate is of the weights of a run, and {path} is packed -> the run, then pack it again\n"
    )


def test_a_configuration_that_reaches_out(tmp_path, capsys):
    run = make_run(tmp_path).path
    path = change(pack(run, tmp_path / "net.zip"), "config.yaml", lambda text: b"extends: ohem.yaml\n" + text)
    assert run_script("train", "--config", path, "--print-config") == 2
    assert (
        "net.zip/config.yaml:1:10: a packed configuration is whole and extends nothing"
        in capsys.readouterr().err
    )
    with pytest.raises(CheckpointError, match="extends nothing"):
        load_predictor(path, CPU)
    elsewhere = change(
        pack(run, tmp_path / "b.zip"), "config.yaml", lambda text: text.replace(b"dir: runs", b"dir: .")
    )
    assert run_script("train", "--config", elsewhere, "--print-config") == 2
    assert "a packed configuration does not say where runs are written" in capsys.readouterr().err
    path = change(path, "config.yaml", lambda text: b"a: !!python/object:os.system {}\n")
    with pytest.raises(CheckpointError, match="tags are not allowed"):
        load_predictor(path, CPU)


def change(path: Path, name: str, how) -> Path:
    """The packed run with another content of a member, and a manifest that fits."""
    manifest = read_packed(path, []).manifest
    members = read_packed(path, list(manifest.members)).members
    members[name] = how(members[name])
    write_packed(path, members, segkit=manifest.segkit, imports=manifest.imports)
    return path


# --- code of a user's own


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file that registers a model and a transform, imported, and a function that forgets it again."""
    MODELS.names(), TRANSFORMS.names()
    before = [(registry, dict(registry._constructors)) for registry in (MODELS, TRANSFORMS)]
    (tmp_path / "code").mkdir()
    (tmp_path / "code/own_parts.py").write_text(
        "from segkit.models.unet import UNet\n"
        "from segkit.registry import MODELS, TRANSFORMS\n"
        "@MODELS.register('own_net')\n"
        "class OwnNet(UNet):\n    pass\n"
        "@TRANSFORMS.register('own_step')\n"
        "class OwnStep:\n"
        "    def __call__(self, sample, generator=None):\n        return sample\n"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))

    def forget():
        sys.modules.pop("own_parts", None)
        for registry, constructors in before:
            registry._constructors.clear()
            registry._constructors.update(constructors)

    yield tmp_path / "code/own_parts.py", forget
    forget()


def test_code_that_is_not_packed_is_named_and_never_imported(own, tmp_path, monkeypatch, capsys):
    file, forget = own
    from segkit.cli.run_command import import_user_code

    import_user_code([str(file)])
    augment = {"name": "compose", "transforms": [{"name": "own_step"}]}
    run = make_run(tmp_path, model={"name": "own_net", "width": 4, "depth": 2}, augment=augment).path
    path = pack(run, tmp_path / "net.zip")
    needs = "--import own_parts.py (model own_net), --import own_parts.py (transform own_step), which is not in it"
    assert f"needs     {needs}" in capsys.readouterr().out
    wanted = seen(load_predictor(run, CPU), 3)
    forget()
    monkeypatch.chdir(file.parent)  # the file lies there, and is not taken
    lines = (
        "   -> --import own_parts.py, which registers the model own_net: code of its user's own, which is not in the "
        "packed run\n"
        "   -> --import own_parts.py, which registers the transform own_step: code of its user's own, which is not in "
        "the packed run\n"
    )
    for command, option, code in (("evaluate", "--weights", 2), ("train", "--config", 2)):
        assert run_script(command, option, path) == code
        message = capsys.readouterr().err
        assert "no model named 'own_net'" in message and message.endswith(lines)
    assert "own_parts" not in sys.modules
    assert run_script("evaluate", "--weights", path, "--import", file, "--device", "cpu") == 0
    assert all(map(torch.equal, wanted, seen(load_predictor(path, CPU), 3)))


def test_other_code_of_the_same_name_is_noticed(own, tmp_path):
    file, forget = own
    from segkit.cli.run_command import import_user_code

    import_user_code([str(file)])
    path = pack(
        make_run(tmp_path, model={"name": "own_net", "width": 4, "depth": 2}).path, tmp_path / "net.zip"
    )
    forget()

    @MODELS.register("own_net")
    class Other(UNet):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.more = nn.Linear(1, 1)

    Other.__init__.__signature__ = inspect.signature(UNet.__init__)
    with pytest.raises(CheckpointError) as caught:
        load_predictor(path, CPU)
    assert str(caught.value).startswith(
        f"{path}: its weights are not of the model own_net as it is built here: "
    )
    assert str(caught.value).endswith("-> the code that it was trained with, your own by --import FILE")


def test_a_state_that_is_not_of_tensors_alone(tmp_path):
    with pytest.raises(ConfigError) as caught:
        to_bytes({"a": torch.zeros(1), "net._extra_state": 3}, origin="best.pt")
    assert str(caught.value).startswith(
        "best.pt: 'net._extra_state' of its model is a int, and a packed run holds"
    )


def test_tensors_that_share_their_memory_and_of_every_kind():
    shared = torch.arange(6.0).reshape(2, 3)
    state = {
        "a": shared, "b": shared, "c": shared.T, "half": torch.ones(2, dtype=torch.bfloat16), "on": torch.tensor(True),
        "count": torch.tensor(3), "last": torch.randn(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "none": torch.zeros(0, 3),
    }  # fmt: skip
    content = to_bytes(state, origin="x")
    assert content == to_bytes(dict(reversed(state.items())), origin="x")
    found = from_bytes(content, origin="x")
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    with pytest.raises(CheckpointError, match=r"packed run x: its weights cannot be read \("):
        from_bytes(content[:30], origin="x")


def test_what_it_says_of_its_weights_has_to_fit(tmp_path):
    path = pack(make_run(tmp_path).path, tmp_path / "net.zip")
    text = read_packed(path, ["about.json"]).members["about.json"]
    about = json.loads(text)
    assert read_about(text, origin=path) == About.model_validate_json(text)

    def refusal(**changes) -> str:
        with pytest.raises(CheckpointError) as caught:
            read_about(json.dumps(about | changes).encode(), origin="x")
        return str(caught.value)

    start = "packed run x: what it says of its weights cannot be used: "
    assert refusal(channels=0) == f"{start}channels"
    assert refusal(temperature=0) == f"{start}temperature"
    assert refusal(palette=[[0, 0, 300]]) == f"{start}palette.0.2"
    assert refusal(class_names=[]) == f"{start}class_names"
    assert refusal(class_names=["a"]) == "packed run x: it has 1 classes and 5 colours"
    for wrong in (b"", b"[]", b"nan", b'{"name": '):
        with pytest.raises(CheckpointError, match="cannot be used: "):
            read_about(wrong, origin="x")
    change(path, "about.json", lambda text: text.replace(b'"the best"', b'"{0.path} {} \\u001b"'))
    assert load_predictor(path, CPU).why == "packed: {0.path} {} \\x1b, of iteration 0"
    change(path, "about.json", lambda text: text.replace(b'"channels": 3', b'"channels": 4'))
    with pytest.raises(CheckpointError, match="its weights are not of the model unet"):
        load_predictor(path, CPU)


def test_damage_is_found_when_it_is_looked_into(tmp_path, capsys):
    path = pack(make_run(tmp_path).path, tmp_path / "net.zip")
    capsys.readouterr()
    assert run_script("pack", path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{path}: {len(lines) - 1} members, all as packed by segkit 0.2.0"
    assert {line.split()[0] for line in lines[:-1]} >= {
        "README.md",
        "about.json",
        "config.yaml",
        "weights.safetensors",
    }
    assert run_script("pack", path, "--force") == 2
    assert f"--force: {path} is packed already, and is only looked into" in capsys.readouterr().err
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("weights.safetensors").header_offset
    content = bytearray(path.read_bytes())
    content[place + 2000] ^= 1
    path.write_bytes(content)
    for what, *words in (("file", "pack", path), ("run", "evaluate", "--weights", path)):
        assert run_script(*words) == 4
        assert (
            f"packed {what} {path}: it is cut off, damaged, or was never a zip file"
            in capsys.readouterr().err
        )
    path.write_bytes(b"PK")
    assert run_script("train", "--config", path, "--print-config") == 4
    assert capsys.readouterr().err.startswith(
        f"packed run {path}: it is cut off, damaged, or was never a zip file ("
    )
