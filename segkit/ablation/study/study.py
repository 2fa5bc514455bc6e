"""What an ablation found: finished runs by variant and seed, as every report and statistic reads them.

A *variant* is one thing that is tried (a loss, a model, an option); a *run* is a variant trained with one seed. Runs
of the same seed start from the same weights and see the same data in the same order, so they are paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segkit.ablation.statistics.run_counts import RunCounts
from segkit.ablation.study.claims import LEVEL, METRICS
from segkit.data.scored_size import scored_size


@dataclass(frozen=True)
class Run:
    """One finished run, as read from its run folder.

    `counts` are what its scores are made of, of the validation images `image_names`, as of `iteration` (the last
    evaluation, not the best: choosing the best of many by the same images would flatter). `history` holds the columns
    of results.csv as (iterations, values). `fingerprints` has
    `data`, `initial_weights`, `training_order`, `first_batch`, each a hexadecimal digest. `scored_at` is the size that
    the images were scored at, "network" or "original"; None: as the configuration says. `scored_in` is the precision
    that they were scored in, `off`, `bf16` or `fp16`; None where an older segkit did not note it.
    """

    folder: Path
    variant: str
    seed: int
    config: Mapping[str, Any]
    class_names: tuple[str, ...]
    image_names: tuple[str, ...]
    counts: RunCounts
    iteration: int
    definition: str
    history: Mapping[str, tuple[np.ndarray, np.ndarray]]
    summary: Mapping[str, Any]
    env: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    scored_at: str | None = field(default=None, kw_only=True)
    scored_in: str | None = field(default=None, kw_only=True)

    @property
    def label(self) -> str:
        """The run in messages."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def updates(self) -> int:
        """Of how many updates its training was."""
        return self.summary.get("iterations", self.iteration)

    @property
    def scored_size(self) -> str:
        """At which size its images were scored, in words."""
        return scored_size(self.config, at=self.scored_at)

    @property
    def scored_as_trained(self) -> bool:
        """Whether that is the size of the scores during its training."""
        return self.scored_size == replace(self, scored_at=None).scored_size

    @property
    def is_packed(self) -> bool:
        """Whether it was read from a packed study, so that its folder is none and has neither weights nor images."""
        return self.folder.parent.is_file()


@dataclass(frozen=True)
class Study:
    """The runs to compare. `variants` are in the order to show them, the baseline among them.

    `missing` has a line for each run that was planned and is not there. `group_by` makes units of images that are
    not independent, see `groups.py`. A difference within ± `margin`, a share, does not matter; `level` is that of the
    intervals. `metrics` are what runs are compared by, the main one first, see `statistics/metrics.py`. `command`
    repeats the whole.
    """

    name: str
    baseline: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    missing: tuple[str, ...] = ()
    group_by: str | int | None = None
    margin: float | None = None
    level: float = LEVEL
    metrics: tuple[str, ...] = METRICS
    command: str = ""

    def of(self, variant: str) -> list[Run]:
        """The runs of that variant, by seed."""
        return sorted((run for run in self.runs if run.variant == variant), key=lambda run: run.seed)


@dataclass(frozen=True)
class Comparability:
    """`level` is ok, warning or error; with `refuses`, a number computed from the runs would mean nothing."""

    level: str
    text: str
    refuses: bool = False
