"""Opening a packed file, whoever made it: its table of contents is judged before anything is read, each member after.

Members are read into memory, never unpacked to the disk, and nothing in them is run.
"""

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from segkit.errors import CheckpointError
from segkit.system.memory import lacks_memory
from segkit.system.packed.members import FORMAT_VERSION, KINDS, RUN, Kind, Manifest, PackedFiles
from segkit.system.printable import show_name
from segkit.system.typed import typed

#: Bytes that a manifest never has: that of the most members, with the longest names that segkit gives, has half of it.
MOST_MANIFEST_BYTES = 3_000_000
#: Bytes that are in memory at once when a member is only verified.
CHUNK = 1 << 20


class Contents(NamedTuple):
    """The manifest, and the members that were asked for, each with the size and the SHA-256 that it says."""

    manifest: Manifest
    members: dict[str, bytes]


def read_packed(path: Path, names: Collection[str], kind: Kind = RUN) -> Contents:
    """The manifest and the members `names` of a packed file of that kind. Raises CheckpointError, in one sentence, for
    a file that is not there, damaged, of another kind or of a newer segkit, lacks one of them, or is not as segkit
    writes it."""
    with _opened(path, kind) as (archive, manifest):
        missing = [name for name in names if name not in manifest.members]
        if missing:
            raise _Refused(f"it has no {show_name(missing[0])}")
        return Contents(manifest, {name: _read(archive, manifest, name) for name in names})


def verify_packed(path: Path, kind: Kind | None = RUN) -> Manifest:
    """The manifest, after every member was read and compared with it; of either kind if none is said. Raises
    CheckpointError likewise."""
    with _opened(path, kind) as (archive, manifest):
        for name in manifest.members:
            _verify(archive, manifest, name)
        return manifest


class _Refused(Exception):
    """Why a file is not one of segkit's."""


@contextmanager
def _opened(path: Path, kind: Kind | None) -> Generator[tuple[zipfile.ZipFile, Manifest]]:
    if not path.is_file():
        raise CheckpointError(f"no file {path}")
    words = "packed file" if kind is None else kind.words
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            _judge_table(archive, kind, size=os.fstat(file.fileno()).st_size)
            manifest = _read_manifest(archive, kind)
            _compare(archive, manifest)
            yield archive, manifest
    except CheckpointError:
        raise
    except _Refused as error:
        raise CheckpointError(f"{words} {path}: {error}") from error.__cause__
    except zipfile.BadZipFile as error:
        reason = f"it is cut off, damaged, or was never a zip file ({error})"
        raise CheckpointError(f"{words} {path}: {reason}") from error
    except Exception as error:  # flipped bytes in a table of contents surface as almost any exception
        if lacks_memory(error):
            raise
        reason = error.strerror if isinstance(error, OSError) else None
        raise CheckpointError(
            f"{words} {path}: it cannot be read ({reason or error or type(error).__name__})"
        ) from error


def _judge_table(archive: zipfile.ZipFile, kind: Kind | None, *, size: int) -> None:
    """Refuse what segkit never writes, by the table of contents alone; `size` is that of the file in bytes."""
    entries = archive.infolist()
    most = max(known.most_members for known in KINDS) if kind is None else kind.most_members
    if len(entries) > most:
        words = "packed file" if kind is None else kind.words
        raise _Refused(f"it has {len(entries):,} members, and a {words} has {most:,} at most")
    seen: set[str] = set()
    for entry in entries:
        name = show_name(entry.filename)
        if not _is_inside(entry.filename.removesuffix("/")):
            raise _Refused(f"its member {name} would lie outside of the folder that it is unpacked into")
        if entry.filename in seen:
            raise _Refused(f"it has two members {name}")
        seen.add(entry.filename)
        mode = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or mode not in (0, stat.S_IFREG):
            raise _Refused(f"its member {name} is no file but {_describe_mode(mode)}")
        if entry.flag_bits & 1:
            raise _Refused(f"its member {name} is encrypted")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise _Refused(
                f"its member {name} is compressed, and segkit stores all as it is -> zip -0, or the file as it was "
                "packed",
            )
    # Nothing grows when it is read, so members that together are larger than the file share their bytes.
    if sum(entry.file_size for entry in entries) > size:
        raise _Refused("its members together are larger than itself")


def _is_inside(name: str) -> bool:
    """Whether a name is one that segkit gives: words between slashes, none of which leads upwards."""
    parts = name.split("/")
    return all(part not in ("", ".", "..") for part in parts) and not set(name) & set("\\:\0")


def _describe_mode(mode: int) -> str:
    return "a link" if mode == stat.S_IFLNK else "a folder" if mode in (0, stat.S_IFDIR) else "a device"


def _read_manifest(archive: zipfile.ZipFile, kind: Kind | None) -> Manifest:
    name, wanted = PackedFiles.manifest.name, RUN if kind is None else kind
    makes = f"{typed(wanted.command)} {wanted.arguments}"
    if name not in archive.namelist():
        raise _Refused(f"it is no {wanted.words} of segkit, since it has no {name} -> {makes} makes one")
    if archive.getinfo(name).file_size > MOST_MANIFEST_BYTES:
        raise _Refused(f"its {name} is larger than {MOST_MANIFEST_BYTES:,} bytes")
    try:
        found: Any = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise _Refused(f"its {name} is no JSON ({error})") from error
    said = found.get("format") if isinstance(found, dict) else None
    other = next((known for known in KINDS if known.format == said), None)
    if other is None:
        raise _Refused(f"its {name} is not of a {wanted.words} of segkit")
    if kind is not None and other is not kind:
        raise _Refused(f"it is a {other.words}, and a {kind.words} is needed here -> {makes} makes one")
    version = found.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        by = found.get("segkit")
        by = f"segkit {show_name(by)}" if isinstance(by, str) else "a newer segkit"
        raise _Refused(
            f"{by} packed it in format {version}, and this one reads {FORMAT_VERSION} -> a newer segkit"
        )
    try:
        return Manifest.model_validate(found)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _Refused(f"its {name} says nothing usable of {show_name(place)}") from error


def _compare(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Refuse a table of contents that is not the manifest's."""
    there = {entry.filename: entry.file_size for entry in archive.infolist()}
    del there[PackedFiles.manifest.name]
    for name, member in manifest.members.items():
        if name not in there:
            raise _Refused(f"its member {show_name(name)} is missing")
        if there[name] != member.bytes:
            raise _Refused(
                f"its member {show_name(name)} has {there[name]:,} bytes instead of the {member.bytes:,} that its "
                "manifest says",
            )
    for name in there:
        if name not in manifest.members:
            raise _Refused(f"its member {show_name(name)} is not in its manifest")


def _read(archive: zipfile.ZipFile, manifest: Manifest, name: str) -> bytes:
    content = archive.read(name)
    _require_digest(hashlib.sha256(content).hexdigest(), manifest, name)
    return content


def _verify(archive: zipfile.ZipFile, manifest: Manifest, name: str) -> None:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while chunk := member.read(CHUNK):
            digest.update(chunk)
    _require_digest(digest.hexdigest(), manifest, name)


def _require_digest(found: str, manifest: Manifest, name: str) -> None:
    if found != manifest.members[name].sha256:
        raise _Refused(
            f"its member {show_name(name)} is not what was packed: its SHA-256 is not its manifest's"
        )
