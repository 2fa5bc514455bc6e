"""What was kept of a data set of the user's own is not used once its code has changed."""

import sys

import pytest
import torch

from segkit.cli.run_command import import_user_code
from segkit.config.load import config_from_mapping
from segkit.registry import DATASETS
from segkit.training.build import build_data

CODE = '''
from segkit.data.datasets.folder import Folder
from segkit.registry import DATASETS


@DATASETS.register("changing")
class Changing(Folder):
    """A folder, of which the code says where a class begins."""

    def __init__(self, split: str, *, root: str):
        super().__init__(split, root=root, classes=["low", "high"], label_map={"*": 0})

    def read(self, index: int):
        pair = super().read(index)
        return pair._replace(target=(pair.image[0] > LIMIT).astype("uint8"))
'''


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write(limit)`: the user's file with that code, imported."""

    def forget():
        DATASETS._constructors.pop("changing", None)
        sys.modules.pop("changing", None)

    def write_code(limit):
        forget()
        path = tmp_path / "changing.py"
        path.write_text(CODE.replace("LIMIT", str(limit)))
        import_user_code([str(path)])

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("SEGKIT_CACHE", str(tmp_path / "caches"))
    yield write_code
    forget()


@pytest.mark.parametrize("is_part", [False, True])
def test_other_code_of_the_same_files_is_read_anew(make_folder, write, is_part):
    block = {"name": "changing", "root": str(make_folder())}
    if is_part:
        block = {"name": "mix", "classes": ["low", "high"], "parts": [block]}
    mapping = {"loss": {"name": "ce"}, "train": {"iterations": 1}, "data": {**block, "cache": "disk"}}
    for limit in (60, 200, 200):
        write(limit)
        data = build_data(config_from_mapping(mapping, origin="test"))
        for split in (data.train, data.val):
            for index in range(len(split)):
                sample = split[index]
                assert torch.equal(sample.target, (sample.image[0] > limit).to(torch.uint8)), limit
    there = {path: path.stat().st_mtime_ns for path in data.train.folder.iterdir()}
    for index in range(len(data.train)):
        assert data.train[index].target.max() <= 1
    assert there and {path: path.stat().st_mtime_ns for path in there} == there, (
        "the same code reads what it kept"
    )
