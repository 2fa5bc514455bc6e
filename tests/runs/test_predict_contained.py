"""Predictions of what training reads besides image files: arrays, stacks, volumes and tables."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segkit.commands.predict import predict_images
from segkit.errors import ConfigError, DataError
from segkit.runs.predictor import load_predictor
from tests.data.containers.contained_folders import COUNT, IMAGES, KINDS, describe_cases, open_part
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
