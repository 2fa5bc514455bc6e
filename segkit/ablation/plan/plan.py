"""An ablation file to runs: every variant with every seed, each one checked configuration; every mistake at once.

A variant's configuration is the base, `settings`, its own block and the command line, each merged over the one before
as `extends` merges.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segkit.ablation.folder import AblationFiles
from segkit.ablation.plan.resolved import Resolver, read_resolved
from segkit.ablation.plan.schema import (
    AblationFile,
    check_folder_name,
    check_seeds,
    describe_needs,
    read_ablation,
    refuse_set_keys,
)
from segkit.ablation.plan.tracked import name_for_trackers
from segkit.ablation.study.claims import LEVEL, METRICS, OF_CONFIDENCE
from segkit.ablation.study.config_diff import differing_settings, relevant_settings
from segkit.config.messages import list_problems
from segkit.config.problem import Mark, Problem
from segkit.config.read_file import display, read_file
from segkit.config.schema import Config, Log
from segkit.config.sources import ABLATION_KEY, apply_overrides, find_config, merge, read_base
from segkit.config.yaml_source import Node, walk_leaves
from segkit.errors import CheckpointError, ConfigError
from segkit.system.packed.members import STUDY, is_packed
from segkit.system.packed.read import read_packed
from segkit.system.typed import typed


@dataclass(frozen=True)
class PlannedRun:
    """One variant to be trained with one seed, as `config` says."""

    variant: str
    seed: int
    config: Config

    @property
    def name(self) -> str:
        return f"{self.variant}-seed{self.seed}"


@dataclass(frozen=True)
class AblationPlan:
    """What is to be trained, in order: all variants of the first seed, then of the next.

    `folder` is `<log.dir>/<name>`, where the runs and the report go; `source`, `overrides` and `imports` are what the
    command line said, and with `seeds_given` the `seeds` too; `base` is what the file said.
    `resolved` are the variants as `resolved.py` keeps them.
    """

    name: str
    source: str
    base: str
    folder: Path
    baseline: str
    seeds: tuple[int, ...]
    variants: tuple[str, ...]
    runs: tuple[PlannedRun, ...]
    group_by: str | int | None = None
    margin: float | None = None
    level: float = LEVEL
    metrics: tuple[str, ...] = METRICS
    overrides: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    seeds_given: bool = False
    resolved: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> AblationFiles:
        """What lies in `folder`."""
        return AblationFiles(self.folder)

    @property
    def command(self) -> str:
        """The command that repeats the whole."""
        imports = [word for name in self.imports for word in ("--import", name)]
        seeds = ["--seeds", *self.seeds] if self.seeds_given else []
        return typed("ablate", "--config", Path(self.source), *imports, *self.overrides, *seeds)

    def run_of(self, variant: str) -> PlannedRun:
        """The first run of that variant; its configuration stands for all its seeds."""
        return next(run for run in self.runs if run.variant == variant)

    def find(self, name: str) -> PlannedRun:
        """The run of that name. Raises ConfigError."""
        for run in self.runs:
            if run.name == name:
                return run
        known = ", ".join(run.name for run in self.runs)
        raise ConfigError(f"--run {name}: there is no such run\n   there are: {known}")


def load_plan(
    source: str | Path,
    overrides: Sequence[str] = (),
    *,
    seeds: Sequence[int] | None = None,
    imports: Sequence[str] = (),
    recall: bool = False,
) -> AblationPlan:
    """The plan in an ablation file, found as training finds a configuration, with `overrides` for every run.

    `seeds` replaces those of the file; `imports` are the user's modules, which the runs want too. With `recall` its
    configurations are for reading: what the ablation's folder has of them is taken from there, which loads no torch.
    Raises ConfigError listing every mistake.
    """
    path = find_config(source, ablation=True)
    _refuse_study(path)
    problems: list[Problem] = []
    root = read_file(path, problems, start_with=describe_needs())
    if root is None:
        raise ConfigError(list_problems(problems))
    _refuse_configuration(root, path, source)
    parts = read_ablation(root, problems)
    chosen = _choose_seeds(parts.seeds, seeds, problems)
    base = read_base(parts.base, "base", [path], problems) if parts.base is not None else None
    trees = _merge_variants(parts, base, overrides, problems) if base is not None else {}
    known = read_resolved(_find_folder(trees, parts.name or path.stem)) if recall else {}
    resolver = Resolver(known)
    configs = _resolve_variants(trees, resolver, parts, problems)
    name = parts.name or _name_after(path, problems)
    problems += _find_twins(configs, parts) if not problems else []
    if problems:
        raise ConfigError(list_problems(list(dict.fromkeys(problems))))
    assert parts.base is not None and parts.baseline is not None  # or that would be a problem
    named = {metric.partition("/")[0] for metric in parts.metrics}
    if named & {*OF_CONFIDENCE}:
        calibration = "classwise" if "classwise_ece" in named else True
        configs = {variant: _count_confidence(config, calibration) for variant, config in configs.items()}
    folder = Path(os.path.expanduser(next(iter(configs.values())).log.dir)) / name
    return AblationPlan(
        name=name,
        source=str(source),
        base=str(parts.base.value),
        folder=folder,
        baseline=parts.baseline,
        seeds=chosen,
        seeds_given=seeds is not None,
        imports=tuple(imports),
        variants=tuple(configs),
        runs=tuple(
            plan_run(variant, seed, configs[variant], folder, ablation=name)
            for seed in chosen
            for variant in configs
        ),
        group_by=parts.group_by,
        margin=parts.margin,
        level=parts.level,
        metrics=parts.metrics,
        overrides=tuple(overrides),
        resolved=resolver.given,
    )


def plan_run(variant: str, seed: int, config: Config, folder: Path, *, ablation: str) -> PlannedRun:
    """The run of a variant with one seed, in the ablation's folder."""
    log = name_for_trackers(config.log, ablation=ablation, variant=variant, seed=seed)
    log = log.model_copy(update={"dir": str(folder)})
    changes = {"name": f"{variant}-seed{seed}", "seed": seed, "log": log}
    return PlannedRun(variant, seed, config.model_copy(update=changes))


def _count_confidence(config: Config, calibration: bool | str) -> Config:
    """The configuration whose runs count what metrics of confidence are made of, or more if it says so itself."""
    wanted = config.eval.calibration if config.eval.calibration == "classwise" else calibration
    return config.model_copy(update={"eval": config.eval.model_copy(update={"calibration": wanted})})


def _refuse_study(path: Path) -> None:
    """Raises ConfigError for a packed study: what an ablation found, and not what it was asked."""
    if not is_packed(path):
        return
    try:
        read_packed(path, [], STUDY)
    except CheckpointError:
        return  # reading it says what it is
    raise ConfigError(
        f"{display(path)} is a packed study, which has the numbers of an ablation and not its file\n"
        f"   -> {typed('compare', path)}"
    )


def _refuse_configuration(root: Node, path: Path, source: str | Path) -> None:
    """Raises ConfigError for a file that is the configuration of one run."""
    if ABLATION_KEY not in root.value and {"loss", "extends"} & set(root.value):
        raise ConfigError(
            f"{display(path)} is the configuration of one run, not an ablation\n"
            f"   -> {typed('train', '--config', Path(source))}"
        )


def _choose_seeds(
    written: tuple[int, ...], asked: Sequence[int] | None, problems: list[Problem]
) -> tuple[int, ...]:
    if asked is None:
        return written
    reason = check_seeds(asked)
    if reason is not None:
        problems.append(Problem(Mark("command line: --seeds", argument=1), reason))
    return tuple(asked)


def _name_after(path: Path, problems: list[Problem]) -> str:
    """The name of an ablation whose file gives none."""
    reason = check_folder_name(path.stem)
    if reason is not None:
        problems.append(Problem(Mark(display(path)), f"the file's name {reason}; add `name: ...` to it"))
    return path.stem


def _merge_variants(
    parts: AblationFile, base: Node, overrides: Sequence[str], problems: list[Problem]
) -> dict[str, Node]:
    """The settings of every variant; what is wrong with the overrides is added to `problems`."""
    given = apply_overrides(Node({}, Mark("command line")), overrides, problems)
    refuse_set_keys(given, "every run", problems, allowed=(("log", "dir"),))
    shared = base if parts.settings is None else merge(base, parts.settings)
    return {
        variant: apply_overrides(merge(shared, block), overrides, [])  # its own mistakes are known by now
        for variant, block in parts.variants.items()
    }


def _find_folder(trees: Mapping[str, Node], name: str) -> Path:
    """The ablation's folder, as far as it can be told from settings that nobody checked."""
    log = next(iter(trees.values())).value.get("log") if trees else None
    found = log.value.get("dir") if log is not None and isinstance(log.value, dict) else None
    above = found.value if found is not None and isinstance(found.value, str) else Log().dir
    return Path(os.path.expanduser(above)) / name


def _resolve_variants(
    trees: Mapping[str, Node], resolver: Resolver, parts: AblationFile, problems: list[Problem]
) -> dict[str, Config]:
    """The configuration of every variant that has no mistake; mistakes are added to `problems`, each once."""
    configs: dict[str, Config] = {}
    found: dict[Problem, list[str]] = {}
    for variant, tree in trees.items():
        mistakes: list[Problem] = []
        try:
            configs[variant] = resolver.resolve(tree, variant, mistakes)
        except ConfigError:
            if not mistakes:
                raise
        for mistake in mistakes:
            found.setdefault(mistake, []).append(variant)
    problems += [_name_variants(problem, names, parts.variants) for problem, names in found.items()]
    return configs


def _name_variants(problem: Problem, names: list[str], variants: Mapping[str, Node]) -> Problem:
    """The problem, with the variants that have it where neither its place tells nor all of them do."""
    own = {mark for name in names for mark in _marks_of(variants[name])}
    if problem.mark in own or len(names) == len(variants):
        return problem
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return Problem(
        problem.mark, problem.message, (*problem.hints, f"in the variant{'s' * (len(names) > 1)} {shown}")
    )


def _marks_of(node: Node) -> set[Mark]:
    marks = {node.mark} if node.key_mark is None else {node.mark, node.key_mark}
    children = node.value.values() if isinstance(node.value, dict) else []
    for child in children:
        marks |= _marks_of(child)
    return marks | {leaf.mark for _, leaf in walk_leaves(node)}


def _find_twins(configs: Mapping[str, Config], parts: AblationFile) -> list[Problem]:
    """Variants that would be trained alike."""
    problems = []
    settings = {name: relevant_settings(config.to_mapping()) for name, config in configs.items()}
    names = list(settings)
    for place, name in enumerate(names):
        for other in names[:place]:
            if not differing_settings({name: settings[name], other: settings[other]}):
                mark = parts.variants[name].key_mark or parts.variants[name].mark
                message = (
                    f"the variants '{other}' and '{name}' are the same configuration; remove or change one"
                )
                problems.append(Problem(mark, message))
                break
    return problems
