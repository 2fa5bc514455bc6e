"""Building the experiment of a run in all of its processes."""

import socket
from pathlib import Path

from segkit.config.schema import Config
from segkit.distributed.ranks import Ranks
from segkit.errors import DataError
from segkit.system.device import Precision
from segkit.training.build import build
from segkit.training.experiment import Experiment
from segkit.training.parallel import refuse_shard_alone


def build_together(
    config: Config | None, *, overfit: int | None, ranks: Ranks, precision: Precision | None = None
) -> Experiment:
    """`build` in every process, of the configuration and precision that the main one gives; the others give None.

    The main process goes first and the others use what it found out about the data. Then the first of each machine,
    whose cache in memory the rest of that machine shares. Raises what `build` does.
    """
    if config is not None:
        refuse_shard_alone(config, ranks.world)
    options = {"overfit": overfit, "ranks": ranks}
    experiment = None if config is None else build(config, **options, precision=precision)
    if ranks.world == 1 and experiment is not None:
        return experiment
    config, options["precision"] = ranks.share(
        (None, None) if experiment is None else (experiment.config, experiment.precision)
    )
    assert config is not None  # the main process gives one
    if experiment is None and ranks.local == 0:
        experiment = build(config, **options)
    folders: list[Path | None] = ranks.gather(None if experiment is None else experiment.data.memory)
    if experiment is None:
        experiment = build(config, **options, memory=folders[ranks.rank - ranks.local])
    return experiment


def require_same_data(ranks: Ranks, fingerprint: str) -> None:
    """Raises DataError, in all processes, if one of them sees other data than the main one does."""
    seen: list[tuple[str, str]] = ranks.gather((fingerprint, socket.gethostname()))
    for rank, (other, host) in enumerate(seen):
        if other != seen[0][0]:
            raise DataError(
                f"rank {rank} on {host} sees other data than rank 0 on {seen[0][1]}: fingerprint {other}, not "
                f"{seen[0][0]}\n   -> bring the same files to every machine, at the same paths"
            )
