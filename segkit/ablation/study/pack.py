"""The numbers of a study as one file: all that its report is written from, and neither weights nor images."""

import json
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit import __version__
from segkit.ablation.study.packed_about import ABOUT, CARD, OF_A_RUN, PackedEntry, StudyAbout
from segkit.ablation.study.phrases import FAILED, IN_USE, name_seeds, plural
from segkit.ablation.study.study import Run, Study
from segkit.config.carried.places import NOT_SAID, StandIns, clear_places, clear_value, clear_words, is_place
from segkit.config.yaml_source import dump_yaml
from segkit.errors import CheckpointError, ConfigError
from segkit.runs.history.entries import RESUMED, read_changes
from segkit.system.files import make_folder
from segkit.system.packed.members import STUDY, SUFFIX, is_packed
from segkit.system.packed.read import read_packed
from segkit.system.packed.write import write_packed
from segkit.system.printable import show_name
from segkit.system.run_files import RunFiles
from segkit.system.typed import typed

#: What a run says of the machine that no report shows, and that is nobody else's business.
OWN = ("host", "command")
#: Characters of a variant's name in that of a folder, of which every system takes 255.
LONGEST = 100
#: What of `status.json` does not name a process or a place.
STATUS = ("state", "iteration", "updated")
#: What is in the files that are not packed whole.
SHORTENED = {
    RunFiles.status: "When the training ended.",
    RunFiles.env: "Versions, hardware and fingerprints of what training began with.",
}
#: What a line on a missing run says of its error and of its machine, which may be anything.
_DETAILS = re.compile(rf"((?<=: ){FAILED}): (?s:.*)|(\b{IN_USE}) by .*?(?= -> |$)")


def check_place(path: Path) -> None:
    """Raises ConfigError for a path that no packed study can be written to, or that would cost another file."""
    if not is_packed(path):
        raise ConfigError(f"--pack {path}: a packed study ends with {SUFFIX} -> {path}{SUFFIX}")
    try:
        is_folder, is_there = path.is_dir(), path.exists()
        around = next((parent for parent in path.parents if parent.exists()), None)
    except OSError as error:  # such as a name that is too long
        raise ConfigError(f"--pack {path}: {error.strerror} -> another name") from error
    if is_folder:
        raise ConfigError(f"--pack {path}: there is a folder of this name -> another name")
    if around is not None and not around.is_dir():
        raise ConfigError(
            f"--pack {path}: {around} is a file, so nothing can be written below it -> another name"
        )
    if is_there:
        try:
            read_packed(path, [], STUDY)
        except CheckpointError as error:
            raise ConfigError(
                f"--pack {path}: there is a file of this name that is no packed study, and it is not replaced"
                " -> another name"
            ) from error


def pack_study(study: Study, path: Path) -> str:
    """Write the runs of `study` and what is to be claimed of them; returns the line that says so.

    Left out are places of this machine, its name, weights and images. Raises ConfigError as `check_place` does,
    CheckpointError for runs whose files are gone, CannotWrite.
    """
    check_place(path)
    members: dict[str, bytes] = {}
    entries = []
    stand_ins = StandIns()
    found = _read_all(study.runs)
    for run in study.runs:
        folder = _folder_of(run, taken={entry.folder.lower() for entry in entries})
        entries.append(PackedEntry(folder=folder, variant=_as_utf8(run.variant)))
        members |= {
            f"{folder}/{name}": content
            for name, content in _files_of(run, found[run.folder], stand_ins).items()
        }
    private = _private_words(study)
    about = StudyAbout(
        name=_as_utf8(study.name),
        baseline=_as_utf8(study.baseline),
        variants=list(map(_as_utf8, study.variants)),
        group_by=study.group_by,
        margin=study.margin,
        level=study.level,
        metrics=list(study.metrics),
        # Whole paths first: of the line on a missing run the end of one says which run, and here nothing.
        command=_as_utf8(clear_words(clear_words(study.command), private)),
        missing=[_as_utf8(clear_words(_DETAILS.sub(r"\1\2", line), private)) for line in study.missing],
        runs=entries,
    )
    members[ABOUT.name] = about.to_json().encode()
    members[CARD.name] = _as_utf8(_card(study, about)).encode()
    if len(members) >= STUDY.most_members:
        raise ConfigError(
            f"--pack {path}: {plural(len(study.runs), 'run')} are more than one file takes -> pack them in parts"
        )
    make_folder(path.parent)
    write_packed(path, members, segkit=__version__, kind=STUDY)
    size = path.stat().st_size / 1e6
    return (
        f"packed    {path}   {size:.1f} MB, {plural(len(entries), 'run')}; it has the names of the validation images, "
        "and neither images nor weights"
    )


def _folder_of(run: Run, *, taken: set[str]) -> str:
    """A name for the run that any system takes as a folder's."""
    plain = re.sub(r"[^A-Za-z0-9_.+=-]+", "_", run.variant).lstrip(".")[:LONGEST] or "variant"
    name = f"{plain}-seed{run.seed}"
    number = 2
    while name.lower() in taken:  # since some systems do not tell capitals
        name, number = f"{plain}-{number}-seed{run.seed}", number + 1
    return name


def _as_utf8(text: str) -> str:
    r"""A byte of a file name that is no UTF-8 becomes an escape such as `\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode()


def _private_words(study: Study) -> set[str]:
    """The folders around the runs, and the machines."""
    folders = [run.folder for run in study.runs if not run.is_packed]
    around = {parent for folder in folders for path in (folder, folder.absolute()) for parent in path.parents}
    hosts = {socket.gethostname(), *(str(run.env["host"]) for run in study.runs if run.env.get("host"))}
    return hosts | {str(parent) for parent in around | {Path.home()} if is_place(str(parent)) and parent.name}


def _files_of(run: Run, found: Mapping[str, bytes], stand_ins: StandIns) -> dict[str, bytes]:
    """The files of a run by name, from what was `found` of it."""
    texts = {
        RunFiles.config.name: dump_yaml(clear_places(run.config, stand_ins)),
        RunFiles.status.name: _json({key: _parse(found, RunFiles.status.name).get(key) for key in STATUS}),
        RunFiles.env.name: _json(_clear_env(run.env, stand_ins)),
    }
    return {**found, **{name: _as_utf8(text).encode() for name, text in texts.items()}}


def _clear_env(env: Mapping[str, Any], stand_ins: StandIns) -> dict[str, Any]:
    """What a run says of its machine and its code, without what is nobody else's business."""
    kept = {key: value for key, value in env.items() if key not in (*OWN, RESUMED)}
    changes = [
        {
            **change,
            **{
                when: clear_value(change["key"].rpartition(".")[2], change[when], stand_ins)
                for when in ("before", "after")
            },
        }
        for change in read_changes(env)
    ]
    return {**kept, **({RESUMED: changes} if changes else {})}


def _read_all(runs: Sequence[Run]) -> dict[Path, dict[str, bytes]]:
    """What a report needs of each run, by its folder and by name. Raises CheckpointError."""
    names = [entry.name for entry in OF_A_RUN]
    packed: dict[Path, list[str]] = {}
    found = {}
    for run in runs:
        if run.is_packed:
            packed.setdefault(run.folder.parent, []).append(run.folder.name)
            continue
        try:
            found[run.folder] = {name: (run.folder / name).read_bytes() for name in names}
        except OSError as error:
            raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}") from error
    for file, folders in packed.items():
        members = read_packed(
            file, [f"{folder}/{name}" for folder in folders for name in names], STUDY
        ).members
        for folder in folders:
            found[file / folder] = {name: members[f"{folder}/{name}"] for name in names}
    return found


def _parse(found: Mapping[str, bytes], name: str) -> dict[str, Any]:
    return json.loads(found[name])


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _card(study: Study, about: StudyAbout) -> str:
    """For somebody who finds the file."""
    rows = [
        f"- `{show_name(variant)}`, {name_seeds(run.seed for run in study.of(variant))}"
        f"{': the baseline' if variant == study.baseline else ''}"
        for variant in study.variants
        if study.of(variant)
    ]
    images = plural(len(study.runs[0].image_names), "validation image")
    lines = "\n".join(f"    {line}" for line in about.command.splitlines())
    command = f"\nIt was made by\n\n{lines}\n" if lines else ""
    files = "\n".join(f"- `{entry.name}`: {SHORTENED.get(entry, entry.content)}" for entry in OF_A_RUN)
    return f"""# The numbers of a study: {show_name(study.name)}

{plural(len(study.runs), "training")} of {plural(len(study.variants), "variant")}, scored on {images}:

{chr(10).join(rows)}
{command}
With segkit the report is written again, by today's or another rule, without training anything:

    {typed("compare", "STUDY.zip")}

Without it: `{ABOUT.name}` says which variant each folder is a run of, and a folder has

{files}

`{RunFiles.per_image.name}` opens with `numpy.load`: for entry k, `pixels[k]` pixels of class `label[k]` were predicted
as class `prediction[k]` in image `image[k]`; one that an older segkit wrote has `matrices[image, label, prediction]`
instead. Places of the machine stand as `{NOT_SAID}`. There are no weights and no
images.
"""
