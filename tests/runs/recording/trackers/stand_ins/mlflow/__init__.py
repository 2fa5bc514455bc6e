"""A stand-in for mlflow: it writes down what it is asked for, and fails where `STAND_IN_FAILS` says so.

What a run has is in the file `STAND_IN_CALLS`; there is one experiment and one run.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

_CALLS = os.environ["STAND_IN_CALLS"]


def _params() -> dict[str, str]:
    """The parameters that the run has by now."""
    calls = map(json.loads, Path(_CALLS).read_text().splitlines())
    return dict(
        part for name, arguments in calls if name == "log_batch" for part in arguments[1] if len(part) == 2
    )


class MlflowClient:
    def __init__(self, tracking_uri):
        self._note("connect", [tracking_uri])

    def __getattr__(self, name: str):
        def method(*arguments, **options):
            self._note(name, [*arguments, *options.values()])
            info = SimpleNamespace(run_id="run-7")
            return SimpleNamespace(
                info=info, experiment_id="3", data=SimpleNamespace(params=_params(), tags={})
            )

        return method

    def _note(self, name: str, arguments: list) -> None:
        with open(_CALLS, "a") as file:
            file.write(json.dumps([name, arguments], default=str) + "\n")
        with open(f"{_CALLS}.fails") as file:
            fails = file.read().split()
        if name in fails or "all" in fails:
            raise RuntimeError(f"{name} fails")
