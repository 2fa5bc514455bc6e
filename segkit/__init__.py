"""segkit: semantic segmentation training in which the loss is the experimental variable.

    import segkit

    run = segkit.train("ohem.yaml", "loss.thresh=0.6")
    run.scores["mIoU"], run.best_weights
    ids = segkit.load_predictor(run).predict("image.jpg")
    segkit.compare_runs([run, other]).differences

Importing it loads nothing; each name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

#: Public name -> module that has it; a module of its own name is public as it is.
_HOMES = {
    "ConfigError": "segkit.errors",
    "DataError": "segkit.errors",
    "Run": "segkit.runs.train",
    "SegkitError": "segkit.errors",
    "compare_runs": "segkit.ablation.compare",
    "load_config": "segkit.config.load",
    "load_predictor": "segkit.runs.predictor",
    "losses": "segkit.losses",
    "models": "segkit.models",
    "train": "segkit.runs.train",
}

__all__ = [
    "ConfigError",
    "DataError",
    "Run",
    "SegkitError",
    "__version__",
    "compare_runs",
    "load_config",
    "load_predictor",
    "losses",
    "models",
    "train",
]

if TYPE_CHECKING:
    from segkit import losses as losses
    from segkit import models as models
    from segkit.ablation.compare import compare_runs as compare_runs
    from segkit.config.load import load_config as load_config
    from segkit.errors import ConfigError as ConfigError
    from segkit.errors import DataError as DataError
    from segkit.errors import SegkitError as SegkitError
    from segkit.runs.predictor import load_predictor as load_predictor
    from segkit.runs.train import Run as Run
    from segkit.runs.train import train as train


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segkit' has no attribute '{name}'")
    module = importlib.import_module(_HOMES[name])
    found = module if _HOMES[name] == f"segkit.{name}" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
