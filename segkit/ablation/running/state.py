"""What there is already of each planned run, from its run folders: nothing is trained twice, nothing is lost."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.ablation.folder import AblationFiles
from segkit.ablation.plan.plan import AblationPlan, PlannedRun
from segkit.ablation.study.config_diff import differing_settings, relevant_settings, show_value
from segkit.ablation.study.configs import read_beside
from segkit.config.schema import Config
from segkit.errors import ConfigError
from segkit.runs.folder import read_status
from segkit.runs.history.entries import read_own_code
from segkit.runs.history.own_code import changed_since
from segkit.system.locks import find_holder
from segkit.system.run_files import RunFiles, iteration_of, list_checkpoints

FINISHED, RESUMES, IN_USE, NEW = "finished", "resumes", "in use", "new"
#: Options of data sets that can be `auto`, and for which a run then keeps what it found; `dtype` is nothing found.
FOUND, AUTO, NEVER_FOUND = ("value_range", "classes", "axis"), "auto", "dtype"


@dataclass(frozen=True)
class RunState:
    """How a planned run stands. `folder` is the run folder that counts, if there is one; `iteration` the updates
    in it. `note` says what a person should know: who uses it, why an earlier run does not count, what code of the
    user's own is another now; `error` how an unfinished run failed; `config` is what a finished one was trained with,
    for reading."""

    run: PlannedRun
    kind: str
    folder: Path | None = None
    iteration: int = 0
    note: str = ""
    error: str = ""
    config: Config | None = None

    @property
    def run_folder(self) -> Path:
        """The folder of a run that is finished or can be resumed."""
        assert self.folder is not None
        return self.folder

    @property
    def words(self) -> str:
        """`resumes at 300`, `in use by process 12 on host`, `new (train.iterations: 400 -> 600)`."""
        if self.kind == FINISHED:
            return f"finished {self.run_folder.name}"
        if self.kind == RESUMES:
            total = self.run.config.train.iterations
            return f"resumes at {self.iteration:,}" + (f" of {total:,}" if total else "")
        if self.kind == IN_USE:
            return f"in use by {self.note}"
        return f"new ({self.note})" if self.note else "new"


def inspect_plan(plan: AblationPlan) -> list[RunState]:
    """The state of every run of the plan, in its order."""
    return [inspect_run(plan.folder, run) for run in plan.runs]


def inspect_run(folder: Path, run: PlannedRun, *, locked: bool = False) -> RunState:
    """The state of a run in the ablation's `folder`: the best use that one of its run folders can be put to.
    `locked` says that this process holds the run's lock itself."""
    files = AblationFiles(folder)
    holder = None if locked else find_holder(files.run_lock(run.name))
    if holder is not None:
        return RunState(run, IN_USE, note=holder)
    found = [_inspect_folder(path, run) for path in files.list_runs(run.name)]
    order = (IN_USE, FINISHED, RESUMES)
    usable = [
        state for kind in order for state in found if state.kind == kind
    ]  # of each kind, the newest first
    if usable:
        return usable[0]
    note = next((state.note for state in found if state.note), "")
    return RunState(run, NEW, note=note, error=found[0].error if found else "")


def read_intact_status(path: Path) -> dict[str, Any] | None:
    """The status.json of a run folder; None if there is none or it is damaged: what the folder holds decides then."""
    try:
        return read_status(path)
    except ValueError:
        return None


def describe_changes(old: dict[str, Any], new: dict[str, Any], *, limit: int = 3) -> str:
    """`train.iterations: 400 -> 600`, for what the result depends on; empty if that is all the same."""
    return join_changes(list_changes(old, new), limit=limit)


def list_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One text for each changed key of two `Config.to_mapping()`; a block with another name is one change."""
    settings = {"old": relevant_settings(old), "new": relevant_settings(new)}
    changed = differing_settings(settings)
    renamed = tuple(key.removesuffix("name") for key in changed if key.endswith(".name"))
    shown = {
        key: values
        for key, values in changed.items()
        if not any(
            (key.startswith(block) and key != f"{block}name") or key == block[:-1] for block in renamed
        )
    }
    return [
        f"{key}: {show_value(values['old'])} -> {show_value(values['new'])}" for key, values in shown.items()
    ]


def join_changes(changes: Iterable[str], *, limit: int) -> str:
    """The first changes, and how many more there are."""
    changes = list(changes)
    more = f" and {len(changes) - limit} more" if len(changes) > limit else ""
    return ", ".join(changes[:limit]) + more


def _inspect_folder(path: Path, run: PlannedRun) -> RunState:
    """What this run folder is for the planned run: NEW, with the reason, if it cannot be used."""
    files, status = RunFiles(path), read_intact_status(path)
    if status is None or status["state"] == "running":
        holder = find_holder(files.lock)
        if holder is not None:
            return RunState(run, IN_USE, path, note=holder)
    try:
        config = read_beside(path, run.config)
    except ConfigError as error:
        return RunState(run, NEW, note=f"configuration of {path.name} cannot be read: {error.problems[0]}")
    old, new = config.to_mapping(), run.config.to_mapping()
    new["data"] = _with_found(new["data"], old["data"])
    if config.seed != run.seed:
        return RunState(run, NEW, note=f"seed of {path.name} changed: {config.seed} -> {run.seed}")
    changes = describe_changes(old, new)
    if changes:
        return RunState(run, NEW, note=f"configuration changed ({changes})")
    if status is not None and status["state"] == "done":
        if files.per_image.is_file():
            note = _describe_other_code(files)
            return RunState(run, FINISHED, path, status["iteration"], note, config=config)
        return RunState(run, NEW, note=f"{path.name} has no {files.per_image.name}")
    intact = next((file for file in list_checkpoints(files.checkpoints) if _is_intact(file)), None)
    if intact is not None:
        return RunState(run, RESUMES, path, iteration_of(intact), error=_read_error(status))
    return RunState(run, NEW, error=_read_error(status))


def _with_found(planned: Any, kept: Any) -> Any:
    """The planned options of data with what the run found out for those that are `auto`, and has `kept`; in data sets
    of data sets too."""
    if isinstance(planned, list) and isinstance(kept, list) and len(planned) == len(kept):
        return [_with_found(part, its) for part, its in zip(planned, kept, strict=True)]
    if not isinstance(planned, dict) or not isinstance(kept, dict) or planned.get("name") != kept.get("name"):
        return planned
    found = {
        key: kept[key]
        for key in FOUND
        if planned.get(key) == AUTO and key in kept and kept[key] != NEVER_FOUND
    }
    return {**{key: _with_found(value, kept.get(key)) for key, value in planned.items()}, **found}


def _describe_other_code(files: RunFiles) -> str:
    """Which files of the user's own are not those that the run was trained with; empty if none is known to be."""
    try:
        env = json.loads(files.env.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    names = changed_since(read_own_code(env)) if isinstance(env, dict) else []
    return f"trained with another {', '.join(names)}" if names else ""


def _read_error(status: dict[str, Any] | None) -> str:
    """The first line of what made a run fail, empty if nothing did."""
    if status is None or status["state"] != "failed":
        return ""
    return (status["error"] or "").partition("\n")[0]


def _is_intact(checkpoint: Path) -> bool:
    from segkit.runs.checkpoint import find_damage  # needs torch, which finished runs do not

    try:
        return find_damage(checkpoint) is None
    except OSError:
        return False
