"""Getting a named data set: say what it is, fetch it where that is allowed, and check that it can be trained on.

Only ever run against stand-ins of the real hosts; that is why whatever fails ends with the way by hand.
"""

import errno
import shutil
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from torchvision.datasets import OxfordIIITPet, SBDataset, VOCSegmentation
from torchvision.datasets.utils import extract_archive

from segkit.config.load import load_config
from segkit.config.yaml_source import dump_inline, setting
from segkit.data.sources import Source, describe_size, describe_source, describe_steps, find_source
from segkit.errors import CannotWrite, ConfigError, DataError
from segkit.registry import DATASETS
from segkit.system.files import cannot_write, describe_disk
from segkit.system.typed import typed

#: A host that says nothing for so many seconds has failed.
PATIENCE = 60
#: An archive and what it unpacks to, in sizes of the archive.
SPACE = 2


def prepare_data(name: str, root: Path | None = None, *, yes: bool = False, dry_run: bool = False) -> int:
    """Bring the data set `name` into the folder `root` (data/NAME) as far as possible; returns the exit status.

    With `yes` nothing is asked, with `dry_run` nothing is written. Raises DataError if the data set is not there in the
    end, with the way by hand; ConfigError for a name there is not; CannotWrite for a disk without the space.
    """
    source = find_source(name)
    root = Path("data") / name if root is None else root.expanduser()
    print("\n".join(describe_source(source, root)))
    try:
        report_ready(source, root)
        return 0
    except DataError as error:
        print(f"   now      {str(error).splitlines()[0]}")
    steps = "\n".join(describe_steps(source, root))
    if dry_run:
        print(steps)
        return 0
    there = bool(source.archives) and all((root / archive.place).is_file() for archive in source.archives)
    if source.fetched:
        question = f"fetch {describe_size(source.size)} into {root}?"
        if there:
            question = f"unpack what was saved in {root}, and fetch what of it is damaged?"
        if not _confirm(question, yes=yes):
            print("nothing was fetched")
            return 0
        bring, failure = fetch, f"could not fetch {name}"
    elif there:
        bring, failure = unpack, f"could not unpack {name}"
    else:
        print(steps)
        raise DataError(f"{name} is not in {root} yet -> follow the steps, then run this command again")
    check_space(source, root)
    with _explained(failure, root, steps):
        bring(source, root)
    report_ready(source, root)
    return 0


def report_ready(source: Source, root: Path) -> None:
    """Open both parts, read the first image of each, print their sizes and the command to train. Raises DataError."""
    name = source.config_for(root)
    config = load_config(name, [f"data.root={dump_inline(str(root))}"])
    train, val = (DATASETS.get(config.data.name)(split, **config.data.params) for split in ("train", "val"))
    for dataset in (train, val):
        dataset[0]
    print(
        f"   ready    {len(train):,} train and {len(val):,} val images, {train.num_classes} classes; "
        "the first of each is fine"
    )
    if (len(train), len(val)) != source.counts:
        published = "{:,} and {:,}".format(*source.counts)
        print(f"   but      {published} are published: a download or a copy may have been cut short")
    elsewhere = str(root) != load_config(name).data.params["root"]
    command = typed("train", "--config", name)
    print(f"\n{command} {setting('data.root', str(root))}" if elsewhere else f"\n{command}")


def fetch(source: Source, root: Path) -> None:
    """Download with torchvision, which checks what it downloaded and takes an archive that is there already."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        if source.name == "voc":
            VOCSegmentation(root, image_set="train", download=True)
        elif source.name == "sbd":
            SBDataset(root, image_set="train", mode="segmentation", download=True)
        elif source.name == "pets":
            OxfordIIITPet(root, target_types="segmentation", download=True)
    finally:
        socket.setdefaulttimeout(before)


def unpack(source: Source, root: Path) -> None:
    """Unpack archives that were downloaded by hand, with torchvision."""
    for archive in source.archives:
        print(f"unpacking {root / archive.place}")
        extract_archive(root / archive.place, root / archive.target)


def check_space(source: Source, root: Path) -> None:
    """Raises CannotWrite if the disk has less space free than the archives and their content take."""
    there = sum(archive.size for archive in source.archives if (root / archive.place).is_file())
    needed = SPACE * source.size - there
    place = root.absolute()
    while not place.exists():
        place = place.parent
    if shutil.disk_usage(place).free < needed:
        raise CannotWrite(
            f"{source.name} takes {describe_size(needed)} in {root}, unpacked\n   {describe_disk(root)}\n"
            "   -> free some space, or another place: --root DIR"
        )


@contextmanager
def _explained(failure: str, root: Path, steps: str) -> Generator[None, None, None]:
    """What goes wrong inside becomes a DataError with the way by hand, or CannotWrite where the disk is to blame."""
    try:
        yield
    except Exception as error:  # servers, certificates, checksums and archives fail in any way there is
        if isinstance(error, OSError) and error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EROFS,
            errno.EACCES,
        ):
            raise cannot_write(root, error) from error
        raise DataError(f"{failure}: {error}\n{steps}") from error


def _confirm(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} -> --yes does it without asking, --dry-run only says how")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
