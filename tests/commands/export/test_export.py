"""Exported networks: the same numbers for any size, all that is needed inside, and nothing of this machine."""

import contextlib
import io
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from segkit.commands.export.export import export_weights
from segkit.commands.export.network import make_network
from segkit.commands.export.parity import compare, find_images, time_in_turn
from segkit.commands.export.pt2_file import ABOUT, open_pt2
from segkit.commands.export.sweep import SIZES, sweep
from segkit.commands.export.trace import make_image, trace
from segkit.errors import ConfigError
from segkit.models.unet import UNet
from segkit.runs.exported.onnx_network import open_session
from segkit.runs.predictor import load_predictor
from tests.paths import ROOT
from tests.runs.test_predictor import make_run
from tests.scripts import run_script

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'segkit[export]'")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def exported(built_once) -> Path:
    """A folder with what the command has written of one run, what it has shown, and a link to the run."""

    def build(folder: Path) -> None:
        run = make_run(folder, saves="best", train={"amp": "off"}).path
        (folder / "run").symlink_to(run)
        about = {"weights": "best.pt", "iteration": 0, "temperature": 1.5}
        (run / "temperature.json").write_text(json.dumps(about))
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            assert export_weights(str(run), to="onnx") == 0
            for name, to, inside in (("ids", "onnx", True), ("model", "pt2", False), ("ids", "pt2", True)):
                path = folder / to / f"{name}.{to}"
                export_weights(str(run), to=to, output=path, with_preprocessing=inside)
        (folder / "shown.txt").write_text(shown.getvalue())

    return built_once("exported", build)


def runner(path: Path):
    """A file as a function of an image, as others than segkit call it."""
    if path.suffix == ".pt2":
        return open_pt2(path.read_bytes())
    session = open_session(str(path))
    return lambda image: torch.from_numpy(session.run(None, {"image": image.numpy()})[0])


FILES = ["run/model.onnx", "onnx/ids.onnx", "pt2/model.pt2", "pt2/ids.pt2"]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [(64, 96), (65, 96), (64, 97), (33, 47), (1, 1), (7, 1)], ids=str)
@pytest.mark.parametrize("name", FILES)
def test_a_file_takes_any_size_and_number(exported, name, size, count):
    predictor = load_predictor(exported / "run", CPU)
    image = make_image((count, 3, *size), torch.uint8, seed=count)
    with torch.no_grad():
        logits = predictor.model(predictor.preprocess(image))
        if "ids" in name:
            found = runner(exported / name)(image)
            assert found.dtype == torch.uint8 and torch.equal(found, logits.argmax(1).to(torch.uint8))
        else:
            found = runner(exported / name)(predictor.preprocess(image).contiguous())
            torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_no_place_of_this_machine(exported, name):
    content = (exported / name).read_bytes()
    if name.endswith("pt2"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = b"".join(archive.read(each) for each in archive.namelist())
    content += (exported / name).with_suffix(".json").read_bytes()
    site = Path(torch.__file__).parents[1]
    for place in (Path.home(), ROOT, tempfile.gettempdir(), exported, site, "site-packages", "segkit/models"):
        assert str(place).encode() not in content, place
    assert b"stack_trace" not in content


def test_what_a_file_says_of_itself(exported):
    said = open_session(str(exported / "run/model.onnx"))
    found = {name: json.loads(text) for name, text in said.get_modelmeta().custom_metadata_map.items()}
    beside = json.loads((exported / "run/model.json").read_text())
    assert beside == {"file": "model.onnx", **found}
    assert found["class_names"] == ["background", "circle", "square", "line", "star"]
    assert (found["ignore_index"], found["channels"], found["value_range"], found["resize"]) == (
        255,
        3,
        None,
        None,
    )
    assert (found["mean"], found["temperature"], found["iteration"]) == ([0.485, 0.456, 0.406], 1.5, 0)
    assert (found["input"], found["output"], found["preprocessing_inside"]) == ("image", "logits", False)
    assert found["opset"] >= 18 and len(found["palette"]) == 5
    assert yaml.safe_load(found["config"])["log"]["dir"] == "runs"
    assert [(each.name, each.shape) for each in said.get_inputs()] == [("image", ["N", 3, "H", "W"])]
    assert [(each.name, each.shape) for each in said.get_outputs()] == [("logits", ["N", 5, "h", "w"])]
    inside = open_session(str(exported / "onnx/ids.onnx"))
    assert [(each.type, each.shape) for each in inside.get_inputs()] == [
        ("tensor(uint8)", ["N", 3, "H", "W"])
    ]
    assert [(each.name, each.shape) for each in inside.get_outputs()] == [("ids", ["N", "H", "W"])]


def test_a_program_has_the_same_entries(exported):
    files = {ABOUT: ""}
    torch.export.load(str(exported / "pt2/model.pt2"), extra_files=files)
    about = json.loads(files[ABOUT])
    assert about["opset"] is None and about["class_names"][1] == "circle"
    assert {"file": "model.pt2", **about} == json.loads((exported / "pt2/model.json").read_text())


def test_what_the_command_shows(exported):
    lines = (exported / "shown.txt").read_text().splitlines()
    assert re.fullmatch(
        r"file     .*model\.onnx   0\.0 MB, opset \d+, made in \d+ s; and model\.json", lines[0]
    )
    assert lines[1].endswith("best.pt (the best, of iteration 0)")
    assert lines[2] == (
        f"sizes    {2 * len(SIZES)} of {2 * len(SIZES)} agree with PyTorch: one image and three, of even and odd "
        "heights and widths"
    )
    assert lines[3] == "images   5 of the validation set of shapes"
    assert re.fullmatch(
        r"parity   logits differ by \S+ at most, 100\.0000% of the class ids are equal \(at least 99\.99% have to be\)",
        lines[4],
    )
    assert re.fullmatch(
        r"latency  \S+ ms in ONNX Runtime, \S+ ms in PyTorch fp32: \S+ times "
        r"\(medians of 7 in turn, one image of 32 x 32, 1 thread\)",
        lines[5],
    )


# --- what is not kept


class Cut(nn.Module):
    """A network whose exported form cuts its logits to an even size, as one that was traced at such a size may."""

    def forward(self, image):
        return image[..., : image.shape[-2] // 2 * 2, : image.shape[-1] // 2 * 2]


def test_a_file_that_holds_for_even_sizes_alone_is_refused():
    with pytest.raises(ConfigError) as caught:
        sweep(nn.Identity(), Cut(), 3, None, torch.float32)
    assert str(caught.value) == (
        "the exported file is not the network: of 1 image of 65 x 96 it makes torch.float32 (1, 3, 64, 96), and that "
        "torch.float32 (1, 3, 65, 96); nothing is kept -> if the network is made for images of one size, --size H W"
    )


def test_the_export_that_others_write_down_is_one_of_these():
    # The trap: an example of an even size, of which torch concludes that there is nothing to cut.
    network = UNet(3, width=2, depth=2).eval().requires_grad_(False)
    free = torch.export.Dim.AUTO
    shapes = ({0: free, 2: free, 3: free},)
    naive = torch.export.export(network, (torch.randn(2, 3, 64, 64),), dynamic_shapes=shapes, strict=False)
    with pytest.raises(ConfigError, match="of 1 image of 65 x 96 it makes nothing"):
        sweep(network, naive.module(), 3, None, torch.float32)
    ours = trace(network, 3, None, torch.float32)
    assert sweep(network, ours.module(), 3, None, torch.float32) == 2 * len(SIZES)


def test_other_numbers_are_refused():
    with pytest.raises(
        ConfigError, match=r"of 1 image of 64 x 96 its logits differ by 0\.1; nothing is kept"
    ):
        sweep(nn.Identity(), lambda image: image + 0.1, 3, None, torch.float32)
    with pytest.raises(ConfigError, match="its logits differ by nan"):
        sweep(nn.Identity(), lambda image: image * float("nan"), 3, None, torch.float32)
    with pytest.raises(ConfigError, match=r"of 3 images of 8 x 8 50\.00% of its class ids differ"):
        sweep(
            lambda image: image[:, 0] % 2,
            lambda image: image[:, 0] % 2 if len(image) == 1 else half_turned(image[:, 0] % 2),
            3,
            (8, 8),
            torch.uint8,
        )


def half_turned(ids):
    ids = ids.clone()
    ids[..., ::2] = 1 - ids[..., ::2]
    return ids


def test_other_class_ids_on_real_images_are_refused(exported):
    predictor = load_predictor(exported / "run", CPU)
    images = find_images(predictor, [], None).images
    assert len(images) == 5 and images[0].shape == (1, 3, 32, 32)

    def turned(image):
        return predictor.model(image).flip(1)

    with pytest.raises(
        ConfigError, match=r"the exported file is not the network: .*% of the class ids differ, and 0.01%"
    ):
        compare(predictor, turned, images, ids_inside=False)


def test_nothing_is_written_if_the_file_is_refused(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("segkit.commands.export.export.write", lambda *_, **__: type(
        "Wrong", (), {"run": Cut(), "content": b"", "opset": None}))  # fmt: skip
    with pytest.raises(ConfigError, match="nothing is kept"):
        export_weights(str(exported / "run"), to="pt2", output=tmp_path / "x" / "model.pt2")
    assert list(tmp_path.iterdir()) == []


# --- networks of one size


class OneSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 3, 24, 40))

    def forward(self, image):
        if image.shape[-2:] != self.position.shape[-2:]:
            raise AssertionError("Input height (65) doesn't match model (24).\nmore")
        return image + self.position


def test_a_network_of_one_size_says_so_and_takes_it():
    network = OneSize().eval().requires_grad_(False)
    with pytest.raises(ConfigError) as caught:
        trace(network, 3, None, torch.float32)
    assert str(caught.value) == (
        "the network takes no images of 65 x 97: Input height (65) doesn't match model (24). -> if it is made for "
        "images of one size, --size H W"
    )
    program = trace(network, 3, (24, 40), torch.float32)
    assert sweep(network, program.module(), 3, (24, 40), torch.float32) == 2


def test_the_size_is_in_the_file(exported, tmp_path, capsys):
    path = tmp_path / "model.onnx"
    assert run_script("export", "--weights", exported / "run", "--size", 32, 48, "--output", path) == 0
    assert (
        "sizes    2 of 2 agree with PyTorch: one image and three, of 32 x 48, the only size"
        in capsys.readouterr().out
    )
    assert json.loads((tmp_path / "model.json").read_text())["size"] == [32, 48]
    predictor = load_predictor(path, CPU)
    whole = load_predictor(exported / "run", CPU)
    image = make_image((1, 3, 32, 48), torch.uint8)[0]
    assert torch.equal(predictor.predict(image), whole.predict(image))
    with pytest.raises(ConfigError) as caught:
        predictor.predict(image[:, :30])
    assert str(caught.value) == (
        "the exported network takes images of 32 x 48 alone, and this one has 30 x 48 -> predict.tile=[32,48] for "
        "larger ones, or export it again"
    )


# --- what is asked


def test_what_cannot_be_asked(exported, capsys, monkeypatch, tmp_path):
    run = exported / "run"
    assert run_script("export", "--weights", run, "--output", tmp_path / "m.pt2") == 2
    assert (
        capsys.readouterr().err == f"--output {tmp_path / 'm.pt2'}: what --to onnx writes ends with .onnx\n"
    )
    assert run_script("export", "--weights", run / "model.onnx") == 2
    assert "is exported already -> the run it is of" in capsys.readouterr().err
    assert run_script("export", "--weights", run, "--size", 0, 4) == 2
    assert "--size: a height and a width of at least 1 pixel, got 0 4" in capsys.readouterr().err
    assert run_script("export", "--weights", run, "--to", "torchscript") == 2
    capsys.readouterr()

    monkeypatch.setitem(sys.modules, "onnx", None)  # what Python has of a module that is not to be found
    assert run_script("export", "--weights", run) == 2
    assert capsys.readouterr().err == (
        "--to onnx needs onnx, which cannot be imported (import of onnx halted; None in sys.modules) "
        "-> pip install 'segkit[export]'\n"
    )


def test_generated_images_where_the_data_cannot_be_read(exported):
    predictor = load_predictor(exported / "run/model.onnx", CPU)  # any, of data that are elsewhere
    data = predictor.config.data.model_copy(update={"name": "camvid", "params": {"root": "nowhere"}})
    elsewhere = predictor.config.model_copy(update={"data": data})
    object.__setattr__(predictor, "config", elsewhere)
    found = find_images(predictor, [], None)
    assert found.source.startswith("generated ones, because the data of the run cannot be read: ")
    assert [each.shape for each in found.images] == [(1, 3, 192, 256)] * 2


def test_what_is_timed_takes_turns():
    for second_takes, rounds in ((0.25, 7), (1.0, 4), (64.0, 3)):  # of a slow network fewer
        called, now = [], [0.0]

        def run(name, takes, called=called, now=now):
            called.append(name)
            now[0] += takes

        found = time_in_turn(
            lambda _, run=run: run("a", 0.25),
            lambda _, run=run, takes=second_takes: run("b", takes),
            None,
            clock=lambda now=now: now[0],
        )
        assert found == (0.25, second_takes, rounds)
        assert called == ["a", "b"] * (rounds + 1), "the first of all does not count"


def test_one_logit_stands_for_two_classes(exported):
    predictor = load_predictor(exported / "run", CPU)
    one = type("One", (), {"model": nn.Conv2d(3, 1, 1), "config": predictor.config, "channels": 3})
    image = make_image((2, 3, 8, 8), torch.uint8)
    ids = make_network(one, with_preprocessing=True)(image)
    expected = (one.model(predictor.preprocess(image)) > 0)[:, 0]
    assert ids.dtype == torch.uint8 and np.array_equal(ids.bool().numpy(), expected.numpy())
    assert 0 < int(ids.sum()) < ids.numel()
