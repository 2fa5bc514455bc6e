"""What `--resume` asks for: a checkpoint that this configuration may go on from, chosen while nobody else can write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segkit.config.schema import Component, Config
from segkit.errors import CheckpointError, ConfigError
from segkit.runs.checkpoint import Found
from segkit.runs.folder import RunFolder
from segkit.runs.resume import (
    compare_configs,
    describe_nothing,
    describe_skipped,
    find_resume,
    with_defaults,
)
from segkit.system.memory import lacks_memory
from segkit.system.run_files import RunFiles, folder_around
from segkit.system.typed import quote
from segkit.training.experiment import Experiment
from segkit.training.optimizer_state import fit_state


@dataclass(frozen=True)
class Continuation:
    """A run as `config` says, below `runs_dir`, that goes on from `target` (auto, a path, or None: it is a new one).
    Keys in `allow_change` may differ from the checkpoint's."""

    config: Config
    runs_dir: str
    target: str | None = None
    allow_change: Sequence[str] = ()

    def choose(self) -> Found | None:
        """The checkpoint to go on from; None for a new run. Raises CheckpointError, RunFolderInUse."""
        if self.target is None:
            return None
        return find_resume(self.target, runs_dir=self.runs_dir, name=self.config.name)

    def with_found_options(self, found: Found | None) -> "Continuation":
        """With what the checkpoint's run found out for options of the data that are `auto` here."""
        if found is None:
            return self
        data = with_defaults(found.state.get("config", {}), origin=str(found.path)).get("data", {})
        block = self.config.data
        kept = _with_found(block.params, data)
        if kept == block.params or data.get("name") != block.name:
            return self
        block = block.model_copy(update={"params": kept})
        return replace(self, config=self.config.model_copy(update={"data": block}))

    def notes(self, found: Found | None) -> list[str]:
        """Lines on what was skipped and what changed. Raises CheckpointError if too much did."""
        if found is None:
            return [] if self.target is None else [describe_nothing(Path(self.runs_dir) / self.config.name)]
        if "trainer" not in found.state:
            raise CheckpointError(
                f"{found.path} holds the best weights only, not the state of training\n"
                f"   -> --resume {quote(found.path.parent)} continues from its newest checkpoint"
            )
        before = with_defaults(found.state["config"], origin=str(found.path))
        after = self.config.to_mapping()
        changes = compare_configs(before, after, allow=self.allow_change, checkpoint=found.path)
        return [*describe_skipped(found.skipped), *changes]

    def open_folder(self) -> tuple[RunFolder, Found | None]:
        """A new run folder, or that of the checkpoint to go on from, and that checkpoint.

        It is chosen anew once the folder is locked: until then, another process may have gone on in it, or begun a run.
        """
        found = self.choose()
        while found is not None:
            path = require_run_folder(found)
            folder = RunFolder.reopen(path)
            try:
                found = self.choose()
                if found is not None and require_run_folder(found) == path:
                    return folder, found
            except BaseException:
                folder.close()
                raise
            folder.close()
        return RunFolder.create(self.runs_dir, self.config.name), None

    def refuse_shorter_run(self, found: Found, total: int) -> None:
        """Raises ConfigError if the checkpoint is beyond the length asked for, which no training can reach."""
        done = found.state["trainer"]["iteration"]
        if done > total:
            raise ConfigError(
                f"{found.path} has {done:,} iterations and the run is to have {total:,}: nothing is left to do\n"
                f"   -> train.iterations={2 * done} to train on, or a new run without --resume"
            )

    def refuse_other_data(self, found: Found, data: str) -> None:
        """Raises CheckpointError if the files are no longer those that the checkpoint was trained on."""
        before: Any = found.state.get("data_fingerprint", data)
        if before != data and "data" not in self.allow_change:
            raise CheckpointError(
                f"checkpoint {found.path} was trained on other data: fingerprint {before}, now {data}\n"
                "   files were added, removed or changed since; scores before and after would not be of one set\n"
                "   -> restore them, start a new run without --resume, or accept the change: --allow-change data"
            )


def _with_found(params: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a data set with those of `before` where they are `auto`; of data sets in it, each its own."""
    kept = {key: before.get(key, value) if value == "auto" else value for key, value in params.items()}
    for key, value in params.items():
        parts, others = value if isinstance(value, list) else [], before.get(key)
        if isinstance(others, list) and len(parts) == len(others):
            kept[key] = [_part_with_found(part, other) for part, other in zip(parts, others, strict=True)]
    return kept


def _part_with_found(part: Any, before: Any) -> Any:
    if not isinstance(part, Component) or not isinstance(before, Mapping) or before.get("name") != part.name:
        return part
    return part.model_copy(update={"params": _with_found(part.params, before)})


def require_run_folder(found: Found) -> Path:
    """The run folder that a checkpoint lies in, be it without its configuration. Raises CheckpointError if in none."""
    path = folder_around(found.path)
    run = RunFiles(path)
    if not run.is_run and not (run.status.is_file() and found.path.parent == run.checkpoints):
        raise CheckpointError(
            f"checkpoint {found.path} is not in a run folder, so there is nothing to continue\n"
            f"   -> give the run folder, or the checkpoint at its place in {RunFiles.checkpoints.name}/"
        )
    return path


def require_fit(found: Found, experiment: Experiment) -> None:
    """Raises CheckpointError for a checkpoint of another model, loss or optimizer than were built: before a run folder
    goes back to its moment. The model and the loss have its tensors afterwards."""
    state = found.state["trainer"]
    for what, module in (("model", experiment.model), ("loss", experiment.loss)):
        try:
            module.load_state_dict(state[what])
        except RuntimeError as error:
            if lacks_memory(error):
                raise
            raise CheckpointError(
                f"checkpoint {found.path}: its tensors are not of the {what} as it is built now: "
                f"{' '.join(str(error).split()[:60])}\n   -> restore the configuration, and the code, that it was "
                f"trained with, or begin a new run with the weights that fit: model.init_from={quote(found.path)}"
            ) from error
    try:
        fit_state(state["optimizer"], experiment.optimizer)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {found.path}: {error}") from error
