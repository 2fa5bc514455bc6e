"""Predictions of what training reads besides image files: arrays, stacks, volumes and tables."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segkit.commands.predict import predict_images
from segkit.data.containers.array_layout import Trained
from segkit.data.containers.parted_files import files_of
from segkit.data.containers.unlabelled import find_unlabelled
from segkit.errors import ConfigError, DataError
from segkit.runs.predictor import load_predictor
from tests.data.containers.contained_folders import COUNT, IMAGES, KINDS, LABELS, describe_cases, open_part
from tests.runs.test_predictor import CPU, make_run

#: What is given as --source for each kind of folder, seen from it.
SOURCES = {
    "stack": "train-volume.tif",
    "arrays": "images.npy",
    "npz": "all.npz",
    "cases": "imagesTr",
    "volumes": "imagesTr",
    "itk volumes": "imagesTr",
    "saved": "",
    "parquet": "",
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    """Kind, folder, block, and a run that was trained on it."""
    root = tmp_path_factory.mktemp(request.param)
    block = KINDS[request.param](root)
    run = make_run(tmp_path_factory.mktemp("run"), data={**block, "root": str(root)})
    return request.param, root, block, run


def predict(run, source, output, *forms):
    return predict_images(str(run.path), source, output=output, forms=forms, opacity=0.5, device="cpu")


def read_ids(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_every_image_is_segmented_as_the_sample_of_its_name(trained, tmp_path):
    kind, root, block, run = trained
    assert predict(run, root / SOURCES[kind], tmp_path, "ids") == 0
    predictor = load_predictor(run.path, CPU)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    samples = [sample for split in ("train", "val") for sample in open_part(root, block, split)]
    assert written == {f"{sample.name}_ids.png" for sample in samples} and len(written) == COUNT
    for sample in samples:
        expected = predictor.predict(sample.image)
        np.testing.assert_array_equal(read_ids(tmp_path / f"{sample.name}_ids.png"), expected)
    assert len({read_ids(path).tobytes() for path in tmp_path.rglob("*.png")}) > 1


def test_a_whole_file_has_the_ids_of_all_its_images(trained, tmp_path):
    kind, root, _, run = trained
    if kind in ("cases", "saved", "parquet"):
        what = {"cases": "is one image", "saved": "rows of tables", "parquet": "rows of tables"}[kind]
        with pytest.raises(ConfigError, match=what):
            predict(run, root / SOURCES[kind], tmp_path, "volume")
        return
    predict(run, root / SOURCES[kind], tmp_path, "ids", "volume")
    pages = np.stack([read_ids(path) for path in sorted(tmp_path.rglob("*_ids.png"))])
    files = sorted(path for path in tmp_path.rglob("*_ids.*") if path.suffix != ".png")
    found = np.concatenate([read_whole(path) for path in files])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pages)
    names = {"stack": ["train-volume_ids.tif"], "arrays": ["images_ids.npy"], "npz": ["all_ids.npy"]}
    ending = {"volumes": ".nii.gz", "itk volumes": ".mha"}.get(kind)
    expected = names.get(kind, [f"case_0{n}_ids{ending}" for n in range(0, COUNT, 2)])
    assert [path.name for path in files] == expected


def read_whole(path):
    """Ids (N, H, W) of a file of any kind."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".tif":
        with Image.open(path) as image:
            pages = []
            for number in range(image.n_frames):
                image.seek(number)
                pages.append(np.array(image))
            return np.stack(pages)
    if path.suffix == ".mha":
        itk = pytest.importorskip("SimpleITK")
        image = itk.ReadImage(str(path))
        # Where NIfTI's axes lead to the right and to the front, those of ITK lead to the left and to the back.
        assert (image.GetSpacing(), image.GetDirection()[::4]) == ((1, 1, 3), (-1, -1, 1))
        return itk.GetArrayFromImage(image)
    nibabel = pytest.importorskip("nibabel")
    volume = nibabel.load(path)
    assert volume.header.get_zooms() == (1, 1, 3)
    return np.asarray(volume.dataobj).transpose(2, 1, 0)


def test_volumes_keep_the_axis_of_the_training_and_lie_where_their_source_does(tmp_path):
    """A volume is cut across the axis that was found in training, though its own voxels lie farthest apart along
    another."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel, which writes volumes, is not installed")
    root = tmp_path / "data"
    describe_cases(root, ".nii.gz", channels=2)
    random = np.random.default_rng(0)
    for n in range(2):
        for end in ("_0000", "_0001"):
            volume = nibabel.Nifti1Image(
                random.integers(0, 255, (5, 20, 16)).astype(np.uint8), np.diag([5, 1, 1, 1])
            )
            nibabel.save(volume, root / f"imagesTr/a{n}{end}.nii.gz")
        labels = nibabel.Nifti1Image(np.ones((5, 20, 16), np.uint8), np.diag([5, 1, 1, 1]))
        nibabel.save(labels, root / f"labelsTr/a{n}.nii.gz")
    run = make_run(tmp_path, data={"name": "nnunet", "root": str(root), "val_fraction": 0.5})
    new = tmp_path / "new"
    new.mkdir()
    affine = np.array([[0, -1, 0, 7], [2, 0, 0, -8], [0, 0, 9, 9], [0, 0, 0, 1]], float)
    for end in ("_0000", "_0001"):
        values = random.integers(-9, 300, (3, 20, 16)).astype(np.int16).clip(0, 255).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(values, affine), new / f"b{end}.nii.gz")
    predict(run, new / "b_0001.nii.gz", tmp_path / "out", "volume", "ids")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"b_00{n}_ids.png" for n in range(3)),
        "b_ids.nii.gz",
    ]
    written = nibabel.load(tmp_path / "out/b_ids.nii.gz")
    assert written.shape == (3, 20, 16) and written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(written.affine, affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj)[1], read_ids(tmp_path / "out/b_001_ids.png").T)
    (new / "b_0001.nii.gz").unlink()
    with pytest.raises(
        DataError, match=r"case b has one channel, .*b_0000.nii.gz, and the weights were trained on 2"
    ):
        predict(run, new, tmp_path / "out", "ids")


def describe(name="folder", channels=1, **options):
    return Trained(name, options, channels)


def found_shape(path, trained):
    (file,) = find_unlabelled(path, trained)
    return len(file.images), file.images[0].read().values.shape, file.names[0]


@pytest.mark.parametrize(
    ("shape", "trained", "expected"),
    [
        ((9, 7), describe(), (1, (9, 7, 1), "a")),
        ((5, 9, 7), describe(), (5, (9, 7, 1), "a_000")),
        ((9, 7, 3), describe(channels=3), (1, (9, 7, 3), "a")),
        ((5, 9, 7), describe(channels=3), (5, (9, 7, 1), "a_000")),
        ((5, 9, 7, 3), describe(channels=3), (5, (9, 7, 3), "a_000")),
        ((5, 4, 9, 7), describe(channels=4), (5, (9, 7, 4), "a_000")),
        ((9, 7), describe("arrays", train_images="images.npy"), (1, (9, 7, 1), "a")),
        ((5, 9, 7), describe("arrays", train_images="images.npy"), (5, (9, 7, 1), "a_000")),
        ((3, 9, 7), describe("arrays", 3, train_images="i/{stem}.npy"), (1, (9, 7, 3), "a")),
        ((3, 9, 3), describe("arrays", 3, train_images="i/{stem}.npy", channel_axis="first"), (1, (9, 3, 3), "a")),
        ((5, 3, 9, 3), describe("arrays", 3, train_images="i.npy", channel_axis="last"), (5, (3, 9, 3), "a_000")),
    ],
)  # fmt: skip
def test_what_an_array_holds_is_told_by_the_training(tmp_path, shape, trained, expected):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert found_shape(tmp_path / "a.npy", trained) == expected
    assert found_shape(tmp_path, trained) == expected


@pytest.mark.parametrize(
    ("shape", "trained", "message"),
    [
        ((3, 9, 7), describe(channels=3), "may be an image of 3 channels, or as many images"),
        ((5, 3, 9, 3), describe(channels=3), "either may be the channels"),
        ((5, 8, 9, 7), describe(channels=4), "no axis is of 4 channels"),
        ((5, 8, 9, 7), describe("arrays", 1, train_images="i/{stem}.npy"), r"5x8x9x7 is not \(H, W\), nor that"),
        ((0, 9, 7), describe(), "an array of 0x9x7 holds no images"),
        ((9,), describe(), "an array of 9 holds no images"),
        ((), describe(), "an array of one number holds no images"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_told(tmp_path, shape, trained, message):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=message):
        find_unlabelled(tmp_path / "a.npy", trained)


def test_which_array_of_an_archive(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, y=LABELS)
    with pytest.raises(DataError, match=r"which of its arrays\? -> --source .*a.npz#NAME with one of x, y"):
        find_unlabelled(tmp_path / "a.npz", describe())
    for source, trained in (("a.npz#x", describe()), ("a.npz", describe("arrays", train_images="b.npz#x"))):
        (file,) = find_unlabelled(tmp_path / source, trained)
        np.testing.assert_array_equal(file.images[4].read().values[..., 0], IMAGES[4])
    with pytest.raises(DataError, match="it has no array 'z'; there are: x, y"):
        find_unlabelled(tmp_path / "a.npz#z", describe())


def test_of_a_folder_with_several_kinds_the_trained_one_is_taken(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    Image.fromarray(IMAGES[0]).save(tmp_path / "b.png")
    assert [file.names for file in find_unlabelled(tmp_path, describe())] == [["b"]]
    (file,) = find_unlabelled(tmp_path, describe("arrays", train_images="x.npy"))
    assert len(file.images) == COUNT
    (tmp_path / "b.png").unlink()
    assert len(find_unlabelled(tmp_path, describe())[0].images) == COUNT
    (tmp_path / "a.npy").unlink()
    with pytest.raises(
        DataError, match=r"no images in it \(looked for .png, .*.npy, .npz, .parquet and volumes\)"
    ):
        find_unlabelled(tmp_path, describe())


def test_which_files_are_the_channels_of_a_case(tmp_path):
    def names(*files, channels=2):
        for path in tmp_path.iterdir():
            path.unlink()
        for file in files:
            Image.fromarray(IMAGES[0]).save(tmp_path / file)
        found = find_unlabelled(tmp_path, describe("nnunet", channels))
        for file in files:  # each by itself stands for its case
            (one,) = find_unlabelled(tmp_path / file, describe("nnunet", channels))
            assert one in found and tmp_path / file in files_of(one.images[0])
        return {each.stem: [path.name for path in files_of(each.images[0])] for each in found}

    assert names("a_0000.png", "a_0001.png", "b.png") == {"a": ["a_0000.png", "a_0001.png"], "b": ["b.png"]}
    assert names("IMG_1234.png", "IMG_1235.png") == {
        "IMG_1234": ["IMG_1234.png"],
        "IMG_1235": ["IMG_1235.png"],
    }
    assert names("a_0000.png", "b_0000.png", channels=1) == {"a": ["a_0000.png"], "b": ["b_0000.png"]}
    for files, there in (
        (("a_0000.png", "a_0002.png"), "_0000, _0002"),
        (("a_0000.png", "a_0001.png", "a_0002.png"), "_0000, _0001, _0002"),
    ):
        with pytest.raises(DataError) as raised:
            names(*files)
        assert str(raised.value) == (
            f"case a has the channels {there} in {tmp_path}, and the weights were trained on 2\n"
            "   -> if they are images of their own, call them otherwise"
        )


def test_rows_without_labels(tmp_path):
    """A test split, or a table of images alone."""
    datasets = pytest.importorskip("datasets", reason="the library datasets is not installed")
    features = datasets.Features({"image": datasets.Image(), "depth": datasets.Image()})
    rows = [{"image": Image.fromarray(image), "depth": Image.fromarray(image // 2)} for image in IMAGES[:3]]
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/test-00000-of-00001.parquet"
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(path))
    (file,) = find_unlabelled(tmp_path, describe("hf"))
    assert file.names == ["test_000000", "test_000001", "test_000002"]
    assert file.images[2].key == "image[2]"
    (file,) = find_unlabelled(tmp_path, describe("hf", image_column="depth"))
    assert file.images[2].key == "depth[2]"
    with pytest.raises(
        DataError, match=r"no column 'photo' of images, on which the weights were trained, .*, test"
    ):
        find_unlabelled(tmp_path, describe("hf", image_column="photo"))
    with pytest.raises(DataError, match=f"a table is read with its folder -> --source {path.parent}"):
        find_unlabelled(path, describe("hf"))


@pytest.fixture(scope="module")
def of_arrays(tmp_path_factory):
    """A run that was trained on arrays."""
    root = tmp_path_factory.mktemp("arrays")
    return make_run(root, data={**KINDS["arrays"](root), "root": str(root)})


def test_an_array_whose_name_has_a_slash(of_arrays, tmp_path):
    np.savez(tmp_path / "a.npz", **{"x/y": IMAGES[:1]})
    predict(of_arrays, tmp_path / "a.npz#x/y", tmp_path / "out", "ids", "volume")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_000_ids.png", "a_ids.npy"]


def test_processes_take_whole_files_if_these_are_written(of_arrays, tmp_path):
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", IMAGES[:3])
    for rank, names in ((0, "ac"), (1, "b")):
        ranks = SimpleNamespace(
            rank=rank, world=2, local=0, local_world=1, main=rank == 0, gather=lambda _: None
        )
        predict_images(
            str(of_arrays.path), tmp_path, output=tmp_path / f"{rank}", forms=["volume"], opacity=0.5, device="cpu",
            ranks=ranks,
        )  # fmt: skip
        written = [path.name for path in sorted((tmp_path / f"{rank}").iterdir())]
        assert written == [f"{name}_ids.npy" for name in names]
        shutil.rmtree(tmp_path / f"{rank}")


def test_results_of_one_name_and_sources_are_refused(of_arrays, tmp_path):
    folder, run = tmp_path / "in", of_arrays
    folder.mkdir()
    for name in ("a.npy", "a_ids.npy"):
        np.save(folder / name, IMAGES)
    with pytest.raises(ConfigError, match="would replace that image"):
        predict(run, folder, folder, "volume")
    np.savez(folder / "a.npz", IMAGES)
    with pytest.raises(ConfigError, match=r"two results would be called .*a_000_ids.png"):
        predict(run, folder, tmp_path / "out", "ids")
