"""Writing a packed file: the same members give the same bytes, on any day and any machine."""

import hashlib
import json
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from segkit.errors import CannotWrite, CheckpointError
from segkit.system.files import write_atomically
from segkit.system.packed.members import RUN, Kind, Manifest, Member, NeededImport, PackedFiles
from segkit.system.packed.read import verify_packed

#: The first day that a zip file can name.
DAY = (1980, 1, 1, 0, 0, 0)
#: As on Unix, wherever it is written: a regular file that all may read.
UNIX, RIGHTS = 3, (stat.S_IFREG | 0o644) << 16


def write_packed(
    path: Path,
    members: Mapping[str, bytes],
    *,
    segkit: str,
    imports: Sequence[NeededImport] = (),
    kind: Kind = RUN,
) -> None:
    """Write `members` by name, and the manifest, as one zip file; it takes its name once it was read back.

    Nothing is compressed: weights and pictures hardly become smaller, and what is stored as it is cannot grow when it
    is read. Raises CannotWrite.
    """
    manifest = Manifest(
        format=kind.format,
        segkit=segkit,
        imports=list(imports),
        members={
            name: Member(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in sorted(members.items())
        },
    )
    text = json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False) + "\n"
    everything = {**members, PackedFiles.manifest.name: text.encode()}

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in sorted(everything.items()):
                entry = zipfile.ZipInfo(name, DAY)
                entry.create_system, entry.external_attr = UNIX, RIGHTS
                archive.writestr(entry, content)

    write_atomically(path, write, verify=lambda temporary: _verify_written(temporary, kind))


def _verify_written(temporary: Path, kind: Kind) -> None:
    try:
        verify_packed(temporary, kind)
    except CheckpointError as error:
        raise CannotWrite(
            f"a {kind.words} did not read back as it was written to {temporary.parent}: {error}\n"
            "   -> the disk or the memory of this machine is failing"
        ) from error
