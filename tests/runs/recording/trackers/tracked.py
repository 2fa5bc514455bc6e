"""What tests of trackers share: stand-ins for the packages, and what these were asked for."""

import json
from pathlib import Path

from segkit.runs.recording.trackers.process import PATIENCE, TrackerProcess

STAND_INS = Path(__file__).parent / "stand_ins"
WANDB = {
    **{"project": "p", "entity": None, "name": None, "group": "g", "job_type": None, "tags": ["a", "b" * 99]},
    **{"mode": "offline", "pictures": True},
}
MLFLOW = {
    **{"tracking_uri": "http://there", "experiment": None, "run_name": None, "tags": {"a": "b"}},
    "pictures": True,
}
#: What a run begins with.
RUN = {
    **{"name": "tiny/7", "store": "runs", "config": {"seed": 3, "loss": {"name": "ce"}}},
    **{"config_text": "seed: 3\n", "elsewhere": False, "pid": 1, "command": ["train.py", "x"]},
}


def use_stand_ins(monkeypatch, folder: Path, fails: str = "") -> Path:
    """Have the stand-ins imported in the place of the packages; returns the file of what they are asked for."""
    calls = folder / "calls"
    calls.touch()
    Path(f"{calls}.fails").write_text(fails)
    monkeypatch.syspath_prepend(str(STAND_INS))
    monkeypatch.setenv("STAND_IN_CALLS", str(calls))
    monkeypatch.setenv("STAND_IN_FAILS", fails)
    return calls


def read_calls(calls: Path, *names: str) -> list:
    """What was asked for, of these `names`, if any are given: the arguments."""
    found = [json.loads(line) for line in calls.read_text().splitlines()]
    return [arguments for name, arguments in found if name in names] if names else found


def start(
    kind: str, folder: Path, settings: dict, *, patience: float = PATIENCE, **changes
) -> TrackerProcess:
    """A tracker's process for the run RUN."""
    process = TrackerProcess(kind, folder, patience=patience)
    process.begin({**RUN, "settings": settings, **changes})
    return process
