"""The lines that make masks, on folders in which several images have one name, as the parts of a data set may."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.check.contents.scripts import mask_script
from segkit.data.check.find_layout import find_layout
from segkit.data.decoding.images_and_masks import read_labels
from tests.data.check import test_contents as contents
from tests.data.check.test_contents import ROOT, run, save, write

here = contents.here
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what the lines import
#: By the folder of an image called 1.jpg, what is drawn on it, in classes of which one is background.
PARTS = {"train": 1, "val": 2, "train/more": 3}
NAMES = ("ant", "bee", "cat")
SIZE = (8, 8)
BOX = [[2, 2], [5, 2], [5, 5], [2, 5]]


def drawn(part: str) -> np.ndarray:
    ids = np.zeros(SIZE, dtype=np.uint8)
    ids[2:6, 2:6] = PARTS[part]
    return ids


def picture(part: str) -> np.ndarray:
    return np.full((*SIZE, 3), PARTS[part], dtype=np.uint8)


def images(place: str = "images/{}/1.jpg") -> None:
    for part in PARTS:
        save(place.format(part), picture(part))


def make_labelme() -> None:
    images("{}/1.jpg")
    for part, value in PARTS.items():
        shapes = [{"label": NAMES[value - 1], "points": BOX, "shape_type": "polygon"}]
        write(f"{part}/1.json", json.dumps({"version": "5", "shapes": shapes}))


def make_yolo() -> None:
    images()
    for part, value in PARTS.items():
        points = " ".join(f"{(x + 0.1) / 8:.4f} {(y + 0.1) / 8:.4f}" for x, y in BOX)
        write(f"labels/{part}/1.txt", f"{value - 1} {points}\n")
    write("data.yaml", f"names: [{', '.join(NAMES)}]\n")


def make_npy() -> None:
    images()
    for part in PARTS:
        (ROOT / "arrays" / part).mkdir(parents=True)
        np.save(ROOT / "arrays" / part / "1.npy", drawn(part))


def make_objects() -> None:
    images()
    for part, value in PARTS.items():
        for n in range(2):
            half = drawn(part) > 0
            half[:, 4:] = half[:, 4:] if n else False
            save(f"masks/{part}/1_{NAMES[value - 1]}_{n}.png", half.astype(np.uint8) * 255)


def annotated(part: str) -> dict:
    return {"id": 1, "file_name": "1.jpg", "height": 8, "width": 8}


def make_panoptic() -> None:
    images()
    names = [{"id": n, "name": name} for n, name in enumerate(("background", *NAMES))]
    for part, value in PARTS.items():
        ids = drawn(part) > 0
        save(f"annotations/{part}/1.png", np.stack([ids, ids * 0, ids * 0], 2).astype(np.uint8))
        segments = [{"id": n, "category_id": n * value} for n in range(2)]
        data = {"annotations": [{"file_name": "1.png", "segments_info": segments}], "categories": names}
        write(f"annotations/{part}.json", json.dumps(data))


def make_coco() -> None:
    pytest.importorskip("pycocotools")
    images()
    box = [2, 2, 6, 2, 6, 6, 2, 6]
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)]
    for part, value in PARTS.items():
        area = {"id": 1, "image_id": 1, "category_id": value, "segmentation": [box], "iscrowd": 0}
        data = {"images": [annotated(part)], "annotations": [area], "categories": categories}
        write(f"annotations/{part}/instances.json", json.dumps(data))


KINDS = {
    "labelme": make_labelme,
    "yolo": make_yolo,
    "npy": make_npy,
    "objects": make_objects,
    "panoptic": make_panoptic,
    "coco": make_coco,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_gets_its_own_mask(kind):
    KINDS[kind]()
    run(mask_script(kind, str(ROOT)))
    masks = {path.parent: path for path in ROOT.rglob("1_mask.png")}
    below = "images/" if (ROOT / "images").exists() else ""
    assert set(masks) == {ROOT / f"{below}{part}" for part in PARTS}
    for part in PARTS:
        np.testing.assert_array_equal(read_labels(masks[ROOT / f"{below}{part}"])[0], drawn(part))
    layout = find_layout(ROOT)
    pairs = [pair for found in layout.pairs.values() for pair in found]
    assert len(pairs) == len(PARTS) and all(image.parent == mask.parent for image, mask in pairs)


def test_a_list_in_one_file_names_the_folders():
    pytest.importorskip("pycocotools")
    make_coco()
    path = ROOT / "annotations/train/instances.json"
    data = json.loads(path.read_text())
    data["images"] = [
        {**annotated(part), "id": value, "file_name": f"{part}/1.jpg"} for part, value in PARTS.items()
    ]
    data["annotations"] = [
        {**data["annotations"][0], "id": value, "image_id": value, "category_id": value}
        for value in (1, 2, 3)
    ]
    for file in ROOT.rglob("*.json"):
        file.unlink()
    write("all.json", json.dumps(data))
    run(mask_script("coco", str(ROOT)))
    for part in PARTS:
        np.testing.assert_array_equal(read_labels(ROOT / f"images/{part}/1_mask.png")[0], drawn(part))


def test_what_nothing_tells_apart_is_not_guessed():
    images()
    np.save(ROOT / "1.npy", drawn("val"))
    with pytest.raises(
        SystemExit, match=r"mine/1\.npy: 1\.npy is mine/images/.*1\.jpg or mine/images/.*1\.jpg"
    ):
        run(mask_script("npy", str(ROOT)))
    assert not list(ROOT.rglob("*_mask.png"))


def test_an_annotation_without_image_is_named():
    images()
    make_labelme()
    write("train/2.json", (ROOT / "train/1.json").read_text())
    with pytest.raises(SystemExit, match=r"mine/train/2\.json: 2\.json is no file of this folder"):
        run(mask_script("labelme", str(ROOT)))


def test_tables_of_one_name_in_two_folders():
    parquet, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    for part in PARTS:
        row = {}
        for key, pixels in (("image", picture(part)), ("label", drawn(part))):
            save("x.png", pixels)
            row[key] = {"bytes": (ROOT / "x.png").read_bytes()}
        (ROOT / part).mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist([row]), ROOT / part / "0.parquet")
    run(mask_script("table", str(ROOT)))
    for part in PARTS:
        mask = Path("mine_files/masks") / part / "0_000000.png"
        np.testing.assert_array_equal(read_labels(mask)[0], drawn(part))


def test_volumes_of_one_name_in_two_folders():
    nibabel = pytest.importorskip("nibabel")
    for part in PARTS:
        for kind, pixels in (("images", picture(part)[..., 0]), ("labels", drawn(part))):
            (ROOT / part / kind).mkdir(parents=True, exist_ok=True)
            volume = nibabel.Nifti1Image(pixels[..., None], np.eye(4))
            nibabel.save(volume, ROOT / part / kind / "1.nii.gz")
    run(mask_script("nifti", str(ROOT)))
    for part in PARTS:
        np.testing.assert_array_equal(
            read_labels(Path(f"mine_slices/masks/{part}/1_0000.png"))[0], drawn(part)
        )
        with Image.open(f"mine_slices/images/{part}/1_0000.png") as image:
            assert image.size == SIZE
