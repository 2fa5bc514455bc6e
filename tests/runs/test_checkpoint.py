"""Checkpoints survive what happens to them. Each fault is seen to happen: killed, full, flipped, cut off, hostile."""

import datetime
import json
import os
import pickle
import random
import re
import resource
import signal
import subprocess
import textwrap
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from segkit.errors import CannotWrite, CheckpointError
from segkit.runs import checkpoint
from segkit.runs.checkpoint import (
    NoneIntact,
    find_damage,
    load_checkpoint,
    newest_intact,
    save_checkpoint,
    save_numbered,
)
from segkit.system.run_files import checkpoint_path, list_checkpoints
from tests.paths import ROOT
from tests.processes import run_python


def small_state(value=1.0):
    return {"iteration": 3, "model": {"weight": torch.full((4, 4), value)}}


def same(left, right):
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right) and left.dtype == right.dtype
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


class Hostile:
    """Unpickling it creates the file `mark`."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


def test_everything_plain_comes_back_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "config": {"data": {"classes": ["a", "ö"], "mean": None}, "train": {"lr": 1e-4, "amp": False}},
        "rng": {"torch": torch.get_rng_state(), "python": random.getstate()},
        "numbers": [2**70, -1, float("inf"), 0.1, True, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "tensors": {0: torch.tensor(7), 1: torch.ones(2, dtype=torch.bfloat16), 2: torch.zeros(0, 3)},
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    assert isinstance(state["model"], OrderedDict)
    save_checkpoint(tmp_path / "a.pt", state)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert same(loaded, {**state, "format_version": checkpoint.FORMAT_VERSION})
    save_checkpoint(tmp_path / "b.pt", loaded)  # what was loaded can be saved again
    assert same(load_checkpoint(tmp_path / "b.pt"), loaded)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt"]


HOLDS = "a checkpoint holds only tensors, None, bool, int, float, str, list, tuple and dict"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.float64(0.7), f"is a numpy.float64; {HOLDS}; store value.item()"),
        (np.zeros(3), f"is a numpy.ndarray; {HOLDS}; store torch.from_numpy(value)"),
        (Path("runs"), f"is a pathlib.PosixPath; {HOLDS}; store str(value)"),
        (datetime.date(2026, 1, 1), f"is a datetime.date; {HOLDS}"),
        (signal.SIGINT, f"is a signal.Signals; {HOLDS}; store int(value)"),
        (torch.__version__, f"is a torch.torch_version.TorchVersion; {HOLDS}; store str(value)"),
        ({1, 2}, f"is a set; {HOLDS}"),
        (
            tv_tensors.Mask(torch.zeros(2, 2)),
            f"is a torchvision.tv_tensors._mask.Mask; {HOLDS}; store value.as_",
        ),
    ],
)
def test_what_could_not_be_loaded_is_refused_with_its_key(tmp_path, value, problem):
    save_checkpoint(tmp_path / "a.pt", small_state())
    with pytest.raises(TypeError) as caught:
        save_checkpoint(tmp_path / "a.pt", {"counters": [0, {"best": value}]})
    assert str(caught.value).startswith(f"state['counters'][1]['best'] {problem}")
    assert same(load_checkpoint(tmp_path / "a.pt")["model"], small_state()["model"])


def test_keys_are_text_or_whole_numbers(tmp_path):
    with pytest.raises(
        TypeError, match=r"^checkpoint key state\['a'\]\[\(1, 2\)\] is a tuple, not a str or an int$"
    ):
        save_checkpoint(tmp_path / "a.pt", {"a": {(1, 2): 0}})
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_in_a_weight_is_found(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, small_state(1.0))
    content = bytearray(path.read_bytes())
    place = content.index(torch.ones(4, 4).numpy().tobytes())
    content[place + 3] ^= 0x40
    path.write_bytes(content)
    wrong = torch.load(path, weights_only=True)["model"]["weight"]
    assert not torch.equal(wrong, torch.ones(4, 4))  # torch loads it, with other numbers
    with pytest.raises(
        CheckpointError, match=rf"^checkpoint {path}: damaged, the checksum of its entry .*data/0 "
    ):
        load_checkpoint(path)


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, small_state())
    intact, state = path.read_bytes(), load_checkpoint(path)
    found = 0
    for bit in range(0, 8 * len(intact), 23):  # a bit of every third byte
        content = bytearray(intact)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            assert same(load_checkpoint(path), state), f"bit {bit} changed the state unnoticed"
        except CheckpointError:
            found += 1
    assert found > 200


def test_an_entry_that_poses_as_a_folder_is_found(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, small_state())
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"archive/data/0") - 46  # the last place with the name is the table of contents
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 38] ^= 0x10  # the attribute that makes it a folder
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None  # the checksums do not find it
    with pytest.raises(
        CheckpointError, match=r"the description of its entry archive/data/0 is not one that torch"
    ):
        load_checkpoint(path)


def test_a_file_cut_off_anywhere_is_found(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, small_state())
    intact = path.read_bytes()
    for length in [0, 1, 100, *range(200, len(intact), 97), len(intact) - 1]:
        path.write_bytes(intact[:length])
        with pytest.raises(CheckpointError, match=r"damaged, it is cut off or was never a checkpoint"):
            load_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(tmp_path, zipped):
    mark, path = tmp_path / "ran", tmp_path / "a.pt"
    hostile = {"format_version": 1, "model": Hostile(mark)}
    torch.save(hostile, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert not mark.exists()
    if zipped:
        name = f"{open.__module__}.open"
        assert str(caught.value) in {
            f"checkpoint {path}: not opened: it refers to {module}, and segkit never runs code from a checkpoint"
            for module in (name, "io.open", "_io.open")
        }
    assert "weights_only" not in str(caught.value)
    pickle.loads(pickle.dumps(hostile))["model"].close()
    assert mark.exists()  # the code was there to be run


def test_missing_unreadable_and_foreign_files(tmp_path):
    with pytest.raises(
        CheckpointError, match=rf"^checkpoint {tmp_path}/no\.pt: cannot be read: No such file"
    ) as caught:
        load_checkpoint(tmp_path / "no.pt")
    assert caught.value.exit_code == 4
    with pytest.raises(CheckpointError, match="Is a directory"):
        load_checkpoint(tmp_path)
    with open(tmp_path / "weights.pt", "wb") as file:
        torch.save({"weight": torch.ones(2)}, file)
    with pytest.raises(
        CheckpointError, match=r"weights\.pt: not written by segkit, it has no format_version$"
    ):
        load_checkpoint(tmp_path / "weights.pt")
    with open(tmp_path / "tensor.pt", "wb") as file:
        torch.save(torch.ones(2), file)
    with pytest.raises(CheckpointError, match="not written by segkit"):
        load_checkpoint(tmp_path / "tensor.pt")


def write_archive(path, *names):
    """A torch archive with these records and no state."""
    writer = torch._C.PyTorchFileWriter(str(path))
    for name in names:
        writer.write_record(name, b"x", 1)
    writer.write_end_of_file()


@pytest.mark.filterwarnings("ignore:.*looks like a TorchScript archive")
def test_archives_that_are_no_checkpoint(tmp_path):
    path = tmp_path / "a.pt"
    write_archive(path, "other")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"checkpoint {path}: cannot be loaded: PytorchStreamReader failed")
    assert str(caught.value).endswith("data.pkl: file not found")
    write_archive(path, "data.pkl", "constants.pkl")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value) == (
        f"checkpoint {path}: not opened: it is a TorchScript archive, and segkit never runs code from a checkpoint"
    )


@pytest.mark.parametrize(("version", "age"), [(0, "an older"), (2, "a newer")])
def test_another_format_is_refused(tmp_path, monkeypatch, version, age):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", version)
        save_checkpoint(tmp_path / "a.pt", small_state())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "a.pt")
    assert str(caught.value) == (
        f"checkpoint {tmp_path}/a.pt: written by {age} segkit in format {version}, this one reads 1 "
        "-> use the version of segkit in the env.json of its run folder"
    )


def test_a_file_that_does_not_read_back_is_never_given_the_name(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    save_checkpoint(path, small_state(1.0))
    honest = torch.save

    def failing_disk(state, file):
        honest(state, file)
        file.seek(file.tell() // 2)
        file.write(b"\xff" * 64)

    monkeypatch.setattr(torch, "save", failing_disk)
    with pytest.raises(
        CannotWrite, match=rf"^a checkpoint did not read back as it was written to {tmp_path}: "
    ):
        save_checkpoint(path, small_state(2.0))
    assert same(load_checkpoint(path)["model"], small_state(1.0)["model"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_file_that_may_not_grow_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, small_state())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CannotWrite, match=rf"^cannot write {path}: the file is larger than this disk"):
            save_checkpoint(path, {"model": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert same(load_checkpoint(path)["model"], small_state()["model"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_full_disk_keeps_the_old_checkpoints(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    try:
        state = {"model": torch.ones(75_000)}  # 300 kB: three fit, a fourth does not
        for iteration in (1, 2, 3):
            save_numbered(disk, state, iteration=iteration, keep=9)
        with pytest.raises(CannotWrite) as caught:
            save_numbered(disk, state, iteration=4, keep=9)
        assert str(caught.value).startswith(
            f"cannot write {disk}/000004.pt: the disk is full\n   disk tmpfs at {disk}: "
        )
        assert sorted(file.name for file in disk.iterdir()) == ["000001.pt", "000002.pt", "000003.pt"]
        assert newest_intact(disk).path == disk / "000003.pt"
        torch_alone = disk / "000001.pt"
        with pytest.raises(RuntimeError):
            torch.save({"model": torch.ones(200_000)}, torch_alone)
        assert find_damage(torch_alone)  # what the full disk does to a plain torch.save
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Forks a process that saves without pause and kills it, again and again; prints how each ended.
KILLER = """
    import json, os, signal, sys, time
    from pathlib import Path
    import torch
    from segkit.runs.checkpoint import save_numbered

    folder, naive = Path(sys.argv[1]), sys.argv[2] == "naive"
    torch.set_num_threads(1)

    starter = os.getpid()

    def save_without_end(iteration):
        while os.getppid() == starter:
            iteration += 1
            state = {"iteration": iteration, "model": torch.full((1_000_000,), float(iteration))}
            if naive:
                torch.save(state, folder / "000001.pt")
            else:
                save_numbered(folder, state, iteration=iteration)

    hit, attempt = False, 0
    while attempt < 6 or not hit:  # until a kill has hit a save
        if naive:
            (folder / "000001.pt").unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            save_without_end(100_000 * attempt)
            os._exit(0)
        # A save later each time, and in turn while a file is being written and as soon as one is there.
        awaited = 1 if naive else 100_000 * attempt + 2 + attempt
        while all(int(path.stem) < awaited for path in folder.glob("*.pt")):
            time.sleep(0.001)
        while not naive and attempt % 2 == 0 and not any(folder.glob(".*.tmp")):
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        ended = os.WTERMSIG(status) if os.WIFSIGNALED(status) else "exited"
        files = sorted(path.name for path in folder.iterdir())
        copy = folder.parent / f"seen{attempt}"
        copy.mkdir()
        for path in folder.glob("*.pt"):
            os.link(path, copy / path.name) if not naive else (copy / path.name).write_bytes(path.read_bytes())
        if naive:
            size = (copy / "000001.pt").stat().st_size
            hit = hit or size < 4_000_000
        else:
            hit = hit or any(name.endswith(".tmp") for name in files)
        print(json.dumps({"ended": ended, "files": files, "copy": str(copy)}))
        attempt += 1
"""


def kill_while_saving(tmp_path, how):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    done = run_python(
        *("-W", "ignore", "-c", textwrap.dedent(KILLER), str(folder), how),
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killing_at_any_moment_leaves_only_checkpoints_that_load(tmp_path):
    deaths = kill_while_saving(tmp_path, "segkit")
    assert len(deaths) >= 6 and {death["ended"] for death in deaths} == {signal.SIGKILL}
    assert any(name.endswith(".tmp") for death in deaths for name in death["files"]), (
        "none was killed in a save"
    )
    newest = 0
    for death in deaths:
        files = list_checkpoints(death["copy"])
        assert 2 <= len(files) <= 3  # a kill may come between a save and its pruning
        for path in files:
            state = load_checkpoint(path)
            assert state["iteration"] == int(path.stem)
            assert torch.equal(state["model"], torch.full((1_000_000,), float(path.stem)))
        assert int(files[0].stem) > newest
        newest = int(files[0].stem)
    temporaries = [name for name in deaths[-1]["files"] if name.endswith(".tmp")]
    assert len(temporaries) <= 1  # each next save swept what the killed one left


@pytest.mark.heavy
def test_killing_a_plain_torch_save_is_what_the_above_protects_from(tmp_path):
    deaths = kill_while_saving(tmp_path, "naive")
    assert len(deaths) >= 6 and {death["ended"] for death in deaths} == {signal.SIGKILL}
    damaged = [death for death in deaths if find_damage(Path(death["copy"]) / "000001.pt")]
    assert damaged, "the kills never hit a save, so they prove nothing"


def test_the_newest_are_kept(tmp_path):
    for iteration in (100, 200, 300, 400):
        path = save_numbered(tmp_path / "checkpoints", small_state(), iteration=iteration, keep=3)
        assert path == checkpoint_path(tmp_path / "checkpoints", iteration)
    names = [path.name for path in list_checkpoints(tmp_path / "checkpoints")]
    assert names == ["000400.pt", "000300.pt", "000200.pt"]
    with pytest.raises(ValueError, match=r"^keep must be at least 2"):
        save_numbered(tmp_path / "checkpoints", small_state(), iteration=500, keep=1)


def test_nothing_is_pruned_unless_the_new_one_is_verified(tmp_path, monkeypatch):
    for iteration in (100, 200):
        save_numbered(tmp_path, small_state(), iteration=iteration)
    monkeypatch.setattr(torch, "save", lambda state, file: file.write(b"not a checkpoint"))
    with pytest.raises(CannotWrite, match="did not read back"):
        save_numbered(tmp_path, small_state(), iteration=300)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000100.pt", "000200.pt"]


def test_saving_an_iteration_again_replaces_it(tmp_path):
    save_numbered(tmp_path, small_state(1.0), iteration=100)
    save_numbered(tmp_path, small_state(2.0), iteration=100)
    assert same(load_checkpoint(tmp_path / "000100.pt")["model"], small_state(2.0)["model"])


def test_checkpoints_of_an_abandoned_continuation_are_put_aside_not_lost(tmp_path):
    for iteration in (100, 200, 300, 400):
        save_numbered(tmp_path, small_state(iteration), iteration=iteration, keep=9)
    save_numbered(tmp_path, small_state(-1.0), iteration=250)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["000250.pt", "000200.pt"]
    assert same(load_checkpoint(tmp_path / "000400.pt.aside")["model"], small_state(400)["model"])
    assert newest_intact(tmp_path).path == tmp_path / "000250.pt"


def test_what_a_killed_save_left_is_swept(tmp_path):
    (tmp_path / ".000100.pt.4711.tmp").write_bytes(b"half")
    save_numbered(tmp_path, small_state(), iteration=100)
    assert [path.name for path in tmp_path.iterdir()] == ["000100.pt"]


def test_numbers_are_compared_as_numbers(tmp_path):
    for name in ("999999.pt", "1000000.pt", "000007.pt", "best.pt", "000008.pt.aside", ".000009.pt.1.tmp"):
        (tmp_path / name).touch()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["1000000.pt", "999999.pt", "000007.pt"]


def test_the_newest_intact_one_is_found_and_the_others_are_explained(tmp_path):
    for iteration in (100, 200, 300):
        save_numbered(tmp_path, small_state(iteration), iteration=iteration, keep=3)
    (tmp_path / "000300.pt").write_bytes((tmp_path / "000300.pt").read_bytes()[:-50])
    path, state, skipped = newest_intact(tmp_path)
    assert path == tmp_path / "000200.pt"
    assert same(state["model"], small_state(200)["model"])
    assert [item.path.name for item in skipped] == ["000300.pt"]
    assert re.search(r"^damaged, it is cut off", skipped[0].reason)
    for file in tmp_path.glob("*.pt"):
        file.write_bytes(b"")
    nothing = newest_intact(tmp_path)
    assert isinstance(nothing, NoneIntact)
    assert [item.path.name for item in nothing.skipped] == ["000300.pt", "000200.pt", "000100.pt"]
    assert newest_intact(tmp_path / "nowhere") == NoneIntact([])
