"""The checksum of large records in an events file."""

import random

import pytest
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow
from tensorboard.summary.writer import record_writer

from segkit.runs.recording.events import checksums, tensorboard_log
from segkit.runs.recording.events.checksums import STRETCH, crc32c, masked_crc32c

LENGTHS = (0, 1, 3, 4, 5, STRETCH - 1, STRETCH, STRETCH + 1, 3 * STRETCH, 4 * STRETCH, 20_011)


def test_the_published_check_value():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_what_tensorboard_computes(length):
    data = random.Random(length).randbytes(length)
    assert masked_crc32c(data) == pywrap_tensorflow.masked_crc32c(data)
    assert masked_crc32c(bytes(length)) == pywrap_tensorflow.masked_crc32c(bytes(length))


def test_tensorboards_records_have_it(tmp_path, monkeypatch):
    """Else the pictures of a run would be summed a byte at a time, beside training."""
    large = []
    monkeypatch.setattr(tensorboard_log, "masked_crc32c", lambda data: large.append(len(data)) or 7)
    with (tmp_path / "records").open("wb") as file:
        writer = record_writer.RecordWriter(file)
        writer.write(bytes(5000))
        writer.write(bytes(20))
    assert large == [5000]
    assert (tmp_path / "records").read_bytes()[12 + 5000 :][:4] == (7).to_bytes(4, "little")
    assert checksums.masked_crc32c(bytes(20)) == pywrap_tensorflow.masked_crc32c(bytes(20))
