"""A finished or stopped run to one file, and a look into such a file."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from segkit import __version__
from segkit.commands.pack.card import CardFacts, card_text
from segkit.commands.pack.files import NUMBERS, Exported, pictures_of, read_files, read_onnx
from segkit.commands.pack.front_matter import check_identifiers, front_matter
from segkit.commands.pack.scores import has_lost_the_best, read_json, read_summary, scores_of
from segkit.config.carried.packed import find_imports
from segkit.config.carried.places import ACCOUNTS, NOT_SAID, left_out, without_places
from segkit.config.yaml_source import dump_yaml
from segkit.errors import ConfigError, RunFolderInUse
from segkit.runs.folder import read_status
from segkit.runs.packed.about import About
from segkit.runs.packed.tensors import require_safetensors, to_bytes
from segkit.runs.predictor import Predictor, load_predictor
from segkit.runs.resume import run_folder_of
from segkit.system.console import percent
from segkit.system.files import make_folder
from segkit.system.locks import find_holder
from segkit.system.memory import lack_of_memory_explained
from segkit.system.packed.members import SUFFIX, NeededImport, PackedFiles, is_packed
from segkit.system.packed.read import verify_packed
from segkit.system.packed.write import write_packed
from segkit.system.printable import show_name
from segkit.system.run_files import RunFiles
from segkit.system.typed import typed
from segkit.training.build_dataset import normalisation

#: What can be left out.
Part = Literal["pictures", "per-image", "onnx"]


@lack_of_memory_explained("a machine with more memory: all that is packed is there at once")
def pack_run(
    weights: str,
    *,
    output: Path | None = None,
    onnx: Path | None = None,
    without: Collection[Part] = (),
    licence: str | None = None,
    dataset: str | None = None,
    force: bool = False,
) -> int:
    """Write the run that `weights` names as one file; returns the exit status.

    `weights` is a run folder, whose best weights are packed, or a checkpoint in one. The file is `output`, else lies in
    the run folder. `onnx` is an exported network to pack, else that of the run folder, if it is of these weights.
    `licence` and `dataset` are identifiers of the Hugging Face Hub for the card. Raises ConfigError, with nothing
    written, where a file would be replaced without `force`, and RunFolderInUse while the run goes on.
    """
    check_identifiers(licence, dataset)
    require_safetensors("a packed run")
    if onnx is not None and "onnx" in without:
        raise ConfigError("--onnx and --without onnx contradict each other -> leave one of them out")
    if Path(weights).suffix in (".onnx", ".pt2"):
        raise ConfigError(f"{weights} is exported already -> the run that it is of")
    predictor = load_predictor(weights, torch.device("cpu"))
    folder = Path(weights) if Path(weights).is_dir() else run_folder_of(predictor.path)
    if folder is None:
        raise ConfigError(
            f"{predictor.path} lies in no run folder, and a run is what is packed -> give a run folder"
        )
    run = RunFiles(folder)
    holder = find_holder(run.lock)
    if holder is not None:
        raise RunFolderInUse(
            f"run folder {run} is in use by {holder}\n   -> wait for it or stop it, then pack it"
        )
    path = output or run.packed
    _require_place(path, force=force)
    exported, note = find_onnx(predictor, run, onnx, wanted="onnx" not in without)
    about = describe(predictor, run)
    imports = find_imports(predictor.config)
    members, shown = gather(
        predictor, run, about, imports, exported, without=without, licence=licence, dataset=dataset
    )
    make_folder(path.parent)
    write_packed(path, members, segkit=__version__, imports=imports)
    print("\n".join(report(path, predictor, about, imports, members, shown, exported, note)), flush=True)
    return 0


def _require_place(path: Path, *, force: bool) -> None:
    if not is_packed(path):
        raise ConfigError(f"--output {path}: a packed run ends with {SUFFIX}")
    if path.is_dir():
        raise ConfigError(f"--output {path}: there is a folder of this name")
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already -> --force to replace it, or --output FILE{SUFFIX}")


def find_onnx(
    predictor: Predictor, run: RunFiles, given: Path | None, *, wanted: bool
) -> tuple[Exported | None, str]:
    """The exported network to be packed, or None and a line that says why there is none. Raises ConfigError for a
    `given` one that cannot be packed."""
    if given is not None:
        return read_onnx(given, predictor), ""
    if not wanted:
        return None, "left out"
    if not run.onnx.is_file():
        return None, f"none; {typed('export', '--weights', run.path)} --to onnx makes one"
    try:
        return read_onnx(run.onnx, predictor), ""
    except ConfigError as error:
        return None, f"left out: {error}"


def describe(predictor: Predictor, run: RunFiles) -> About:
    """What the file says of the weights."""
    mean, std = normalisation(predictor.config, predictor.channels)
    summary = read_summary(run)
    which, _, _ = predictor.why.partition(", of ")
    if has_lost_the_best(predictor, summary):
        which = "the best that are left (those of the best score are lost)"
    assert predictor.logits_channels is not None  # only an exported network does not say
    return About(
        name=predictor.config.name,
        segkit=__version__,
        torch=torch.__version__ + "",  # TorchVersion is a str subclass
        weights="those of one checkpoint" if which.startswith("of ") else which,
        iteration=predictor.iteration,
        class_names=list(predictor.labels.class_names),
        palette=[(red, green, blue) for red, green, blue in predictor.labels.palette],
        ignore_index=predictor.labels.ignore_index,
        channels=predictor.channels,
        logits_channels=predictor.logits_channels,
        mean=list(mean),
        std=list(std),
        value_range=predictor.value_range,
        resize=predictor.resize,
        temperature=predictor.temperature,
        scores=scores_of(predictor, run, summary),
    )


def gather(
    predictor: Predictor,
    run: RunFiles,
    about: About,
    imports: Sequence[NeededImport],
    exported: Exported | None,
    *,
    without: Collection[Part],
    licence: str | None,
    dataset: str | None,
) -> tuple[dict[str, bytes], Sequence[tuple[str, str]]]:
    """The members by name, and the pictures among them with their captions."""
    config, summary = predictor.config, read_summary(run)
    settings = without_places(config, start=NOT_SAID)
    state, finished = describe_state(run, summary)
    pictures = [] if "pictures" in without else pictures_of(run, finished=finished)
    files = {
        PackedFiles.weights.name: PackedFiles.weights.content,
        PackedFiles.about.name: PackedFiles.about.content,
        PackedFiles.config.name: PackedFiles.config.content,
        PackedFiles.manifest.name: PackedFiles.manifest.content,
    }
    kept = dict(NUMBERS)
    if "per-image" not in without:
        kept[RunFiles.per_image.name] = RunFiles.per_image.content
    members = read_files(run, [*kept, *(name for name, _ in pictures)])
    files |= {name: text for name, text in kept.items() if name in members}
    if exported is not None:
        members[RunFiles.onnx.name] = exported.content
        files[RunFiles.onnx.name] = exported.description
    tensors = predictor.model.state_dict()
    members[PackedFiles.weights.name] = to_bytes(tensors, origin=predictor.path)
    members[PackedFiles.about.name] = about.to_json().encode()
    members[PackedFiles.config.name] = dump_yaml(settings).encode()
    environment = read_json(run.env) if run.env.is_file() else {}
    facts = CardFacts(
        config=config, settings=settings, left_out=left_out(config), about=about, imports=imports, summary=summary,
        environment=environment, state=state, pictures=pictures, files=files, licence=licence,
    )  # fmt: skip
    card = front_matter(config, about.scores, licence=licence, dataset=dataset) + "\n" + card_text(facts)
    members[PackedFiles.card.name] = card.encode("utf-8", "backslashreplace")
    return members, pictures


def describe_state(run: RunFiles, summary: Mapping[str, Any]) -> tuple[str, bool]:
    """How the run ended, as the card says it, and whether it trained to its end."""
    try:
        status = read_status(run) or {}
    except ValueError as error:
        return f"How the run ended is not known: its {RunFiles.status.name} is damaged ({error}).", False
    done = status.get("iteration")
    after = f" after {done:,} iterations" if isinstance(done, int) else ""
    if status.get("state") == "done" and summary.get("finished", True):
        return f"The run was finished{after}.", True
    ends = {"stopped": "was stopped", "failed": "failed", "running": "was killed"}
    how = ends.get(status.get("state", ""), "was not finished, as far as its folder tells,")
    return (
        f"**Unfinished**: the run {how}{after}, before its planned end, so that no score here is of a fully trained "
        "model.",
        False,
    )


def report(
    path: Path,
    predictor: Predictor,
    about: About,
    imports: Sequence[NeededImport],
    members: Mapping[str, bytes],
    pictures: Sequence[tuple[str, str]],
    exported: Exported | None,
    note: str,
) -> list[str]:
    """The lines that say what was packed and what was not."""
    scores = about.scores
    missing = left_out(predictor.config)
    rows = {
        "packed": f"{path}   {path.stat().st_size / 1e6:.1f} MB, {len(members) + 1} members",
        "weights": f"{predictor.path} ({predictor.why})",
        "scores": "none: these weights were not evaluated"
        if scores is None
        else f"mIoU {_percent(scores.mean_iou)}, pixel accuracy {_percent(scores.accuracy)} at iteration "
        f"{scores.iteration:,}",
        "onnx": note if exported is None else exported.description,
        "pictures": "none"
        if not pictures
        else f"{len(pictures)}, which show images of the data; --without pictures",
    }
    if RunFiles.per_image.name in members:
        rows["images"] = (
            f"{RunFiles.per_image.name} has the names of the validation images; --without per-image"
        )
    if missing:
        accounts = " and accounts" if any(f"log.{name}" in missing for name in ACCOUNTS) else ""
        rows["left out"] = f"{', '.join(missing)}: places of this machine{accounts}"
    if imports:
        needed = ", ".join(f"--import {each.file} ({each.kind} {each.name})" for each in imports)
        rows["needs"] = f"{needed}, which is not in it"
    return [f"{name:<9} {text}" for name, text in rows.items()]


def look_into(path: Path) -> int:
    """Compare every member of a packed run or study with its manifest, and list them; returns the exit status."""
    manifest = verify_packed(path, kind=None)
    width = max(map(len, manifest.members), default=0)
    for name, member in manifest.members.items():
        print(f"{show_name(name):<{width}}  {member.bytes:>12,}  {member.sha256[:16]}")
    for needed in manifest.imports:
        print(f"needs --import {show_name(needed.file)} ({show_name(needed.kind)} {show_name(needed.name)})")
    print(
        f"{path}: {len(manifest.members)} members, all as packed by segkit {show_name(manifest.segkit)}",
        flush=True,
    )
    return 0


def _percent(value: float | None) -> str:
    return "-" if value is None else percent(value)
