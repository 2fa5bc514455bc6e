"""The command lines with which other programs (Slurm, GNU parallel, xargs) train the runs of a plan, one each."""

import os
from collections.abc import Iterable

from segkit.ablation.plan.plan import AblationPlan, PlannedRun
from segkit.errors import ConfigError
from segkit.system.typed import quote, started
from segkit.training.parallel import refuse_unequal_parts


def ablate_command(plan: AblationPlan) -> list[str]:
    """The words that call `segkit ablate` for this plan, in the present folder."""
    command = [*started("ablate"), "--config", plan.source]
    for name in plan.imports:
        command += ["--import", name]
    return [*command, *plan.overrides, *(["--seeds", *map(str, plan.seeds)])]


def run_line(plan: AblationPlan, name: str, *, device: str | None) -> str:
    """A line of shell that trains the run of that name on `device`, or goes on with it, from any folder."""
    words = [*ablate_command(plan), "--run", name]
    if device is not None:
        words += ["--devices", device]
    return f"cd {quote(os.getcwd())} && {' '.join(map(quote, words))}"


def refuse_unequal_runs(runs: Iterable[PlannedRun], processes: int) -> None:
    """Raises ConfigError, naming the variants, if the processes of a run cannot have equal parts of its batch."""
    failures: dict[str, list[str]] = {}
    for variant, config in {run.variant: run.config for run in runs}.items():
        try:
            refuse_unequal_parts(config.train.batch_size, processes, "train.batch_size")
        except ConfigError as error:
            failures.setdefault(str(error), []).append(variant)
    if failures:
        raise ConfigError(
            "\n".join(f"variant {', '.join(names)}: {text}" for text, names in failures.items())
        )
