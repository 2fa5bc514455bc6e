"""Files of the validation set that are also in the training set, byte by byte."""

from types import SimpleNamespace

import pytest

from segkit.data.check import copies


@pytest.mark.parametrize(("most", "found"), [(100, [3, 5]), (2, [5])])
def test_training_files_are_compared_spread_evenly_up_to_a_number(tmp_path, monkeypatch, most, found):
    monkeypatch.setattr(copies, "MOST_FILES", most)
    train = [tmp_path / f"train{n}" for n in range(6)]
    val = [tmp_path / f"val{n}" for n in range(6)]
    for n in range(6):
        train[n].write_bytes(bytes([n]) * 9)
        val[n].write_bytes(bytes([n if n in (3, 5) else 100 + n]) * 9)
    parts = (SimpleNamespace(image_paths=paths) for paths in (train, val))
    assert copies.find_equal_files(*parts, 64) == [(train[n], val[n]) for n in found]
