"""scripts/prepare_data.py, against a server on this machine in place of the real ones."""

import errno
import functools
import hashlib
import http.server
import shutil
import sys
import tarfile
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from torchvision.datasets import OxfordIIITPet, SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT

from segkit.cli.prepare_data import main
from segkit.cli.run_command import run_command
from segkit.commands import prepare_data as preparation
from segkit.data.sources import SOURCES, recognise_source
from segkit.registry import DATASETS
from tests.data.datasets import published_layouts as layouts
from tests.paths import ROOT
from tests.scripts import run_script

NOWHERE = "http://127.0.0.1:9"  # the port of a service that throws all away, and that nobody runs
NEEDS_SCIPY = "scipy is not installed, which reads the labels of sbd"


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder and the address under which its files are served."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def space(monkeypatch):
    """`space(free)`: bytes free on every disk. Room enough for each data set, whatever this machine has left."""
    usage = namedtuple("usage", "total used free")

    def leave(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(1e12, 1e12 - free, free))

    leave(0.5e12)
    return leave


@pytest.fixture
def run(capsys):
    """`run(*arguments)`: exit status, output and error output of the command."""

    def call(*arguments):
        status = run_command(main, [str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def pack(path, folder, *names):
    """A tar archive of what lies in `folder`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name in names:
            archive.add(folder / name, name)
    return path


def publish_voc(monkeypatch, archive, address):
    entry = {**DATASET_YEAR_DICT["2012"], "url": f"{address}/{archive.name}", "md5": md5(archive)}
    monkeypatch.setitem(DATASET_YEAR_DICT, "2012", entry)


@pytest.fixture
def voc(server, tmp_path, monkeypatch):
    """Pascal VOC in miniature on the server; the archive."""
    folder, address = server
    layouts.make_voc(tmp_path / "voc")
    archive = pack(folder / "VOCtrainval_11-May-2012.tar", tmp_path / "voc", "VOCdevkit")
    publish_voc(monkeypatch, archive, address)
    return archive


#: What reads files of one's own, or makes them.
OWN = {
    *("folder", "shapes", "coco", "coco_panoptic", "labelme", "yolo", "cvat", "label_studio"),
    *("stack", "arrays", "hf", "nnunet", "shards"),
    "mix",
}


def test_every_named_data_set_has_a_source():
    assert set(SOURCES) == set(DATASETS.names()) - OWN
    for source in SOURCES.values():
        assert all((ROOT / "configs" / config).is_file() for config, _ in source.configs)


@pytest.mark.parametrize("name", ["voc", "cityscapes", "pets", "ade20k", "coco_stuff"])
def test_a_published_layout_is_recognised(name, tmp_path):
    getattr(layouts, f"make_{name}")(tmp_path)
    assert recognise_source(tmp_path) is SOURCES[name]
    assert recognise_source(tmp_path / "elsewhere") is None


def test_addresses_and_files_are_torchvisions():
    (voc,) = SOURCES["voc"].archives
    assert voc.place == DATASET_YEAR_DICT["2012"]["filename"]
    # Older torchvisions name another host of the same site.
    assert voc.url.partition(".robots.")[2] == DATASET_YEAR_DICT["2012"]["url"].partition(".robots.")[2] != ""
    (sbd,) = SOURCES["sbd"].archives
    assert (sbd.url, sbd.place) == (SBDataset.url, SBDataset.filename)
    assert [archive.url for archive in SOURCES["pets"].archives] == [
        url for url, _ in OxfordIIITPet._RESOURCES
    ]


def test_list(run):
    status, output, _ = run("--list")
    lines = [line.split("  ") for line in output.splitlines()]
    assert status == 0 and [line[0].strip() for line in lines[1:]] == list(SOURCES)
    assert "voc         1,464    1,449  about 2.0 GB   fetched by this command " in output


def test_dry_run(run, tmp_path):
    root = tmp_path / "pets"
    status, output, _ = run("pets", "--root", root, "--dry-run")
    assert (status, root.exists()) == (0, False)
    assert output.splitlines() == [
        "Oxford-IIIT Pet, trimaps: pet and background",
        "   source   https://www.robots.ox.ac.uk/~vgg/data/pets",
        "   licence  CC BY-SA 4.0; the images stay their owners'",
        "   files    images.tar.gz, about 790 MB, https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
        "            annotations.tar.gz, about 20 MB, "
        "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
        f"   becomes  in {root}:",
        "            oxford-iiit-pet/images/*.jpg",
        "            oxford-iiit-pet/annotations/{trimaps/*.png,trainval.txt,test.txt}",
        f"   now      dataset folder not found: {root}",
        "by hand:",
        f"   1. save images.tar.gz and annotations.tar.gz in {root}/oxford-iiit-pet",
        "   2. run this command again: it unpacks what lies there (with torchvision) and checks it",
    ]


def test_fetches_voc(run, voc, tmp_path):
    root = tmp_path / "here"
    status, output, _ = run("voc", "--root", root, "--yes")
    assert status == 0
    assert output.splitlines()[-4:] == [
        "   ready    3 train and 2 val images, 21 classes; the first of each is fine",
        "   but      1,464 and 1,449 are published: a download or a copy may have been cut short",
        "",
        f"python train.py --config voc/ohem.yaml data.root={root}",
    ]
    voc.unlink()  # nothing is fetched a second time
    assert run("voc", "--root", root)[0] == 0


def test_the_root_that_the_configuration_has_goes_without_saying(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layouts.make_ade20k(Path("data/ade20k"))
    status, output, _ = run("ade20k")
    assert status == 0 and output.endswith("\n\npython train.py --config ade20k/ohem.yaml\n")


def test_a_root_with_a_blank_can_be_pasted(run, tmp_path):
    layouts.make_ade20k(tmp_path / "my data")
    status, output, _ = run("ade20k", "--root", tmp_path / "my data")
    assert status == 0
    assert output.endswith(f"\npython train.py --config ade20k/ohem.yaml 'data.root={tmp_path}/my data'\n")


def test_fetches_pets(run, server, tmp_path, monkeypatch):
    folder, address = server
    base = layouts.make_pets(tmp_path / "pets") / "oxford-iiit-pet"
    archives = [pack(folder / f"{name}.tar.gz", base, name) for name in ("images", "annotations")]
    resources = tuple((f"{address}/{archive.name}", md5(archive)) for archive in archives)
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", resources)
    status, output, _ = run("pets", "--root", tmp_path / "here", "--yes")
    assert status == 0 and "   ready    3 train and 2 val images, 2 classes" in output


def test_fetches_sbd(run, server, tmp_path, monkeypatch):
    pytest.importorskip("scipy", reason=NEEDS_SCIPY)
    folder, address = server
    layouts.make_sbd(tmp_path / "sbd" / "benchmark_RELEASE" / "dataset")
    (tmp_path / "sbd" / "benchmark_RELEASE" / "dataset" / "inst").mkdir()
    archive = pack(folder / "benchmark.tgz", tmp_path / "sbd", "benchmark_RELEASE")
    monkeypatch.setattr(SBDataset, "url", f"{address}/benchmark.tgz")
    monkeypatch.setattr(SBDataset, "md5", md5(archive))
    status, output, _ = run("sbd", "--root", tmp_path / "here", "--yes")
    assert status == 0 and "   ready    3 train and 2 val images, 21 classes" in output


def test_an_archive_saved_by_hand_is_used(run, voc, tmp_path, monkeypatch):
    root = tmp_path / "here"
    root.mkdir()
    shutil.copy(voc, root)
    publish_voc(monkeypatch, voc, NOWHERE)
    status, _, errors = run("voc", "--root", root)
    assert status == 2
    assert errors.startswith(f"unpack what was saved in {root}, and fetch what of it is damaged? -> --yes ")
    status, output, _ = run("voc", "--root", root, "--yes")
    assert status == 0 and "   ready    3 train" in output


def test_a_host_that_fails(run, voc, tmp_path, monkeypatch):
    publish_voc(monkeypatch, voc, NOWHERE)
    status, _, errors = run("voc", "--root", tmp_path / "here", "--yes")
    assert status == 3
    first, *steps = errors.strip().splitlines()
    assert first.startswith("could not fetch voc: <urlopen error [Errno ")
    assert steps == [
        "by hand:",
        f"   1. save VOCtrainval_11-May-2012.tar in {tmp_path}/here, from a mirror if its host fails",
        "   2. run this command again: it unpacks what lies there (with torchvision) and checks it",
    ]


def test_a_file_that_is_gone_and_one_with_another_content(run, voc, tmp_path):
    voc.write_bytes(voc.read_bytes() + b"x")
    status, _, errors = run("voc", "--root", tmp_path / "here", "--yes")
    assert status == 3 and "\ncould not fetch voc: File not found or corrupted.\nby hand:\n" in errors
    voc.unlink()
    status, _, errors = run("voc", "--root", tmp_path / "here", "--yes")
    assert status == 3 and errors.startswith(
        "could not fetch voc: HTTP Error 404: File not found\nby hand:\n"
    )


@pytest.mark.parametrize(
    ("name", "make", "archives"),
    [
        (
            "cityscapes",
            layouts.make_cityscapes,
            {"leftImg8bit_trainvaltest.zip": ("leftImg8bit",), "gtFine_trainvaltest.zip": ("gtFine",)},
        ),
        ("ade20k", layouts.make_ade20k, {"ADEChallengeData2016.zip": ("ADEChallengeData2016",)}),
        (
            "coco_stuff",
            layouts.make_coco_stuff,
            {
                "train2017.zip": ("images/train2017",),
                "val2017.zip": ("images/val2017",),
                "stuffthingmaps_trainval2017.zip": ("annotations/train2017", "annotations/val2017"),
            },
        ),
    ],
)
def test_archives_that_were_downloaded_by_hand(run, tmp_path, name, make, archives):
    make(tmp_path / "published")
    root = tmp_path / "here"
    status, output, errors = run(name, "--root", root)
    assert status == 3 and "\nby hand:\n   1. " in output
    assert errors == f"{name} is not in {root} yet -> follow the steps, then run this command again\n"
    root.mkdir()
    for archive, folders in archives.items():
        packed = tmp_path / "packed" / Path(archive).stem
        for folder in folders:
            shutil.copytree(tmp_path / "published" / folder, packed / Path(folder).name)
        shutil.make_archive(str(root / packed.name), "zip", packed)
    status, output, _ = run(name, "--root", root)
    assert status == 0 and f"unpacking {root}/{next(iter(archives))}\n" in output
    assert (
        "   ready    " in output
        and f"\npython train.py --config {name}/ohem.yaml data.root={root}\n" in output
    )


def test_an_archive_that_is_damaged(run, tmp_path):
    (tmp_path / "ADEChallengeData2016.zip").write_bytes(b"PK cut short")
    status, _, errors = run("ade20k", "--root", tmp_path)
    assert status == 3 and errors.startswith("could not unpack ade20k: File is not a zip file\nby hand:\n")


@pytest.mark.parametrize(
    ("make", "config"), [(layouts.make_camvid_rgb, "rgb"), (layouts.make_camvid_segnet, "segnet")]
)
def test_camvid_in_either_version(run, tmp_path, make, config):
    make(tmp_path)
    status, output, _ = run("camvid", "--root", tmp_path)
    assert status == 0 and f"python train.py --config camvid/{config}.yaml data.root={tmp_path}\n" in output


def test_asks_before_it_fetches(run, voc, tmp_path, monkeypatch):
    question = f"fetch about 2.0 GB into {tmp_path}/here?"
    status, _, errors = run("voc", "--root", tmp_path / "here")
    assert (status, errors) == (2, f"{question} -> --yes does it without asking, --dry-run only says how\n")
    asked = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answers.pop())
    answers = ["n"]
    status, output, _ = run("voc", "--root", tmp_path / "here")
    assert status == 0 and output.endswith("\nnothing was fetched\n") and not (tmp_path / "here").exists()
    answers = ["y"]
    assert run("voc", "--root", tmp_path / "here")[0] == 0
    assert asked == [f"{question} [y/N] "] * 2


def test_no_space(run, voc, tmp_path, space):
    space(3e9)
    status, _, errors = run("voc", "--root", tmp_path / "here" / "deeper", "--yes")
    assert status == 7 and not (tmp_path / "here").exists()
    first, disk, advice = errors.strip().splitlines()
    assert first == f"voc takes about 4.0 GB in {tmp_path}/here/deeper, unpacked"
    assert disk.endswith(": 3.0 of 1000.0 GB free")
    assert advice == "   -> free some space, or another place: --root DIR"


def test_a_disk_that_is_full_in_the_middle(run, tmp_path, monkeypatch):
    (tmp_path / "ADEChallengeData2016.zip").write_bytes(b"")

    def fill(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(preparation, "extract_archive", fill)
    status, _, errors = run("ade20k", "--root", tmp_path)
    assert status == 7 and errors.startswith(f"cannot write {tmp_path}: the disk is full\n")


def test_names_there_are_not(capsys):
    for arguments, message in (
        (["vok"], "no data set named 'vok' to prepare; there are: voc, sbd, cityscapes, pets, "),
        ([], "error: give the NAME of a data set, or --list for all of them"),
        (["voc", "--list"], "error: give the NAME of a data set, or --list for all of them"),
    ):
        assert run_script("prepare_data", *arguments) == 2
        errors = capsys.readouterr().err
        assert message in errors and "Traceback" not in errors
