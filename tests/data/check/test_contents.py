"""What is said of a folder without images and masks, and that the lines printed with it do make masks.

Scripts that need a package which is not here are skipped.
"""

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.check.contents import class_masks_script, describe_contents
from segkit.data.check.find_layout import find_layout
from segkit.data.decoding.images_and_masks import read_labels
from segkit.errors import DataError

ROOT = Path("mine")
SIZE = (24, 32)
STEMS = ("a", "b")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ROOT.mkdir()


def drawn(stem: str) -> np.ndarray:
    """What was drawn on an image (H, W): 0, 1 and 2."""
    ids = np.zeros(SIZE, dtype=np.uint8)
    ids[2:10, 3:12] = 1
    ids[12:22, 4 : 20 + STEMS.index(stem)] = 2
    return ids


def corners(stem: str, value: int) -> list[list[int]]:
    """The corners (x, y) of what has that value; polygons include their border."""
    rows, columns = np.nonzero(drawn(stem) == value)
    x, y, far_x, far_y = columns.min(), rows.min(), columns.max(), rows.max()
    return [[int(a), int(b)] for a, b in ((x, y), (far_x, y), (far_x, far_y), (x, far_y))]


def image_of(stem: str) -> np.ndarray:
    return np.random.default_rng(STEMS.index(stem)).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def save(name: str, pixels: np.ndarray | Image.Image, **options) -> None:
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(ROOT / name, **options)


def write(name: str, content: str | bytes) -> None:
    (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def images(folder: str = "images") -> None:
    for stem in STEMS:
        save(f"{folder}/{stem}.jpg", image_of(stem))


def coco(form: Callable, *, extra: dict | None = None) -> dict:
    return {
        "images": [
            {"id": n, "file_name": f"{s}.jpg", "height": 24, "width": 32} for n, s in enumerate(STEMS, 1)
        ],
        "annotations": [
            # The same ids in every image, as Datumaro writes them where objects are numbered image by image.
            {"id": v, "image_id": n, "category_id": 5 * v, **form(s, v)}
            for n, s in enumerate(STEMS, 1)
            for v in (1, 2)
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 10, "name": "dog"}],
        **(extra or {}),
    }


def runs(stem: str, value: int) -> dict:
    """COCO's run lengths, uncompressed: down the columns, beginning with what is not in the mask."""
    flat = np.concatenate([[0], (drawn(stem) == value).T.reshape(-1)])
    change = np.flatnonzero(np.diff(flat)) if flat[1:].any() else np.array([], int)
    ends = [0, *change.tolist(), flat.size - 1]
    return {"segmentation": {"size": list(SIZE), "counts": np.diff(ends).tolist()}, "iscrowd": 1}


def make_coco() -> None:
    images()
    write("labels.json", json.dumps(coco(runs)))


def make_coco_polygons() -> None:
    images()

    def polygon(stem: str, value: int) -> dict:
        (x, y), _, (far_x, far_y), _ = corners(stem, value)
        edge = [x, y, far_x + 1, y, far_x + 1, far_y + 1, x, far_y + 1]
        return {"segmentation": [edge], "iscrowd": 0}

    write("labels.json", json.dumps(coco(polygon)))


def make_panoptic() -> None:
    images("images/train")
    entries = []
    for n, stem in enumerate(STEMS, 1):
        ids = drawn(stem).astype(int) * 70_000 + n
        ids[0] = 0  # what no segment is
        save(
            f"annotations/panoptic_train/{stem}.png",
            np.stack([ids % 256, ids // 256 % 256, ids // 65536], 2).astype(np.uint8),
        )
        segments = [{"id": v * 70_000 + n, "category_id": (3, 5, 10)[v]} for v in range(3)]
        entries.append({"image_id": n, "file_name": f"{stem}.png", "segments_info": segments})
    names = [{"id": 3, "name": "background"}, {"id": 5, "name": "cat"}, {"id": 10, "name": "dog"}]
    data = {"images": [{"id": 1}, {"id": 2}], "annotations": entries, "categories": names}
    write("annotations/panoptic_train.json", json.dumps(data))


def make_labelme() -> None:
    for stem in STEMS:
        save(f"{stem}.jpg", image_of(stem))
        (a, b), _, (c, d), _ = corners(stem, 2)
        shapes = [
            {"label": "cat", "points": corners(stem, 1), "shape_type": "polygon"},
            {"label": "dog", "points": [[c, d], [a, b]], "shape_type": "rectangle"},
            {"label": "dog", "points": [[0, 0], [5, 5]], "shape_type": "line"},
        ]
        write(f"{stem}.json", json.dumps({"version": "5", "shapes": shapes, "imagePath": f"{stem}.jpg"}))


def make_yolo() -> None:
    images()
    for stem in STEMS:
        lines = []
        for value in (1, 2):
            shares = (np.array(corners(stem, value)) / (SIZE[1], SIZE[0])).reshape(-1)
            lines.append(" ".join([str(value - 1), *(f"{share:.6f}" for share in shares)]))
        write(f"labels/{stem}.txt", "\n".join(lines))
    write("data.yaml", "names: [cat, dog]\n")


def make_npy() -> None:
    images()
    for stem in STEMS:
        np.save(ROOT / f"{stem}.npy", drawn(stem)[None])


def make_mat() -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    images()
    for stem in STEMS:
        savemat(ROOT / f"{stem}.mat", {"count": 2, "LabelMap": drawn(stem)})


def make_objects() -> None:
    images()
    for stem in STEMS:
        for n, name in enumerate(("cat", "dog")):
            save(f"masks/{stem}_{name}_{n:08}.png", (drawn(stem) == n + 1).astype(np.uint8))


def make_jp2() -> None:
    images()
    for stem in STEMS:
        save(f"masks/{stem}.jp2", drawn(stem))


def make_stack() -> None:
    first, second = (Image.fromarray(image_of(stem)) for stem in STEMS)
    save("images/volume.tif", first, save_all=True, append_images=[second])
    first, second = (Image.fromarray(drawn(stem)) for stem in STEMS)
    save("masks/volume.tif", first, save_all=True, append_images=[second])


def stacks() -> dict[str, np.ndarray]:
    return {
        "frames": np.stack([image_of(s) for s in STEMS]),
        "seg_masks": np.stack([drawn(s) for s in STEMS]),
    }


def make_npz() -> None:
    np.savez(ROOT / "all.npz", **stacks())


def make_hdf5() -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(ROOT / "all.h5", "w") as file:
        for key, array in stacks().items():
            file[f"group/{key}"] = array


def make_zarr() -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(ROOT / "all.zarr", mode="w")
    for key, array in stacks().items():
        group.create_array(key, data=array)


def make_parquet() -> None:
    parquet, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    images()
    rows = []
    for stem in STEMS:
        save(f"{stem}.png", drawn(stem))
        paths = {"image": ROOT / f"images/{stem}.jpg", "label": ROOT / f"{stem}.png"}
        rows.append({key: {"bytes": path.read_bytes(), "path": path.name} for key, path in paths.items()})
    for path in [*ROOT.rglob("*.jpg"), *ROOT.rglob("*.png")]:
        path.unlink()
    parquet.write_table(pa.Table.from_pylist(rows), ROOT / "train.parquet")


def make_jsonl() -> None:
    lines = []
    for stem in STEMS:
        save(f"train/{stem}1.jpg", image_of(stem))
        save(f"train/annotated/{stem}2.png", drawn(stem))
        lines.append(json.dumps({"file_name": f"{stem}1.jpg", "mask_file_name": f"annotated/{stem}2.png"}))
    write("train/metadata.jsonl", "\n".join(lines))


def make_nifti() -> None:
    nibabel = pytest.importorskip("nibabel")
    for folder, end in (("imagesTr", "_0000"), ("labelsTr", "")):
        (ROOT / folder).mkdir()
        arrays = [image_of(s)[:, :, 0].astype(np.int16) if end else drawn(s) for s in STEMS]
        nibabel.save(nibabel.Nifti1Image(np.stack(arrays, 2), np.eye(4)), ROOT / folder / f"case{end}.nii.gz")


def make_itk(ending: str) -> None:
    itk = pytest.importorskip("SimpleITK")
    for folder, end in (("imagesTr", "_0000"), ("labelsTr", "")):
        (ROOT / folder).mkdir()
        arrays = [image_of(s)[:, :, 0].T.astype(np.int16) if end else drawn(s).T for s in STEMS]
        itk.WriteImage(itk.GetImageFromArray(np.stack(arrays)), str(ROOT / folder / f"case{end}{ending}"))


def make_dicom() -> None:
    pydicom = pytest.importorskip("pydicom")
    images()
    for stem in STEMS:
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
        data.Rows, data.Columns = SIZE
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation, data.PixelData = 7, 0, drawn(stem).tobytes()
        (ROOT / "masks").mkdir(exist_ok=True)
        data.save_as(ROOT / f"masks/{stem}.dcm", enforce_file_format=True)


#: What is made, what is said of it, and which package the script needs that segkit does not.
KINDS = {
    "coco": (make_coco, "labels.json: COCO annotations, 2 images, 2 categories, run lengths", "pycocotools"),
    "coco polygons": (
        make_coco_polygons,
        "labels.json: COCO annotations, 2 images, 2 categories, polygons",
        "pycocotools",
    ),
    "panoptic": (
        make_panoptic,
        "annotations/panoptic_train.json: COCO panoptic annotations, 2 images, 3 categories",
        "",
    ),
    "labelme": (make_labelme, "a.json and 1 more: labelme JSON, 3 shapes", ""),
    "yolo": (make_yolo, "labels/a.txt and 1 more: polygons, as YOLO has them", ""),
    "npy": (make_npy, "a.npy and 1 more: NumPy array, uint8 1x24x32", ""),
    "mat": (make_mat, "a.mat and 1 more: MATLAB file", "scipy"),
    "objects": (
        make_objects,
        "a_cat_00000000.png, a_dog_00000001.png: a mask for each object of an image",
        "",
    ),
    "jp2": (make_jp2, "masks/a.jp2 and 1 more: JPEG 2000, a format that is not read", ""),
    "npz": (make_npz, "all.npz: NumPy arrays", ""),
    "hdf5": (make_hdf5, "all.h5: HDF5", "h5py"),
    "zarr": (make_zarr, "all.zarr: Zarr arrays", "zarr"),
    "table": (make_parquet, "train.parquet: Parquet, as Hugging Face's datasets have", "pyarrow"),
    "jsonl": (make_jsonl, "train/metadata.jsonl: the list of a Hugging Face image folder", ""),
    "nifti": (make_nifti, "imagesTr/case_0000.nii.gz: NIfTI volume, compressed", "nibabel"),
    "itk": (lambda: make_itk(".nrrd"), "imagesTr/case_0000.nrrd: NRRD volume", "SimpleITK"),
    "itk, MetaImage": (lambda: make_itk(".mha"), "imagesTr/case_0000.mha: MetaImage volume", "SimpleITK"),
    "dicom": (make_dicom, "masks/a.dcm and 1 more: DICOM", "pydicom"),
}


def run(script: str) -> None:
    """What a shell would start with the lines, in this process."""
    (code,) = re.findall(r"^python - <<'END'\n(.*)\nEND$", script, re.MULTILINE | re.DOTALL)
    exec(compile(code, "script", "exec"), {})


def read_masks(root: Path) -> list[np.ndarray]:
    layout = find_layout(root)
    assert (layout.without_mask, layout.without_image) == ([], [])
    return [read_labels(mask)[0] for part in layout.pairs.values() for _, mask in sorted(part)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what the script imports
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_and_the_lines_that_make_masks_of_it(kind):
    make, line, package = KINDS[kind]
    make()
    with pytest.raises(DataError) as raised:
        find_layout(ROOT)
    message = str(raised.value)
    assert message.startswith("no images with masks found in mine\nfound     ")
    assert f"found     {line}\n" in message
    lines, script = describe_contents(ROOT)
    assert line in lines and message.endswith(f"to paste into a shell:\n{script}")
    assert ("pip install" in script) == bool(package)
    if package:
        assert script.startswith(f"python -m pip install {package}\n")
        pytest.importorskip(package)
    run(script)
    made = next((path for path in (Path("mine_slices"), Path("mine_files")) if path.exists()), ROOT)
    masks = read_masks(made)
    assert len(masks) == 2
    for stem, mask in zip(STEMS, masks, strict=True):
        expected = drawn(stem)
        if kind == "panoptic":
            expected[0] = 255
        np.testing.assert_array_equal(mask, expected)
    if kind in ("coco", "panoptic", "labelme", "yolo", "objects"):
        assert (ROOT / "classes.txt").read_text() == "background\ncat\ndog\n"


def test_a_stack_of_pages():
    make_stack()
    lines, script = describe_contents(ROOT)
    assert lines[:2] == ["images/volume.tif: RGB TIFF of 2 pages", "masks/volume.tif: L TIFF of 2 pages"]
    run(script)
    for stem, mask in zip(STEMS, read_masks(Path("mine_slices")), strict=True):
        np.testing.assert_array_equal(mask, drawn(stem))


ONES = {
    stem: {"image": drawn(stem) / np.float32(2), "label": drawn(stem).astype(np.float32)} for stem in STEMS
}


def test_arrays_of_several_files_stay_apart():
    """Files that have arrays of one name, such as one for each part."""
    for part, value in (("train", 1), ("val", 2)):
        stack = np.stack([drawn(stem) for stem in STEMS])
        np.savez(ROOT / f"{part}.npz", images=stack[..., None].repeat(3, axis=3), masks=stack * value)
    run(describe_contents(ROOT)[1])
    layout = find_layout(Path("mine_slices"))
    for part, value in (("train", 1), ("val", 2)):
        found = [read_labels(mask)[0] for _, mask in sorted(layout.pairs[part])]
        for stem, mask in zip(STEMS, found, strict=True):
            np.testing.assert_array_equal(mask, drawn(stem) * value)


def test_arrays_of_floats_and_of_many_ids_keep_what_they_say():
    """A file for each image, as the preprocessing of volumes leaves them."""
    for stem, arrays in ONES.items():
        np.savez(ROOT / f"{stem}.npz", image=arrays["image"], label=arrays["label"] * 200)
    run(describe_contents(ROOT)[1])
    for stem in STEMS:
        with Image.open(f"mine_slices/images/{stem}/00000.png") as image:
            assert np.unique(np.asarray(image)).tolist() == [0, 128, 255]
        np.testing.assert_array_equal(
            read_labels(Path(f"mine_slices/masks/{stem}/00000.png"))[0], drawn(stem).astype(int) * 200
        )


def test_arrays_of_which_none_is_called_labels():
    np.savez(ROOT / "all.npz", x=drawn("a"), y=drawn("b"))
    with pytest.raises(
        SystemExit, match=r"which are labels\? None of all/x, all/y is called one of mask, label"
    ):
        run(describe_contents(ROOT)[1])


def test_several_arrays_of_labels():
    np.savez(ROOT / "all.npz", image=drawn("a"), mask=drawn("a"), seg=drawn("b"))
    with pytest.raises(SystemExit, match=r"all/mask and all/seg: which are the labels\?"):
        run(describe_contents(ROOT)[1])


def film() -> bytes:
    """A GIF file of two frames."""
    file = io.BytesIO()
    first, second = (Image.fromarray(drawn(stem)) for stem in STEMS)
    first.save(file, "GIF", save_all=True, append_images=[second])
    return file.getvalue()


#: Content of a file that no script makes masks of, and what is said of it. Its name says nothing.
OTHERS = {
    "JSON-MIN": (
        '[{"image": "/a.jpg", "tag": [{"rle": [0], "original_width": 60}], "annotation_id": 5}]',
        "Label Studio's JSON-MIN -> export the project as JSON",
    ),
    "boxes of YOLO": ("0 0.5 0.5 0.1 0.2\n", "boxes, as YOLO has them, of which no mask can be made"),
    "boxes of VOC": (
        "<annotation><object><bndbox/></object></annotation>",
        "boxes in XML, as Pascal VOC has them, of which no mask can be made",
    ),
    "CVAT": (
        "<?xml?><annotations><image><polygon/></image></annotations>",
        "CVAT's annotations, of which CVAT also exports masks (`Segmentation mask 1.1`)",
    ),
    "CVAT, boxes alone": (
        "<?xml?><annotations><image><box/></image></annotations>",
        "CVAT's annotations, of which CVAT also exports masks (`Segmentation mask 1.1`)",
    ),
    "Label Studio": ('[{"id": 1, "annotations": [{"result": []}], "data": {}}]', "Label Studio's tasks"),
    "LabelMe": ("<annotation><polygon></polygon></annotation>", "polygons in XML, as LabelMe has them"),
    "boxes of COCO": (
        json.dumps(coco(lambda s, v: {"bbox": [0, 0, 1, 1]})),
        "COCO annotations, 2 images, 2 categories, boxes alone, of which no mask can be made",
    ),
    "COCO, empty": (
        json.dumps({"images": [], "annotations": [], "categories": []}),
        "COCO annotations, 0 images, 0 categories, nothing annotated",
    ),
    "Datumaro": ('{"dm_format_version": "1.0", "items": []}', "Datumaro's own format"),
    "damaged JSON": ('{"images": [', "JSON, damaged"),
    "deep JSON": ("[" * 50_000, "JSON, damaged"),
    "other JSON": ("[1, 2]", "JSON of no kind that is known here"),
    "pickle": (pickle.dumps([1]), "a pickle, which is never opened -> save its arrays as .npy"),
    "archive": (b"PK\x03\x04" + bytes(50), "an archive -> unpack it"),
    "video": (b"\0\0\0\x18ftypisom" + bytes(50), "a video -> save its frames as files"),
    "empty": (b"", "empty"),
    "bytes": (bytes(range(1, 256)) * 3, "of no kind that is known here"),
    "Arrow": (b"\xff\xff\xff\xff\x10\0\0\0", "Arrow, as Hugging Face's datasets save"),
    "MATLAB 7.3": (b"MATLAB 7.3 MAT-file, Platform", "MATLAB 7.3 file, which is HDF5"),
    "DICOM": (bytes(128) + b"DICM", "DICOM"),
    "film": (film(), "P GIF of 2 frames -> save each as a file of its own"),
    "damaged array": (b"\x93NUMPY\x01\0\x05\0abcde", "NumPy array, damaged"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files(case):
    content, text = OTHERS[case]
    write("sub/thing.dat", content)
    assert describe_contents(ROOT)[0] == [f"sub/thing.dat: {text}"]


def test_masks_of_label_studios_tasks():
    """Called as label_studio_converter 0.0.59 calls them, in brush.save_brush_images_from_annotation."""
    images()
    for task in (11, 12):
        for label in ("cat", "tree-trunk"):
            save(f"task-{task}-annotation-{3 * task}-by-me@home.org-tag-{label}-0.png", drawn("a") * 255)
    lines, script = describe_contents(ROOT)
    assert lines[0] == (
        "task-11-annotation-33-by-me@home.org-tag-cat-0.png and 3 more: one label of a task of Label Studio's, which "
        "names no image -> export the project as JSON, which has the same pixels: data.name=label_studio"
    )
    assert script == ""


def test_objects_in_an_array_are_not_loaded():
    np.save(ROOT / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert describe_contents(ROOT)[0] == [
        "x.npy: NumPy array of Python objects, a pickle, which is never opened"
    ]


def test_a_json_file_too_long_to_be_counted(monkeypatch):
    monkeypatch.setattr("segkit.data.check.contents.text_kinds.MOST_JSON", 10)
    make_coco()
    assert "labels.json: COCO annotations" in describe_contents(ROOT)[0]


def test_images_alone():
    images("photos")
    lines, how = describe_contents(ROOT)
    assert lines == ["photos/a.jpg and 1 more: image, RGB JPEG"]
    assert how == "images alone cannot be trained on: draw masks, in CVAT or labelme"


def test_images_of_two_kinds_may_be_masks():
    images("photos")
    save("other/c.png", drawn("a"))
    lines, how = describe_contents(ROOT)
    assert lines == ["other/c.png: image, L PNG", "photos/a.jpg and 1 more: image, RGB JPEG"]
    assert how == "where some of these are masks: data.images and data.masks say which belong together"


def test_nothing():
    assert describe_contents(ROOT) == (["no file"], "")
    with pytest.raises(DataError, match="no images with masks found in mine\nfound     no file\n"):
        find_layout(ROOT)


def test_only_a_few_files_of_one_kind_are_opened(monkeypatch):
    opened = []
    monkeypatch.setattr(
        "segkit.data.check.contents.describe.find_kind",
        lambda path: opened.append(path) or describe_kind(path),
    )
    from segkit.data.check.contents.kinds import find_kind as describe_kind

    for n in range(30):
        write(f"labels/{n:02}.txt", "0 0.1 0.1 0.2 0.1 0.2 0.3\n")
    assert describe_contents(ROOT)[0] == ["labels/00.txt and 29 more: polygons, as YOLO has them"]
    assert len(opened) == 4


def test_many_kinds_are_cut():
    for n in range(20):
        write(f"{n:02}/x.zip", b"PK\x03\x04")
    lines, _ = describe_contents(ROOT)
    assert len(lines) == 12 and lines[-1] == "and files of 9 more kinds"


def test_names_are_printable():
    write("a\x1b[31m.json", "[1, 2]")
    assert describe_contents(ROOT)[0] == ["a\\x1b[31m.json: JSON of no kind that is known here"]


def test_what_cannot_be_read():
    write("x.zip", b"PK\x03\x04")
    (ROOT / "link").symlink_to("nowhere")
    assert "link: cannot be read: No such file or directory" in describe_contents(ROOT)[0]
    with zipfile.ZipFile(ROOT / "y.npz", "w"):
        pass
    assert os.path.getsize(ROOT / "y.npz")


@pytest.mark.parametrize("divisor", [1000, 256])
def test_class_masks_of_instances(divisor):
    classes = np.array([[7, 7, 26], [26, 26, 24]])
    ids = np.array([[0, 0, 1], [2, 3, 1]]) + divisor * classes
    if divisor == 1000:
        ids[0, :2] = 7  # what is not counted is the class itself
    save("masks/train/city/a.png", ids.astype(np.uint16))
    run(class_masks_script(divisor, "mine", "masks/*/**/*.*"))
    np.testing.assert_array_equal(read_labels(ROOT / "masks/train/city/a.png")[0], classes)
    np.testing.assert_array_equal(read_labels(Path("mine_instances/masks/train/city/a.png"))[0], ids)
