"""An entry of a cache is what was written, or none."""

import io
import os

import numpy as np
import pytest

from segkit.data.cache import checked_file
from segkit.data.cache.checked_file import LANES, CheckedFiles, checksum, write_entry

ARRAYS = [
    np.arange(60, dtype=np.uint8).reshape(3, 4, 5),
    np.arange(-8, 12, dtype=np.int64).reshape(4, 5),
    np.zeros((0, 3), dtype=np.float32),
]


@pytest.fixture
def path(tmp_path):
    """A file with an entry."""
    stream = io.BytesIO()
    write_entry(stream, {"key": "k", "name": "ä"}, ARRAYS)
    (tmp_path / "x.cache").write_bytes(stream.getvalue())
    return tmp_path / "x.cache"


def test_an_entry_is_what_was_written(path):
    entry = CheckedFiles().read(path, wanted={"key": "k"})
    assert entry is not None and entry.facts == {"key": "k", "name": "ä"}
    for found, array in zip(entry.arrays, ARRAYS, strict=True):
        assert np.array_equal(found, array) and found.dtype == array.dtype and found.flags.writeable


def test_other_facts_and_no_file_are_no_damage(path):
    files = CheckedFiles()
    assert files.read(path, wanted={"key": "l"}) is None
    assert files.read(path.with_name("absent"), wanted={}) is None
    assert files.take_damaged() == []


def test_no_changed_byte_and_no_cut_goes_unseen(path):
    whole = path.read_bytes()
    changed = [whole[:n] + bytes([whole[n] ^ 0x40]) + whole[n + 1 :] for n in range(len(whole))]
    for content in changed + [whole[:n] for n in range(len(whole))]:
        path.write_bytes(content)
        files = CheckedFiles()
        assert files.read(path, wanted={}) is None
        assert files.take_damaged() == [path]


def test_a_file_is_summed_once_and_again_when_it_has_changed(path, monkeypatch):
    files, calls = CheckedFiles(), []
    monkeypatch.setattr(checked_file, "checksum", lambda raw: calls.append(len(raw)) or checksum(raw))
    for _ in range(3):
        assert files.read(path, wanted={}) is not None
    assert len(calls) == len(ARRAYS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    os.utime(path, ns=(1, 1))
    assert files.read(path, wanted={}) is None and files.take_damaged() == [path]


@pytest.mark.parametrize("size", [0, 7, 8 * LANES - 1, 8 * LANES, 16 * LANES + 5, 300_000])
def test_a_checksum_is_of_every_byte_and_of_their_order(size):
    raw = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    before = checksum(raw)
    for place in range(0, size, max(1, size // 50)):
        other = raw.copy()
        other[place] += 1
        assert checksum(other) != before
    if size > 2 * 4096:
        first, second, rest = np.split(raw, [4096, 8192])
        assert checksum(np.concatenate([second, first, rest])) != before
