"""Where a configuration may be read from, besides files."""

import os
import threading

import pytest

from segkit.config.load import load_config
from segkit.errors import ConfigError

TEXT = b"extends: ce.yaml\nname: piped\n"


@pytest.fixture
def fifo(tmp_path):
    path = tmp_path / "a.yaml"
    os.mkfifo(path)
    return path


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(fifo):
    with pytest.raises(ConfigError, match=r"a\.yaml: is a pipe that nobody writes to"):
        load_config(fifo)


def test_a_pipe_is_read_to_its_end_however_slowly_it_comes():
    """As a shell's `<(...)`: the writer is there before the reader, and may need time."""
    read, write = os.pipe()

    def come() -> None:
        for part in (TEXT[:5], TEXT[5:]):
            os.write(write, part)
        os.close(write)

    writer = threading.Timer(0.05, come)
    writer.start()
    try:
        assert load_config(f"/dev/fd/{read}").name == "piped"
    finally:
        writer.join()
        os.close(read)


def test_a_named_pipe_with_a_writer(fifo):
    keep = os.open(fifo, os.O_RDWR)  # so that opening it to write does not wait for a reader
    write = os.open(fifo, os.O_WRONLY)
    os.write(write, TEXT)
    os.close(write)
    closing = threading.Timer(0.05, os.close, [keep])
    closing.start()
    assert load_config(fifo).name == "piped"
    closing.join()
