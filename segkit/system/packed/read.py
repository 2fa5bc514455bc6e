"""Opening a packed run, whoever made it: its table of contents is judged before anything is read, each member after.

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
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError

from segkit.errors import CheckpointError
from segkit.system.memory import lacks_memory
from segkit.system.packed.members import FORMAT, FORMAT_VERSION, Manifest, PackedFiles
from segkit.system.printable import show_name
from segkit.system.typed import typed

#: More members than any packed run has, and bytes that its manifest never has.
MOST_MEMBERS, MOST_MANIFEST_BYTES = 1000, 1_000_000
#: Bytes that are in memory at once when a member is only verified.
CHUNK = 1 << 20


class Contents(NamedTuple):
    """The manifest, and the members that were asked for, each with the size and the SHA-256 that it says."""

    manifest: Manifest
    members: dict[str, bytes]


def read_packed(path: Path, names: Collection[str]) -> Contents:
    """The manifest and the members `names` of a packed run. Raises CheckpointError, in one sentence, for a file that is
    not there, damaged, of another kind or of a newer segkit, lacks one of them, or is not as segkit writes it."""
    with _opened(path) as (archive, manifest):
        missing = [name for name in names if name not in manifest.members]
        if missing:
            _refuse(path, f"it has no {missing[0]}")
        return Contents(manifest, {name: _read(archive, manifest, path, name) for name in names})


def verify_packed(path: Path) -> Manifest:
    """The manifest, after every member was read and compared with it. Raises CheckpointError likewise."""
    with _opened(path) as (archive, manifest):
        for name in manifest.members:
            _verify(archive, manifest, path, name)
        return manifest


@contextmanager
def _opened(path: Path) -> Generator[tuple[zipfile.ZipFile, Manifest]]:
    if not path.is_file():
        raise CheckpointError(f"no file {path}")
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            _judge_table(archive, path, size=os.fstat(file.fileno()).st_size)
            manifest = _read_manifest(archive, path)
            _compare(archive, manifest, path)
            yield archive, manifest
    except CheckpointError:
        raise
    except zipfile.BadZipFile as error:
        _refuse(path, f"it is cut off, damaged, or was never a zip file ({error})", error)
    except Exception as error:  # flipped bytes in a table of contents surface as almost any exception
        if lacks_memory(error):
            raise
        reason = error.strerror if isinstance(error, OSError) else None
        _refuse(path, f"it cannot be read ({reason or error or type(error).__name__})", error)


def _judge_table(archive: zipfile.ZipFile, path: Path, *, size: int) -> None:
    """Refuse what segkit never writes, by the table of contents alone; `size` is that of the file in bytes."""
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS:
        _refuse(path, f"it has {len(entries):,} members, and a packed run has {MOST_MEMBERS:,} at most")
    seen: set[str] = set()
    for entry in entries:
        name = show_name(entry.filename)
        if not _is_inside(entry.filename.removesuffix("/")):
            _refuse(path, f"its member {name} would lie outside of the folder that it is unpacked into")
        if entry.filename in seen:
            _refuse(path, f"it has two members {name}")
        seen.add(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or kind not in (0, stat.S_IFREG):
            _refuse(path, f"its member {name} is no file but {_describe_kind(kind)}")
        if entry.flag_bits & 1:
            _refuse(path, f"its member {name} is encrypted")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            _refuse(
                path,
                f"its member {name} is compressed, and segkit stores all as it is -> zip -0, or the file as it was "
                "packed",
            )
    # Nothing grows when it is read, so members that together are larger than the file share their bytes.
    if sum(entry.file_size for entry in entries) > size:
        _refuse(path, "its members together are larger than itself")


def _is_inside(name: str) -> bool:
    """Whether a name is one that segkit gives: words between slashes, none of which leads upwards."""
    parts = name.split("/")
    return all(part not in ("", ".", "..") for part in parts) and not set(name) & set("\\:\0")


def _describe_kind(kind: int) -> str:
    return "a link" if kind == stat.S_IFLNK else "a folder" if kind in (0, stat.S_IFDIR) else "a device"


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    name = PackedFiles.manifest.name
    if name not in archive.namelist():
        _refuse(
            path, f"it is no packed run of segkit, since it has no {name} -> {typed('pack', 'RUN')} makes one"
        )
    if archive.getinfo(name).file_size > MOST_MANIFEST_BYTES:
        _refuse(path, f"its {name} is larger than {MOST_MANIFEST_BYTES:,} bytes")
    try:
        found: Any = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        _refuse(path, f"its {name} is no JSON ({error})", error)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        _refuse(path, f"its {name} is not of a packed run of segkit")
    version = found.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        by = found.get("segkit")
        by = f"segkit {show_name(by)}" if isinstance(by, str) else "a newer segkit"
        _refuse(
            path, f"{by} packed it in format {version}, and this one reads {FORMAT_VERSION} -> a newer segkit"
        )
    try:
        return Manifest.model_validate(found)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        _refuse(path, f"its {name} says nothing usable of {show_name(place)}", error)


def _compare(archive: zipfile.ZipFile, manifest: Manifest, path: Path) -> None:
    """Refuse a table of contents that is not the manifest's."""
    there = {entry.filename: entry.file_size for entry in archive.infolist()}
    del there[PackedFiles.manifest.name]
    for name, member in manifest.members.items():
        if name not in there:
            _refuse(path, f"its member {show_name(name)} is missing")
        if there[name] != member.bytes:
            _refuse(
                path,
                f"its member {show_name(name)} has {there[name]:,} bytes instead of the {member.bytes:,} that its "
                "manifest says",
            )
    for name in there:
        if name not in manifest.members:
            _refuse(path, f"its member {show_name(name)} is not in its manifest")


def _read(archive: zipfile.ZipFile, manifest: Manifest, path: Path, name: str) -> bytes:
    content = archive.read(name)
    _require_digest(hashlib.sha256(content).hexdigest(), manifest, path, name)
    return content


def _verify(archive: zipfile.ZipFile, manifest: Manifest, path: Path, name: str) -> None:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while chunk := member.read(CHUNK):
            digest.update(chunk)
    _require_digest(digest.hexdigest(), manifest, path, name)


def _require_digest(found: str, manifest: Manifest, path: Path, name: str) -> None:
    if found != manifest.members[name].sha256:
        _refuse(
            path,
            f"its member {show_name(name)} is not what was packed: its SHA-256 is not its manifest's",
        )


def _refuse(path: Path, reason: str, cause: BaseException | None = None) -> NoReturn:
    raise CheckpointError(f"packed run {path}: {reason}") from cause
