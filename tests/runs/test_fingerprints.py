"""Digests that must differ where runs differ, and only there."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.config.load import load_config
from segkit.data.datasets.folder import Folder
from segkit.errors import CheckpointError
from segkit.runs.fingerprints import data_fingerprint, digest, fingerprints, given_weights, order_fingerprint
from segkit.runs.run import train_run
from segkit.training.build import build

TINY = ["data.size=32", "augment.crop_size=32", "model.width=4", "model.depth=1", "train.iterations=3"]


def prints(*overrides, config="debug.yaml"):
    return fingerprints(build(load_config(config, [*TINY, "train.workers=0", *overrides])))


def differing(first, second):
    return {name for name in first if first[name] != second[name]}


def test_the_same_experiment_has_the_same_fingerprints():
    assert prints() == prints()


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("loss={name: ce}", set()),
        ("loss={name: focal, gamma: 2.0}", set()),
        ("data.weight_map={name: boundary}", set()),
        ("optimizer.lr=0.3", set()),
        ("train.workers=1", set()),
        ("seed=1", {"initial_weights", "training_order", "first_batch"}),
        ("model.width=6", {"initial_weights"}),
        ("augment.hflip=1.0", {"first_batch"}),
        ("train.iterations=4", {"training_order"}),
        ("train.accumulate=2", {"training_order"}),
        ("data.seed=1", {"data", "first_batch"}),
        ("data.val_size=9", {"data"}),
    ],
)
def test_what_changes_which_fingerprint(override, changed):
    assert differing(prints(), prints(override)) == changed


def test_order_covers_the_whole_run():
    few = order_fingerprint(10, batch_size=4, seed=0, num_batches=5)
    assert few != order_fingerprint(10, batch_size=4, seed=0, num_batches=6)
    assert few == order_fingerprint(10, batch_size=4, seed=0, num_batches=5)
    assert few != order_fingerprint(10, batch_size=4, seed=1, num_batches=5)


def test_digest_is_sha256_over_shape_type_and_content():
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    expected = hashlib.sha256(b"(2, 3)int64" + array.tobytes() + b"\0" + b"'a'\0").hexdigest()[:16]
    assert digest([array, "a"]) == expected
    assert digest([array.reshape(3, 2)]) != digest([array])
    assert digest([torch.zeros(2)]) != digest([torch.zeros(2, dtype=torch.bfloat16)])
    assert digest(["a", "b"]) != digest(["ab"])


def write_folder(root, *, images=3):
    for split in ("train", "val"):
        for kind, mode in (("images", "RGB"), ("masks", "L")):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
            for n in range(images):
                Image.new(mode, (32, 32), 0).save(root / kind / split / f"{split}{n}.png")


def test_an_edited_file_changes_the_data_fingerprint(tmp_path, monkeypatch):
    write_folder(tmp_path, images=40)

    def found():
        parts = [Folder(split, root=str(tmp_path), classes=["a", "b"]) for split in ("train", "val")]
        return data_fingerprint(*parts)

    before = found()
    assert found() == before
    edited = tmp_path / "masks" / "train" / "train11.png"  # not among the samples whose pixels are read
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[4, 5] = 1
    Image.fromarray(mask).save(edited)
    assert found() != before


def test_weights_from_files_have_a_fingerprint_of_their_own(tmp_path):
    """The configuration does not say what is in them, and no other digest looks at them."""
    write_folder(tmp_path)
    plain = ["augment={name: none}", "train.batch_size=2", "train.workers=0"]

    def found(weight_map):
        data = f"{{name: folder, root: '{tmp_path}', classes: [a, b], weight_map: {{name: {weight_map}}}}}"
        return fingerprints(build(load_config("debug.yaml", [*TINY[2:], f"data={data}", *plain])))

    assert "weights" not in found("boundary") | prints()
    (tmp_path / "weights" / "train").mkdir(parents=True)
    for n in range(3):
        np.save(tmp_path / "weights" / "train" / f"train{n}.npy", np.ones((32, 32), dtype=np.float32))
    before = found("file")
    assert found("file") == before
    np.save(tmp_path / "weights" / "train" / "train1.npy", np.full((32, 32), 2.0, dtype=np.float32))
    assert differing(before, found("file")) == {"weights"}


class WithWeights:
    """A data set that gives a weight for every pixel."""

    def __init__(self, dataset, weight):
        self.dataset, self.weight = dataset, weight

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        sample = self.dataset[index]
        return replace(sample, weight=torch.full(sample.target.shape, self.weight))


def test_weights_that_a_data_set_gives_have_one_too(tmp_path):
    write_folder(tmp_path)
    train = Folder("train", root=str(tmp_path), classes=["a", "b"])
    assert given_weights(train, None, skip_bad=False) == []
    one, two = (
        digest(given_weights(WithWeights(train, weight), None, skip_bad=False)) for weight in (1.0, 2.0)
    )
    assert one != two
    # Which count only where no weight map takes their place.
    assert given_weights(WithWeights(train, 1.0), lambda sample: None, skip_bad=False) == []


def test_resuming_on_changed_files_is_refused(tmp_path, capsys, quick_plots):
    data = tmp_path / "data"
    write_folder(data)
    config = [
        *TINY[2:],
        f"data={{name: folder, root: '{data}', classes: [a, b]}}",
        "augment={name: none}",
        "loss={name: ce}",
        "train.batch_size=2",
        "train.workers=0",
        "log.tensorboard=false",
        f"log.dir={tmp_path / 'runs'}",
    ]
    source = "debug.yaml"
    assert train_run(load_config(source, config), source=source).exit_code == 0
    folder = next((tmp_path / "runs" / "debug").iterdir())
    before = json.loads((folder / "env.json").read_text())["fingerprints"]["data"]
    Image.new("RGB", (32, 32), (9, 9, 9)).save(data / "images" / "train" / "train1.png")
    longer = load_config(source, [*config, "train.iterations=5"])
    with pytest.raises(CheckpointError) as caught:
        train_run(longer, source=source, resume=str(folder))
    message = str(caught.value)
    assert f"was trained on other data: fingerprint {before}, now " in message
    assert message.endswith("or accept the change: --allow-change data")
    assert train_run(longer, source=source, resume=str(folder), allow_change=["data"]).exit_code == 0
