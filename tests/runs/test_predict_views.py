"""The block `predict` of a configuration: validation, `evaluate` and `predict` show images alike."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.commands.error_report.options import ReportOptions
from segkit.commands.evaluate import evaluate_weights
from segkit.commands.predict import predict_images, with_other_views
from segkit.config.load import config_from_mapping
from segkit.errors import CheckpointError, ConfigError
from segkit.evaluation.metrics import confusion_matrix, mean_iou
from segkit.evaluation.views import Views
from segkit.runs.predictor import PIXEL_FUNCTIONS, load_predictor
from segkit.runs.preflight import SilentRecorder
from segkit.system.run_files import RunFiles
from segkit.training.build import build
from tests.runs.test_predictor import CPU, MAPPING, images_of, make_run, randomise

TILES = {"tile": [16, 24], "overlap": 0.5, "flip": True, "scales": [1.0, 0.5]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("views"), predict=TILES)


def matrix_of(predictor):
    pairs = [
        (sample.target.as_subclass(torch.Tensor), predictor.predict(sample.image)) for sample in images_of()
    ]
    return sum(confusion_matrix(*pair, num_classes=5, ignore_index=255) for pair in pairs)


def test_a_run_is_validated_as_it_predicts():
    """With the model in the trainer, before any checkpoint."""
    mapping = {**MAPPING, "predict": TILES}
    experiment = build(config_from_mapping(mapping, origin="test"))
    trainer = experiment.trainer(recorder=SilentRecorder(), save=lambda **_: None)
    randomise(trainer.ema.module, 5)
    plain = build(config_from_mapping(MAPPING, origin="test")).trainer(
        recorder=SilentRecorder(), save=lambda **_: None
    )
    randomise(plain.ema.module, 5)
    assert trainer.plan.views == Views((16, 24), 0.5, "gaussian", True, (1.0, 0.5))
    assert not torch.equal(trainer.evaluate_model().matrix, plain.evaluate_model().matrix)


def test_evaluate_scores_what_predict_says(run, tmp_path, capsys):
    predictor = load_predictor(run.path, CPU)
    assert predictor.views == Views((16, 24), 0.5, "gaussian", True, (1.0, 0.5))
    for overrides in ([], ["predict.tile=null", "predict.flip=false", "predict.scales=[1.0]"]):
        evaluate_weights(run.path, overrides, split="val", device="cpu", output=tmp_path / "scores.json")
        scores = json.loads((tmp_path / "scores.json").read_text())
        expected = mean_iou(matrix_of(with_other_views(predictor, overrides)))
        assert scores["mIoU"] == pytest.approx(expected, abs=1e-9)


def test_predict_takes_other_views(run, tmp_path):
    image = images_of()[0].image
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    predictor = load_predictor(run.path, CPU)
    for overrides in ([], ["predict.tile=[24,24]", "predict.blend=mean"]):
        options = {"output": tmp_path / "out", "forms": ["ids"], "opacity": 0.5, "device": "cpu"}
        predict_images(str(run.path), tmp_path / "a.png", overrides, **options)
        with Image.open(tmp_path / "out/a_ids.png") as saved:
            ids = torch.from_numpy(np.array(saved))
        assert torch.equal(ids, with_other_views(predictor, overrides).predict(image))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.size=3", "data.size=3: of a run's configuration only predict.tile, .overlap"),
        ("predict.tile=[0,5]", r"predict\.tile"),
        ("predict.overlap=0.95", r"predict\.overlap"),
        ("predict.scales=[]", r"predict\.scales"),
        ("predict.scales=[0]", r"predict\.scales"),
        ("predict.blend=sum", r"predict\.blend"),
        ("predict.tiles=[5,5]", "tile"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(run, override, message):
    with pytest.raises(ConfigError, match=message):
        with_other_views(load_predictor(run.path, CPU), [override])


def test_a_checkpoint_from_before_there_was_the_block_shows_whole_images(tmp_path):
    folder = make_run(tmp_path)
    for path in folder.path.rglob("*.pt"):
        state = torch.load(path, weights_only=True)
        del state["config"]["predict"]
        torch.save(state, path)
    assert load_predictor(folder.path, CPU).views.plain


@pytest.fixture(scope="module")
def resized(tmp_path_factory):
    """A run on files of 30 x 44 pixels that were resized to 16 x 24 for the network."""
    folder = tmp_path_factory.mktemp("resized")
    generator = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 3)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for n in range(count):
            image, label = generator.integers(0, 256, (30, 44, 3)), generator.integers(0, 3, (5, 11))
            Image.fromarray(image.astype(np.uint8)).save(folder / f"images/{split}/{n}.png")
            label = label.repeat(6, axis=0).repeat(4, axis=1)
            Image.fromarray(label.astype(np.uint8)).save(folder / f"labels/{split}/{n}.png")
    data = {"name": "folder", "root": str(folder), "classes": ["a", "b", "c"], "resize": [16, 24]}
    return make_run(folder, data=data, eval={"at": "original"})


def test_scores_at_the_original_size_are_of_predictions_at_it(resized, tmp_path, capsys):
    predictor = load_predictor(resized.path, CPU)
    root = predictor.config.data.params["root"]
    pairs = []
    for n in range(3):
        with Image.open(f"{root}/labels/val/{n}.png") as label:
            pairs.append((torch.from_numpy(np.array(label)), predictor.predict(f"{root}/images/val/{n}.png")))
    assert {ids.shape for _, ids in pairs} == {(30, 44)}
    matrix = sum(confusion_matrix(*pair, num_classes=3, ignore_index=255) for pair in pairs)
    output = tmp_path / "scores.json"
    evaluate_weights(resized.path, [], split="val", device="cpu", output=output)
    assert json.loads(output.read_text())["mIoU"] == pytest.approx(mean_iou(matrix), abs=1e-9)
    assert "3 images of folder val, at the size of their files: mIoU" in capsys.readouterr().out
    evaluate_weights(resized.path, ["eval.at=network"], split="val", device="cpu", output=output)
    assert "3 images of folder val, resized to 16 x 24: mIoU" in capsys.readouterr().out
    assert json.loads(output.read_text())["mIoU"] != pytest.approx(mean_iou(matrix), abs=1e-9)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.resize=[20,24]", "resized to 20 x 24, and to 16 x 24 for the network: mIoU"),
        ("data.resize=null", "at the size of their files: mIoU"),
    ],
)
def test_another_size_of_the_labels_is_said(resized, tmp_path, capsys, override, words):
    """They were said to be resized as in training, whatever they were resized to."""
    page = tmp_path / "errors.html"
    options = {"split": "val", "device": "cpu", "output": None, "report": ReportOptions(page)}
    evaluate_weights(resized.path, ["eval.at=network", override], **options)
    assert f"3 images of folder val, {words}" in capsys.readouterr().out
    shown = (
        "24x20 pixels, resized by data.resize" if "[" in override else "44x30 pixels, the size of the labels"
    )
    assert shown in page.read_text()


def test_training_scores_and_draws_at_the_original_size(resized):
    config = load_predictor(resized.path, CPU).config
    experiment = build(config)
    assert experiment.data.train[0].target.shape == (16, 24)
    trainer = experiment.trainer(
        recorder=SilentRecorder(), save=lambda **_: None, examples=experiment.examples()
    )
    assert int(trainer.evaluate_model().matrix.sum()) == 3 * 30 * 44
    panel = trainer.panels(trainer.examples, loss=trainer.loss)[0]
    sizes = {name: tuple(panel[name].shape[-2:]) for name in ("image", "target", "prediction", "ce", "kept")}
    assert set(sizes.values()) == {(30, 44)}


@pytest.mark.parametrize(
    "overrides", [["predict.tile=null", "predict.flip=false", "predict.scales=[1.0]"], []]
)
def test_confidences_and_probabilities(run, tmp_path, overrides):
    """Of the logits of the same views; a step of 1 / 255 is what is lost."""
    image = images_of()[0].image
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    forms = ["ids", "confidence", "probabilities"]
    options = {"output": tmp_path / "out", "forms": forms, "opacity": 0.5, "device": "cpu"}
    predict_images(str(run.path), tmp_path / "a.png", overrides, **options)
    predictor = with_other_views(load_predictor(run.path, CPU), overrides)
    with torch.no_grad():
        logits = predictor.views.logits(predictor.forward, image[None]).float()
        logits = torch.nn.functional.interpolate(
            logits, image.shape[-2:], mode="bilinear", align_corners=False
        )
    expected = logits.softmax(dim=1)[0].numpy()
    with Image.open(tmp_path / "out/a_confidence.png") as file:
        confidence = np.array(file)
    with np.load(tmp_path / "out/a_probabilities.npz", allow_pickle=False) as saved:
        probabilities, step, classes = saved["probabilities"], saved["step"], saved["classes"].tolist()
    assert (confidence.dtype, probabilities.dtype) == (np.uint8, np.uint8)
    assert classes == list(predictor.labels.class_names)
    np.testing.assert_allclose(probabilities * step, expected, atol=0.0021)
    np.testing.assert_allclose(confidence * step, expected.max(axis=0), atol=0.0021)
    with Image.open(tmp_path / "out/a_ids.png") as file:
        ids = np.array(file)
    assert (np.take_along_axis(probabilities, ids[None], axis=0)[0] == confidence).all()


def test_one_logit_has_two_probabilities(tmp_path):
    logits = torch.tensor([[-1.0, 2.0]]).view(1, 1, 1, 2)
    expected = torch.stack([1 - logits.sigmoid(), logits.sigmoid()]).view(2, 1, 2)
    found = PIXEL_FUNCTIONS["probabilities"](logits, (1, 2))[0]
    torch.testing.assert_close(found / 255, expected, atol=0.003, rtol=0)
    assert PIXEL_FUNCTIONS["confidence"](logits, (1, 2))[0].tolist() == found.amax(dim=0).tolist()
    assert not PIXEL_FUNCTIONS["confidence"](torch.full((1, 3, 1, 2), torch.nan), (1, 2)).any()


def test_the_temperature_of_the_run_is_that_of_its_probabilities(tmp_path, capsys):
    folder = make_run(tmp_path)
    image = images_of()[0].image
    plain = load_predictor(folder.path, CPU)
    fitted = {"temperature": 2.0, "weights": plain.path.name, "iteration": plain.iteration}
    file = RunFiles(folder.path).temperature
    file.write_text(json.dumps(fitted))
    cooled = load_predictor(folder.path, CPU)
    with torch.no_grad():
        logits = cooled.views.logits(cooled.forward, image[None]).float()
    expected = (logits / 2).softmax(dim=1)[0]
    found = cooled.predict_with(image, "confidence", "probabilities")
    torch.testing.assert_close(found["probabilities"] / 255, expected, atol=0.0021, rtol=0)
    torch.testing.assert_close(found["confidence"] / 255, expected.amax(dim=0), atol=0.0021, rtol=0)
    assert torch.equal(found["ids"], plain.predict(image))
    assert with_other_views(cooled, ["predict.flip=true"]).temperature == 1
    assert with_other_views(cooled, ["predict.flip=false"]).temperature == 2

    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    for forms, said in ((["confidence"], True), (["ids"], False)):
        options = {"output": tmp_path / "out", "forms": forms, "opacity": 0.5, "device": "cpu"}
        predict_images(str(folder.path), tmp_path / "a.png", **options)
        assert ("temperature 2.0000; weights" in capsys.readouterr().out) == said

    for other in ({"weights": "another.pt"}, {"iteration": -1}):
        file.write_text(json.dumps(fitted | other))
        assert load_predictor(folder.path, CPU).temperature == 1
    for damaged in (json.dumps(fitted | {"temperature": 0}), json.dumps([1]), "{"):
        file.write_text(damaged)
        with pytest.raises(CheckpointError, match=r"temperature\.json cannot be used .*--calibrate"):
            load_predictor(folder.path, CPU)


def test_a_temperature_is_that_of_the_views_that_it_was_fitted_with(tmp_path):
    """Fitted with `evaluate --calibrate predict.flip=true`, it stood for images that are shown once, and was left out
    for the views it is of."""
    folder = make_run(tmp_path)
    plain = load_predictor(folder.path, CPU)
    fitted = {"temperature": 2.0, "weights": plain.path.name, "iteration": plain.iteration}
    views = plain.config.predict.model_dump()
    file = RunFiles(folder.path).temperature
    file.write_text(json.dumps(fitted | {"predict": views | {"flip": True}}))
    predictor = load_predictor(folder.path, CPU)
    assert predictor.temperature == 1
    assert with_other_views(predictor, ["predict.flip=true"]).temperature == 2
    assert with_other_views(predictor, ["predict.flip=true", "predict.scales=[1.5]"]).temperature == 1
    file.write_text(json.dumps(fitted | {"predict": views}))
    assert load_predictor(folder.path, CPU).temperature == 2
    file.write_text(json.dumps(fitted | {"predict": {"flip": "perhaps"}}))
    with pytest.raises(CheckpointError, match=r"temperature\.json cannot be used"):
        load_predictor(folder.path, CPU)


def test_some_classes_alone(run, tmp_path, monkeypatch):
    pictures = {}
    monkeypatch.setattr(
        "segkit.commands.predict.save_image", lambda picture, path, **_: pictures.update({path.name: picture})
    )
    image = images_of()[0].image
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    options = {"forms": ["ids", "overlay", "probabilities"], "opacity": 1.0, "device": "cpu"}
    options["output"] = tmp_path / "out"
    predict_images(str(run.path), tmp_path / "a.png", **options)
    with np.load(tmp_path / "out/a_probabilities.npz") as saved:
        everything = saved["probabilities"]
    before = np.array(pictures["a_overlay.jpg"])
    predict_images(str(run.path), tmp_path / "a.png", classes=["star", "circle"], **options)
    with np.load(tmp_path / "out/a_probabilities.npz") as saved:
        assert saved["classes"].tolist() == ["circle", "star"]
        assert (saved["probabilities"] == everything[[1, 4]]).all()
    others = ~np.isin(np.array(pictures["a_ids.png"]), [1, 4])
    after = np.array(pictures["a_overlay.jpg"])
    assert (after[others] == image.permute(1, 2, 0).numpy()[others]).all()
    assert (after[~others] == before[~others]).all() and others.any() and not others.all()
    with pytest.raises(ConfigError, match="--classes sky: the weights know background, circle"):
        predict_images(str(run.path), tmp_path / "a.png", classes=["sky"], **options)
    with pytest.raises(ConfigError, match="--classes is of overlay and probabilities, and --save has ids"):
        predict_images(str(run.path), tmp_path / "a.png", classes=["star"], **{**options, "forms": ["ids"]})
