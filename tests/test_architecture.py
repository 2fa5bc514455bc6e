"""The architecture holds, and the checker that says so finds each rule broken once in a small planted tree."""

from pathlib import Path

import pytest

from tests.import_rules import find_violations
from tests.paths import ROOT

#: The files that the rules are about; a rule over a file that was renamed away would hold for ever.
EXPECTED = (
    *("registry", "config", "build", "schedule", "trainer"),
    *("evaluate", "metrics", "checkpoint", "recorder"),
)


def test_the_files_of_the_table_exist():
    missing = [name for name in EXPECTED if not (ROOT / "segkit" / f"{name}.py").is_file()]
    assert missing == []


def test_the_table_holds():
    assert find_violations(ROOT) == []


#: A small package without a fault, in which the tests below plant one.
SOUND = {
    "__init__.py": "",
    "registry.py": "import importlib\n\ndef load(name):\n    importlib.import_module(name)\n",
    "schedule.py": "import math\n",
    "types.py": "from segkit.schedule import parse\n",
    "errors.py": "",
    "config.py": (
        "from segkit import types\nfrom segkit.registry import MODELS\n\ndef check():\n    import torch\n"
    ),
    "build.py": "import segkit.config\nfrom segkit.trainer import Trainer\nfrom segkit.losses import ohem\n",
    "trainer.py": (
        "import torch\n"
        "from segkit.evaluate import evaluate\n"
        "class Trainer:\n"
        "    def fit(self):\n"
        "        self.iteration += 1\n"
        "        isinstance(output, dict)\n"
        "        items = batch.items()\n"
    ),
    "evaluate.py": "import torch\nfrom segkit import metrics\n",
    "metrics.py": "import torch\n",
    "losses/__init__.py": "",
    "losses/criterion.py": "import torch\n",
    "losses/ce.py": (
        "from segkit.losses.criterion import ce\n@LOSSES.register('ce')\ndef ce():\n    total = 0\n    total += 1\n"
    ),
    "losses/ohem.py": "from .criterion import ce\n@LOSSES.register('ohem')\ndef ohem(): pass\n",
    "models/__init__.py": "",
    "models/unet.py": "import torch\nfrom segkit.registry import MODELS\n",
    "data/__init__.py": "",
    "data/sample.py": "import torch\nfrom segkit.registry import DATASETS\n",
}


def plant(root: Path, changes: dict[str, str] | None = None) -> Path:
    for name, text in (SOUND | (changes or {})).items():
        path = root / "segkit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_sound_tree_has_no_violation(tmp_path):
    assert find_violations(plant(tmp_path)) == []


#: file, what is added to its end, the violation that must be found (and no other)
BREACHES = [
    ("schedule.py", "import numpy.linalg\n", "imports numpy.linalg: tested in microseconds, used by all"),
    (
        "registry.py",
        "def f():\n    from segkit import errors\n",
        "imports segkit.errors: tested in microseconds, used by all",
    ),
    (
        "config.py",
        "def f():\n    from . import build\n",
        "imports segkit.build: a typo is reported before CUDA starts",
    ),
    ("config.py", "import torch\n", "imports torch: a typo is reported before CUDA starts"),
    ("types.py", "from torch import Tensor\n", "imports torch.Tensor: a typo is reported before CUDA starts"),
    (
        "losses/ce.py",
        "from segkit.data.sample import Sample\n",
        "imports segkit.data.sample.Sample: usable in",
    ),
    ("losses/ce.py", "from ..models.unet import UNet\n", "imports segkit.models.unet.UNet: usable in"),
    (
        "losses/ce.py",
        "import segkit.losses.ohem\n",
        "imports segkit.losses.ohem: siblings do not know each other",
    ),
    ("losses/ce.py", "from .ohem import ohem\n", "imports segkit.losses.ohem.ohem: siblings do not"),
    (
        "models/unet.py",
        "from segkit.config import load_config\n",
        "imports segkit.config.load_config: usable in",
    ),
    (
        "models/unet.py",
        "from segkit.config_schema import Config\n",
        "imports segkit.config_schema.Config: usable",
    ),
    ("models/unet.py", "from segkit import trainer\n", "imports segkit.trainer: usable in a notebook"),
    ("trainer.py", "import segkit.losses\n", "imports segkit.losses: the loop knows no name"),
    ("trainer.py", "def f():\n    import yaml\n", "imports yaml: the loop knows no name"),
    (
        "trainer.py",
        "import importlib\nimportlib.import_module('segkit.models.unet')\n",
        "imports segkit.models.unet: the loop knows no name",
    ),
    (
        "trainer.py",
        "isinstance(self.loss, PixelLoss)\n",
        "asks for the type of a loss: the loop knows no name",
    ),
    ("trainer.py", "value = loss.item()\n", "calls .item(): the loop does not wait for the device"),
    (
        "evaluate.py",
        "from segkit.losses import criterion\n",
        "imports segkit.losses.criterion: validation cannot",
    ),
    ("metrics.py", "from .trainer import Trainer\n", "imports segkit.trainer.Trainer: validation cannot"),
    ("evaluate.py", "from segkit import recorder\n", "imports segkit.recorder: only the recorder records"),
    (
        "trainer.py",
        "def f():\n    import matplotlib.figure\n",
        "imports matplotlib.figure: only the recorder",
    ),
    (
        "data/sample.py",
        "from tests.data import reference\n",
        "imports tests.data.reference: the package stands",
    ),
    ("build.py", "import scripts\n", "imports scripts: the package stands alone"),
    ("data/sample.py", "import albumentations as A\n", "imports albumentations: not one of our libraries"),
    ("data/sample.py", "from rich.console import Console\n", "imports rich.console.Console: not one of"),
    (
        "losses/ohem.py",
        "def f(self):\n    self.calls += 1\n",
        "changes self.calls: no loss counts its own calls",
    ),
    ("build.py", "trainer.iteration += 5\n", "moves the iteration: there is one clock"),
    ("trainer.py", "class Second:\n    def f(self):\n        self.iteration += 1\n", "there is one clock"),
]


@pytest.mark.parametrize(
    ("name", "addition", "message"), BREACHES, ids=[f"{name}-{message}" for name, _, message in BREACHES]
)
def test_each_broken_rule_is_found(tmp_path, name, addition, message):
    found = find_violations(plant(tmp_path, {name: SOUND[name] + addition}))
    assert len(found) == 1, found
    assert message in found[0]
    assert f"segkit/{name}:" in found[0]


def test_a_clock_that_never_moves_is_found(tmp_path):
    found = find_violations(plant(tmp_path, {"trainer.py": "import torch\n"}))
    assert found == ["`self.iteration += 1` stands in []: there is one clock, one line of segkit/trainer.py"]


def test_the_chain_of_an_indirect_import_is_shown(tmp_path):
    found = find_violations(plant(tmp_path, {"schedule.py": "def f(): pass\n", "types.py": "import torch\n"}))
    expected = "segkit/config.py -> segkit/types.py:1 imports torch: a typo is reported before CUDA starts"
    assert found == [expected]


def test_a_file_that_became_a_package_stays_under_its_rule(tmp_path):
    plant(tmp_path, {"evaluate/loop.py": "import segkit.losses\n"})
    assert find_violations(tmp_path) == [
        "segkit/evaluate/loop.py:1 imports segkit.losses: validation cannot move a schedule"
    ]
