"""Whole files only: through exceptions, concurrent readers, full and read-only disks."""

import errno
import json
import os
import shutil
import stat
import subprocess
import threading

import pytest

from segkit.errors import CannotWrite, DataError
from segkit.system import files
from tests.disks import file_size_limit


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if (
        os.geteuid() != 0
        or not shutil.which("mount")
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_content_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    files.write_text(path, "neü\n")
    assert path.read_bytes() == "neü\n".encode()
    files.write_bytes(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    files.write_json(tmp_path / "c.json", {"x": [1, None]})
    assert json.loads((tmp_path / "c.json").read_text()) == {"x": [1, None]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b", "c.json"]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_a_name_as_long_as_a_disk_allows(tmp_path, name):
    files.write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_permissions_follow_the_umask(tmp_path):
    earlier = os.umask(0o022)
    try:
        files.write_text(tmp_path / "a", "x")
    finally:
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_content_is_on_the_disk_before_it_has_the_name_and_the_name_after(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle):
        steps.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        fsync(handle)

    def noted_replace(source, target):
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    files.write_atomically(
        tmp_path / "a", lambda file: file.write(b"x"), verify=lambda temporary: steps.append("verify")
    )
    assert steps == ["sync file", "verify", "replace", "sync folder"]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["write", "verify"])
def test_a_failure_leaves_the_old_content_and_no_temporary(tmp_path, failure, where):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(*_):
        raise failure

    with pytest.raises(type(failure)) as caught:
        if where == "write":
            files.write_atomically(path, fail)
        else:
            files.write_atomically(path, lambda file: file.write(b"new"), verify=fail)
    assert caught.value is failure
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_an_error_handled_outside_is_not_taken_for_the_cause(tmp_path):
    def fail(_):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        try:
            raise OSError(errno.ENOSPC, "somewhere else")
        except OSError:
            files.write_atomically(tmp_path / "a", fail)


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "a"
    contents = {bytes([digit]) * 300_000 for digit in b"01"}
    files.write_bytes(path, min(contents))
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for content in contents:
                files.write_bytes(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    seen, reads = set(), 0
    while reads < 300 or (len(seen) < 2 and seen <= contents):  # until it was replaced meanwhile
        seen.add(path.read_bytes())
        reads += 1
    stop.set()
    writer.join()
    assert seen == contents


def test_a_full_disk_keeps_the_old_file_and_is_named(small_disk):
    path = small_disk / "a"
    files.write_bytes(path, b"old")
    with pytest.raises(CannotWrite) as caught:
        files.write_bytes(path, bytes(1_000_000))
    assert caught.value.exit_code == 7
    lines = str(caught.value).splitlines()
    assert lines[0] == f"cannot write {path}: the disk is full"
    assert lines[1].startswith(f"   disk tmpfs at {small_disk}: 0.00")
    assert lines[1].endswith("of 0.0003 GB free")
    assert lines[2].startswith("   -> free some space or choose another place (of a run log.dir=PATH)")
    assert path.read_bytes() == b"old"
    assert [p.name for p in small_disk.iterdir()] == ["a"]


def test_a_disk_without_room_for_names_says_so(small_disk):
    subprocess.run(["mount", "-o", "remount,nr_inodes=3", str(small_disk)], check=True)
    files.write_text(small_disk / "a", "x")
    (small_disk / "b").touch()
    with pytest.raises(CannotWrite, match=r"the disk is full\n.*it can hold no more files \(0 free inodes\)"):
        files.write_text(small_disk / "a", "y")
    assert (small_disk / "a").read_text() == "x"


def test_a_read_only_disk_keeps_the_old_file_and_is_named(small_disk):
    path = small_disk / "a"
    files.write_bytes(path, b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(CannotWrite) as caught:
        files.write_bytes(path, b"new")
    assert str(caught.value).startswith(
        f"cannot write {path}: the disk is mounted read-only\n   disk tmpfs at"
    )
    assert path.read_bytes() == b"old"


def test_a_file_that_may_not_grow_keeps_the_old_one(tmp_path):
    path = tmp_path / "a"
    files.write_bytes(path, b"old")
    with file_size_limit(100_000), pytest.raises(CannotWrite) as caught:
        files.write_bytes(path, bytes(1_000_000))
    assert str(caught.value).startswith(
        f"cannot write {path}: the file is larger than this disk or this process may write\n   disk "
    )
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_missing_folder_is_reported_with_the_disk_it_would_be_on(tmp_path):
    with pytest.raises(CannotWrite, match=r"No such file or directory\n   disk .*GB free\n") as caught:
        files.write_text(tmp_path / "no" / "such" / "a", "x")
    assert str(caught.value).splitlines()[2] == (
        f"   -> there is no folder {tmp_path}/no/such: was it removed, or its disk unmounted, meanwhile?"
    )


def test_only_temporaries_are_swept(tmp_path):
    for name in (".a.pt.123.tmp", "a.pt", "notes.tmp", ".lock"):
        (tmp_path / name).touch()
    assert files.sweep_temporaries(tmp_path) == [tmp_path / ".a.pt.123.tmp"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "a.pt", "notes.tmp"]
    assert files.sweep_temporaries(tmp_path / "missing") == []


def test_folder_sync_tolerates_disks_that_cannot_and_reports_those_that_fail(tmp_path, monkeypatch):
    def refuse(number):
        def fsync(_):
            raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    files.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(CannotWrite, match="input/output error, the disk may be failing"):
        files.sync_folder(tmp_path)


def test_an_error_of_what_was_to_be_written_stays_what_it_is(tmp_path):
    """An image that cannot be read is no disk that cannot be written to."""

    def write(file):
        try:
            raise OSError("damaged")
        except OSError as error:
            raise DataError("cannot read a.tif") from error

    with pytest.raises(DataError, match=r"cannot read a\.tif"):
        files.write_atomically(tmp_path / "b.tif", write)
    assert not list(tmp_path.iterdir())
