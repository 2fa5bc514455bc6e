"""Packed studies of run folders that no training wrote, and how to change what is in one."""

import json
import zipfile

from segkit.ablation.compare import make_study
from segkit.ablation.study.gather import gather_runs
from segkit.ablation.study.pack import pack_study
from segkit.system.packed.members import STUDY
from segkit.system.packed.write import write_packed
from tests.ablation.run_folders import make_run

CE = "loss={name: ce}"


def train(folder, variant, seed, root, *overrides, **options):
    data = f"data={{name: folder, root: {root}, classes: [background, circle, square]}}"
    env = {"host": "my-machine", "command": f"{folder}/train.py", **options.pop("env", {})}
    overrides = [f"name={variant}-seed{seed}", f"seed={seed}", data, *overrides]
    return make_run(folder / f"{variant}-seed{seed}" / "T", *overrides, env=env, **options)


def study(*paths, **options):
    return make_study(gather_runs(paths, to_pack=True), **{"baseline": None, "group_by": None, **options})


def packed(path, *paths, **options):
    pack_study(study(*paths, **options), path)
    return path


def read(path):
    """All members by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def replant(path, **changes):
    """The packed study again, with members changed: None leaves one out, bytes replace it."""
    members = {name: content for name, content in read(path).items() if name != "manifest.json"}
    members |= changes
    kept = {name: content for name, content in members.items() if content is not None}
    write_packed(path, kept, segkit="0.2.0", kind=STUDY)
    return path


def about_with(path, **changes):
    return replant(
        path, **{"study.json": json.dumps(json.loads(read(path)["study.json"]) | changes).encode()}
    )
