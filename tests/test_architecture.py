"""The architecture holds, and the checker that says so finds each rule broken once in a small planted tree."""

import ast
from pathlib import Path

import pytest

from tests.import_rules import find_violations
from tests.paths import ROOT

#: The files that the rules are about; a rule over a file that was renamed away would hold for ever.
EXPECTED = (
    *("registry", "schedule", "errors", "types", "cli/train", "config/load", "config/schema"),
    *("training/trainer", "training/build", "evaluation/evaluate", "evaluation/metrics", "evaluation/panels"),
    *("data/sample", "data/transforms/rotate", "data/augments/compose", "commands/visualise/run"),
    *("runs/checkpoint", "runs/recording/recorder", "losses/ohem_ce", "models/unet"),
)

#: More files than that in one folder, and nobody finds the one that is meant.
MOST_FILES = 15


def test_the_files_of_the_table_exist():
    missing = [name for name in EXPECTED if not (ROOT / "segkit" / f"{name}.py").is_file()]
    assert missing == []


def test_the_table_holds():
    assert find_violations(ROOT) == []


def test_no_folder_is_a_warehouse():
    folders = [ROOT / "segkit", *(path for path in (ROOT / "segkit").rglob("*") if path.is_dir())]
    counts = {
        folder.relative_to(ROOT).as_posix(): sum(path.name != "__init__.py" for path in folder.glob("*.py"))
        for folder in folders
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}
    assert counts["segkit"] <= 5


def test_every_package_says_what_it_is():
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "segkit").rglob("*.py")
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


#: A small package without a fault, in which the tests below plant one.
SOUND = {
    "__init__.py": "import importlib\n\ndef __getattr__(name):\n    return importlib.import_module(name)\n",
    "__main__.py": "def f():\n    from segkit.cli.train import main\n",
    "registry.py": "import importlib\n\ndef load(name):\n    importlib.import_module(name)\n",
    "schedule.py": "import math\n",
    "types.py": "from segkit.schedule import parse\n",
    "errors.py": "",
    "cli/__init__.py": "",
    "cli/train.py": "import argparse\n\ndef main():\n    from segkit.runs.run import train\n",
    "config/__init__.py": "",
    "config/load.py": (
        "from segkit import types\nfrom segkit.registry import MODELS\n\ndef check():\n    import torch\n"
    ),
    "config/schema.py": "import pydantic\n",
    "commands/__init__.py": "",
    "commands/predict.py": "from segkit.runs.recorder import record\n",
    "ablation/__init__.py": "",
    "ablation/launch.py": "from segkit.runs.run import train\n",
    "ablation/compare.py": "def f():\n    from segkit.runs.run import train\n",
    "runs/__init__.py": "",
    "runs/run.py": "from segkit.training.build import build\nfrom segkit.runs.recorder import record\n",
    "runs/recorder.py": "import torch\n",
    "training/__init__.py": "",
    "training/build.py": (
        "import segkit.config.load\nfrom segkit.training.trainer import Trainer\nfrom segkit.losses import ohem\n"
    ),
    "training/trainer.py": (
        "import torch\n"
        "from segkit.evaluation.evaluate import evaluate\n"
        "class Trainer:\n"
        "    def fit(self):\n"
        "        self.iteration += 1\n"
        "        isinstance(output, dict)\n"
        "        items = batch.items()\n"
    ),
    "evaluation/__init__.py": "",
    "evaluation/evaluate.py": "import torch\nfrom segkit.evaluation import metrics\n",
    "evaluation/metrics.py": "import torch\n",
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
    "data/files/__init__.py": "",
    "data/files/masks.py": "from segkit.data.sample import Sample\n",
    "data/check/__init__.py": "",
    "data/check/look.py": "from segkit.data.files.masks import read\n",
    "system/__init__.py": "",
    "system/files.py": "from segkit.errors import SegkitError\n",
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
        "__init__.py",
        "from segkit.errors import SegkitError\n",
        "imports segkit.errors.SegkitError: importing segkit",
    ),
    ("config/load.py", "import torch\n", "imports torch: a typo is reported before CUDA starts"),
    (
        "cli/train.py",
        "import matplotlib.figure\n",
        "imports matplotlib.figure: help and a typo wait for nothing",
    ),
    ("ablation/compare.py", "import torch\n", "imports torch: a report of finished runs loads no torch"),
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
        "from segkit.config.load import load_config\n",
        "imports segkit.config.load.load_config: usable in",
    ),
    (
        "models/unet.py",
        "from segkit.config.schema import Config\n",
        "imports segkit.config.schema.Config: usable",
    ),
    (
        "models/unet.py",
        "from segkit.training import trainer\n",
        "imports segkit.training.trainer: usable in a notebook",
    ),
    ("data/sample.py", "import numpy.random\n", "imports numpy.random: usable in a notebook, and drawn"),
    ("training/trainer.py", "import segkit.losses\n", "imports segkit.losses: the loop knows no name"),
    ("training/trainer.py", "def f():\n    import yaml\n", "imports yaml: the loop knows no name"),
    (
        "training/trainer.py",
        "import importlib\nimportlib.import_module('segkit.models.unet')\n",
        "imports segkit.models.unet: the loop knows no name",
    ),
    (
        "training/trainer.py",
        "isinstance(self.loss, PixelLoss)\n",
        "asks for the type of a loss: the loop knows no name",
    ),
    ("training/trainer.py", "value = loss.item()\n", "calls .item(): the loop does not wait for the device"),
    (
        "evaluation/evaluate.py",
        "from segkit.losses import criterion\n",
        "imports segkit.losses.criterion: validation cannot",
    ),
    (
        "evaluation/metrics.py",
        "from ..training.trainer import Trainer\n",
        "imports segkit.training.trainer.Trainer: validation cannot",
    ),
    (
        "evaluation/evaluate.py",
        "from segkit.runs import recorder\n",
        "imports segkit.runs.recorder: only the recorder records",
    ),
    (
        "training/trainer.py",
        "def f():\n    import matplotlib.figure\n",
        "imports matplotlib.figure: only the recorder",
    ),
    (
        "data/files/masks.py",
        "from tests.data import reference\n",
        "imports tests.data.reference: the package stands",
    ),
    ("training/build.py", "import scripts\n", "imports scripts: the package stands alone"),
    (
        "data/files/masks.py",
        "import albumentations as A\n",
        "imports albumentations: not one of our libraries",
    ),
    ("data/files/masks.py", "from rich.console import Console\n", "imports rich.console.Console: not one of"),
    # Up, or beside, however it is written.
    (
        "system/files.py",
        "from segkit.config import load\n",
        "imports segkit.config.load: config is not below system",
    ),
    (
        "config/load.py",
        "def f():\n    from ..training import build\n",
        "training.build: training is not below config",
    ),
    (
        "config/load.py",
        "def f():\n    from segkit.losses import ce\n",
        "imports segkit.losses.ce: losses is not below config",
    ),
    ("data/files/masks.py", "import segkit.evaluation.metrics\n", "evaluation is not below data"),
    ("commands/predict.py", "from segkit.ablation import launch\n", "ablation is not below commands"),
    (
        "runs/run.py",
        "def f():\n    import segkit.cli.train\n",
        "imports segkit.cli.train: cli is not below runs",
    ),
    ("errors.py", "import segkit.system.files\n", "imports segkit.system.files: system is not below errors"),
    # In a circle, within one floor.
    (
        "runs/recorder.py",
        "def f():\n    from segkit.runs.run import train\n",
        "closes a circle in segkit.runs: recorder -> run -> recorder",
    ),
    (
        "data/files/masks.py",
        "from segkit.data.check.look import look\n",
        "closes a circle in segkit.data: check -> files -> check",
    ),
    (
        "losses/ohem.py",
        "def f(self):\n    self.calls += 1\n",
        "changes self.calls: no loss counts its own calls",
    ),
    ("training/build.py", "trainer.iteration += 5\n", "moves the iteration: there is one clock"),
    (
        "training/trainer.py",
        "class Second:\n    def f(self):\n        self.iteration += 1\n",
        "there is one clock",
    ),
]


@pytest.mark.parametrize(
    ("name", "addition", "message"), BREACHES, ids=[f"{name}-{message}" for name, _, message in BREACHES]
)
def test_each_broken_rule_is_found(tmp_path, name, addition, message):
    found = find_violations(plant(tmp_path, {name: SOUND[name] + addition}))
    assert len(found) == 1, found
    assert message in found[0]
    assert "closes a circle" in message or f"segkit/{name}:" in found[0]


def test_a_folder_on_no_floor_is_found(tmp_path):
    found = find_violations(plant(tmp_path, {"helpers.py": "", "utils/more.py": ""}))
    assert [text.partition(" lies")[0] for text in found] == ["segkit/helpers.py", "segkit/utils/more.py"]


def test_a_clock_that_never_moves_is_found(tmp_path):
    found = find_violations(plant(tmp_path, {"training/trainer.py": "import torch\n"}))
    expected = (
        "`self.iteration += 1` stands in []: there is one clock, one line of segkit/training/trainer.py"
    )
    assert found == [expected]


def test_the_chain_of_an_indirect_import_is_shown(tmp_path):
    found = find_violations(plant(tmp_path, {"schedule.py": "def f(): pass\n", "types.py": "import torch\n"}))
    expected = (
        "segkit/config/load.py -> segkit/types.py:1 imports torch: a typo is reported before CUDA starts"
    )
    assert found == [expected]


def test_a_file_that_became_a_package_stays_under_its_rule(tmp_path):
    plant(tmp_path, {"evaluation/evaluate/loop.py": "import segkit.losses\n"})
    assert find_violations(tmp_path) == [
        "segkit/evaluation/evaluate/loop.py:1 imports segkit.losses: validation cannot move a schedule"
    ]
