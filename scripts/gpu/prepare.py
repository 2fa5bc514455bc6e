"""What a machine without a network needs beside its own torch, in the ignored folder .gpu/, to be carried there.

python -m scripts.gpu.prepare --python 3.12 --camvid ../shared/data/camvid
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER, WHEELS, CAMVID, COMMIT = ".gpu", "wheels", "camvid", "commit"

#: What comes with the other machine's own torch and must fit to it, so that it is left alone.
THERE = ("torch", "torchvision", "numpy", "pillow", "pyyaml")
#: What is fetched with all it needs: nothing of that is near torch.
WHOLE = ("pydantic", "tqdm", "pytest", "pytest-xdist")
#: The platforms whose wheels a Linux on x86-64 of the last years takes; pip takes these names literally.
PLATFORMS = (
    *(f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)),
    "manylinux2014_x86_64",
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.gpu.prepare", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--python", default="3.12", metavar="3.N", help="the other machine's version (%(default)s)"
    )
    parser.add_argument(
        "--camvid", type=Path, metavar="FOLDER", help="CamVid, to be carried along: images/, labels/"
    )
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="NAME", help="more packages, without their needs"
    )
    args = parser.parse_args(arguments)
    if not re.fullmatch(r"3\.\d+", args.python):
        parser.error(f"--python {args.python}: a version such as 3.12")
    for name in ("images", "labels"):
        if args.camvid is not None and not (args.camvid / name).is_dir():
            parser.error(f"--camvid {args.camvid}: there is no folder {name} in it")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    folder = ROOT / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / WHEELS).mkdir(parents=True)
    whole, single = split_requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    for names, options in ((whole, ()), ([*single, *args.also], ("--no-deps",))):
        subprocess.run(download(names, args.python, folder / WHEELS, options), check=True)
    if args.camvid is not None:
        for name in ("images", "labels"):
            shutil.copytree(args.camvid / name, folder / CAMVID / name)
    (folder / COMMIT).write_text(f"{read_commit(ROOT) or 'unknown'}\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    wheels = len(list((folder / WHEELS).glob("*.whl")))
    data = "without CamVid" if args.camvid is None else "with CamVid"
    print(f"{folder}: {wheels} wheels for Python {args.python}, {data}, {size / 1e6:.0f} MB")
    return 0


def split_requirements(text: str) -> tuple[list[str], list[str]]:
    """The requirements that are fetched with what they need, those for the tests too, and those fetched alone."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    wanted = {re.split(r"[<>=!~ ;\[]", line, maxsplit=1)[0].lower(): line for line in lines if line}
    whole = [wanted.get(name, name) for name in WHOLE]
    return whole, [line for name, line in wanted.items() if name not in (*WHOLE, *THERE)]


def download(names: Sequence[str], version: str, folder: Path, options: Sequence[str]) -> list[str]:
    """pip's command line that fetches wheels for another Python."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    target = ("--only-binary=:all:", "--implementation", "cp", "--python-version", version, *platforms)
    quiet = ("--quiet", "--disable-pip-version-check")
    return [sys.executable, "-m", "pip", "download", *quiet, *options, *target, "--dest", str(folder), *names]


def read_commit(root: Path) -> str | None:
    """The commit checked out at `root` and whether files differ from it; None where git does not say."""
    words = (["rev-parse", "--show-toplevel", "HEAD"], ["status", "--porcelain"])
    try:
        where, status = (
            subprocess.run(["git", *each], cwd=root, capture_output=True, text=True) for each in words
        )
    except FileNotFoundError:
        return None  # no git on this machine
    if where.returncode or status.returncode:
        return None
    top, commit = where.stdout.split("\n")[:2]
    if Path(top) != root:
        return None  # the copy of a checkout, within another repository
    changed = len(status.stdout.splitlines())
    return commit + (f", and {changed} files that are not as committed" if changed else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
