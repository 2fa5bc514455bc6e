"""Short Python that makes masks of what tools and benchmarks save: one script per kind of annotation.

Each works on a folder as it is, and puts `NAME_mask.png` beside the image NAME, where `check_data` finds it, and the
names of the classes in `classes.txt`; or, of files with many images, it makes a new folder. They need what segkit
needs, and what their first line installs.
"""

from segkit.data.check.contents.format_scripts import (
    ARRAYS,
    CONVERT,
    DICOM,
    H5,
    ITK,
    NIFTI,
    STACKS,
    TABLES,
    ZARR,
)

_BEGIN = """\
from pathlib import Path
import numpy as np
from PIL import Image
root = Path(ROOT)
"""
#: Which image a name means, as the data set pairs files: by the name and by the folders, since parts of a data set may
#: have files of one name; how a mask is put beside it, and how the classes are named.
_IMAGES = """\
suffixes = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
files = [p for p in sorted(root.rglob("*")) if p.suffix.lower() in suffixes and not p.stem.endswith("_mask")]
others = ("mask", "label", "annot", "panoptic")  # of two files of one name, the image is in no such folder
def by_name(paths):
    found = {}
    for p in paths:
        found.setdefault(p.stem, {})[p.with_suffix("")] = p
    for stem, same in found.items():
        kept = [p for p in same.values() if not any(word in str(p.relative_to(root)).lower() for word in others)]
        found[stem] = kept or list(same.values())
    return found
images = by_name(files)
def find(name, near, among=None):  # the file of that name which the file `near` is about
    name, same = Path(name), (images if among is None else among).get(Path(name).stem, [])
    words = {*name.parts[:-1], *near.relative_to(root).parts[:-1], *near.stem.split("_")}
    folders = {p: set(p.relative_to(root).parts[:-1]) for p in same}
    best = [p for p in same if len(words & folders[p]) == max(len(words & folders[other]) for other in same)]
    best = [p for p in best if not any(folders[other] < folders[p] for other in best)]
    best = [p for p in same if p.with_suffix("") == (near.parent / name).with_suffix("")] or best
    if len(best) != 1:
        raise SystemExit(f"{near}: {name} is " + (" or ".join(map(str, best)) or "no file of this folder"))
    return best[0]
"""
_SAVE = """\
def save(mask, image):
    kind = np.uint8 if mask.max() < 256 else np.uint16
    Image.fromarray(mask.astype(kind)).save(image.with_name(image.stem + "_mask.png"))
"""
_NAME = """\
def name(classes):
    (root / "classes.txt").write_text("\\n".join(classes) + "\\n")
"""

_COCO = """\
from pycocotools.coco import COCO
sets = [(p, COCO(str(p))) for p in sorted(root.rglob("*.json")) if '"segmentation"' in p.read_text()]
names = {c["id"]: c["name"] for _, coco in sets for c in coco.loadCats(coco.getCatIds())}
ids = {key: n for n, key in enumerate((k for k in sorted(names) if names[k] != "background"), 1)}
masks = {}
for path, coco in sets:
    for image in coco.loadImgs(coco.getImgIds()):
        shown = find(image["file_name"], path)
        mask = masks.setdefault(shown, np.zeros((image["height"], image["width"]), int))
        # Not by their ids, which some tools use again in every image.
        found = [a for a in coco.imgToAnns[image["id"]] if a.get("segmentation")]
        areas = [(coco.annToMask(item) > 0, ids.get(item["category_id"], 0)) for item in found]
        for area, value in sorted(areas, key=lambda item: item[0].sum(), reverse=True):  # small things over large ones
            mask[area] = value
for shown, mask in masks.items():
    save(mask, shown)
name(["background", *(names[key] for key in ids)])
"""

_PANOPTIC = """\
import json
sets = [(p, json.loads(p.read_text())) for p in sorted(root.rglob("*.json")) if '"segments_info"' in p.read_text()]
names = {c["id"]: c["name"] for _, data in sets for c in data["categories"]}
ids = {key: n for n, key in enumerate(sorted(names))}
masks = {path: sorted(path.with_suffix("").rglob("*.png")) for path, _ in sets}
images = by_name(set(files).difference(*masks.values()))
for path, data in sets:
    own = by_name(masks[path])
    for item in data["annotations"]:
        drawn = find(item["file_name"], path.with_suffix("") / path.name, own)
        segments = np.asarray(Image.open(drawn).convert("RGB")).astype(int) @ [1, 256, 65536]
        mask = np.full(segments.shape, 255 if len(ids) < 255 else 65535)
        for segment in item["segments_info"]:
            mask[segments == segment["id"]] = ids[segment["category_id"]]
        save(mask, find(item["file_name"], path))
name([names[key] for key in ids])
"""

_LABELME = """\
import json
from PIL import ImageDraw
sets = [(p, json.loads(p.read_text())) for p in sorted(root.rglob("*.json"))]
sets = [(p, data) for p, data in sets if isinstance(data, dict) and "shapes" in data]
names = sorted({shape["label"] for _, data in sets for shape in data["shapes"]} - {"background", "_background_"})
for path, data in sets:
    with Image.open(find(path.name, path)) as opened:
        image = Image.new("I", opened.size)
    draw = ImageDraw.Draw(image)
    for shape in data["shapes"]:
        points, kind = [tuple(point) for point in shape["points"]], shape.get("shape_type", "polygon")
        value = names.index(shape["label"]) + 1 if shape["label"] in names else 0
        if kind == "polygon":
            draw.polygon(points, fill=value)
        elif kind == "rectangle":
            (a, b), (c, d) = points
            draw.rectangle((min(a, c), min(b, d), max(a, c), max(b, d)), fill=value)
        elif kind == "circle":
            (a, b), (c, d) = points
            far = ((a - c) ** 2 + (b - d) ** 2) ** 0.5
            draw.ellipse((a - far, b - far, a + far, b + far), fill=value)
        else:
            print(path, "a", kind, "is no area: left out")
    save(np.asarray(image), find(path.name, path))
name(["background", *names])
"""

_YOLO = """\
import yaml
from PIL import ImageDraw
listed = next((yaml.safe_load(p.read_text()).get("names", []) for p in root.rglob("data.y*ml")), [])
names = dict(enumerate(listed)) if isinstance(listed, list) else listed
texts = {p: p.read_text() for p in sorted(root.rglob("*.txt")) if p.stem in images}
rows = {p: [line.split() for line in text.splitlines() if len(line.split()) >= 7] for p, text in texts.items()}
used = {int(row[0]) for found in rows.values() for row in found} | set(names)
ids = {key: n for n, key in enumerate((k for k in sorted(used) if names.get(k) != "background"), 1)}
for path, found in rows.items():
    with Image.open(find(path.name, path)) as opened:
        image = Image.new("I", opened.size)
    for number, *points in found:
        corners = (np.array(points, float).reshape(-1, 2) * image.size).round()
        ImageDraw.Draw(image).polygon([tuple(corner) for corner in corners.tolist()], fill=ids.get(int(number), 0))
    save(np.asarray(image), find(path.name, path))
name(["background", *(names.get(key, f"class_{key}") for key in ids)])
"""

_NUMPY = """\
for path in sorted(root.rglob("*.npy")):
    mask = np.squeeze(np.load(path))
    if path.stem in images and mask.ndim == 2:
        save(mask, find(path.name, path))
"""

_MATLAB = """\
from scipy.io import loadmat
for path in sorted(root.rglob("*.mat")):
    arrays = [a for a in loadmat(path).values() if isinstance(a, np.ndarray) and a.ndim == 2 and min(a.shape) > 1]
    if path.stem in images and arrays:
        save(arrays[0], find(path.name, path))
"""

_OBJECTS = """\
parts = {}
for path in files:
    words = path.stem.split("_")
    stem = next(("_".join(words[:n]) for n in range(len(words) - 1, 0, -1) if "_".join(words[:n]) in images), None)
    if stem is not None:
        rest = [word for word in words[stem.count("_") + 1 :] if word != "mask" and not word.isdigit()]
        parts.setdefault(find(stem, path), []).append((path, "_".join(rest) or "object"))
names = sorted({label for found in parts.values() for _, label in found})
for shown, found in parts.items():
    areas = [(np.asarray(Image.open(p).convert("RGB")).max(axis=2) > 0, label) for p, label in found]
    mask = np.zeros(areas[0][0].shape, int)
    for area, label in sorted(areas, key=lambda item: item[0].sum(), reverse=True):  # small things over large ones
        mask[area] = names.index(label) + 1
    save(mask, shown)
name(["background", *names])
kept = Path(f"{root}_objects")  # where the masks of single objects go
for path in [path for found in parts.values() for path, _ in found]:
    (kept / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
    path.rename(kept / path.relative_to(root))
"""


_JSONL = """\
import json
for path in sorted(root.rglob("metadata.jsonl")):
    for line in path.read_text().splitlines():
        row = json.loads(line)
        others = [value for key, value in row.items() if key != "file_name" and isinstance(value, str)]
        mask = next(path.parent / other for other in others if (path.parent / other).is_file())
        image = path.parent / row["file_name"]
        mask.rename(image.with_name(image.stem + "_mask.png"))
"""

_CLASSES = """\
kept = Path(f"{root}_instances")  # where the masks of now go
for path in sorted(root.glob(PATTERN)):
    ids = np.asarray(Image.open(path)).astype(int)
    (kept / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
    path.rename(kept / path.relative_to(root))
    classes = CLASSES
    Image.fromarray(classes.astype(np.uint8)).save(path)
"""

_DATUMARO = """\
import datumaro
data = datumaro.Dataset.import_from(ROOT, FORMAT)
data.transform("polygons_to_masks")
data.export(ROOT + "_voc", "voc_segmentation", save_media=True)
"""

_SCRIPTS = {
    "coco": ("pycocotools", _COCO),
    "panoptic": ("", _PANOPTIC),
    "labelme": ("", _LABELME),
    "yolo": ("", _YOLO),
    "npy": ("", _NUMPY),
    "mat": ("scipy", _MATLAB),
    "objects": ("", _OBJECTS),
    "jp2": ("", CONVERT.replace("ENDINGS", '(".jp2", ".j2k", ".jpx")')),
    "stack": ("", STACKS),
    "dicom": ("pydicom", DICOM),
    "nifti": ("nibabel", NIFTI),
    "itk": ("SimpleITK", ITK),
    "hdf5": (
        "h5py",
        "import h5py\n" + ARRAYS.replace("OPEN", H5).replace("FILES", 'sorted(root.rglob("*.h*5"))'),
    ),
    "zarr": (
        "zarr",
        "import zarr\n" + ARRAYS.replace("OPEN", ZARR).replace("FILES", 'sorted(root.rglob("*.zarr"))'),
    ),
    "npz": (
        "",
        ARRAYS.replace("OPEN", "found.update(np.load(path))").replace("FILES", 'sorted(root.rglob("*.npz"))'),
    ),
    "table": ("pyarrow", TABLES),
    "jsonl": ("", _JSONL),
    "datumaro": ("datumaro", _DATUMARO.replace("FORMAT", '"datumaro"')),
    "label_me": ("datumaro", _DATUMARO.replace("FORMAT", '"label_me"')),
    "cvat": ("datumaro", _DATUMARO.replace("FORMAT", '"cvat"')),
}


def mask_script(kind: str, root: str) -> str:
    """Lines to paste into a shell that make masks of annotations of that kind in the folder `root`; or none at all."""
    packages, body = _SCRIPTS.get(kind, ("", ""))
    return _wrap(packages, body, root) if body else ""


def class_masks_script(divisor: int, root: str, pattern: str) -> str:
    """The same for masks that hold class * divisor + number; `pattern` finds them below `root`."""
    # In Cityscapes' files, what cannot be counted is the class itself; in KITTI's it is class * 256.
    classes = "np.where(ids < 1000, ids, ids // 1000)" if divisor == 1000 else f"ids // {divisor}"
    return _wrap("", _CLASSES.replace("CLASSES", classes).replace("PATTERN", repr(pattern)), root)


def _wrap(packages: str, body: str, root: str) -> str:
    install = f"python -m pip install {packages}\n" if packages else ""
    finds = any(text in body for text in ("in files", "in images", "images[", " save("))
    parts = [_IMAGES if finds else "", _SAVE if " save(" in body else "", _NAME if "\nname([" in body else ""]
    begin = "" if body.startswith("import datumaro") else _BEGIN + "".join(parts)
    text = (begin + body).replace("ROOT", repr(root))
    return f"{install}python - <<'END'\n{text}END"
