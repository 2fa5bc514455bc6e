"""Each name of a file that segkit leaves in a folder is written out in one file of the package, and in the docs."""

import re

import pytest

from segkit.ablation.folder import AblationFiles
from segkit.data.check.report_files import CheckFiles
from segkit.runs.folder import RunFolder
from segkit.system.entries import NamedFolder
from segkit.system.run_files import RunFiles
from tests.file_names import find_written_names, has_name
from tests.paths import ROOT

RUN, ABLATION, CHECK = (
    "segkit/system/run_files.py",
    "segkit/ablation/folder.py",
    "segkit/data/check/report_files.py",
)

#: What the files are called in the folders below a run folder.
INSIDE = ("*.pt", ".aside", "moments")

#: Texts that are no file of a run, although they have the name of one: file and text, and what they are.
OTHERS = {
    ("segkit/models/torchvision_segmentation.py", "'checkpoints'"): "the folder of torch.hub",
    ("segkit/runs/recording/pictures.py", "'examples/'"): "the tags of TensorBoard's pictures",
    ("segkit/data/cache/ram_folder.py", "'.lock'"): "the suffix of the lock beside a cache",
    ("segkit/ablation/folder.py", "'tracking'"): "the folder of what trackers keep of an ablation's report",
    ("segkit/ablation/folder.py", "'.lock'"): "the lock of an ablation and the suffix of those of its runs",
}
#: The same for the report of a check.
NO_CHECK = {("segkit/data/datasets/tools/yolo.py", "'data.yaml'"): "the file that YOLO's data sets have"}


def names_of(kind: type[NamedFolder]) -> set[str]:
    return {entry.name for entry in kind.entries().values()}


def found_elsewhere() -> set[tuple[str, str]]:
    """File and text of all that is written out outside of `RUN`."""
    places = find_written_names(ROOT, {*names_of(RunFiles), *INSIDE}, home=RUN)
    return {(place.partition(":")[0], place.partition(" ")[2]) for place in places}


def test_the_names_in_a_run_folder_are_written_out_once():
    assert found_elsewhere() == set(OTHERS)  # a reason for what is gone would excuse what comes


def test_the_names_in_the_other_folders_are_written_out_once():
    assert find_written_names(ROOT, names_of(AblationFiles), home=ABLATION, below="segkit/ablation") == []
    pages = {name for name in names_of(AblationFiles) if name.startswith("report.")}
    assert find_written_names(ROOT, pages, home=ABLATION) == []
    places = find_written_names(ROOT, names_of(CheckFiles) - names_of(RunFiles), home=CHECK)
    assert {(place.partition(":")[0], place.partition(" ")[2]) for place in places} == set(NO_CHECK)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *((f"config.yaml{end}", True) for end in ("", " is missing", ".", ":")),
        *((f"{start}config.yaml", True) for start in ("/", "runs/x/", "*/", "it has no ", "`")),
        *((text, False) for text in ("my_config.yaml", "config.yaml-old", "config", "config.yam", ".config.yaml")),
        *((f"{start}tb{end}", True) for start in ("", "/", "run/", "see ") for end in ("/", "/x", "/*")),
        *((text, True) for text in ("tb", "/tb", "run/tb")),
        *((text, False) for text in ("tb:", "see tb", "atb/", "x-tb/", "tbs/", "a.tb")),
    ],
)  # fmt: skip
def test_a_name_is_seen_in_a_text(text, found):
    assert has_name(text, {"config.yaml", "tb"}) is found


def test_a_name_that_is_written_out_is_found(tmp_path):
    package = tmp_path / "segkit" / "runs"
    package.mkdir(parents=True)
    (package / "home.py").write_text('config = "config.yaml"\n')
    (package / "reader.py").write_text(
        '"""Reads config.yaml."""\n'
        "# config.yaml is there\n"
        "def read(run):\n"
        '    """The config.yaml of the run."""\n'
        "    return open(f'{run}/config.yaml'), run / 'tb', run / 'other.yaml', f'{run} has no config.yaml'\n"
    )
    found = find_written_names(tmp_path, {"config.yaml", "tb"}, home="segkit/runs/home.py")
    texts = ("'/config.yaml'", "'tb'", "' has no config.yaml'")
    assert sorted(found) == sorted(f"segkit/runs/reader.py:5 {text}" for text in texts)


def test_a_run_folder_that_is_written_has_the_names_of_one_that_is_read():
    assert RunFolder.entries() == RunFiles.entries()


def test_the_page_on_run_folders_names_every_file():
    """`tests/runs/test_run.py` has that a run leaves these and no others."""
    page = (ROOT / "docs" / "run_folder.md").read_text(encoding="utf-8")
    rows = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert {name.rstrip("/") for name in re.findall(r"`([^`]+)`", rows)} == names_of(RunFiles)
