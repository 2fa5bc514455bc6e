"""Where the folder data set finds its files: folders, patterns, lists and a share of one folder."""

import os
import shlex

import numpy as np
import pytest
import yaml

from segkit.data.datasets.folder import Folder
from segkit.errors import ConfigError, DataError

IMAGE, MASK = np.zeros((2, 3, 3), dtype=np.uint8), np.zeros((2, 3), dtype=np.uint8)


@pytest.fixture
def put(tmp_path, save):
    """Write images for names with a colour suffix, masks for the others: `put("a.jpg", mask="a_mask.png")`."""

    def write(*images, masks=()):
        for name in images:
            save(tmp_path / name, IMAGE)
        for name in masks:
            save(tmp_path / name, MASK)
        return tmp_path

    return write


def folder(root, split="train", **options):
    return Folder(split, root=str(root), **{"classes": ["a", "b"], **options})


def pairs(dataset):
    """Sample name -> (image, mask), relative to the root; every sample is read."""
    assert [sample.name for sample in dataset] == dataset.names
    files = zip(dataset.image_paths, dataset.mask_paths, strict=True)
    shown = [tuple(path.relative_to(dataset.root).as_posix() for path in pair) for pair in files]
    return dict(zip(dataset.names, shown, strict=True))


def message(error, call):
    with pytest.raises(error) as raised:
        call()
    return str(raised.value)


def weights(dataset):
    return [path.relative_to(dataset.root).as_posix() for path in dataset.weight_paths]


@pytest.mark.parametrize("masks", ["masks", "labels"])
def test_split_before_kind(put, masks):
    root = put(
        *("train/images/0.jpg", "val/images/1.JPG"), masks=[f"train/{masks}/0.png", f"val/{masks}/1.PNG"]
    )
    assert pairs(folder(root)) == {"0": ("train/images/0.jpg", f"train/{masks}/0.png")}
    assert pairs(folder(root, "val")) == {"1": ("val/images/1.JPG", f"val/{masks}/1.PNG")}
    assert weights(folder(root)) == ["train/weights/0"]


def test_images_and_masks_in_one_folder(put):
    root = put("train/0.png", "train/b/1.png", masks=["train/0_mask.png", "train/b/1_mask.png"])
    put(masks=["train/weights/0.png"])
    options = {"images": "{split}/{stem}.png", "masks": "{split}/{stem}_mask.png"}
    dataset = folder(root, **options, weights="{split}/weights/{stem}.png")
    assert pairs(dataset) == {
        "0": ("train/0.png", "train/0_mask.png"),
        "b/1": ("train/b/1.png", "train/b/1_mask.png"),
    }
    assert weights(dataset) == ["train/weights/0", "train/weights/b/1"]
    assert dataset.notes == []


def test_the_plain_name_may_be_the_masks(put):
    root = put("0_img.png", masks=["0.png", "1.png"])
    put("1_img.png")
    options = {"images": "{stem}_img.png", "masks": "{stem}.png", "val_fraction": 0.5}
    found = pairs(folder(root, **options)) | pairs(folder(root, "val", **options))
    assert found == {name: (f"{name}_img.png", f"{name}.png") for name in "01"}


def test_cityscapes_by_patterns(put):
    names = ["aachen/aachen_000_019", "bochum/bochum_001_019"]
    root = put(
        *(f"leftImg8bit/train/{name}_leftImg8bit.png" for name in names),
        masks=[
            f"gtFine/train/{name}_gtFine_{kind}Ids.png" for name in names for kind in ("label", "instance")
        ],
    )
    dataset = folder(
        root,
        images="leftImg8bit/{split}/{stem}_leftImg8bit.png",
        masks="gtFine/{split}/{stem}_gtFine_labelIds.png",
    )
    assert list(pairs(dataset)) == names
    assert pairs(dataset)[names[0]][1] == f"gtFine/train/{names[0]}_gtFine_labelIds.png"
    assert weights(dataset)[0] == f"weights/train/{names[0]}"


def test_a_folder_per_sample(put):
    root = put("train/x/image.jpg", "train/y/image.jpg", masks=["train/x/mask.png", "train/y/mask.png"])
    dataset = folder(root, images="{split}/{stem}/image.jpg", masks="{split}/{stem}/mask.png")
    assert pairs(dataset) == {name: (f"train/{name}/image.jpg", f"train/{name}/mask.png") for name in "xy"}
    root = put("val/z/images/z.jpg", masks=["val/z/masks/z.png", "val/z/masks/other.png"])
    dataset = folder(root, "val", images="{split}/{stem}/images/{stem}", masks="{split}/{stem}/masks/{stem}")
    assert pairs(dataset) == {"z": ("val/z/images/z.jpg", "val/z/masks/z.png")}


def test_folders_of_other_names_and_masks_that_are_not_divided(put):
    root = put("train_imgs/0.jpg", "val_imgs/1.jpg", masks=["annotated/0.png", "annotated/1.png"])
    options = {"images": "{split}_imgs/", "masks": "annotated"}
    assert pairs(folder(root, "val", **options)) == {"1": ("val_imgs/1.jpg", "annotated/1.png")}
    assert folder(root, **options).notes == []


def test_hidden_files_are_not_seen(put):
    root = put(
        *("images/train/a.png", "images/train/.b.png", "images/train/.ipynb_checkpoints/c.png"),
        masks=["masks/train/a.png"],
    )
    assert list(pairs(folder(root))) == ["a"]


def test_links_are_followed_but_not_in_circles(put, tmp_path):
    root = put("elsewhere/a.png", "set/images/train/b.png", masks=["set/masks/train/b.png"]) / "set"
    put(masks=["set/masks/train/city/a.png"])
    (root / "images/train/city").symlink_to(tmp_path / "elsewhere")
    (root / "images/train/up").symlink_to(root / "images")
    assert list(pairs(folder(root))) == ["b", "city/a"]


def test_link_that_leads_nowhere_is_named_when_it_is_read(put):
    root = put("images/train/a.png", masks=["masks/train/a.png", "masks/train/b.png"])
    (root / "images/train/b.png").symlink_to("nowhere.png")
    dataset = folder(root)
    assert len(dataset.fingerprint()) == 64
    assert message(DataError, lambda: dataset[1]) == f"cannot read {root}/images/train/b.png: no such file"


def test_any_character_may_be_in_names_and_folders(put):
    name = "a\nb/\x1b[31m|<c>"
    masks = [f"masks/train/{stem}.png" for stem in ("1", name)]
    root = put("images/train/1.png", f"images/train/{name}.png", masks=masks)
    assert folder(root).names == ["1", name]
    (root / masks[1]).write_bytes(b"no image")
    assert r"masks/train/a\nb/\x1b[31m|<c>.png" in message(DataError, lambda: folder(root)[1])
    with pytest.raises(ValueError, match=r"classes: the name of a class holds .*: b\\x07$"):
        folder(root, classes=["a", "b\x07"])


def test_names_that_are_no_text(put):
    root = put("images/train/a.png", masks=["masks/train/a.png"])
    name = os.fsdecode(b"\xe4.png")
    try:
        (root / "images/train" / name).touch()
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    assert message(DataError, lambda: folder(root)) == (
        f"file name that is not UTF-8: {os.fsencode(root)!r}"[:-1] + "/images/train/\\xe4.png' -> rename it"
    )


def test_folder_that_cannot_be_listed(put, monkeypatch):
    root = put("images/train/a.png", masks=["masks/train/a.png"])
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("images/train"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert message(DataError, lambda: folder(root)) == (
        f"cannot read the folder {root}/images/train: Permission denied"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"images": "{split}/{name}.png"},
            "data.images: '{name}' in '{split}/{name}.png' is unknown; there are {stem} and {split}",
        ),
        ({"masks": "{stem"}, "data.masks: '{stem' in '{stem' is unknown; there are {stem} and {split}"),
        (
            {"images": "{split}/a.png"},
            "data.images: '{split}/a.png' is a single file -> put {stem} where the names differ",
        ),
        (
            {"masks": "{split}/{stem}_mask.jp2"},
            "data.masks: .jp2 files are not read, only .png, .jpg, .jpeg, .bmp, .tif, .tiff, .webp, .gif",
        ),
        (
            {"images": "{split}", "masks": "{split}"},
            "data.images and data.masks are the same files: '{split}'",
        ),
        (
            {"images": "img", "masks": "ann"},
            "data.images='img' has no {split}, so training and validation would be the same images\n"
            "   -> {split} in the pattern, data.train_list and data.val_list, or data.val_fraction=0.2",
        ),
        (
            {"train_list": "a", "val_list": "b", "val_fraction": 0.1},
            "data.val_list and data.val_fraction both say which images validate -> remove one",
        ),
        ({"val_list": "b"}, "data.val_list is set but data.train_list is not -> data.train_list=FILE"),
        (
            {"train_list": "a"},
            "data.train_list is set but data.val_list is not\n"
            "   -> data.val_list=FILE, or data.val_fraction=0.2 to divide the list",
        ),
        (
            {"val_fraction": 0.2, "val_split": "valid"},
            "data.val_split=valid does nothing beside data.val_fraction -> remove one",
        ),
        ({"split_seed": 1}, "data.split_seed does nothing without data.val_fraction"),
        ({"split_group": "a"}, "data.split_group does nothing without data.val_fraction"),
    ],
)
def test_contradictions_are_found_before_the_disk_is_touched(tmp_path, options, text):
    assert message(ConfigError, lambda: folder(tmp_path / "nowhere", **options)) == text


def test_missing_folder_of_a_pattern(put):
    root = put("images/train/a.png", masks=["masks/train/a.png"])
    assert message(DataError, lambda: folder(root, images="{split}/img")).startswith(
        f"data.images: no folder train/img in {root}, which has images/train, masks/train\n   -> data.train_split=NAME"
    )


def test_patterns_may_lead_out_of_the_root(put, tmp_path):
    root = put("raw/train/a.png", masks=["set/masks/train/a.png"]) / "set"
    for place in ("../raw", f"{tmp_path}/raw"):
        dataset = folder(root, images=f"{place}/{{split}}")
        assert dataset[0].name == "a"
        assert dataset.image_paths[0].samefile(tmp_path / "raw/train/a.png")
    text = message(DataError, lambda: folder(root, images=f"{tmp_path}/no/{{split}}"))
    assert text.startswith(f"data.images: no folder {tmp_path}/no/train in {root}, which has masks/train\n")


def test_nothing_fits_a_pattern(put):
    root = put("train/a.png", masks=["train/a_mask.png"])
    options = {"images": "{split}/{stem}.jpg", "masks": "{split}/{stem}_mask.png"}
    assert message(DataError, lambda: folder(root, **options)) == f"no images {root}/train/*.jpg"


def test_image_without_mask_says_what_was_expected(put):
    root = put("train/a.jpg", "train/b.jpg", masks=["train/a_mask.png"])
    options = {"images": "{split}/{stem}.jpg", "masks": "{split}/{stem}_mask.png"}
    assert message(DataError, lambda: folder(root, **options)) == (
        "1 image has no mask: train/b.jpg -> expected train/b_mask.png\n"
        "   or leave such images out: data.unlabelled=skip"
    )


@pytest.mark.parametrize(
    ("mask", "hint"),
    [
        ("masks/train/img_1.png", "\n   there is masks/train/img_1.png: upper and lower case must agree"),
        (
            "masks/train/IMG_1_L.png",
            "\n   there is masks/train/IMG_1_L.png -> data.masks='masks/{split}/{stem}_L.png'",
        ),
        (
            "masks/train/m-IMG_1.png",
            "\n   there is masks/train/m-IMG_1.png -> data.masks='masks/{split}/m-{stem}.png'",
        ),
        ("masks/train/IMG_10.png", ""),
    ],
)
def test_masks_of_similar_names(put, mask, hint):
    root = put("images/train/IMG_1.jpg", masks=[mask])
    assert message(DataError, lambda: folder(root)) == (
        f"1 image has no mask: images/train/IMG_1.jpg -> expected masks/train/IMG_1.png{hint}"
    )


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        ("masks/train/m-IMG_1.png", {}),
        ("train/IMG_1_ids.png", {"images": "{split}/{stem}.jpg", "masks": "{split}/{stem}_mask.png"}),
    ],
)
def test_the_pattern_that_a_message_proposes_works_as_an_argument(put, mask, options):
    root = put("images/train/IMG_1.jpg", "train/IMG_1.jpg", masks=[mask])
    text = message(DataError, lambda: folder(root, **options))
    [argument] = shlex.split(text.partition("-> data.masks")[2].removeprefix("="))
    proposed = yaml.safe_load(argument)
    assert list(pairs(folder(root, **{**options, "masks": proposed}))) == ["IMG_1"]


def test_lists_of_names(put):
    root = put(
        *(f"JPEGImages/{name}.jpg" for name in ("a", "b c", "d", "e")),
        masks=[f"SegmentationClass/{name}.png" for name in ("a", "b c", "d")],
    )
    (root / "train.txt").write_bytes("\ufeff# chosen by hand\r\nd\r\n\r\nb c\r\n".encode())
    (root / "val.txt").write_text("JPEGImages/a.jpg\n")
    options = {
        **{"images": "JPEGImages", "masks": "SegmentationClass/{stem}.png"},
        **{"train_list": "train.txt", "val_list": "val.txt"},
    }
    assert pairs(folder(root, **options)) == {
        "d": ("JPEGImages/d.jpg", "SegmentationClass/d.png"),
        "b c": ("JPEGImages/b c.jpg", "SegmentationClass/b c.png"),
    }
    assert list(pairs(folder(root, "val", **options))) == ["a"]
    assert folder(root, "val", **options).notes == []
    assert weights(folder(root, **options)) == ["weights/d", "weights/b c"]
    (root / "val.txt").write_text("a.jpg\nd\n")
    assert folder(root, "val", **options).notes == [
        "1 image stands in data.train_list and data.val_list: d, so the scores flatter"
    ]
    (root / "val.txt").write_text("a\ne\n")
    assert message(DataError, lambda: folder(root, "val", **options)) == (
        "1 image has no mask: JPEGImages/e.jpg -> expected SegmentationClass/e.png\n"
        "   or leave such images out: data.unlabelled=skip"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\nx\n", "train.txt:2: no image 'x': expected images/x.png"),
        ("a\nx\ny\n", "train.txt:2: no image 'x' (2 of the 3 names have none): expected images/x.png"),
        (
            "A\n",
            "train.txt:1: no image 'A': expected images/A.png\n"
            "   there is images/a.jpg: upper and lower case must agree",
        ),
        ("a.png\n", "train.txt:1: no image 'a.png': not in images"),
        ("images/b.jpg\n", "train.txt:1: no image 'images/b.jpg': not in images"),
        ("a\n# b\na\n", "train.txt:3: a stands on line 1 already -> remove one"),
        ("# nothing\n", "no images in the list train.txt"),
    ],
)
def test_lists_of_wrong_names(put, text, problem):
    root = put("images/a.jpg", masks=["masks/a.png"])
    (root / "train.txt").write_text(text)
    options = {"train_list": "train.txt", "val_list": "train.txt"}
    assert message(DataError, lambda: folder(root, **options)).replace(f"{root}/", "") == problem


def test_lists_may_lie_in_the_current_folder(put, tmp_path, monkeypatch):
    root = put("set/images/a.jpg", masks=["set/labels/a.png"]) / "set"
    (tmp_path / "mine.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    options = {"train_list": "mine.txt", "val_list": "other.txt"}
    assert list(pairs(folder(root, **options))) == ["a"]
    assert message(ConfigError, lambda: folder(root, "val", **options)) == (
        f"data.val_list: no file other.txt in {root} or in the current folder\n"
        "   -> a text file with a name per line, or with an image and its mask"
    )


def test_lists_of_pairs(put):
    root = put("x/0.jpg", "x/1 b.png", "x/2.png", masks=["y/0_ids.png", "z/1 b.png", "y/2.png"])
    (root / "train.txt").write_text(
        f"/x/0.jpg  y/0_ids.png\nx/1 b.png\tz/1 b.png\n{root}/x/2.png, y\\2.png\n"
    )
    (root / "val.txt").write_text("x/2.png y/2.png\n")
    options = {"train_list": "train.txt", "val_list": "val.txt"}
    dataset = folder(root, **options)
    assert pairs(dataset) == {
        "x/0": ("x/0.jpg", "y/0_ids.png"),
        "x/1 b": ("x/1 b.png", "z/1 b.png"),
        "x/2": ("x/2.png", "y/2.png"),
    }
    assert weights(dataset) == ["weights/x/0", "weights/x/1 b", "weights/x/2"]
    assert message(ConfigError, lambda: folder(root, **options, masks="y")) == (
        "data.train_list names images and masks in pairs -> remove data.masks"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "/SegNet/CamVid/x/0.jpg /SegNet/CamVid/y/0.png\n",
            "train.txt:1: no file /SegNet/CamVid/x/0.jpg in ROOT\n"
            "   there is x/0.jpg -> remove '/SegNet/CamVid/' from the paths of the list",
        ),
        ("x/0.jpg y/1.png\n", "train.txt:1: no file y/1.png in ROOT"),
        (
            "x/0.jpg y/0.png\nx/0.jpg\n",
            "train.txt:2: expected an image and its mask as on line 1, found 'x/0.jpg'\n"
            "   -> a tab between them where names have blanks",
        ),
        ("x/0.jpg y/0.png\nx/0.jpg y/0.png\n", "train.txt:2: x/0 stands on line 1 already -> remove one"),
        (
            "../0.jpg y/0.png\n",
            "train.txt:1: ../0.jpg is not below ROOT -> data.root must be a folder above all files of the list",
        ),
        (
            "OUTSIDE y/0.png\n",
            "train.txt:1: OUTSIDE is not below ROOT -> data.root must be a folder above all files of the list",
        ),
    ],
)
def test_lists_of_wrong_pairs(put, save, tmp_path, text, problem):
    root = put("set/x/0.jpg", masks=["set/y/0.png"]) / "set"
    outside = save(tmp_path / "elsewhere" / "0.jpg", IMAGE)
    (root / "train.txt").write_text(text.replace("OUTSIDE", str(outside)))
    options = {"train_list": "train.txt", "val_list": "train.txt"}
    found = message(DataError, lambda: folder(root, **options)).replace(f"{root}/train.txt", "train.txt")
    assert found == problem.replace("ROOT", str(root)).replace("OUTSIDE", str(outside))


def test_one_folder_is_divided(put):
    names = [f"{n:02}" for n in range(40)]
    root = put(
        *(f"images/{name}.jpg" for name in names), masks=[f"masks/{name}.png" for name in [*names, "x"]]
    )
    train, val = (folder(root, split, val_fraction=0.25) for split in ("train", "val"))
    assert sorted(train.names + val.names) == names
    assert 4 <= len(val) <= 16
    assert pairs(val)[val.names[0]] == (f"images/{val.names[0]}.jpg", f"masks/{val.names[0]}.png")
    assert (train.notes, val.notes) == (["1 mask has no image: masks/x.png"], [])
    assert weights(val)[0] == f"weights/{val.names[0]}"
    assert folder(root, val_fraction=0.25, split_seed=1).names != train.names
    together = folder(root, "val", val_fraction=0.3, split_group="^.")
    assert {name[0] for name in together.names} & {
        name[0] for name in folder(root, val_fraction=0.3, split_group="^.").names
    } == set()


def test_training_folder_or_list_is_divided(put):
    names = [f"{n}" for n in range(8)]
    root = put(
        *(f"images/train/{name}.jpg" for name in names), masks=[f"masks/train/{name}.png" for name in names]
    )
    train, val = (folder(root, split, val_fraction=0.5) for split in ("train", "val"))
    assert sorted(train.names + val.names) == names
    (root / "all.txt").write_text("\n".join(names[:4]))
    train, val = (folder(root, split, train_list="all.txt", val_fraction=0.5) for split in ("train", "val"))
    assert sorted(train.names + val.names) == names[:4]
    put("images/val/9.jpg")
    assert message(ConfigError, lambda: folder(root, val_fraction=0.5)) == (
        f"data.val_fraction divides the training images, but {root}/images/val is there to validate\n"
        "   -> remove data.val_fraction, or data.images=images/train"
    )
    options = {"val_fraction": 0.5, "images": "images/train"}
    assert len(folder(root, **options)) + len(folder(root, "val", **options)) == 8


def test_one_image_cannot_be_divided(put):
    root = put("images/a.jpg", masks=["masks/a.png"])
    assert message(DataError, lambda: folder(root, val_fraction=0.5)) == (
        "data.val_fraction=0.5 cannot divide 1 image into a training and a validation part"
    )


def test_camvid_in_three_layouts(camvid, tmp_path):
    classes = [str(number) for number in range(12)]
    plain = folder(camvid, classes=classes)
    patterns = folder(
        camvid, classes=classes, images="images/{split}/{stem}.jpg", masks="labels/{split}/{stem}.png"
    )
    files = zip(plain.image_paths, plain.mask_paths, strict=True)
    lines = [" ".join("/" + path.relative_to(camvid).as_posix() for path in pair) for pair in files]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    listed = folder(camvid, classes=classes, train_list=str(tmp_path / "train.txt"), val_list="x")
    for other in (patterns, listed):
        assert other.files(7) == plain.files(7)
        assert (other[7].image == plain[7].image).all()
        assert (other[7].target == plain[7].target).all()
    assert patterns.fingerprint() == plain.fingerprint()
    assert len(listed) == len(plain) == 367
