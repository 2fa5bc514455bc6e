"""Whether runs have what a metric is computed from, and what to do if not."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from segkit.ablation.statistics.metrics import OF_A_CLASS, WHOLE, Metric
from segkit.ablation.statistics.run_counts import KINDS
from segkit.ablation.study.phrases import plural
from segkit.ablation.study.study import Run, Study
from segkit.system.run_files import RunFiles
from segkit.system.typed import typed

#: Pixels within which borders are compared where nobody says otherwise.
TOLERANCE = 2.0


def find_lacking(study: Study, metric: Metric) -> str | None:
    """What some runs lack for this metric, with the command that scores them anew; None if nothing."""
    if metric.kind == "borders":
        tolerance = choose_tolerance(study.runs)
        runs = [run for run in study.runs if run.counts.tolerance != tolerance]
        what = f"no borders counted within {tolerance:g} pixels"
    else:
        runs = [run for run in study.runs if run.counts.table(metric.kind) is None]
        what = (
            "no cross-entropy of each image, because an older segkit wrote it"
            if metric.kind == "ce"
            else "no confidences counted"
        )
    if not runs:
        return None
    folders = [Path(run.folder) for run in runs]
    option = _list_options(study, runs)
    return (
        f"the {RunFiles.per_image.name} of {plural(len(runs), 'run')} has {what}\n"
        f"   -> {typed('evaluate', '--per-image', *option, '--weights', *folders)}"
    )


def _list_options(study: Study, runs: Sequence[Run]) -> list[str]:
    """What to count of `runs`: all that the study needs and that they have, since their files are written anew."""
    parts = [name.partition("/")[0] for name in study.metrics]
    needed = {known[part].kind for part in parts for known in (WHOLE, OF_A_CLASS) if part in known}
    needed |= {kind for kind in KINDS for run in runs if run.counts.table(kind) is not None}
    options = ["--boundary", f"{choose_tolerance(study.runs):g}"] if "borders" in needed else []
    return [*options, "--calibration"] if needed & {"bins", "brier"} else options


def choose_tolerance(runs: Sequence[Run]) -> float:
    """The tolerance within which most of the runs have their borders counted, else the usual one."""
    known = Counter(run.counts.tolerance for run in runs if run.counts.tolerance is not None)
    return known.most_common(1)[0][0] if known else TOLERANCE
