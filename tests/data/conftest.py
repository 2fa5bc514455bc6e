"""The real data sets, where they are."""

import pytest
import torch

from tests.paths import REAL_DATA


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def camvid():
    return _real("camvid")


@pytest.fixture
def membrane():
    return _real("membrane")


def _real(name: str) -> str:
    root = REAL_DATA / name
    if not root.is_dir():
        pytest.skip(f"the real data set is not there: {root}")
    return str(root)
