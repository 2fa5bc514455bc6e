"""Whether runs have what a metric is computed from, and what to do if not."""

from collections import Counter
from collections.abc import Sequence

from segkit.ablation.statistics.metrics import Metric, find_metric
from segkit.ablation.statistics.run_counts import KINDS
from segkit.ablation.study.phrases import plural
from segkit.ablation.study.study import Run, Study
from segkit.errors import ConfigError
from segkit.evaluation.objects.request import ObjectRequest
from segkit.system.run_files import RunFiles
from segkit.system.typed import typed

#: Pixels within which borders are compared where nobody says otherwise.
TOLERANCE = 2.0
#: What a file lacks that has no sums of a kind.
WHAT = {
    "ce": "no cross-entropy of each image, because an older segkit wrote it",
    "class_bins": "no probabilities of each class counted",
}


def find_lacking(study: Study, metric: Metric) -> str | None:
    """What some runs lack for this metric, with the command that scores them anew; None if nothing."""
    if metric.kind == "borders":
        tolerance = choose_tolerance(study.runs)
        runs = [run for run in study.runs if run.counts.tolerance != tolerance]
        what = f"no borders counted within {tolerance:g} pixels"
    elif metric.kind == "objects":
        request = choose_objects(study)
        runs = [run for run in study.runs if _counted_objects(run) != request]
        size = f", of {request.min_size:,} pixels or more," if request.min_size > 1 else ""
        what = f"no objects{size} of {' and '.join(request.classes)} counted"
    else:
        runs = [run for run in study.runs if not run.counts.has(metric.kind)]
        what = WHAT.get(metric.kind, "no confidences counted")
    if not runs:
        return None
    return (
        f"the {RunFiles.per_image.name} of {plural(len(runs), 'run')} has {what}\n"
        f"   -> {advise_scoring(runs, list_options(study, metric, runs))}"
    )


def advise_scoring(runs: Sequence[Run], options: Sequence[str] = ()) -> str:
    """The command that scores `runs` anew, with these options; of packed ones, where it has to be typed."""
    counting = ["--per-image", *options]
    if any(run.is_packed for run in runs):
        return f"where the runs are: {typed('evaluate', *counting)} --weights RUN RUN, then pack them again"
    return typed("evaluate", *counting, "--weights", *(run.folder for run in runs))


def list_options(study: Study, metric: Metric, runs: Sequence[Run]) -> list[str]:
    """The options with which `evaluate` counts of `runs` all that `metric` and the study need, and all that they have,
    since their files are written anew."""
    needed = {metric.kind, *(known.kind for known in _known_metrics(study))}
    needed |= {kind for kind in KINDS for run in runs if run.counts.has(kind)}
    options = ["--boundary", f"{choose_tolerance(study.runs):g}"] if "borders" in needed else []
    if needed & {"bins", "class_bins", "brier"}:
        options += ["--calibration", *(["classwise"] if "class_bins" in needed else [])]
    if "objects" in needed:
        request = choose_objects(study)
        options += ["--objects", *request.classes]
        options += ["--min-size", str(request.min_size)] if request.min_size > 1 else []
    return options


def choose_tolerance(runs: Sequence[Run]) -> float:
    """The tolerance within which most of the runs have their borders counted, else the usual one."""
    known = Counter(run.counts.tolerance for run in runs if run.counts.tolerance is not None)
    return known.most_common(1)[0][0] if known else TOLERANCE


def choose_objects(study: Study) -> ObjectRequest:
    """Those that most of the runs have counted, and those of the classes that a metric names; where that is nobody, all
    classes but the first, which `unet_border` takes for objects too."""
    known = Counter(found for found in map(_counted_objects, study.runs) if found is not None)
    usual = known.most_common(1)[0][0] if known else ObjectRequest(())
    named = (metric.name.partition("/")[2] for metric in _known_metrics(study) if metric.kind == "objects")
    classes = dict.fromkeys([*usual.classes, *(name for name in named if name)])
    return ObjectRequest(tuple(classes or study.runs[0].class_names[1:]), usual.min_size)


def _counted_objects(run: Run) -> ObjectRequest | None:
    found = run.counts.objects
    if found is None:
        return None
    return ObjectRequest(tuple(run.class_names[c] for c in found.classes), found.min_size)


def _known_metrics(study: Study) -> list[Metric]:
    """The metrics of the study that there are; of the others something is said where they are looked for."""
    known = []
    for name in study.metrics:
        try:
            known.append(find_metric(name, study.runs[0].class_names))
        except ConfigError:
            continue
    return known
