"""scripts/check_data.py ROOT reads and draws whatever it needs without importing torch, which takes seconds."""

import os

import pytest

from tests.commands import test_check_folder as folders
from tests.commands.test_check_folder import make, proposal
from tests.paths import ROOT
from tests.processes import run_python

here = folders.here


WITHOUT_TORCH = """
import sys
from segkit.cli.run_command import run_named

code = run_named("check_data", ["data/mine", "--workers", sys.argv[1]])
assert not {"torch", "torchvision"} & set(sys.modules), "torch was imported"
sys.exit(code)
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_folder_is_checked_without_torch(workers):
    make()
    done = run_python("-c", WITHOUT_TORCH, workers, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "result    " in done.stdout and proposal()["classes"] == ["class_0", "class_1", "class_2"]
