"""Short Python that makes files which are read of formats which are not: volumes, stacks, arrays and tables of images.

Each is the body of a script, see `scripts`; `root` is the folder, `files` its images.
"""

CONVERT = """\
for path in [p for p in sorted(root.rglob("*")) if p.suffix.lower() in ENDINGS]:
    with Image.open(path) as image:
        image.save(path.with_suffix(".png"))
"""

STACKS = """\
from PIL import ImageSequence
for path in files:
    with Image.open(path) as image:
        pages = [page.copy() for page in ImageSequence.Iterator(image)]
    for n, page in enumerate(pages if len(pages) > 1 else []):
        place = Path(f"{root}_slices") / path.relative_to(root).with_suffix("") / f"{n:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        page.save(place)
"""

DICOM = """\
import pydicom
for path in [p for p in sorted(root.rglob("*")) if p.is_file() and pydicom.misc.is_dicom(p)]:
    Image.fromarray(pydicom.dcmread(path).pixel_array).save(path.with_name(path.stem + ".png"))
"""

_VOLUMES = """\
for path in FILES:
    volume, stem = OPEN
    is_mask = "label" in path.parent.name.lower() or "mask" in str(path.relative_to(root)).lower() or "seg" in stem
    if not is_mask:
        volume = (volume - volume.min()) * (255 / max(1, np.ptp(volume)))
        stem = stem.removesuffix("_0000")
    # Below folders that both have, such as patients.
    words = ("image", "label", "mask", "seg")
    folders = [part for part in path.relative_to(root).parts[:-1] if not any(word in part.lower() for word in words)]
    place = Path(f"{root}_slices", "masks" if is_mask else "images", *folders)
    place.mkdir(parents=True, exist_ok=True)
    volume = volume.astype(np.uint16 if is_mask and volume.max() > 255 else np.uint8)
    for n in range(volume.shape[2]):
        Image.fromarray(volume[:, :, n]).save(place / f"{stem}_{n:04}.png")
"""

NIFTI = "import nibabel\n" + _VOLUMES.replace("FILES", 'sorted(root.rglob("*.nii*"))').replace(
    "OPEN", 'np.asarray(nibabel.load(path).dataobj), path.name.split(".nii")[0]'
)
ITK = "import SimpleITK\n" + _VOLUMES.replace(
    "FILES", '[p for p in sorted(root.rglob("*")) if p.suffix.lower() in (".mha", ".mhd", ".nrrd", ".nhdr")]'
).replace("OPEN", "SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T, path.stem")

ARRAYS = """\
arrays, labels = {}, []
words = ("mask", "label", "gt", "seg")
for path in FILES:
    found, start = {}, path.relative_to(root).with_suffix("").as_posix()
    OPEN
    arrays.update({f"{start}/{key}": array for key, array in found.items()})
    said = {key: key if len(found) > 1 else f"{start}/{key}" for key in found}
    labels += [f"{start}/{key}" for key in found if any(word in said[key].lower() for word in words)]
pairs = []
if len({key.rpartition("/")[0] for key in labels}) < len(labels):
    raise SystemExit(f"{' and '.join(labels)}: which are the labels? Leave the others out of `labels`")
for key in labels:
    same = [k for k in arrays if k not in labels and len(arrays[k]) == len(arrays[key])]
    near = [k for k in same if k.rpartition("/")[0] == key.rpartition("/")[0]] or same
    if len(near) != 1:
        raise SystemExit(f"{key}: which are its images? " + (" or ".join(near) or "none are as many"))
    pairs.append((near[0], key))
# One range for all, or slices of one volume would differ in brightness.
wide = [arrays[image] for image, _ in pairs if arrays[image].dtype != np.uint8]
low, high = min((float(a.min()) for a in wide), default=0), max((float(a.max()) for a in wide), default=1)
for image, mask in pairs:
    shown, ids = arrays[image], arrays[mask]
    if shown.dtype != np.uint8:
        shown = ((shown - low) * (255 / ((high - low) or 1))).round().astype(np.uint8)
    ids = ids.astype(np.uint8 if ids.max() < 256 else np.uint16)
    for kind, stack in (("images", shown), ("masks", ids)):
        place = Path(f"{root}_slices", kind, mask).parent
        place.mkdir(parents=True, exist_ok=True)
        for n, array in enumerate(stack if stack.ndim > 2 else [stack]):
            Image.fromarray(np.squeeze(array)).save(place / f"{n:05}.png")
if not labels:
    raise SystemExit(f"which are labels? None of {', '.join(arrays) or 'no array'} is called one of {', '.join(words)}")
"""

TABLES = """\
import io
import pyarrow as pa, pyarrow.parquet as pq
for path in [p for p in sorted(root.rglob("*")) if p.suffix in (".parquet", ".arrow")]:
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_stream(path).read_all()
    for row, values in enumerate(table.to_pylist()):
        for column, value in values.items():
            if isinstance(value, dict) and value.get("bytes"):
                is_mask = any(word in column.lower() for word in ("mask", "label", "annot", "seg"))
                folders = path.relative_to(root).parts[:-1]
                place = Path(f"{root}_files", "masks" if is_mask else "images", *folders)
                place.mkdir(parents=True, exist_ok=True)
                Image.open(io.BytesIO(value["bytes"])).save(place / f"{path.stem}_{row:06}.png")
"""

H5 = """\
with h5py.File(path) as file:
        def keep(key, item):
            if len(getattr(item, "shape", ())) > 1:
                found[key] = item[()]
        file.visititems(keep)"""

ZARR = "found.update({key: x[:] for key, x in zarr.open_group(path, mode='r').arrays()})"
