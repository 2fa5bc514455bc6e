"""The configurations of the named data sets build on tiny folders in the published layouts."""

import pytest

from segkit.config.load import load_config
from segkit.config.sources import shipped_names
from segkit.data.loading.loader import train_batches
from segkit.training.build import build_data
from tests.data.datasets import published_layouts as layouts

MAKERS = {
    "ade20k/ohem.yaml": layouts.make_ade20k,
    "camvid/rgb.yaml": layouts.make_camvid_rgb,
    "camvid/segnet.yaml": layouts.make_camvid_segnet,
    "cityscapes/ohem.yaml": layouts.make_cityscapes,
    "coco_stuff/ohem.yaml": layouts.make_coco_stuff,
    "pets/ohem.yaml": layouts.make_pets,
    "sbd/ohem.yaml": layouts.make_sbd,
    "voc/ohem.yaml": layouts.make_voc,
}


def test_each_has_a_layout_to_build_on():
    others = {name for name in shipped_names() if load_config(name).data.name not in ("folder", "shapes")}
    assert others == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_builds_and_makes_a_batch(tmp_path, name):
    if name.startswith("sbd/"):
        pytest.importorskip("scipy", reason="scipy is not installed, which reads the labels of sbd")
    MAKERS[name](tmp_path)
    data = build_data(load_config(name, [f"data.root={tmp_path}", "augment.crop_size=16"]))
    assert len(data.train) >= 2 and len(data.val) >= 2
    batches = train_batches(
        data.train,
        weight_map=data.weight_map,
        augment=data.augment,
        batch_size=2,
        seed=0,
        start_batch=0,
        num_batches=1,
        workers=0,
        pin_memory=False,
    )
    batch = next(iter(batches))
    assert batch["image"].shape == (2, 3, 16, 16) and batch["target"].shape == (2, 16, 16)
    known = set(range(data.train.num_classes)) | {data.train.ignore_index}
    assert set(batch["target"].unique().tolist()) <= known
