"""Trained weights outside of training: which are taken, and that they predict what validation scored."""

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from segkit.commands import predict as predict_module
from segkit.commands.evaluate import evaluate_weights
from segkit.commands.predict import choose_forms, find_images, predict_images, save_prediction
from segkit.config.load import config_from_mapping
from segkit.errors import CheckpointError, ConfigError, DataError
from segkit.evaluation.evaluate import evaluate
from segkit.evaluation.metrics import confusion_matrix
from segkit.registry import MODELS
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.runs.folder import RunFolder
from segkit.runs.predictor import Predictor, load_predictor
from segkit.runs.preflight import SilentRecorder
from segkit.runs.recording.bad_sample_log import BadSampleLog
from segkit.runs.state import saver
from segkit.system import device as device_module
from segkit.training.build import build

CPU = torch.device("cpu")
MAPPING = {
    "name": "tiny",
    "device": "cpu",
    "data": {"name": "shapes", "size": 32, "train_size": 4, "val_size": 5},
    "model": {"name": "unet", "width": 4, "depth": 2},
    "loss": {"name": "ce"},
    "train": {"iterations": 4, "batch_size": 2, "workers": 0, "ema": 0.9},
}


def randomise(model: nn.Module, seed: int) -> None:
    """Give every weight and buffer a value of its own, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.ndim > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / tensor[0].numel() ** 0.5)
            elif tensor.is_floating_point():
                tensor.copy_(0.5 + 0.5 * torch.rand(tensor.shape, generator=generator))


def make_run(folder: Path, *, saves: str = "best numbered", ema: float | None = 0.9, **blocks) -> RunFolder:
    """A run folder written by the run's own saver. The weights, by seed: best.pt 1; the numbered checkpoint 2,
    and its moving average 3."""
    mapping = {**MAPPING, **blocks, "train": {**MAPPING["train"], **blocks.get("train", {}), "ema": ema}}
    experiment = build(config_from_mapping(mapping, origin="test"))
    run = RunFolder.create(folder / "runs", "tiny")
    recorder = SimpleNamespace(
        restart_clock=lambda: None,
        saved=lambda path: None,
        state_dict=dict,
        await_pictures=lambda: None,
    )
    save = saver(experiment, recorder, run, BadSampleLog(None, tell=print), data="0")
    trainer = experiment.trainer(recorder=SilentRecorder(), save=save)
    if "best" in saves:
        randomise(trainer.evaluated_model, 1)
        save(trainer.best_state(), 2, True)
    if "numbered" in saves:
        randomise(trainer.model, 2)
        if ema is not None:
            randomise(trainer.ema.module, 3)
        save(trainer.state_dict(), 4, False)
    run.close()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("run"))


def weights_of_seed(predictor) -> int | None:
    """Which of the seeds of `make_run` the weights come from."""
    for seed in (1, 2, 3):
        other = build(config_from_mapping(MAPPING, origin="test")).model
        randomise(other, seed)
        state = other.state_dict()
        if all(torch.equal(tensor, state[name]) for name, tensor in predictor.model.state_dict().items()):
            return seed
    return None


def refusal(kind: type, action, *arguments, **options) -> str:
    with pytest.raises(kind) as caught:
        action(*arguments, **options)
    return str(caught.value)


# --- which weights


def test_run_folder_means_its_best_weights(run):
    predictor = load_predictor(run.path, CPU)
    assert predictor.path == run.path / "best.pt"
    assert weights_of_seed(predictor) == 1
    assert weights_of_seed(load_predictor(str(run.path / "best.pt"), CPU)) == 1


def test_numbered_checkpoint_means_its_moving_average(run):
    assert weights_of_seed(load_predictor(run.path / "checkpoints/000004.pt", CPU)) == 3


def test_numbered_checkpoint_without_a_moving_average_means_its_model(tmp_path):
    run = make_run(tmp_path, ema=None)
    assert weights_of_seed(load_predictor(run.path / "checkpoints/000004.pt", CPU)) == 2


def test_run_that_was_never_validated_means_its_newest_intact_checkpoint(tmp_path):
    run = make_run(tmp_path, saves="numbered")
    newer = run.path / "checkpoints/000006.pt"
    newer.write_bytes((run.path / "checkpoints/000004.pt").read_bytes()[:-100])
    predictor = load_predictor(run.path, CPU)
    assert predictor.path.name == "000004.pt" and weights_of_seed(predictor) == 3
    (run.path / "checkpoints/000004.pt").unlink()
    lines = refusal(CheckpointError, load_predictor, run.path, CPU).splitlines()
    assert lines[0] == f"no usable checkpoint in {run.path}: neither best.pt nor checkpoints/*.pt"
    assert lines[1].startswith(f"   {newer}: damaged, ")


def test_commands_say_which_weights_they_took_and_why(tmp_path, pictures, capsys):
    run = make_run(tmp_path)
    last = run.path / "checkpoints/000004.pt"
    state = load_checkpoint(run.path / "best.pt")
    save_checkpoint(run.path / "best.pt", {**state, "iteration": 1200})
    numbered = load_checkpoint(last)
    save_checkpoint(last, {**numbered, "trainer": {**numbered["trainer"], "iteration": 4}})
    (run.path / "checkpoints/000006.pt").write_bytes(b"")
    output = tmp_path / "scores.json"

    def shown(weights: str = "") -> list[str]:
        evaluate_weights(run.path / weights, [], split="val", device="cpu", output=output)
        predict(run, pictures / "b.png", forms=("ids",), weights=weights)
        return [line for line in capsys.readouterr().out.splitlines() if "weights " in line]

    for line in shown():
        assert f"weights {run.path}/best.pt (the best, of iteration 1,200)" in line
    assert json.loads(output.read_text())["iteration"] == 1200
    for line in shown("checkpoints/000004.pt"):
        assert f"weights {last} (of iteration 4)" in line
    (run.path / "best.pt").unlink()
    for line in shown():
        why = "the last that is intact, of iteration 4: there is no best.pt, and 000006.pt cannot be used"
        assert f"weights {last} ({why})" in line
    (run.path / "checkpoints/000006.pt").unlink()
    for line in shown():
        assert f"weights {last} (the last, of iteration 4: there is no best.pt)" in line
    assert json.loads(output.read_text())["iteration"] == 4


def test_damaged_best_weights_are_not_replaced_by_others(tmp_path):
    run = make_run(tmp_path)
    (run.path / "best.pt").write_bytes((run.path / "best.pt").read_bytes()[:-100])
    assert f"checkpoint {run.path}/best.pt: damaged" in refusal(
        CheckpointError, load_predictor, run.path, CPU
    )


def test_missing_weights(tmp_path):
    message = refusal(CheckpointError, load_predictor, tmp_path / "nowhere", CPU)
    assert (
        message
        == f"no weights at {tmp_path}/nowhere: give a run folder, such as runs/ohem/TIME, or a .pt file"
    )
    message = refusal(CheckpointError, load_predictor, tmp_path, CPU)
    assert message == f"no usable checkpoint in {tmp_path}: neither best.pt nor checkpoints/*.pt"


@pytest.mark.parametrize(
    "key", ["config", "class_names", "channels", "palette", "ignore_index", "resize", "model"]
)
def test_file_that_is_no_checkpoint_of_a_run(run, tmp_path, key):
    state = load_checkpoint(run.path / "best.pt")
    del state[key]
    save_checkpoint(tmp_path / "other.pt", state)
    message = refusal(CheckpointError, load_predictor, tmp_path / "other.pt", CPU)
    assert message == f"{tmp_path}/other.pt is no checkpoint of a segkit run: it has no '{key}'"


def test_model_of_a_user_who_forgot_to_import_it(tmp_path, monkeypatch):
    MODELS.names()
    with monkeypatch.context() as patch:
        patch.setitem(MODELS._constructors, "mine", MODELS.get("unet"))
        run = make_run(tmp_path, model={"name": "mine", "width": 4, "depth": 2})
    message = refusal(ConfigError, load_predictor, run.path, CPU)
    assert str(run.path / "best.pt") in message and "no model named 'mine'" in message


def test_weights_can_be_used_where_the_data_is_not(tmp_path):
    for split in ("train", "val"):
        for kind, mode in (("images", "RGB"), ("masks", "L")):
            folder = tmp_path / "set" / kind / split
            folder.mkdir(parents=True)
            Image.new(mode, (32, 32)).save(folder / "1.png")
            Image.new(mode, (32, 32)).save(folder / "2.png")
    data = {"name": "folder", "root": str(tmp_path / "set"), "classes": ["a", "b"], "resize": [16, 24]}
    run = make_run(tmp_path, data=data)
    (tmp_path / "set").rename(tmp_path / "moved")
    predictor = load_predictor(run.path, CPU)
    assert (predictor.labels.class_names, predictor.resize, predictor.channels) == (("a", "b"), (16, 24), 3)


def test_pretrained_weights_are_not_fetched_again(run, tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        pytest.fail("a download was begun")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    model = MODELS.get("lraspp_mobilenet_v3_large")(5, 3)
    state = {**load_checkpoint(run.path / "best.pt"), "model": model.state_dict()}
    state["config"]["model"] = {"name": "lraspp_mobilenet_v3_large", "weights_backbone": "imagenet"}
    save_checkpoint(tmp_path / "pretrained.pt", state)
    predictor = load_predictor(tmp_path / "pretrained.pt", CPU)
    assert torch.equal(next(predictor.model.parameters()), next(model.parameters()))


# --- predictions


def images_of(mapping=MAPPING) -> list:
    experiment = build(config_from_mapping(mapping, origin="test"))
    return [experiment.data.val[n] for n in range(len(experiment.data.val))]


def test_predictions_are_those_that_validation_scores(run):
    predictor = load_predictor(run.path, CPU)
    experiment = build(predictor.config)
    result = evaluate(
        predictor.forward,
        predictor.model,
        experiment.val_batches(),
        num_classes=5,
        ignore_index=255,
        device=CPU,
    )
    summed = sum(
        confusion_matrix(
            sample.target.as_subclass(torch.Tensor),
            predictor.predict(sample.image),
            num_classes=5,
            ignore_index=255,
        )
        for sample in images_of()
    )
    assert torch.equal(summed, result.matrix)
    assert (result.matrix.sum(dim=0) > 0).sum() > 1  # or any model would agree


def test_training_evaluates_what_the_checkpoint_predicts(tmp_path):
    """The score in the checkpoint's own trainer, with preprocessing and moving average, is repeated from the file."""
    experiment = build(config_from_mapping(MAPPING, origin="test"))
    with RunFolder.create(tmp_path, "tiny") as folder:
        recorder = SimpleNamespace(
            restart_clock=lambda: None,
            saved=lambda path: None,
            state_dict=dict,
            await_pictures=lambda: None,
        )
        trainer = experiment.trainer(
            recorder=SilentRecorder(),
            save=saver(experiment, recorder, folder, BadSampleLog(None, tell=print), data="0"),
        )
        randomise(trainer.ema.module, 5)
        expected = trainer.evaluate_model()
        trainer.save(best=True)
    predictor = load_predictor(folder.path, CPU)
    result = evaluate(
        predictor.forward,
        predictor.model,
        experiment.val_batches(),
        num_classes=5,
        ignore_index=255,
        device=CPU,
    )
    assert torch.equal(result.matrix, expected.matrix) and result.ce == expected.ce


@pytest.mark.parametrize("size", [(31, 45), (1, 7), (64, 33)])
def test_prediction_has_the_size_of_the_image(run, size):
    image = torch.randint(0, 256, (3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ids = load_predictor(run.path, CPU).predict(image)
    assert (ids.shape, ids.dtype) == (size, torch.uint8)
    assert ids.max() < 5


def with_resize(run: RunFolder, path: Path, resize) -> Path:
    save_checkpoint(path, {**load_checkpoint(run.path / "best.pt"), "resize": resize})
    return path


def seen_by(model: nn.Module) -> list[torch.Tensor]:
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    return seen


def test_image_is_resized_as_in_training_and_the_answer_is_not(run, tmp_path):
    predictor = load_predictor(with_resize(run, tmp_path / "resized.pt", (16, 24)), CPU)
    seen = seen_by(predictor.model)
    image = torch.randint(0, 256, (3, 31, 45), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert predictor.predict(image).shape == (31, 45)
    small = nn.functional.interpolate(image[None].float(), size=(16, 24), mode="bilinear", antialias=True)
    # The data set resizes uint8 images, so the network learnt from rounded values.
    assert (seen[0] - predictor.preprocess(small)).abs().max() < 1 / 255 / 0.2


def test_image_that_has_the_size_already_stays_as_it_is(run, tmp_path):
    predictor = load_predictor(with_resize(run, tmp_path / "resized.pt", (16, 24)), CPU)
    seen = seen_by(predictor.model)
    image = torch.randint(0, 256, (3, 16, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    predictor.predict(image)
    assert torch.equal(seen[0], predictor.preprocess(image[None]))


def test_predictor_is_in_eval_mode_and_keeps_no_graph(run):
    predictor = load_predictor(run.path, CPU)
    assert not any(module.training for module in predictor.model.modules())
    assert not predictor.predict(torch.zeros(3, 8, 8, dtype=torch.uint8)).requires_grad


def test_precision_of_training_is_that_of_predicting(tmp_path, monkeypatch):
    monkeypatch.setattr(device_module, "computes_bf16", lambda: True)
    mapping = {**MAPPING, "train": {**MAPPING["train"], "amp": "bf16"}}
    experiment = build(config_from_mapping(mapping, origin="test"))
    with RunFolder.create(tmp_path, "tiny") as folder:
        recorder = SimpleNamespace(
            restart_clock=lambda: None,
            saved=lambda path: None,
            state_dict=dict,
            await_pictures=lambda: None,
        )
        trainer = experiment.trainer(
            recorder=SilentRecorder(),
            save=saver(experiment, recorder, folder, BadSampleLog(None, tell=print), data="0"),
        )
        trainer.save(best=True)
    predictor = load_predictor(folder.path, CPU)
    randomise(predictor.model, 1)
    image = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found, exact = predictor.forward(image), predictor.model(predictor.preprocess(image))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = predictor.model(predictor.preprocess(image))
    assert torch.equal(found, expected) and not torch.equal(found, exact)


# --- evaluate and predict


def test_scores_are_written_as_json(run, tmp_path, capsys):
    output = tmp_path / "scores.json"
    assert evaluate_weights(str(run.path), ["data.val_size=3"], split="val", device="cpu", output=output) == 0
    scores = json.loads(output.read_text())
    assert (scores["images"], scores["split"], scores["weights"]) == (3, "val", str(run.path / "best.pt"))
    assert f"3 images of shapes val: mIoU {100 * scores['mIoU']:.1f}  acc " in capsys.readouterr().out
    assert evaluate_weights(str(run.path), [], split="train", device="cpu", output=output) == 0
    assert json.loads(output.read_text())["images"] == 4


def test_borders_are_scored_on_request(run, tmp_path, capsys):
    output, options = tmp_path / "scores.json", {"split": "val", "device": "cpu"}
    assert evaluate_weights(str(run.path), [], **options, output=output, boundary=3) == 0
    boundary = json.loads(output.read_text())["boundary"]
    assert boundary["tolerance_pixels"] == 3
    assert list(boundary["iou"]) == ["background", "circle", "square", "line", "star"]
    assert "\nborders, within 3 pixels\nclass       boundary IoU  boundary F1\n" in capsys.readouterr().out
    assert evaluate_weights(str(run.path), [], **options, output=output) == 0
    assert "boundary" not in json.loads(output.read_text())
    message = refusal(ConfigError, evaluate_weights, str(run.path), [], **options, output=None, boundary=0.0)
    assert message == "--boundary is a distance of at least 1 pixel, got 0 -> --boundary 3"


def test_data_with_other_classes_is_refused(run, tmp_path):
    for split in ("images", "masks"):
        (tmp_path / split / "val").mkdir(parents=True)
        Image.new("L", (32, 32)).save(tmp_path / split / "val/1.png")
    overrides = [f"data={{name: folder, root: {tmp_path}, classes: [a, b]}}"]
    message = refusal(
        ConfigError, evaluate_weights, str(run.path), overrides, split="val", device="cpu", output=None
    )
    assert message == (
        "the weights know 5 classes (background, circle, square, line, star) but the data has 2 (a, b)"
    )


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with images of several sizes, formats and depths."""
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    Image.new("RGB", (45, 31), "red").save(folder / "b.png")
    Image.new("L", (20, 33), 100).save(folder / "deeper/a.b.JPG")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_images_are_found_at_any_depth_in_name_order(pictures):
    assert find_images(pictures) == [pictures / "b.png", pictures / "deeper/a.b.JPG"]
    assert find_images(pictures / "b.png") == [pictures / "b.png"]


def test_no_images(pictures):
    message = refusal(DataError, find_images, pictures / "nowhere")
    assert message == f"--source {pictures}/nowhere: no such file or folder"
    (pictures / "empty").mkdir()
    message = refusal(DataError, find_images, pictures / "empty")
    assert message.startswith(f"--source {pictures}/empty: no images in it (looked for .png, .jpg,")


def predict(run, source, output=None, *, forms=("overlay", "palette", "ids"), opacity=0.5, weights=""):
    return predict_images(
        str(run.path / weights), source, output=output, forms=forms, opacity=opacity, device="cpu"
    )


def test_folder_of_images_is_segmented_into_the_same_folders(run, pictures, tmp_path):
    assert predict(run, pictures, tmp_path / "out") == 0
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    expected = [
        f"{stem}{end}" for stem in ("b", "deeper/a.b") for end in (".png", "_ids.png", "_overlay.jpg")
    ]
    assert written == sorted(expected)
    with Image.open(tmp_path / "out/deeper/a.b_ids.png") as ids:
        assert ids.size == (20, 33)


def test_blocks_of_the_first_image_alone_are_given_back(run, pictures, tmp_path, monkeypatch):
    """What stays of it would else lie between blocks that are kept; of every image it would take time."""
    events = []

    @contextmanager
    def noted():
        events.append("begun")
        yield
        events.append("ended")

    def look(predictor, image, *what):
        events.append(tuple(image.shape[-2:]))
        return usual(predictor, image, *what)

    usual = Predictor.predict_with
    monkeypatch.setattr(predict_module, "large_blocks_given_back", noted)
    monkeypatch.setattr(Predictor, "predict_with", look)
    predict(run, pictures, tmp_path / "out", forms=("ids",))
    assert events == ["begun", (31, 45), "ended", (33, 20)]


def test_every_page_of_a_stack_is_segmented_like_a_file(run, tmp_path):
    pages = np.random.default_rng(0).integers(0, 256, (3, 20, 33, 3), dtype=np.uint8)
    folder = tmp_path / "pictures"
    first, *others = (Image.fromarray(page) for page in pages)
    (folder / "deeper").mkdir(parents=True)
    first.save(folder / "deeper/volume.tif", save_all=True, append_images=others)
    first.save(folder / "single.tif")
    Image.fromarray(pages[1]).save(tmp_path / "second.png")
    assert predict(run, folder, tmp_path / "out", forms=("ids",)) == 0
    predict(run, tmp_path / "second.png", tmp_path / "out", forms=("ids",))
    written = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
    )
    named = [f"deeper/volume_00{n}_ids.png" for n in range(3)]
    assert written == [*named, "second_ids.png", "single_ids.png"]
    found = [np.asarray(Image.open(tmp_path / "out" / name)) for name in ("second_ids.png", named[1])]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("weights", ["", "best.pt", "checkpoints/000004.pt"])
def test_predictions_go_into_the_run_folder_by_default(tmp_path, pictures, weights):
    run = make_run(tmp_path)
    predict(run, pictures / "b.png", weights=weights, forms=("ids",))
    assert [path.name for path in (run.path / "predictions").iterdir()] == ["b_ids.png"]


@pytest.mark.parametrize(
    ("source", "output", "replaced"),
    [("", "", "b.png"), ("b.png", "deeper/..", "b.png"), ("", "deeper", "deeper/b.png")],
)
def test_results_never_replace_the_images(run, pictures, source, output, replaced):
    Image.new("RGB", (4, 4), "blue").save(pictures / "deeper/b.png")
    before = {path: path.read_bytes() for path in pictures.rglob("*.*")}
    message = refusal(ConfigError, predict, run, pictures / source, pictures / output)
    result = pictures / output / Path(replaced).name
    assert message == f"--output: the result {result} would replace that image -> another folder"
    assert {path: path.read_bytes() for path in pictures.rglob("*.*")} == before


@pytest.mark.parametrize(
    ("others", "forms", "clash"),
    [
        (["b.jpg"], ("overlay",), "b_overlay.jpg: it would hold {0}/b.jpg and {0}/b.png"),
        (["deeper/a.b.png"], ("ids",), "deeper/a.b_ids.png: it would hold {0}/deeper/a.b.JPG and {0}/deeper/a.b.png"),
        (["b_ids.jpg"], ("palette", "ids"), "b_ids.png: it would hold {0}/b.png and {0}/b_ids.jpg"),
        (["b_ids.jpg"], ("ids", "palette", "ids"), "b_ids.png: it would hold {0}/b.png and {0}/b_ids.jpg"),
        (["b.png.d/x.png", "b.png.d.png"], ("palette",), None),
        (["c.jpg", "c.png/x.jpg"], ("palette",), "c.png: it would hold {0}/c.jpg and be the folder of {0}/c.png/x.jpg"),
    ],
)  # fmt: skip
def test_results_never_replace_one_another(run, pictures, tmp_path, others, forms, clash):
    for name in others:
        (pictures / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(pictures / name)
    output = tmp_path / "out"
    if clash is None:
        assert predict(run, pictures, output, forms=forms) == 0
        return
    message = refusal(ConfigError, predict, run, pictures, output, forms=forms)
    assert message == (
        f"--source {pictures}: two results would be called {output}/{clash.format(pictures)}\n"
        "   -> rename one of them, or segment them apart: --source IMAGE --output DIR"
    )
    assert not output.exists()


def test_a_form_asked_for_twice_is_written_once(run, pictures, tmp_path):
    assert predict(run, pictures / "b.png", tmp_path / "out", forms=("ids", "ids")) == 0


def test_results_may_lie_beside_the_images_if_no_name_is_taken(run, pictures):
    assert predict(run, pictures, pictures, forms=("overlay", "ids")) == 0


def test_opacity_out_of_range(run, pictures):
    assert refusal(ConfigError, predict, run, pictures, opacity=1.5) == "--opacity 1.5: must be in [0, 1]"


def test_image_that_cannot_be_read_is_named(run, pictures, tmp_path):
    (pictures / "c.png").write_bytes(b"no image")
    assert str(pictures / "c.png") in refusal(DataError, predict, run, pictures, tmp_path / "out")


COLORS = [(0, 0, 0), (200, 30, 40), (10, 120, 250)]


def test_saved_ids_read_back_in_every_form(tmp_path):
    ids = torch.tensor([[0, 1, 2], [2, 2, 0]], dtype=torch.uint8)
    image = torch.full((3, 2, 3), 77, dtype=torch.uint8)
    save_prediction(tmp_path / "x", image, ids, COLORS, forms=("ids", "palette", "overlay"), opacity=1.0)
    with Image.open(tmp_path / "x_ids.png") as read:
        assert read.mode == "L" and np.array_equal(np.asarray(read), ids.numpy())
    with Image.open(tmp_path / "x.png") as read:
        assert read.mode == "P" and np.array_equal(np.asarray(read), ids.numpy())
        assert np.asarray(read.convert("RGB"))[1, 1].tolist() == list(COLORS[2])
    assert (tmp_path / "x_overlay.jpg").exists()


@pytest.mark.parametrize(("opacity", "color"), [(0.0, (77, 77, 77)), (1.0, COLORS[1]), (0.5, (138, 53, 58))])
def test_overlay_mixes_image_and_colours(tmp_path, opacity, color):
    image, ids = torch.full((1, 16, 16), 77, dtype=torch.uint8), torch.ones(16, 16, dtype=torch.uint8)
    save_prediction(tmp_path / "x", image, ids, COLORS, forms=("overlay",), opacity=opacity)
    with Image.open(tmp_path / "x_overlay.jpg") as read:
        assert read.getpixel((8, 8)) == pytest.approx(color, abs=4)


def test_more_classes_than_a_byte_holds(tmp_path):
    image, ids = torch.zeros(3, 1, 2, dtype=torch.uint8), torch.tensor([[3, 299]])
    save_prediction(tmp_path / "x", image, ids, COLORS, forms=("ids",), opacity=0.5)
    with Image.open(tmp_path / "x_ids.png") as read:
        assert np.asarray(read).tolist() == [[3, 299]]


def test_what_is_saved_if_nobody_says_it_fits_the_number_of_classes():
    assert choose_forms(None, 256) == ("overlay", "palette")
    assert choose_forms(None, 257) == ("overlay", "ids")
    assert choose_forms(["palette"], 256) == ["palette"]
    assert refusal(ConfigError, choose_forms, ["overlay", "palette"], 257) == (
        "--save palette: a palette PNG holds 256 classes at most, and there are 257 -> --save ids"
    )
