"""The card of a packed run: what a stranger reads first is true of the weights that come with it."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from segkit.commands.pack.card import CardFacts, card_text
from segkit.commands.pack.front_matter import front_matter
from segkit.commands.pack.pack import describe_state, pack_run
from segkit.commands.pack.scores import read_summary
from segkit.config.carried.places import left_out, without_places
from segkit.config.load import config_from_mapping
from segkit.errors import CheckpointError
from segkit.runs.checkpoint import load_checkpoint, save_checkpoint
from segkit.runs.folder import RunFolder
from segkit.runs.packed.about import About, Scores
from segkit.system.packed.members import NeededImport
from segkit.system.packed.read import read_packed
from segkit.system.run_files import RunFiles
from tests.runs.test_predictor import MAPPING, make_run
from tests.runs.test_run import finished, only_run  # noqa: F401  a fixture

pytest.importorskip("safetensors", reason="safetensors is not installed: pip install 'segkit[weights]'")

SCORES = {
    "iteration": 8, "mean_iou": 0.5, "accuracy": 0.75, "ce": None, "iou": {"a": 0.5, "b": None}, "images": 3,
    "size": "", "chosen": True,
}  # fmt: skip
ABOUT = {
    "name": "tiny", "segkit": "0.2.0", "torch": "2", "weights": "the best", "iteration": 8, "class_names": ["a", "b"],
    "palette": [(0, 0, 0), (255, 16, 0)], "ignore_index": 255, "channels": 3, "logits_channels": 2,
    "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "value_range": None, "resize": None, "temperature": 1.0,
    "scores": Scores(**SCORES),
}  # fmt: skip


@pytest.fixture
def run(finished, tmp_path) -> Path:  # noqa: F811
    """A copy of a finished run: best and last weights are of the same iteration or not, as it came."""
    shutil.copytree(only_run(finished), tmp_path / "run")
    return tmp_path / "run"


def members_of(run: Path, **options) -> dict[str, bytes]:
    path = run.parent / "net.zip"
    assert pack_run(str(run), output=path, force=True, **options) == 0
    manifest = read_packed(path, []).manifest
    return read_packed(path, list(manifest.members)).members


def split(card: bytes) -> tuple[dict, str]:
    """The front matter, read as others read it, and the text."""
    empty, matter, text = card.decode().split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(matter), text


def card_of(**changes) -> str:
    config = config_from_mapping({**MAPPING, **changes.pop("config", {})}, origin="test")
    about = About(**{**ABOUT, **changes.pop("about", {})})
    facts = {
        "config": config, "settings": without_places(config), "left_out": left_out(config), "about": about,
        "imports": [], "summary": {}, "environment": {}, "state": "It ended.", "pictures": [], "files": {},
    }  # fmt: skip
    return card_text(CardFacts(**{**facts, **changes}))


def test_a_finished_run(run, capsys):
    members = members_of(run)
    assert set(members) == {
        "README.md", "about.json", "config.yaml", "weights.safetensors", "summary.json", "results.csv",
        "confusion_matrix.csv", "per_image.npz", "results.png", "confusion_matrix.png", "labels.png", "best8.jpg",
        "worst8.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg", "loss_pixels.jpg", "train_batch0.jpg",
    }  # fmt: skip
    matter, text = split(members["README.md"])
    summary, about = json.loads(members["summary.json"]), json.loads(members["about.json"])
    assert about["iteration"] == summary["best_weights"]["iteration"]
    assert list(matter) == ["library_name", "pipeline_tag", "tags", "metrics", "model-index"]
    assert (matter["library_name"], matter["pipeline_tag"]) == ("segkit", "image-segmentation")
    assert matter["tags"] == ["segkit", "semantic-segmentation", "unet", "ohem_ce"]
    (model,) = matter["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["task"]["type"], result["dataset"]["type"]) == (
        "tiny",
        "image-segmentation",
        "shapes",
    )
    assert [metric["type"] for metric in result["metrics"]] == matter["metrics"] == ["mean_iou", "accuracy"]
    assert result["metrics"][0]["value"] == pytest.approx(summary["best"]["mIoU"], rel=1e-5)
    assert (
        f"**mIoU {100 * summary['best']['mIoU']:.1f}**" in text
        and "The run was finished after 8 iterations." in text
    )
    assert (
        f"`unet (width 4, depth 2, norm batch, dropout 0.1)` with {summary['parameters']:,} parameters"
        in text
        and "trained with the loss `ohem_ce`" in text
    )
    assert "a moving average of what was trained" in text and "The licence: none was said" in text
    shown = set(re.findall(r"!\[[^]]*\]\(([^)]*)\)", text))
    assert shown == {name for name in members if name.endswith((".png", ".jpg"))}
    for name in set(members) - shown - {"README.md"}:
        assert f"| {name} |" in text
    assert str(run.parent) not in text and "/runs/" not in text


def test_what_is_left_of_the_best_is_not_called_the_best(run, capsys):
    about = json.loads(members_of(run)["about.json"])
    assert about["weights"] == "the best"
    summary = json.loads((run / "summary.json").read_text())
    lost = {"mIoU": 0.99, "iteration": summary["best"]["iteration"] - 2}
    (run / "summary.json").write_text(json.dumps({**summary, "best": lost}))
    members = members_of(run)
    words = "the best that are left (those of the best score are lost)"
    assert json.loads(members["about.json"])["weights"] == words
    assert f"The weights are {words} of its training" in members["README.md"].decode()


def test_scores_on_images_that_were_learnt_are_called_so(run, capsys):
    state = load_checkpoint(run / "best.pt")
    save_checkpoint(run / "best.pt", {**state, "config": {**state["config"], "name": "tiny-overfit"}})
    members = members_of(run)
    assert json.loads(members["about.json"])["scores"]["learnt"]
    matter, text = split(members["README.md"])
    assert list(matter) == ["library_name", "pipeline_tag", "tags"]
    (line,) = (line for line in text.splitlines() if "**mIoU" in line)
    assert " training images that the network learnt, not on validation images (`--overfit`): **mIoU" in line
    assert "validation set" not in text and "- How it does on any image that it did not learn." in text
    assert "| augment | none |" in text and "the same training once more" not in text


def test_the_scores_are_those_of_the_weights(run, capsys):
    rows = list(csv.DictReader((run / "results.csv").read_text().splitlines()))
    summary = json.loads((run / "summary.json").read_text())
    assert json.loads(members_of(run)["about.json"])["scores"]["chosen"]
    for iteration in (6, 8):
        weights = run / f"checkpoints/{iteration:06d}.pt"
        about = json.loads(members_of(weights if iteration == 8 else weights.parent.parent)["about.json"])
        if iteration == 8:
            last = {
                name: value
                for name, value in summary["last"].items()
                if name in ("accuracy", "ce", "images", "iou")
            }
            found = about["scores"]
            assert {name: found[name] for name in last} == last and found["mean_iou"] == summary["last"][
                "mIoU"
            ]
            assert not found["chosen"]
    (run / "checkpoints/000008.pt").unlink()
    (run / "best.pt").unlink()
    assert not any(row["iteration"] == "6" and row["val/mIoU"] for row in rows)
    members = members_of(run)
    assert json.loads(members["about.json"])["scores"] is None
    matter, text = split(members["README.md"])
    assert "metrics" not in matter and "model-index" not in matter
    assert "These weights were not evaluated." in text and "| 0 | background | `#000000` | - |" in text


def test_scores_of_an_earlier_iteration(run, capsys):
    summary = json.loads((run / "summary.json").read_text())
    rows = list(csv.DictReader((run / "results.csv").read_text().splitlines()))
    best = json.loads(members_of(run)["about.json"])["iteration"]
    summary["last"]["iteration"] = 99
    (run / "summary.json").write_text(json.dumps(summary))
    members = members_of(run)
    row = next(row for row in rows if int(row["iteration"]) == best)
    scores = json.loads(members["about.json"])["scores"]
    assert scores["iteration"] == best and scores["mean_iou"] == float(row["val/mIoU"])
    assert scores["iou"]["star"] == float(row["val/iou/star"])
    assert "is of its last one, at iteration 99, not of these weights." in split(members["README.md"])[1]


def test_what_is_left_out(run, capsys):
    members = members_of(run, without=["pictures", "per-image"], licence="mit", dataset="me/shapes")
    assert not [name for name in members if name.endswith((".png", ".jpg", ".npz"))]
    matter, text = split(members["README.md"])
    assert matter["license"] == "mit" and matter["datasets"] == ["me/shapes"]
    assert matter["model-index"][0]["results"][0]["dataset"]["type"] == "me/shapes"
    assert "## Pictures" not in text and "The licence" not in text
    out = capsys.readouterr().out
    assert "pictures  none" in out and "per_image.npz" not in out


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("stopped", "**Unfinished**: the run was stopped after 4 iterations, before its planned end"),
        ("failed", "**Unfinished**: the run failed after 4 iterations"),
        ("running", "**Unfinished**: the run was killed after 4 iterations"),
        ("done", "The run was finished after 4 iterations."),
    ],
)
def test_how_the_run_ended(tmp_path, state, words):
    with RunFolder.create(tmp_path, "tiny") as folder:
        folder.write_status(state, iteration=4)
    text, whole = describe_state(RunFiles(folder.path), {})
    assert text.startswith(words) and whole == (state == "done")


def test_a_summary_that_was_tampered_with(tmp_path):
    run = make_run(tmp_path)
    for text, words in (
        ("[1]", "it is no object"),
        ('{"last": []}', "last should be an object, is []"),
        ('{"last": {"iteration": "4"}}', "last.iteration should be a whole number, is '4'"),
    ):
        run.summary.write_text(text)
        with pytest.raises(CheckpointError, match="cannot be used: ") as caught:
            read_summary(run)
        assert words in str(caught.value)


def test_a_run_whose_end_is_not_known(tmp_path, capsys):
    run = make_run(tmp_path).path
    for content, words in (
        (None, "**Unfinished**: the run was not finished, as far as its folder tells,"),
        ("{", "How the run ended is not known: its status.json is damaged ("),
    ):
        (run / "status.json").unlink(missing_ok=True)
        if content is not None:
            (run / "status.json").write_text(content)
        assert words in split(members_of(run)["README.md"])[1]
    (run / "summary.json").write_text("[1")
    with pytest.raises(
        CheckpointError, match=r"summary\.json cannot be used \(.*-> restore it, or remove it"
    ):
        members_of(run)


def test_an_unfinished_run_shows_no_ranking_of_another(run, capsys):
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "stopped"}))
    members = members_of(run)
    assert "best8.jpg" not in members and "results.png" in members
    assert "**Unfinished**" in split(members["README.md"])[1]


def test_what_the_images_have_to_be():
    text = card_of()
    assert "Images have 3 channels of 8 bits," in text and "nothing was fitted to calibrate them" in text
    text = card_of(
        about={"value_range": (0.0, 4095.0), "resize": (480, 640), "temperature": 1.25, "logits_channels": 1},
        config={"predict": {"tile": [64, 64], "flip": True}},
    )
    for words in (
        "3 channels of more than 8 bits, brought to 0 ... 255 from 0 ... 4095, and are normalised",
        "- They were brought to 480 x 640 (height, width) before.",
        "the logits averaged: `tile [64, 64], overlap 0.25, blend gaussian, flip True, scales [1]`",
        "a single one z standing for [0, z].",
        "divided by the temperature 1.2500, which was fitted on validation images.",
    ):
        assert words in text
    assert "from the range of their type" in card_of(about={"value_range": "dtype"})


def test_commands_say_what_they_need():
    data = {"name": "folder", "root": "/secret/data", "classes": ["a", "b"]}
    text = card_of(
        config={"data": data, "model": {"name": "unet", "init_from": "/secret/best.pt"}},
        imports=[NeededImport(kind="model", name="mine", file="mine.py")],
    )
    assert "segkit predict --weights FILE.zip --source IMAGE_OR_FOLDER --import mine.py\n" in text
    assert "segkit evaluate --weights FILE.zip data.root=PATH --import mine.py\n" in text
    assert "segkit train --config FILE.zip model.init_from=PATH data.root=PATH --import mine.py " in text
    assert (
        "the model `mine` (`mine.py`)" in text
        and "| begun with | other weights, which are not named here |" in text
    )
    assert "secret" not in text


def test_names_are_shown_as_they_are():
    names = ["a | b", "<b>*x*</b>"]
    text = card_of(
        about={"class_names": names, "scores": Scores(**{**SCORES, "iou": dict.fromkeys(names, 0.25)})}
    )
    assert r"| 0 | a \| b | `#000000` | 25.0 |" in text
    assert r"| 1 | &lt;b&gt;\*x\*&lt;/b&gt; | `#ff1000` | 25.0 |" in text


def test_only_what_is_known_stands_at_the_top():
    config = config_from_mapping({**MAPPING, "name": "a: b #c"}, origin="test")
    matter, _ = split(front_matter(config, Scores(**{**SCORES, "accuracy": None})).encode())
    assert matter["metrics"] == ["mean_iou"] and matter["model-index"][0]["name"] == "a: b #c"
    assert matter["model-index"][0]["results"][0]["metrics"] == [
        {"type": "mean_iou", "name": "mean IoU", "value": 0.5}
    ]
    matter, _ = split(front_matter(config, Scores(**{**SCORES, "accuracy": None, "mean_iou": None})).encode())
    assert set(matter) == {"library_name", "pipeline_tag", "tags"}
