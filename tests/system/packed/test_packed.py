"""Packed runs: the same bytes each time, and what others could have put into one is refused, each by one sentence.

The files that are refused are harmless: none holds anything but a few words.
"""

import hashlib
import json
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from segkit.errors import CannotWrite, CheckpointError
from segkit.system.packed.members import FORMAT_VERSION, RUN, STUDY, NeededImport, PackedFiles, is_packed
from segkit.system.packed.read import MOST_MANIFEST_BYTES, read_packed, verify_packed
from segkit.system.packed.write import write_packed

MEMBERS = {"b.txt": b"second", "a/a.txt": b"first", "empty": b""}
NEEDED = NeededImport(kind="model", name="mine", file="mine.py")


@pytest.fixture
def packed(tmp_path) -> Path:
    path = tmp_path / "run.zip"
    write_packed(path, MEMBERS, segkit="0.2.0", imports=[NEEDED])
    return path


def manifest_of(listing: dict[str, bytes], /, **changes) -> bytes:
    listed = {
        name: {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        for name, text in listing.items()
    }
    return json.dumps(
        {"format": "segkit run", "format_version": 1, "segkit": "0.2.0", "members": listed, **changes}
    ).encode()


def plant(
    path: Path, members: dict[str, bytes] = MEMBERS, *, manifest: bytes | None = None, entries=(), **options
) -> Path:
    """A zip file with `members`, the manifest of them or another, and further `entries`, each an entry and a text."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
        archive.writestr("manifest.json", manifest_of(members) if manifest is None else manifest)
        for entry, text in entries:
            archive.writestr(entry, text)
    return path


def refusal(path: Path) -> str:
    """Why a file is refused, the same whichever way it is opened, in one line."""
    with pytest.raises(CheckpointError) as caught:
        read_packed(path, [])
    with pytest.raises(CheckpointError) as again:
        verify_packed(path)
    assert str(caught.value) == str(again.value) and "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"packed run {path}: ")


def test_what_was_packed_is_read(packed):
    manifest, found = read_packed(packed, ["b.txt", "a/a.txt", "empty"])
    assert found == MEMBERS
    assert (manifest.segkit, manifest.format_version, manifest.imports) == ("0.2.0", FORMAT_VERSION, [NEEDED])
    assert verify_packed(packed) == manifest and set(manifest.members) == set(MEMBERS)
    assert plant(packed.with_name("own.zip")) and read_packed(packed.with_name("own.zip"), ["b.txt"])


def test_the_same_members_give_the_same_bytes(packed, tmp_path, monkeypatch):
    before = packed.read_bytes()
    monkeypatch.setattr("time.time", lambda: 1_900_000_000.0)
    write_packed(packed, dict(reversed(MEMBERS.items())), segkit="0.2.0", imports=[NEEDED])
    assert packed.read_bytes() == before
    with zipfile.ZipFile(packed) as archive:
        assert (
            archive.namelist() == sorted(archive.namelist()) == ["a/a.txt", "b.txt", "empty", "manifest.json"]
        )
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    write_packed(packed, MEMBERS | {"b.txt": b"Second"}, segkit="0.2.0", imports=[NEEDED])
    assert packed.read_bytes() != before


def test_a_file_that_cannot_be_written_leaves_the_one_before(packed, monkeypatch):
    before = packed.read_bytes()

    def fail(path, kind):
        raise CheckpointError("it is damaged")

    monkeypatch.setattr("segkit.system.packed.write.verify_packed", fail)
    with pytest.raises(CannotWrite, match=r"did not read back as it was written to .*: it is damaged"):
        write_packed(packed, {"c": b""}, segkit="0.2.0")
    assert packed.read_bytes() == before and [path.name for path in packed.parent.iterdir()] == ["run.zip"]


def test_other_programs_open_it(packed, tmp_path):
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "out")
    assert (tmp_path / "out/a/a.txt").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "out/b.txt").stat().st_mode) & 0o444 == 0o444


@pytest.mark.parametrize("name", ["x.zip", "a/b.ZIP", Path("x.zip")])
def test_what_is_called_like_a_packed_run(name):
    assert is_packed(name) and not is_packed(f"{name}.pt")


# --- damaged


def test_what_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=f"^no file {tmp_path}/x.zip$"):
        read_packed(tmp_path / "x.zip", [])
    (tmp_path / "x.zip").mkdir()
    with pytest.raises(CheckpointError, match=f"^no file {tmp_path}/x.zip$"):
        verify_packed(tmp_path / "x.zip")


@pytest.mark.parametrize("kept", [0, 1, 40, -1, -20])
def test_a_file_that_is_cut_off(packed, kept):
    packed.write_bytes(packed.read_bytes()[:kept])
    assert refusal(packed).startswith("it is cut off, damaged, or was never a zip file (")


def test_every_flipped_byte_is_noticed_or_changes_nothing(packed):
    """Of all bytes of the file, whatever they mean: what is returned is what was packed, or nothing is."""
    whole = packed.read_bytes()
    refused = 0
    for place in range(len(whole)):
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert read_packed(packed, list(MEMBERS)).members == MEMBERS
        except CheckpointError:
            refused += 1
    assert refused > 0.8 * len(whole)


def test_a_member_that_was_exchanged(tmp_path):
    path = plant(tmp_path / "x.zip", {"a": b"First"}, manifest=manifest_of({"a": b"first"}))
    message = f"packed run {path}: its member a is not what was packed: its SHA-256 is not its manifest's"
    for action in (lambda: read_packed(path, ["a"]), lambda: verify_packed(path)):
        with pytest.raises(CheckpointError) as caught:
            action()
        assert str(caught.value) == message


def test_members_that_are_not_those_of_the_manifest(tmp_path):
    path = tmp_path / "x.zip"
    plant(path, {"a": b"1"}, manifest=manifest_of({"a": b"1", "b": b"2"}))
    assert refusal(path) == "its member b is missing"
    plant(path, {"a": b"1", "b": b"2"}, manifest=manifest_of({"a": b"1"}))
    assert refusal(path) == "its member b is not in its manifest"
    plant(path, {"a": b"123"}, manifest=manifest_of({"a": b"1"}))
    assert refusal(path) == "its member a has 3 bytes instead of the 1 that its manifest says"
    plant(path)
    with pytest.raises(CheckpointError, match=r"x\.zip: it has no weights$"):
        read_packed(path, ["b.txt", "weights"])


def test_another_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"1")
    assert refusal(tmp_path / "x.zip") == (
        "it is no packed run of segkit, since it has no manifest.json -> python scripts/pack.py RUN makes one"
    )


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"{", "its manifest.json is no JSON ("),
        (b"\xff", "its manifest.json is no JSON ("),
        (b"[" * 100_000, "its manifest.json is no JSON ("),
        (b"[]", "its manifest.json is not of a packed run of segkit"),
        (b'{"name": "an extension"}', "its manifest.json is not of a packed run of segkit"),
        (b" " * (MOST_MANIFEST_BYTES + 1), "its manifest.json is larger than 3,000,000 bytes"),
        (manifest_of(MEMBERS, segkit=3), "its manifest.json says nothing usable of segkit"),
        (manifest_of(MEMBERS, format_version="1"), "its manifest.json says nothing usable of format_version"),
        (manifest_of(MEMBERS, members=[]), "its manifest.json says nothing usable of members"),
        (
            manifest_of(MEMBERS, members={"a": {"bytes": -1, "sha256": "0" * 64}}),
            "its manifest.json says nothing usable of members.a.bytes",
        ),
        (
            manifest_of(MEMBERS, members={"a": {"bytes": 1, "sha256": "x"}}),
            "its manifest.json says nothing usable of members.a.sha256",
        ),
        (
            manifest_of(MEMBERS, format_version=2, segkit="9.1.0", members="of another kind"),
            "segkit 9.1.0 packed it in format 2, and this one reads 1 -> a newer segkit",
        ),
        (
            manifest_of(MEMBERS, format_version=2, segkit=None),
            "a newer segkit packed it in format 2, and this one reads 1 -> a newer segkit",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used(tmp_path, manifest, message):
    assert refusal(plant(tmp_path / "x.zip", manifest=manifest)).startswith(message)


# --- not as segkit writes it


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/x", "a//x", "./x", "C:/x", "a\\x", "..", "a/..", "\\\\host\\x", "~x/../y"],
)
def test_a_member_outside_of_its_folder(tmp_path, name):
    path = plant(tmp_path / "x.zip", MEMBERS | {name: b"harmless"})
    assert refusal(path) == f"its member {name} would lie outside of the folder that it is unpacked into"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.zip"]


def entry_of(name: str, mode: int = 0) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, mode << 16
    return entry


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        (entry_of("x", stat.S_IFLNK | 0o777), "a link"),
        (entry_of("x", stat.S_IFDIR | 0o755), "a folder"),
        (entry_of("x/"), "a folder"),
        (entry_of("x", stat.S_IFIFO | 0o644), "a device"),
        (entry_of("x", stat.S_IFCHR | 0o644), "a device"),
    ],
)
def test_a_member_that_is_no_file(tmp_path, entry, what):
    path = plant(tmp_path / "x.zip", entries=[(entry, b"b.txt")])
    assert refusal(path) == f"its member {entry.filename} is no file but {what}"


def test_a_name_that_steers_a_terminal_is_shown_harmless(tmp_path):
    path = plant(tmp_path / "x.zip", MEMBERS | {"../\x1b[31m": b""})
    assert refusal(path).startswith(r"its member ../\x1b[31m would lie outside")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice(tmp_path):
    path = plant(tmp_path / "x.zip", entries=[("b.txt", b"another")])
    assert refusal(path) == "it has two members b.txt"
    path = plant(tmp_path / "x.zip", entries=[("manifest.json", manifest_of({}))])
    assert refusal(path) == "it has two members manifest.json"


def test_a_compressed_member_is_not_unpacked(tmp_path):
    path = plant(tmp_path / "x.zip", {"zeros": bytes(10_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    assert (
        refusal(path)
        == "its member zeros is compressed, and segkit stores all as it is -> zip -0, or the file as it was packed"
    )


def test_a_size_that_is_only_claimed(tmp_path):
    """A stored member of ten million bytes in a file of a few hundred: by the table of contents and the manifest."""
    path = plant(
        tmp_path / "x.zip",
        {"a": b"1"},
        manifest=manifest_of({"a": b"1"}).replace(b'"bytes": 1', b'"bytes": 10000000'),
    )
    content = path.read_bytes()
    place = content.index(b"PK\x01\x02")
    sizes = struct.pack("<LL", 10_000_000, 10_000_000)
    path.write_bytes(content[: place + 20] + sizes + content[place + 28 :])
    assert refusal(path) == "its members together are larger than itself"


def test_an_encrypted_member(tmp_path):
    path = plant(tmp_path / "x.zip")
    content = path.read_bytes()
    place = content.index(b"PK\x01\x02")
    path.write_bytes(content[: place + 8] + b"\x01\x00" + content[place + 10 :])
    assert refusal(path) == "its member b.txt is encrypted"


def test_more_members_than_a_run_has(tmp_path):
    path = plant(tmp_path / "x.zip", {str(number): b"" for number in range(RUN.most_members)})
    assert refusal(path) == "it has 1,001 members, and a packed run has 1,000 at most"


def test_as_many_members_as_a_study_has(tmp_path):
    """With the longest names that its runs get."""
    names = [
        f"{'x' * 100}-seed{2**32 - 1 - number}/per_image.npz" for number in range(STUDY.most_members - 1)
    ]
    write_packed(tmp_path / "s.zip", dict.fromkeys(names, b""), segkit="0.2.0", kind=STUDY)
    assert len(verify_packed(tmp_path / "s.zip", STUDY).members) == len(names)


def test_the_names_of_the_members_are_apart():
    names = [entry.name for entry in PackedFiles.entries().values()]
    assert len(set(names)) == len(names)
