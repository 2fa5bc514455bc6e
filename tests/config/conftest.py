"""A working directory to write configurations to, and the mistakes found in them."""

from pathlib import Path

import pytest

from segkit.config.load import load_config
from segkit.errors import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory; `folder(name=text)` writes name.yaml there."""
    monkeypatch.chdir(tmp_path)

    def write(**files):
        for name, text in files.items():
            Path(f"{name}.yaml").write_text(text)

    return write


@pytest.fixture
def mistakes():
    """`mistakes(source, *overrides)`: every message of a configuration that must be refused."""

    def find(source, *overrides):
        with pytest.raises(ConfigError) as caught:
            load_config(source, overrides)
        assert caught.value.exit_code == 2
        assert str(caught.value) == "\n".join(caught.value.problems)
        return caught.value.problems

    return find


@pytest.fixture
def mistake(mistakes):
    """`mistake(source, *overrides)`: the only message."""

    def find(source, *overrides):
        (problem,) = mistakes(source, *overrides)
        return problem

    return find


@pytest.fixture
def first_line(mistake):
    """`first_line(source, *overrides)`: the first line of the only message."""
    return lambda *arguments: mistake(*arguments).splitlines()[0]
