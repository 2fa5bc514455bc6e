"""Starting from other weights: what is loaded, what is said of it, and what is refused."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from segkit.config.load import config_from_mapping
from segkit.errors import CheckpointError, ConfigError
from segkit.runs.initial.fit import find_heads, fit_tensors
from segkit.runs.initial.start import start_from
from segkit.runs.train import train
from segkit.system.run_files import RunFiles
from segkit.training.build import build
from tests.runs.test_predictor import MAPPING, make_run, randomise


def start(init_from, *, model=None, data=None, **more):
    """The experiment of a small U-Net that starts from those weights, and the lines that say so."""
    mapping = {
        **MAPPING,
        "model": {
            "name": "unet",
            "width": 4,
            "depth": 2,
            "init_from": str(init_from),
            **(model or {}),
            **more,
        },
        "data": {**MAPPING["data"], **(data or {})},
    }
    experiment = build(config_from_mapping(mapping, origin="test"))
    before = {name: tensor.clone() for name, tensor in experiment.model.state_dict().items()}
    return experiment, start_from(experiment), before


def test_the_best_weights_of_a_run_are_taken_whole(tmp_path):
    run = make_run(tmp_path)
    experiment, lines, _ = start(run.path)
    wanted = build(config_from_mapping(MAPPING, origin="test")).model
    randomise(wanted, 1)
    found = experiment.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.state_dict().items())
    assert lines == [
        f"weights   from {run.best}: {len(found)} of {len(found)} tensors, 100.0% of the parameters"
    ]


def test_without_the_option_nothing_is_touched():
    experiment = build(config_from_mapping(MAPPING, origin="test"))
    assert start_from(experiment) == []


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_files_of_other_programs(tmp_path, ending, prefix):
    model = build(config_from_mapping(MAPPING, origin="test")).model
    randomise(model, 7)
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    path = tmp_path / f"weights{ending}"
    if ending == ".pt":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        pytest.importorskip("safetensors", reason="safetensors is not installed")
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    experiment, lines, _ = start(path)
    found = experiment.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())
    assert lines[0].endswith(", names without module." if prefix else "100.0% of the parameters")


def test_weights_of_a_part_go_where_they_belong():
    own = {"backbone.a": torch.zeros(2), "backbone.b": torch.zeros(3), "head": torch.zeros(4)}
    fit = fit_tensors(own, {"a": torch.ones(2), "b": torch.ones(3), "fc": torch.ones(9)})
    assert {name: tensor.sum() for name, tensor in fit.tensors.items()} == {"backbone.a": 2, "backbone.b": 3}
    assert fit.renamed == "names within backbone." and fit.missing == ["head"]
    assert fit.unexpected == ["backbone.fc"]


def test_classes_take_their_rows_by_name(tmp_path):
    """Also where both have as many classes: rows in another order would be other classes' without a word."""
    run = make_run(tmp_path)
    source = torch.load(run.best, weights_only=True)
    names = source["class_names"]
    source["class_names"] = [names[1], "moon", *names[3:], names[0]]
    path = tmp_path / "other.pt"
    torch.save(source, path)
    experiment, lines, before = start(path)
    found, theirs = experiment.model.state_dict(), source["model"]
    for name in ("classifier.weight", "classifier.bias"):
        for row, word in enumerate(names):
            if word in source["class_names"]:
                wanted = theirs[name][source["class_names"].index(word)]
            else:
                assert word == names[2]
                wanted = before[name][row]
            assert torch.equal(found[name][row], wanted)
    others = ", ".join(name for name in names if name != names[2])
    assert lines[1:] == [f"          classes by name: {others}; new: {names[2]}"]


def test_the_first_convolution_is_brought_to_other_channels(tmp_path):
    run = make_run(tmp_path)
    experiment, lines, _ = start(run.path, data={"channels": 1})
    theirs = torch.load(run.best, weights_only=True)["model"]["stem.0.weight"]
    found = experiment.model.state_dict()["stem.0.weight"]
    torch.testing.assert_close(found, theirs.sum(dim=1, keepdim=True))
    assert lines[1] == "          adapted: stem.0.weight from 3 to 1 channels"


class Heads(nn.Module):
    """Every kind of tensor that depends on the number of classes."""

    def __init__(self, classes):
        super().__init__()
        self.up = nn.ConvTranspose2d(4, classes, 2)
        self.refine = nn.Conv2d(classes, classes, 1)
        self.shuffled = nn.Conv2d(4, 4 * classes, 1)
        self.plain = nn.Conv2d(4, 4, 1)


def test_classes_are_found_in_whatever_dimension_they_are():
    """The weight of a transposed convolution has its classes second; that of a refinement, in both."""
    names, theirs = ["sky", "road", "moon"], ["road", "tree", "sky"]
    own, source = Heads(3).state_dict(), Heads(3).state_dict()
    heads = find_heads(own, Heads(4).state_dict())
    assert heads == {
        "up.weight": (1,),
        "up.bias": (0,),
        "refine.weight": (0, 1),
        "refine.bias": (0,),
        "shuffled.weight": (),
        "shuffled.bias": (),
    }
    fit = fit_tensors(own, source, heads=heads, class_names=names, source_classes=theirs)
    up, refine = fit.tensors["up.weight"], fit.tensors["refine.weight"]
    assert torch.equal(up[:, :2], source["up.weight"][:, [2, 0]])
    assert torch.equal(up[:, 2], own["up.weight"][:, 2])
    assert torch.equal(refine[:2, :2], source["refine.weight"][[2, 0]][:, [2, 0]])
    assert torch.equal(refine[2], own["refine.weight"][2])
    assert torch.equal(refine[:, 2], own["refine.weight"][:, 2])
    assert torch.equal(fit.tensors["up.bias"][:2], source["up.bias"][[2, 0]])
    assert fit.shape == [f"shuffled.{kind}, which has no row for each class" for kind in ("weight", "bias")]
    assert torch.equal(fit.tensors["plain.weight"], source["plain.weight"])
    same = fit_tensors(own, source, heads=heads, class_names=names, source_classes=names)
    assert all(torch.equal(same.tensors[name], tensor) for name, tensor in source.items())


class Branches(nn.Module):
    """Two convolutions side by side that see the image, as RepVGG and MobileOne have, and weights that are shared."""

    def __init__(self, channels):
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(channels, 4, 1), nn.Conv2d(channels, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3)
        self.again = nn.Conv2d(4, 4, 3)
        self.again.weight = self.inner.weight


def start_module(model, state, tmp_path, *, channels):
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    mapping = {**MAPPING, "model": {**MAPPING["model"], "init_from": str(path)}}
    experiment = SimpleNamespace(
        config=config_from_mapping(mapping, origin="test"),
        model=model,
        data=SimpleNamespace(train=SimpleNamespace(channels=channels, class_names=["a", "b"])),
        logits_channels=2,
    )
    return start_from(experiment)


def test_every_convolution_that_sees_the_image_is_brought_to_other_channels(tmp_path):
    source, model = Branches(3), Branches(2)
    lines = start_module(model, source.state_dict(), tmp_path, channels=2)
    assert lines[1:] == [
        f"          adapted: {name}.weight from 3 to 2 channels" for name in ("narrow", "wide")
    ]
    for name in ("narrow", "wide"):
        found, theirs = model.get_submodule(name).weight, source.get_submodule(name).weight
        torch.testing.assert_close(found.sum(dim=1), theirs.sum(dim=1))


@pytest.mark.parametrize("lost", ["inner.weight", "again.weight"])
def test_a_shared_weight_is_loaded_by_any_of_its_names(lost, tmp_path):
    """Files of safetensors often have one of them only."""
    source, model = Branches(3), Branches(3)
    state = {name: tensor for name, tensor in source.state_dict().items() if name != lost}
    (line,) = start_module(model, state, tmp_path, channels=3)
    assert line.endswith(" 100.0% of the parameters")
    assert torch.equal(model.inner.weight, source.inner.weight)


def test_weights_of_a_backbone_go_where_the_model_has_it_further_within():
    own = {
        "network.encoder.a": torch.zeros(2),
        "network.encoder.b.c": torch.zeros(3),
        "network.head": torch.zeros(4),
    }
    fit = fit_tensors(own, {"a": torch.ones(2), "b.c": torch.ones(3), "fc": torch.ones(9)})
    assert set(fit.tensors) == {"network.encoder.a", "network.encoder.b.c"}
    assert fit.renamed == "names within network.encoder."


def test_what_hardly_fits_is_refused_unless_told(tmp_path):
    run = make_run(tmp_path)
    with pytest.raises(ConfigError) as caught:
        start(run.path, model={"width": 8})
    text = str(caught.value)
    assert text.startswith(f"model.init_from: of {run.best} only 0.") and "model.init_least is 50%" in text
    assert "   of another shape: stem.0.weight (4, 3, 3, 3) for (8, 3, 3, 3), " in text
    assert text.endswith("or model.init_least=0 to take what fits")
    _, lines, _ = start(run.path, model={"width": 8}, init_least=0)
    assert " tensors, 0." in lines[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no weights at "),
        (b"", "cannot be read: "),
        ([1, 2], "holds a list, not tensors by name"),
        ({"a": 1}, "has no tensors by name, but a"),
        ({"stem.0.weight": slice(3)}, "holds more than tensors and plain values"),
    ],
)
def test_files_that_are_no_weights(tmp_path, content, message):
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        start(path)
    assert message in str(caught.value) and "model.init_from: " in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = build(config_from_mapping(MAPPING, origin="test")).model
    state = model.state_dict()
    state["stem.0.weight"][0] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"'stem\.0\.weight' of .*w\.pt is not finite"):
        start(tmp_path / "w.pt")


def test_a_run_that_goes_on_needs_the_file_no_more_and_is_the_same_to_the_bit(
    tmp_path, monkeypatch, quick_plots
):
    """With a frozen part and a group of another learning rate."""
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights.pt"
    torch.save(build(config_from_mapping(MAPPING, origin="test")).model.state_dict(), weights)
    model = {"init_from": str(weights), "freeze": ["stem"]}
    mapping = {
        **MAPPING,
        "model": {**MAPPING["model"], **model},
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "groups": {"ups": 0.1}},
        "train": {**MAPPING["train"], "checkpoint_every": 2},
        "log": {"tensorboard": False},
    }
    whole = train(config_from_mapping(mapping, origin="test"))
    final = torch.load(numbered(whole.folder)[-1], weights_only=True)["trainer"]
    halved = {**mapping, "log": {**mapping["log"], "dir": "again"}}
    first = train(config_from_mapping({**halved, "train": {**mapping["train"]}}, origin="test"))
    numbered(first.folder)[-1].unlink()
    weights.unlink()
    again = train(config_from_mapping(halved, origin="test"), resume=str(first.folder))
    resumed = torch.load(numbered(again.folder)[-1], weights_only=True)["trainer"]
    assert resumed["iteration"] == final["iteration"] == 4
    assert all(torch.equal(resumed["model"][name], tensor) for name, tensor in final["model"].items())
    rates = {group["lr_factor"]: group["lr"] for group in final["optimizer"]["param_groups"]}
    assert set(rates) == {1.0, 0.1} and rates[0.1] == pytest.approx(0.1 * rates[1.0], rel=1e-12)


def numbered(folder):
    return sorted(RunFiles(folder).checkpoints.glob("*.pt"))
